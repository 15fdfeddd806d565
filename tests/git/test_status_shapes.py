"""Repositories of every shape are measured, under any names, and nothing is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences

TRAIN = "src/train.py"


def test_a_linked_worktree_is_measured_by_itself(
    repo: Repo, tmp_path: Path, differences: Differences
) -> None:
    second = replace(repo, path=tmp_path / "second")
    repo.git("worktree", "add", "--quiet", str(second.path))
    repo.write(TRAIN, "print('other')\n")
    assert differences(second) == set()
    second.write("helper.py")
    assert differences(second) == {("untracked", "helper.py")}
    assert differences(repo) == {("unstaged", TRAIN)}


def test_a_worktree_of_a_bare_repository_is_measured(
    repo: Repo, remote: Repo, tmp_path: Path, differences: Differences
) -> None:
    second = replace(repo, path=tmp_path / "second")
    remote.git("worktree", "add", "--quiet", str(second.path), "main")
    assert differences(second) == set()
    second.write(TRAIN, "print('other')\n")
    assert differences(second) == {("unstaged", TRAIN)}


def test_a_repository_with_its_git_directory_elsewhere_is_measured(
    make_repo: Callable[..., Repo], tmp_path: Path, differences: Differences
) -> None:
    repo = make_repo("repo", "--separate-git-dir", str(tmp_path / "elsewhere.git"))
    repo.write("a.py")
    repo.commit()
    assert differences(repo) == set()
    repo.write("a.py", "other")
    assert differences(repo) == {("unstaged", "a.py")}


def test_sha_256_repositories_are_measured(make_repo: Callable[..., Repo], differences: Differences) -> None:
    repo = make_repo("repo", "--object-format=sha256")
    repo.write("a.py")
    (repo.path / "link").symlink_to("a.py")
    repo.commit()
    touch_all(repo)
    assert differences(repo) == set()
    assert differences(repo, paranoid=True) == set()
    repo.git("update-index", "--assume-unchanged", "link", "a.py")
    assert differences(repo) == set()
    repo.write("a.py", "other")
    (repo.path / "link").unlink()
    (repo.path / "link").symlink_to("b.py")
    assert differences(repo) == {("hidden-change", "a.py"), ("hidden-change", "link")}


def touch_all(repo: Repo) -> None:
    for name in repo.git("ls-files").splitlines():
        os.utime(repo.path / name, (1e9, 1e9), follow_symlinks=False)


@pytest.mark.parametrize("words", [("--depth=1",), ("--filter=blob:none",), ("--filter=tree:0",)])
def test_shallow_and_partial_clones_are_measured(
    repo: Repo, tmp_path: Path, words: tuple[str, ...], differences: Differences
) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    clone = replace(repo, path=tmp_path / "clone")
    repo.git("clone", "--quiet", *words, f"file://{repo.path}", str(clone.path))
    assert differences(clone) == set()
    assert differences(clone, paranoid=True) == set()
    clone.write(TRAIN, "print('other')\n")
    assert differences(clone) == {("unstaged", TRAIN)}


def test_an_index_in_another_form_is_read(repo: Repo, differences: Differences) -> None:
    repo.git("update-index", "--split-index", "--index-version", "4")
    assert differences(repo) == set()
    assert differences(repo, paranoid=True) == set()
    assert not [name for name in os.listdir(repo.git_dir) if name.endswith(".lock")]


ODD_NAMES = [
    b"with space",
    b" leading",
    b"trailing ",
    b"new\nline",
    b"tab\there",
    b"carriage\r",
    b'"quoted"',
    b'quo"te\\n',
    b"-dash",
    b"--",
    b"caf\xc3\xa9",
    b"caf\xe9",
    b"\xff\xfe",
    b"*",
    b"[a]",
    b"?? x",
    b":(top)",
    b"#hash",
    b"!bang",
    b"\\134",
]


@pytest.mark.skipif(sys.platform == "darwin", reason="names that this system does not take")
def test_any_name_is_clean_when_clean_and_found_when_changed(repo: Repo, differences: Differences) -> None:
    names = [os.fsdecode(name) for name in ODD_NAMES]
    for name in names:
        repo.write(name, f"content of {name!r}")
    repo.commit()
    for name in names:
        os.utime(repo.path / name, (1e9, 1e9))
    assert differences(repo) == set()
    assert differences(repo, paranoid=True) == set()
    for name in names:
        repo.write(name, "other")
        repo.write(f"{name} too")
    assert differences(repo) == {
        *(("unstaged", name) for name in names),
        *(("untracked", f"{name} too") for name in names),
    }


def test_names_are_not_mixed_up_when_files_are_hashed(repo: Repo, differences: Differences) -> None:
    names = ("a", "a\r", '"a"', "a\nb", "b")
    for name in names:
        repo.write(name, f"{name!r}")
    repo.commit()
    repo.git("update-index", "--assume-unchanged", "--", *names)
    assert differences(repo) == set()
    for name in names:
        repo.write(name, "something else")
        assert differences(repo) == {("hidden-change", name)}
        repo.write(name, f"{name!r}")


# Measuring leaves no trace.


def everything_in(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("paranoid", [False, True])
def test_measuring_writes_nothing_and_takes_no_lock(
    with_submodule: Repo, paranoid: bool, differences: Differences
) -> None:
    repo = with_submodule
    repo.git("config", "core.fileMode", "false")
    os.utime(repo.path / TRAIN, (1e9, 1e9))
    os.utime(repo.path / "lib/lib.py", (1e9, 1e9))
    before = everything_in(repo.path)
    assert differences(repo, paranoid=paranoid) == set()
    assert everything_in(repo.path) == before
    (repo.git_dir / "index.lock").touch()
    assert differences(repo, paranoid=paranoid) == set()
