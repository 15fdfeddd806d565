"""The repository that a folder belongs to is the one that git finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import BareRepositoryError, GitError, NotARepositoryError
from deriva_ml_hooks.git.discovery import measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Repo


@pytest.mark.parametrize("inside", [".", "src", "src/../src"])
def test_a_repository_is_found_from_any_folder_of_its_worktree(repo: Repo, inside: str) -> None:
    found = measured(str(repo.path / inside))
    assert found.worktree == str(repo.path)
    assert found.git_dir == found.common_dir == str(repo.git_dir)


def test_a_repository_is_found_through_a_link(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repo.path / "src")
    assert measured(str(tmp_path / "link")).worktree == str(repo.path)


def test_a_linked_worktree_has_a_git_directory_of_its_own(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", "-b", "topic/x", str(tmp_path / "linked"))
    found = measured(str(tmp_path / "linked"))
    assert found.worktree == str(tmp_path / "linked")
    assert found.git_dir == str(repo.git_dir / "worktrees" / "linked")
    assert found.common_dir == str(repo.git_dir)
    assert found.branch() == "topic/x"
    assert measured(str(repo.path)).branch() == "main"


def test_the_worktree_of_a_bare_repository_is_one(repo: Repo, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(bare))
    repo.git("-C", str(bare), "worktree", "add", "--quiet", str(tmp_path / "linked"), "main")
    assert measured(str(tmp_path / "linked")).head() == repo.git("rev-parse", "HEAD").encode()
    with pytest.raises(BareRepositoryError):
        measured(str(bare))


@pytest.mark.parametrize("inside", [".git", ".git/refs", ".git/objects"])
def test_a_git_directory_is_no_worktree(repo: Repo, inside: str) -> None:
    with pytest.raises(BareRepositoryError):
        measured(str(repo.path / inside))


def test_a_submodule_is_a_repository_of_its_own(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    lib = make_repo("lib")
    lib.commit("Lib", x="x\n")
    repo.git("submodule", "--quiet", "add", str(lib.path), "sub")
    found = measured(str(repo.path / "sub"))
    assert found.worktree == str(repo.path / "sub")
    assert found.head() == lib.git("rev-parse", "HEAD").encode()


def test_outside_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotARepositoryError):
        measured(str(tmp_path))


def test_inherited_variables_are_not_asked(
    repo: Repo, make_repo: Callable[..., Repo], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_repo("other")
    monkeypatch.setenv("GIT_DIR", str(other.git_dir))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    assert measured(str(repo.path)).worktree == str(repo.path)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"gitdir: ", b"gitdir: /nowhere/at/all\n", b"\xff\xfe"]
)
def test_a_git_file_that_leads_nowhere_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".git").write_bytes(content)
    with pytest.raises(GitError):
        measured(str(tmp_path))
