"""What git cannot answer is an error, never an answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.status import ForeignOwnerError, measure

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")


def break_index(repo: Repo) -> None:
    (repo.git_dir / "index").write_bytes(b"DIRC")


def use_an_index_from_the_future(repo: Repo) -> None:
    data = bytearray((repo.git_dir / "index").read_bytes())
    data[7] = 9
    (repo.git_dir / "index").write_bytes(data)


def lose_commit(repo: Repo) -> None:
    lose(repo, "HEAD")


def lose_tree(repo: Repo) -> None:
    lose(repo, "HEAD^{tree}")


def lose(repo: Repo, name: str) -> None:
    oid = repo.git("rev-parse", name)
    (repo.git_dir / "objects" / oid[:2] / oid[2:]).unlink()


def break_config(repo: Repo) -> None:
    (repo.git_dir / "config").write_text("[core\n")


def break_user_config(repo: Repo) -> None:
    (Path.home() / ".gitconfig").write_text("[user\nname")


def set_nonsense(repo: Repo) -> None:
    repo.git("config", "core.trustctime", "perhaps")
    repo.git("config", "core.sparseCheckout", "perhaps")


def require_a_later_git(repo: Repo) -> None:
    repo.git("config", "core.repositoryFormatVersion", "99")


def use_an_unknown_extension(repo: Repo) -> None:
    repo.git("config", "core.repositoryFormatVersion", "1")
    repo.git("config", "extensions.fromTheFuture", "true")


@pytest.mark.parametrize(
    "damage",
    [
        break_index,
        use_an_index_from_the_future,
        lose_commit,
        lose_tree,
        break_config,
        break_user_config,
        set_nonsense,
        require_a_later_git,
        use_an_unknown_extension,
    ],
)
def test_what_git_cannot_read_is_an_error(repo: Repo, damage: Callable[[Repo], None]) -> None:
    damage(repo)
    with pytest.raises(GitError):
        measure(measured(str(repo.path)))


def test_a_folder_that_cannot_be_read_is_an_error(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = repo.write("closed/file.py").parent
    if os.geteuid() != 0:
        folder.chmod(0)
        try:
            with pytest.raises(GitError, match="could not open"):
                measure(measured(str(repo.path)))
        finally:
            folder.chmod(0o755)
        return
    nobody = 65534
    repo.git("config", "--global", "safe.directory", "*")
    open_to_all(repo.path)
    measure(measured(str(repo.path)))  # loads what it needs while everything can be read
    folder.chmod(0)
    os.seteuid(nobody)
    try:
        with pytest.raises(GitError, match="could not open"):
            measure(measured(str(repo.path)))
    finally:
        os.seteuid(0)


def open_to_all(path: Path) -> None:
    """Let every user through to `path` (pytest keeps its folders private)."""
    for folder in (Path.home(), path, *path.parents):
        if str(folder).startswith("/tmp/") and folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)
    for folder in Path.home().parents:
        if str(folder).startswith("/tmp/") and folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)


@ROOT_ONLY
@pytest.mark.parametrize("name", ["repo", "it's here"])
def test_a_repository_of_another_user_is_told_with_the_way_to_trust_it(
    make_repo: Callable[..., Repo], name: str, differences: Differences
) -> None:
    repo = make_repo(name)
    repo.commit()
    repo.give_away()
    with pytest.raises(ForeignOwnerError) as raised:
        measure(measured(str(repo.path)))
    command = raised.value.fix.partition(": ")[2]
    os.system(command)
    assert differences(repo) == set()


@ROOT_ONLY
def test_a_submodule_of_another_user_is_told_by_its_own_path(with_submodule: Repo) -> None:
    replace(with_submodule, path=with_submodule.path / "lib").give_away()
    with pytest.raises(ForeignOwnerError, match="repo/lib: owned by another user"):
        measure(measured(str(with_submodule.path)))
