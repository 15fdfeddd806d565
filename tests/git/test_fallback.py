"""What a worktree differs in when there is no git program: never less than git itself would find."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import fallback
from deriva_ml_hooks.git.discovery import discover

if TYPE_CHECKING:
    from tests.conftest import Repo

TRAIN = "src/train.py"


def differences(repo: Repo) -> set[tuple[str, str | None]]:
    measured = fallback.measure(discover(str(repo.path)))
    assert measured.head == repo.git("rev-parse", "HEAD")
    return {(change.code, change.path) for change in measured.changes}


def hide_mode(repo: Repo) -> None:
    repo.git("config", "core.fileMode", "false")
    (repo.path / TRAIN).chmod(0o755)


def skip_worktree_and_delete(repo: Repo) -> None:
    repo.git("update-index", "--skip-worktree", TRAIN)
    (repo.path / TRAIN).unlink()


def leave_in_a_folder_taken_back(repo: Repo) -> None:
    """`data/*` ignores what is in the folder, not the folder: a later pattern takes one file back."""
    repo.write(".gitignore", "data/*\n!data/keep.txt\n")
    repo.commit()
    repo.write("data/keep.txt")
    repo.write("data/other.txt")


def leave_a_link_to_a_folder(repo: Repo) -> None:
    """`data/` ignores folders only, and for git a link to a folder is none."""
    repo.write(".gitignore", "data/\n")
    repo.commit()
    (repo.path / "data").symlink_to(repo.path.parent)


def leave_what_one_ignore_file_takes_back(repo: Repo) -> None:
    (Path.home() / "ignore").write_text("*.txt\n")
    repo.git("config", "--global", "core.excludesFile", "~/ignore")
    (repo.git_dir / "info/exclude").write_text("!keep.txt\n")
    repo.write("keep.txt")
    repo.write("other.txt")


def leave_a_deep_link(repo: Repo) -> None:
    (repo.path / "src/link").symlink_to("nowhere")


def leave_in_another_case(repo: Repo) -> None:
    repo.git("config", "core.ignoreCase", "true")
    repo.write("run.LOG")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (hide_mode, {("unstaged", TRAIN)}),
        (skip_worktree_and_delete, {("hidden-change", TRAIN)}),
        (leave_in_a_folder_taken_back, {("untracked", "data/keep.txt")}),
        (leave_a_link_to_a_folder, {("untracked", "data")}),
        (leave_what_one_ignore_file_takes_back, {("untracked", "keep.txt")}),
        (leave_a_deep_link, {("untracked", "src/link")}),
        (leave_in_another_case, {("untracked", "run.LOG")}),
    ],
)
def test_what_settings_and_flags_could_hide_is_found_without_git(
    repo: Repo, change: Callable[[Repo], None], expected: set[tuple[str, str | None]]
) -> None:
    change(repo)
    assert differences(repo) == expected


def test_a_clean_worktree_is_clean_without_git(repo: Repo, tmp_path: Path) -> None:
    (repo.path / "link").symlink_to("src")
    repo.write("run.sh").chmod(0o755)
    for name in (b"a b", b"new\nline", b"caf\xe9", b"-dash"):
        repo.write(os.fsdecode(name))
    repo.commit()
    repo.write("run.log")
    (repo.path / "empty").mkdir()
    os.utime(repo.path / TRAIN, (1e9, 1e9))
    repo.git("worktree", "add", "--quiet", str(tmp_path / "second"))
    assert differences(repo) == set()
    assert differences(replace(repo, path=tmp_path / "second")) == set()
    repo.git("gc", "--quiet")
    assert differences(repo) == set()


def test_what_a_sparse_checkout_leaves_out_is_just_absent_without_git(repo: Repo) -> None:
    repo.write("docs/page.md")
    repo.commit()
    repo.git("sparse-checkout", "set", "--cone", "src")
    assert not (repo.path / "docs").exists()
    assert differences(repo) == set()


def test_what_only_a_filter_could_tell_is_refused_as_such(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bat eol=crlf\n")
    repo.write("run.bat", "echo\n")
    repo.commit()
    assert differences(repo) == set()
    repo.write("run.bat", "echo\r\n")
    assert differences(repo) == {("git-error", "run.bat")}


@pytest.mark.parametrize("place", ["a folder", "a file", "a link"])
def test_a_submodule_cannot_be_told_to_be_clean_without_git(
    repo: Repo, make_repo: Callable[..., Repo], place: str
) -> None:
    library = make_repo("library")
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.commit()
    if place != "a folder":
        shutil.rmtree(repo.path / "lib")
        if place == "a file":
            repo.write("lib")
        else:
            (repo.path / "lib").symlink_to(library.path)
    assert differences(repo) == {("git-error", "lib")}


def test_a_submodule_that_is_not_checked_out_is_no_obstacle(
    repo: Repo, make_repo: Callable[..., Repo], tmp_path: Path
) -> None:
    library = make_repo("library")
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.commit()
    repo.git("clone", "--quiet", str(repo.path), str(tmp_path / "clone"))
    assert differences(replace(repo, path=tmp_path / "clone")) == set()


def test_an_index_with_compressed_names_is_read(repo: Repo) -> None:
    repo.git("update-index", "--index-version", "4")
    assert differences(repo) == set()
    repo.write("new.py")
    repo.git("add", "new.py")
    assert ("staged", "new.py") in differences(repo)


def test_a_split_index_is_an_error_and_never_read_as_less_than_it_holds(repo: Repo) -> None:
    repo.git("update-index", "--split-index")
    with pytest.raises(GitError, match="no git program"):
        differences(repo)


@pytest.mark.parametrize("data", [b"", b"DIRC", b"nonsense", b"DIRC\0\0\0\2\0\0\0\1" + b"\0" * 20])
def test_an_index_that_cannot_be_read_is_an_error(repo: Repo, data: bytes) -> None:
    (repo.git_dir / "index").write_bytes(data)
    with pytest.raises(GitError, match="no git program"):
        differences(repo)


def test_a_folder_that_cannot_be_read_is_an_error_without_git(repo: Repo) -> None:
    folder = repo.write("closed/file.py").parent
    fallback.measure(discover(str(repo.path)))
    is_root = os.geteuid() == 0
    private = [p for p in (Path.home(), repo.path, *repo.path.parents, *Path.home().parents) if is_private(p)]
    for path in private if is_root else ():
        path.chmod(0o755)
    folder.chmod(0)
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.raises(GitError, match=r"cannot be read|PermissionError"):
            fallback.measure(discover(str(repo.path)))
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)
        for path in private if is_root else ():
            path.chmod(0o700)


def is_private(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o001


def test_before_the_first_commit_there_is_nothing_to_compare(make_repo: Callable[..., Repo]) -> None:
    assert fallback.measure(discover(str(make_repo().path))).head is None


def test_no_ignore_file_keeps_it_waiting(repo: Repo) -> None:
    repo.write("src/.gitignore", "*a" * 25 + "b\n[\n")
    repo.commit()
    repo.write("src/" + "a" * 200)
    before = time.process_time()
    assert differences(repo) == {("untracked", "src/" + "a" * 200)}
    assert time.process_time() - before < 5, "seconds of this process, not of the clock"
    os.mkfifo(repo.path / "data.gitignore")
    (repo.path / "src/.gitignore").unlink()
    (repo.path / "data.gitignore").rename(repo.path / "src/.gitignore")
    with pytest.raises(GitError, match="ignored: missing or broken"):
        differences(repo)
