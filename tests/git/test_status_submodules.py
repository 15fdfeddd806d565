"""Every change inside a submodule, or of one, is found, at any depth and whatever hides it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences


def sub(repo: Repo, folder: str = "lib") -> Repo:
    return replace(repo, path=repo.path / folder)


def commit_in_submodule(repo: Repo) -> None:
    sub(repo).commit("New")


def go_back_in_submodule(repo: Repo) -> None:
    commit_in_submodule(repo)
    repo.commit("Newer library")
    sub(repo).git("checkout", "--quiet", "HEAD~1")


def edit_in_submodule(repo: Repo) -> None:
    repo.write("lib/lib.py", "two\n")


def leave_a_file_in_submodule(repo: Repo) -> None:
    repo.write("lib/new.py")


def stage_in_submodule(repo: Repo) -> None:
    edit_in_submodule(repo)
    sub(repo).git("add", "lib.py")


def edit_in_nested_submodule(repo: Repo) -> None:
    repo.write("lib/deep/deep.py", "two\n")


def hide_edit_in_submodule(repo: Repo) -> None:
    sub(repo).git("update-index", "--assume-unchanged", "lib.py")
    edit_in_submodule(repo)


def hide_files_in_submodule_by_its_settings(repo: Repo) -> None:
    sub(repo).git("config", "status.showUntrackedFiles", "no")
    leave_a_file_in_submodule(repo)


def hide_mode_in_submodule_by_its_settings(repo: Repo) -> None:
    sub(repo).git("config", "core.fileMode", "false")
    (repo.path / "lib/lib.py").chmod(0o755)


def hide_nested_submodule(repo: Repo) -> None:
    sub(repo).git("config", "submodule.deep.ignore", "all")
    sub(repo).git("config", "diff.ignoreSubmodules", "all")
    edit_in_nested_submodule(repo)


def hide_submodule_by_gitmodules(repo: Repo) -> None:
    repo.git("config", "--file", ".gitmodules", "submodule.lib.ignore", "all")
    repo.commit("Ignore it")
    edit_in_submodule(repo)


def hide_submodule_by_flag(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", "lib")
    edit_in_submodule(repo)


def hide_commit_in_submodule_by_flag(repo: Repo) -> None:
    repo.git("update-index", "--skip-worktree", "lib")
    commit_in_submodule(repo)


def merge_in_submodule(repo: Repo) -> None:
    start_merge_of_nothing(sub(repo))


def start_merge_of_nothing(repo: Repo) -> None:
    (repo.git_dir / "MERGE_HEAD").write_text(repo.git("rev-parse", "HEAD") + "\n")


def become_a_file_instead_of_a_submodule(repo: Repo) -> None:
    shutil.rmtree(repo.path / "lib")
    repo.write("lib", "a file")


def hide_a_file_instead_of_a_submodule(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", "lib")
    become_a_file_instead_of_a_submodule(repo)


def hide_a_link_instead_of_a_submodule(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", "lib")
    shutil.rmtree(repo.path / "lib")
    (repo.path / "lib").symlink_to("../library")


def put_files_where_the_submodule_is_not(repo: Repo) -> None:
    repo.git("submodule", "--quiet", "deinit", "--force", "lib")
    repo.write("lib/lib.py", "import os\n")


def break_the_submodules_git_directory(repo: Repo) -> None:
    (repo.path / "lib/.git").unlink()
    (repo.path / "lib/.git").mkdir()


def measure_the_submodule_elsewhere(repo: Repo) -> None:
    shutil.copytree(repo.path / "lib", repo.path.parent / "decoy")
    sub(repo).git("config", "core.worktree", str(repo.path.parent / "decoy"))
    edit_in_submodule(repo)


def declare_the_submodule_bare(repo: Repo) -> None:
    sub(repo).git("config", "--unset", "core.worktree")
    sub(repo).git("config", "core.bare", "true")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (commit_in_submodule, {("submodule", "lib")}),
        (go_back_in_submodule, {("submodule", "lib")}),
        (edit_in_submodule, {("submodule", "lib/lib.py")}),
        (leave_a_file_in_submodule, {("submodule", "lib/new.py")}),
        (stage_in_submodule, {("submodule", "lib/lib.py")}),
        (edit_in_nested_submodule, {("submodule", "lib/deep/deep.py")}),
        (hide_edit_in_submodule, {("submodule", "lib/lib.py")}),
        (hide_files_in_submodule_by_its_settings, {("submodule", "lib/new.py")}),
        (hide_mode_in_submodule_by_its_settings, {("submodule", "lib/lib.py")}),
        (hide_nested_submodule, {("submodule", "lib/deep/deep.py")}),
        (hide_submodule_by_gitmodules, {("submodule", "lib/lib.py")}),
        (hide_submodule_by_flag, {("submodule", "lib/lib.py")}),
        (hide_commit_in_submodule_by_flag, {("submodule", "lib")}),
        (merge_in_submodule, {("submodule", "lib")}),
        (become_a_file_instead_of_a_submodule, {("submodule", "lib")}),
        (hide_a_file_instead_of_a_submodule, {("submodule", "lib")}),
        (hide_a_link_instead_of_a_submodule, {("submodule", "lib")}),
        (put_files_where_the_submodule_is_not, {("submodule", "lib")}),
    ],
)
def test_every_change_of_a_submodule_is_found(
    with_submodule: Repo,
    change: Callable[[Repo], None],
    expected: set[tuple[str, str | None]],
    differences: Differences,
) -> None:
    change(with_submodule)
    assert differences(with_submodule) == expected


@pytest.mark.parametrize(
    "change",
    [break_the_submodules_git_directory, measure_the_submodule_elsewhere, declare_the_submodule_bare],
)
def test_a_submodule_that_cannot_be_measured_is_never_clean(
    with_submodule: Repo, change: Callable[[Repo], None], differences: Differences
) -> None:
    change(with_submodule)
    try:
        found = {path for _, path in differences(with_submodule)}
    except GitError:
        return
    assert found & {"lib", "lib/lib.py"}


@pytest.mark.parametrize("words", [(), ("--recursive",)])
def test_clean_submodules_are_clean_whether_checked_out_or_not(
    with_submodule: Repo, tmp_path: Path, words: tuple[str, ...], differences: Differences
) -> None:
    assert differences(with_submodule) == set()
    assert differences(with_submodule, paranoid=True) == set()
    clone = replace(with_submodule, path=tmp_path / "clone")
    with_submodule.git("clone", "--quiet", *words, str(with_submodule.path), str(clone.path))
    assert differences(clone) == set()
    assert differences(clone, paranoid=True) == set()


def test_a_worktree_whose_submodules_are_not_checked_out_is_clean(
    with_submodule: Repo, tmp_path: Path, differences: Differences
) -> None:
    with_submodule.git("worktree", "add", "--quiet", str(tmp_path / "second"))
    second = replace(with_submodule, path=tmp_path / "second")
    assert differences(second) == set()
    second.git("submodule", "--quiet", "update", "--init")
    assert differences(second) == set()
