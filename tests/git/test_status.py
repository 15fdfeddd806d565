"""What a worktree differs in, measured on real repositories, whatever git is told to overlook."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git.content import Entry
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.status import Change, ForeignOwnerError, measure, parse_listing, parse_status

if TYPE_CHECKING:
    from tests.conftest import Repo

ROOT_ONLY = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can change owners")
TRAIN = "src/train.py"


def differences(repo: Repo, *, paranoid: bool = False) -> set[tuple[str, str | None]]:
    measured = measure(discover(str(repo.path)), paranoid=paranoid)
    assert measured.head == repo.git("rev-parse", "HEAD")
    return {(change.code, change.path) for change in measured.changes}


def is_clean(repo: Repo, *, paranoid: bool = False) -> bool:
    return differences(repo, paranoid=paranoid) == set()


@pytest.fixture
def with_submodule(repo: Repo, make_repo: Callable[..., Repo]) -> Repo:
    """`repo` with a submodule `lib`, which holds lib.py and a submodule `deep` of its own with deep.py."""
    deep = make_repo("deep")
    deep.write("deep.py")
    deep.commit()
    library = make_repo("library")
    library.write("lib.py", "one\n")
    library.git("submodule", "--quiet", "add", str(deep.path), "deep")
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.git("submodule", "--quiet", "update", "--init", "--recursive")
    repo.commit("Use the library")
    return repo


# Every kind of change. A case changes a repository that holds README.md, .gitignore (*.log) and
# src/train.py, and names what is to be found.


def edit(repo: Repo) -> None:
    repo.write(TRAIN, "print('other')\n")


def edit_of_the_same_size(repo: Repo) -> None:
    repo.write(TRAIN, "print('trainer')\n")


def delete(repo: Repo) -> None:
    (repo.path / TRAIN).unlink()


def delete_folder(repo: Repo) -> None:
    shutil.rmtree(repo.path / "src")


def make_executable(repo: Repo) -> None:
    (repo.path / TRAIN).chmod(0o755)


def become_a_symlink(repo: Repo) -> None:
    (repo.path / "elsewhere.log").write_bytes((repo.path / TRAIN).read_bytes())
    (repo.path / TRAIN).unlink()
    (repo.path / TRAIN).symlink_to("../elsewhere.log")


def become_a_folder(repo: Repo) -> None:
    (repo.path / TRAIN).unlink()
    repo.write(f"{TRAIN}/ignored.log")


def become_a_named_pipe(repo: Repo) -> None:
    (repo.path / TRAIN).unlink()
    os.mkfifo(repo.path / TRAIN)


def stage_edit(repo: Repo) -> None:
    edit(repo)
    repo.git("add", TRAIN)


def stage_edit_and_put_the_file_back(repo: Repo) -> None:
    before = (repo.path / TRAIN).read_bytes()
    stage_edit(repo)
    repo.write(TRAIN, before)


def stage_new(repo: Repo) -> None:
    repo.write("new.py")
    repo.git("add", "new.py")


def stage_new_empty(repo: Repo) -> None:
    repo.write("empty.py", "")
    repo.git("add", "empty.py")


def stage_ignored(repo: Repo) -> None:
    repo.write("run.log")
    repo.git("add", "--force", "run.log")


def stage_removal_but_keep_the_file(repo: Repo) -> None:
    repo.git("rm", "--quiet", "--cached", TRAIN)


def stage_rename(repo: Repo) -> None:
    repo.git("mv", TRAIN, "src/fit.py")


def stage_mode(repo: Repo) -> None:
    repo.git("update-index", "--chmod=+x", TRAIN)
    make_executable(repo)


def stage_mode_only_in_the_index(repo: Repo) -> None:
    repo.git("update-index", "--chmod=+x", TRAIN)


def intend_to_add(repo: Repo) -> None:
    repo.write("new.py")
    repo.git("add", "--intent-to-add", "new.py")


def intend_to_add_an_empty_file(repo: Repo) -> None:
    repo.write("new.py", "")
    repo.git("add", "--intent-to-add", "new.py")


def lose_the_index(repo: Repo) -> None:
    (repo.git_dir / "index").unlink()
    (repo.path / "README.md").unlink()
    (repo.path / ".gitignore").unlink()
    delete_folder(repo)


def leave_a_file(repo: Repo) -> None:
    repo.write("helper.py")


def leave_a_deep_file(repo: Repo) -> None:
    repo.write("a/b/c/d/helper.py")


def leave_a_file_beside_tracked_ones(repo: Repo) -> None:
    repo.write("src/helper.py")


def leave_two_in_one_folder(repo: Repo) -> None:
    repo.write("new/one.py")
    repo.write("new/two.py")
    repo.write("new/three.log")


def leave_a_symlink(repo: Repo) -> None:
    (repo.path / "link").symlink_to("nowhere")


def leave_a_nested_repository(repo: Repo) -> None:
    repo.write("nested/file.py")
    nested = replace(repo, path=repo.path / "nested")
    nested.git("init", "--quiet")
    nested.commit()


def leave_a_nested_repository_without_commits(repo: Repo) -> None:
    repo.write("nested/file.py")
    replace(repo, path=repo.path / "nested").git("init", "--quiet")


def assume_unchanged_then_edit(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", TRAIN)
    edit(repo)


def assume_unchanged_then_delete(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", TRAIN)
    delete(repo)


def assume_unchanged_then_chmod(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", TRAIN)
    make_executable(repo)


def assume_unchanged_then_symlink(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", TRAIN)
    become_a_symlink(repo)


def ignore_stat_then_edit(repo: Repo) -> None:
    repo.git("config", "core.ignoreStat", "true")
    repo.git("update-index", "--really-refresh")
    repo.git("rm", "--quiet", "--cached", TRAIN)
    repo.git("add", TRAIN)
    edit(repo)


def skip_worktree_then_edit(repo: Repo) -> None:
    repo.git("update-index", "--skip-worktree", TRAIN)
    edit(repo)


def skip_worktree_then_delete(repo: Repo) -> None:
    repo.git("update-index", "--skip-worktree", TRAIN)
    delete(repo)


def flag_both_ways_then_edit(repo: Repo) -> None:
    repo.git("update-index", "--skip-worktree", TRAIN)
    repo.git("update-index", "--assume-unchanged", TRAIN)
    edit(repo)


UNSTAGED, STAGED, HIDDEN = ("unstaged", TRAIN), ("staged", TRAIN), ("hidden-change", TRAIN)
CHANGES: list[tuple[Callable[[Repo], None], set[tuple[str, str | None]]]] = [
    (edit, {UNSTAGED}),
    (edit_of_the_same_size, {UNSTAGED}),
    (delete, {UNSTAGED}),
    (delete_folder, {UNSTAGED}),
    (make_executable, {UNSTAGED}),
    (become_a_symlink, {UNSTAGED}),
    (become_a_folder, {UNSTAGED}),
    (become_a_named_pipe, {UNSTAGED}),
    (stage_edit, {STAGED}),
    (stage_edit_and_put_the_file_back, {STAGED, UNSTAGED}),
    (stage_new, {("staged", "new.py")}),
    (stage_new_empty, {("staged", "empty.py")}),
    (stage_ignored, {("staged", "run.log")}),
    (stage_removal_but_keep_the_file, {STAGED, ("untracked", TRAIN)}),
    (stage_rename, {STAGED, ("staged", "src/fit.py")}),
    (stage_mode, {STAGED}),
    (stage_mode_only_in_the_index, {STAGED, UNSTAGED}),
    (intend_to_add, {("unstaged", "new.py")}),
    (intend_to_add_an_empty_file, {("unstaged", "new.py")}),
    (lose_the_index, {STAGED, ("staged", "README.md"), ("staged", ".gitignore")}),
    (leave_a_file, {("untracked", "helper.py")}),
    (leave_a_deep_file, {("untracked", "a/b/c/d/helper.py")}),
    (leave_a_file_beside_tracked_ones, {("untracked", "src/helper.py")}),
    (leave_two_in_one_folder, {("untracked", "new/one.py"), ("untracked", "new/two.py")}),
    (leave_a_symlink, {("untracked", "link")}),
    (leave_a_nested_repository, {("untracked", "nested/")}),
    (leave_a_nested_repository_without_commits, {("untracked", "nested/")}),
    (assume_unchanged_then_edit, {HIDDEN}),
    (assume_unchanged_then_delete, {HIDDEN}),
    (assume_unchanged_then_chmod, {HIDDEN}),
    (assume_unchanged_then_symlink, {HIDDEN}),
    (ignore_stat_then_edit, {HIDDEN}),
    (skip_worktree_then_edit, {HIDDEN}),
    (skip_worktree_then_delete, {HIDDEN}),
    (flag_both_ways_then_edit, {HIDDEN}),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_every_kind_of_change_is_found_by_its_path(
    repo: Repo, change: Callable[[Repo], None], expected: set[tuple[str, str | None]]
) -> None:
    change(repo)
    assert differences(repo) == expected
    assert differences(repo, paranoid=True) == expected


# Settings by which a user makes git overlook something, each with what it would hide.

HIDING: list[tuple[dict[str, str], Callable[[Repo], None], tuple[str, str | None]]] = [
    ({"status.showUntrackedFiles": "no"}, leave_a_file, ("untracked", "helper.py")),
    ({"status.showUntrackedFiles": "normal"}, leave_a_deep_file, ("untracked", "a/b/c/d/helper.py")),
    ({"core.fileMode": "false"}, make_executable, UNSTAGED),
    ({"core.fileMode": ""}, make_executable, UNSTAGED),
    ({"core.fileMode": "false"}, assume_unchanged_then_chmod, HIDDEN),
    ({"core.symlinks": "false"}, become_a_symlink, UNSTAGED),
    ({"core.checkStat": "minimal", "core.trustctime": "false"}, edit_of_the_same_size, UNSTAGED),
    ({"core.untrackedCache": "true"}, leave_a_deep_file, ("untracked", "a/b/c/d/helper.py")),
    ({"core.splitIndex": "true"}, stage_edit, STAGED),
    ({"index.version": "4"}, stage_edit, STAGED),
    ({"index.skipHash": "true"}, stage_edit, STAGED),
    ({"status.relativePaths": "true"}, leave_a_file_beside_tracked_ones, ("untracked", "src/helper.py")),
    ({"status.renames": "copies", "diff.renames": "copies"}, stage_rename, STAGED),
    ({"status.showStash": "true", "status.branch": "false"}, edit, UNSTAGED),
    ({"status.short": "true", "status.submoduleSummary": "true"}, edit, UNSTAGED),
    ({"color.ui": "always", "color.status": "always", "column.ui": "always"}, edit, UNSTAGED),
    ({"core.quotePath": "true", "core.pager": "false"}, leave_a_file, ("untracked", "helper.py")),
    ({"alias.status": "!true", "alias.ls-files": "!true"}, edit, UNSTAGED),
    ({"core.hooksPath": "/nowhere", "core.excludesFile": "/nowhere"}, edit, UNSTAGED),
]


@pytest.mark.parametrize(
    ("settings", "change", "expected"),
    HIDING,
    ids=[f"{','.join(settings)}: {change.__name__}" for settings, change, _ in HIDING],
)
@pytest.mark.parametrize("where", ["--local", "--global"])
def test_no_setting_hides_a_change(
    repo: Repo,
    where: str,
    settings: dict[str, str],
    change: Callable[[Repo], None],
    expected: tuple[str, str | None],
) -> None:
    if where == "--global":  # `git init` writes what it finds out about the file system
        repo.git("config", "--unset", "core.fileMode")
    for name, value in settings.items():
        repo.git("config", where, name, value)
    repo.git("update-index", "--refresh", "--force-write-index")
    stamp = (repo.path / TRAIN).stat()
    change(repo)
    if change is edit_of_the_same_size:
        os.utime(repo.path / TRAIN, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert expected in differences(repo)


def test_an_included_configuration_hides_no_mode(repo: Repo) -> None:
    repo.git("config", "--unset", "core.fileMode")
    (repo.git_dir / "extra").write_text("[core]\n\tfileMode = false\n")
    repo.git("config", f"includeIf.gitdir:{repo.git_dir}.path", "extra")
    make_executable(repo)
    assert repo.git("status", "--porcelain") == ""
    assert differences(repo) == {UNSTAGED}


def test_a_change_of_case_only_is_found_where_the_file_system_keeps_case(repo: Repo) -> None:
    if (repo.path / "readme.MD").exists():
        pytest.skip("this file system does not keep case apart")
    repo.git("config", "core.ignoreCase", "true")
    repo.write("readme.md")
    assert differences(repo) == {("untracked", "readme.md")}


def test_a_file_system_watcher_that_lies_hides_nothing(repo: Repo) -> None:
    liar = repo.write("../liar", "#!/bin/sh\nprintf 'token\\0'\n")
    liar.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(liar))
    repo.git("config", "core.fsmonitorHookVersion", "2")
    repo.git("update-index", "--fsmonitor")
    repo.git("status")
    edit(repo)
    leave_a_file(repo)
    assert repo.git("status", "--porcelain") != "", "git refreshes once"
    assert differences(repo) == {UNSTAGED, ("untracked", "helper.py")}


def test_an_untracked_cache_that_is_stale_hides_nothing(repo: Repo) -> None:
    repo.git("config", "core.untrackedCache", "true")
    repo.git("update-index", "--force-untracked-cache")
    repo.git("status")
    stamp = repo.path.stat()
    leave_a_file(repo)
    os.utime(repo.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert differences(repo) == {("untracked", "helper.py")}


def make_the_index_believe(repo: Repo, name: str) -> None:
    """Give the index entry of `name` the file's present stat data, as if it had just been added."""
    path = repo.git_dir / "index"
    data = bytearray(path.read_bytes())
    start = data.index(name.encode() + b"\0") - 62
    found = (repo.path / name).stat()
    seconds = (found.st_ctime_ns // 10**9, found.st_ctime_ns % 10**9)
    seconds += (found.st_mtime_ns // 10**9, found.st_mtime_ns % 10**9)
    struct.pack_into(">4I", data, start, *seconds)
    struct.pack_into(">I", data, start + 20, found.st_ino & 0xFFFFFFFF)
    data[-20:] = hashlib.sha1(data[:-20]).digest()
    path.write_bytes(data)


def test_paranoid_finds_an_edit_that_every_stamp_in_the_index_denies(repo: Repo) -> None:
    edit_of_the_same_size(repo)
    os.utime(repo.path / TRAIN, (1e9, 1e9))
    make_the_index_believe(repo, TRAIN)
    assert is_clean(repo), "else this test shows nothing"
    assert differences(repo, paranoid=True) == {UNSTAGED}


def test_paranoid_looks_inside_submodules_too(with_submodule: Repo) -> None:
    inside = replace(with_submodule, path=with_submodule.path / "lib")
    inside.write("lib.py", "two\n")
    os.utime(inside.path / "lib.py", (1e9, 1e9))
    make_the_index_believe(inside, "lib.py")
    assert is_clean(with_submodule), "else this test shows nothing"
    assert differences(with_submodule, paranoid=True) == {("submodule", "lib/lib.py")}


def test_an_edit_of_the_same_size_with_its_old_time_put_back_is_found_by_its_change_time(repo: Repo) -> None:
    stamp = (repo.path / TRAIN).stat()
    repo.git("config", "core.trustctime", "false")
    edit_of_the_same_size(repo)
    os.utime(repo.path / TRAIN, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert differences(repo) == {UNSTAGED}


# Operations that wait to be concluded.


def in_conflict(repo: Repo) -> None:
    """Two branches that change the same line: `other`, and the current one."""
    repo.git("switch", "--quiet", "--create", "other")
    repo.write(TRAIN, "other\n")
    repo.commit("Other")
    repo.git("switch", "--quiet", "-")
    repo.write(TRAIN, "mine\n")
    repo.commit("Mine")


def start_merge(repo: Repo) -> None:
    repo.git("switch", "--quiet", "--create", "other", "HEAD~1")
    repo.git("commit", "--quiet", "--allow-empty", "--message", "Empty")
    repo.git("switch", "--quiet", "-")
    repo.git("merge", "--quiet", "--no-commit", "--no-ff", "other")


def start_rebase(repo: Repo) -> None:
    repo.git("rebase", "--quiet", "--exec", "false", "HEAD~1", check=False)


def start_rebase_with_apply(repo: Repo) -> None:
    in_conflict(repo)
    repo.git("rebase", "--apply", "other", check=False)
    repo.git("reset", "--quiet", "--hard")


def start_cherry_pick(repo: Repo) -> None:
    in_conflict(repo)
    repo.git("cherry-pick", "other", check=False)
    repo.git("checkout", "--quiet", "HEAD", "--", TRAIN)


def start_series(verb: str, repo: Repo) -> None:
    """Stop in the first of two commits, and settle that one by a plain commit."""
    in_conflict(repo)
    repo.git("switch", "--quiet", "other")
    repo.write("more.py")
    repo.commit("More")
    if verb == "cherry-pick":
        repo.git("switch", "--quiet", "main")
        repo.git("cherry-pick", "other~1", "other", check=False)
    else:
        repo.write(TRAIN, "again\n")
        repo.commit("Again")
        repo.git("revert", "--no-edit", "HEAD~2", "HEAD~1", check=False)
    repo.write(TRAIN, "settled\n")
    repo.git("commit", "--quiet", "--all", "--message", "Settled")


def start_series_of_cherry_picks(repo: Repo) -> None:
    start_series("cherry-pick", repo)


def start_series_of_reverts(repo: Repo) -> None:
    start_series("revert", repo)


def start_revert(repo: Repo) -> None:
    in_conflict(repo)
    repo.git("revert", "--no-edit", "HEAD~1", check=False)
    repo.git("checkout", "--quiet", "HEAD", "--", ".")


def start_am(repo: Repo) -> None:
    in_conflict(repo)
    patch = repo.git("format-patch", "--stdout", "-1", "other")
    repo.write("../patch", patch + "\n")
    repo.git("am", "../patch", check=False)


@pytest.mark.parametrize(
    ("start", "operation"),
    [
        (start_merge, "merge"),
        (start_rebase, "rebase"),
        (start_rebase_with_apply, "rebase"),
        (start_cherry_pick, "cherry-pick"),
        (start_series_of_cherry_picks, "cherry-pick"),
        (start_revert, "revert"),
        (start_series_of_reverts, "revert"),
        (start_am, "am"),
    ],
)
def test_an_operation_that_waits_is_found_though_no_file_differs(
    repo: Repo, start: Callable[[Repo], None], operation: str
) -> None:
    start(repo)
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert measure(discover(str(repo.path))).changes == (Change("operation-in-progress", None, operation),)
    if start is not start_rebase:  # its empty series ends by --continue
        repo.git(operation, "--abort" if "series" not in start.__name__ else "--quit")
        assert is_clean(repo), "and not longer than it lasts"


def test_an_operation_of_another_worktree_is_not_ours(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", str(tmp_path / "second"))
    start_merge(repo)
    assert is_clean(replace(repo, path=tmp_path / "second"))


def test_a_bisection_is_no_operation_in_progress(repo: Repo) -> None:
    repo.git("bisect", "start", "HEAD", "HEAD~1")
    assert is_clean(repo)


def test_conflicts_are_found(repo: Repo) -> None:
    in_conflict(repo)
    repo.git("merge", "other", check=False)
    assert differences(repo) == {("operation-in-progress", None), ("unmerged", TRAIN)}
    (repo.git_dir / "MERGE_HEAD").unlink()
    assert differences(repo) == {("unmerged", TRAIN)}


# Submodules.


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
    with_submodule: Repo, change: Callable[[Repo], None], expected: set[tuple[str, str | None]]
) -> None:
    change(with_submodule)
    assert differences(with_submodule) == expected


@pytest.mark.parametrize(
    "change",
    [break_the_submodules_git_directory, measure_the_submodule_elsewhere, declare_the_submodule_bare],
)
def test_a_submodule_that_cannot_be_measured_is_never_clean(
    with_submodule: Repo, change: Callable[[Repo], None]
) -> None:
    change(with_submodule)
    try:
        found = {path for _, path in differences(with_submodule)}
    except GitError:
        return
    assert found & {"lib", "lib/lib.py"}


@pytest.mark.parametrize("words", [(), ("--recursive",)])
def test_clean_submodules_are_clean_whether_checked_out_or_not(
    with_submodule: Repo, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert is_clean(with_submodule)
    assert is_clean(with_submodule, paranoid=True)
    clone = replace(with_submodule, path=tmp_path / "clone")
    with_submodule.git("clone", "--quiet", *words, str(with_submodule.path), str(clone.path))
    assert is_clean(clone)
    assert is_clean(clone, paranoid=True)


def test_a_worktree_whose_submodules_are_not_checked_out_is_clean(
    with_submodule: Repo, tmp_path: Path
) -> None:
    with_submodule.git("worktree", "add", "--quiet", str(tmp_path / "second"))
    second = replace(with_submodule, path=tmp_path / "second")
    assert is_clean(second)
    second.git("submodule", "--quiet", "update", "--init")
    assert is_clean(second)


# What git cannot answer is an error, never an answer.


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
        measure(discover(str(repo.path)))


def test_a_folder_that_cannot_be_read_is_an_error(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = repo.write("closed/file.py").parent
    if os.geteuid() != 0:
        folder.chmod(0)
        try:
            with pytest.raises(GitError, match="could not open"):
                measure(discover(str(repo.path)))
        finally:
            folder.chmod(0o755)
        return
    nobody = 65534
    repo.git("config", "--global", "safe.directory", "*")
    open_to_all(repo.path)
    measure(discover(str(repo.path)))  # loads what it needs while everything can be read
    folder.chmod(0)
    os.seteuid(nobody)
    try:
        with pytest.raises(GitError, match="could not open"):
            measure(discover(str(repo.path)))
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
    make_repo: Callable[..., Repo], name: str
) -> None:
    repo = make_repo(name)
    repo.commit()
    for path in (repo.path, repo.path / ".git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(ForeignOwnerError) as raised:
        measure(discover(str(repo.path)))
    command = raised.value.fix.partition(": ")[2]
    os.system(command)
    assert is_clean(repo)


@ROOT_ONLY
def test_a_submodule_of_another_user_is_told_by_its_own_path(with_submodule: Repo) -> None:
    for path in (with_submodule.path / "lib", with_submodule.path / "lib/.git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(ForeignOwnerError, match="repo/lib: owned by another user"):
        measure(discover(str(with_submodule.path)))


# Accepted, though something may look different.


def touch(repo: Repo) -> None:
    os.utime(repo.path / TRAIN, (1e9, 1e9))


def rewrite_the_same(repo: Repo) -> None:
    data = (repo.path / TRAIN).read_bytes()
    (repo.path / TRAIN).unlink()
    repo.write(TRAIN, data)


def leave_ignored(repo: Repo) -> None:
    repo.write("run.log")
    repo.write("deep/run.log")
    (repo.git_dir / "info/exclude").write_text("local.txt\n")
    repo.write("local.txt")
    (Path.home() / "ignore").write_text("*.swp\n")
    repo.git("config", "--global", "core.excludesFile", "~/ignore")
    repo.write("a.swp")


def leave_empty_folders(repo: Repo) -> None:
    (repo.path / "empty/emptier").mkdir(parents=True)


def detach(repo: Repo) -> None:
    repo.git("checkout", "--quiet", "--detach", "HEAD~1")


def stash(repo: Repo) -> None:
    edit(repo)
    repo.git("stash", "--quiet")


def chmod_in_ways_git_does_not_record(repo: Repo) -> None:
    (repo.path / TRAIN).chmod(0o600)


def pack(repo: Repo) -> None:
    repo.git("gc", "--quiet")


def flag_without_change(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", "README.md")
    repo.git("update-index", "--skip-worktree", TRAIN)


def convert_line_endings(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "true")
    (repo.path / TRAIN).unlink()
    repo.git("checkout", "--", TRAIN)
    assert b"\r\n" in (repo.path / TRAIN).read_bytes()
    touch(repo)


def convert_by_attributes(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bat text eol=crlf\n*.txt text working-tree-encoding=UTF-16LE\n")
    repo.write("run.bat", "echo\n")
    repo.write("note.txt", "é\n".encode("utf-16-le"))
    repo.commit()
    for name in ("run.bat", "note.txt"):
        (repo.path / name).unlink()
        repo.git("checkout", "--", name)
        os.utime(repo.path / name, (1e9, 1e9))


def convert_only_the_working_file(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "input")
    repo.write(TRAIN, "print('trained')\r\n")


def lack_a_filter_that_is_not_required(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bin filter=lfs\n")
    repo.write("model.bin", "pointer\n")
    repo.commit()
    repo.git("config", "filter.lfs.clean", "no-such-program-anywhere clean %f")
    os.utime(repo.path / "model.bin", (1e9, 1e9))


def know_nothing_of_a_filter(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("model.bin", "pointer\n")
    repo.commit()
    os.utime(repo.path / "model.bin", (1e9, 1e9))


def replace_the_commit(repo: Repo) -> None:
    """`git replace` makes HEAD's name lead to another tree; the worktree is the one HEAD promises."""
    repo.git("replace", "HEAD", "HEAD~1")


@pytest.mark.parametrize(
    "change",
    [
        touch,
        rewrite_the_same,
        leave_ignored,
        leave_empty_folders,
        detach,
        stash,
        chmod_in_ways_git_does_not_record,
        pack,
        flag_without_change,
        convert_line_endings,
        convert_by_attributes,
        convert_only_the_working_file,
        lack_a_filter_that_is_not_required,
        know_nothing_of_a_filter,
        replace_the_commit,
    ],
)
def test_what_leaves_the_commit_as_it_is_counts_as_clean(repo: Repo, change: Callable[[Repo], None]) -> None:
    change(repo)
    assert is_clean(repo)
    assert is_clean(repo, paranoid=True)


def test_a_replaced_commit_does_not_hide_what_the_real_one_holds(repo: Repo) -> None:
    repo.git("replace", "HEAD", "HEAD~1")
    repo.git("reset", "--quiet", "--hard")
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert ("staged", TRAIN) in differences(repo)


NOTEBOOK = """\
{"cells": [{"cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [], "source": ["1"]}],
 "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
"""


def test_a_notebook_that_was_only_executed_is_clean_and_one_that_was_edited_is_not(repo: Repo) -> None:
    repo.write(".gitattributes", "*.ipynb filter=nbstripout\n")
    repo.git("config", "filter.nbstripout.clean", f"{sys.executable} -m nbstripout")
    repo.git("config", "filter.nbstripout.required", "true")
    repo.write("run.ipynb", NOTEBOOK)
    repo.commit()
    output = '"outputs": [{"output_type": "stream", "name": "stdout", "text": ["1"]}]'
    executed = NOTEBOOK.replace('"outputs": []', output).replace(
        '"execution_count": null', '"execution_count": 7'
    )
    repo.write("run.ipynb", executed)
    assert "run.ipynb" in repo.git("status", "--porcelain"), "else this test shows nothing"
    assert is_clean(repo)
    repo.write("run.ipynb", executed.replace('["1"],', "").replace('"source": ["1"]', '"source": ["2"]'))
    assert differences(repo) == {("unstaged", "run.ipynb")}


@pytest.mark.parametrize("filter_", ["no-such-program-anywhere", "false"])
def test_a_required_filter_that_cannot_run_refuses_only_where_it_is_needed(repo: Repo, filter_: str) -> None:
    repo.write(".gitattributes", "*.bin filter=lfs\n")
    os.utime(repo.write("model.bin", "pointer\n"), (1e9, 1e9))
    repo.commit()
    repo.git("config", "filter.lfs.clean", filter_)
    repo.git("config", "filter.lfs.required", "true")
    assert is_clean(repo), "nothing has to be hashed"
    os.utime(repo.path / "model.bin", (2e9, 2e9))
    with pytest.raises(GitError, match=r"model\.bin"):
        differences(repo)
    repo.write("model.bin", "of another size\n")
    assert differences(repo) == {("git-error", None), ("unstaged", "model.bin")}


def test_a_filter_that_is_required_and_runs_is_no_obstacle(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bin filter=upper\n")
    repo.git("config", "filter.upper.clean", "tr a-z A-Z")
    repo.git("config", "filter.upper.required", "true")
    repo.write("model.bin", "pointer\n")
    repo.commit()
    repo.write("model.bin", "POINTER\n")
    assert is_clean(repo)
    repo.write("model.bin", "painter\n")
    assert differences(repo) == {("unstaged", "model.bin")}


# Sparse checkouts.


@pytest.fixture
def wide(repo: Repo) -> Repo:
    """`repo` with some more folders: a (with a/deep and a/other), b."""
    for name in ("a/one.py", "a/deep/two.py", "a/deep/er/three.py", "a/other/four.py", "b/five.py"):
        repo.write(name, name)
    repo.commit("Wide")
    return repo


SPARSE = [
    ("--cone", "src"),
    ("--cone", "a"),
    ("--cone", "a/deep"),
    ("--cone", "a/deep/er", "b"),
    ("--no-cone", "/src/"),
    ("--no-cone", "*.py", "!b/*"),
    ("--no-cone", "/a/", "!/a/deep/", "/a/deep/er/"),
    ("--no-cone", "two.py"),
    ("--no-cone", "/*", "!/a/d*/"),
    ("--cone", "--sparse-index", "a/deep"),
]


@pytest.mark.parametrize("words", SPARSE, ids=" ".join)
def test_what_a_sparse_checkout_leaves_out_is_just_absent(wide: Repo, words: tuple[str, ...]) -> None:
    wide.git("sparse-checkout", "set", *words)
    assert not all((wide.path / name).exists() for name in wide.git("ls-files").splitlines())
    assert is_clean(wide)
    assert is_clean(wide, paranoid=True)


@pytest.mark.parametrize("words", SPARSE, ids=" ".join)
def test_what_a_sparse_checkout_should_hold_cannot_be_hidden_by_deleting_it(
    wide: Repo, words: tuple[str, ...]
) -> None:
    wide.git("sparse-checkout", "set", *words)
    present = [name for name in wide.git("ls-files").splitlines() if (wide.path / name).exists()]
    assert present
    for name in present:
        wide.git("update-index", "--skip-worktree", name)
        (wide.path / name).unlink()
    assert wide.git("status", "--porcelain") == "", "else this test shows nothing"
    assert differences(wide) == {("hidden-change", name) for name in present}


def test_a_file_outside_a_sparse_checkout_may_be_there_if_it_is_the_commits(wide: Repo) -> None:
    wide.git("sparse-checkout", "set", "--cone", "src")
    wide.git("config", "sparse.expectFilesOutsideOfPatterns", "true")
    wide.write("b/five.py", "b/five.py")
    assert is_clean(wide)
    wide.write("b/five.py", "b/six.py")
    assert differences(wide) == {("hidden-change", "b/five.py")}


def test_flags_without_a_sparse_checkout_hide_no_absence(wide: Repo) -> None:
    wide.git("sparse-checkout", "set", "--cone", "src")
    wide.git("config", "core.sparseCheckout", "false")
    wide.git("config", "--worktree", "--unset", "core.sparseCheckout")
    assert ("hidden-change", "b/five.py") in differences(wide)


# Other shapes of repositories.


def test_a_linked_worktree_is_measured_by_itself(repo: Repo, tmp_path: Path) -> None:
    second = replace(repo, path=tmp_path / "second")
    repo.git("worktree", "add", "--quiet", str(second.path))
    edit(repo)
    assert is_clean(second)
    leave_a_file(second)
    assert differences(second) == {("untracked", "helper.py")}
    assert differences(repo) == {UNSTAGED}


def test_a_worktree_of_a_bare_repository_is_measured(repo: Repo, remote: Repo, tmp_path: Path) -> None:
    second = replace(repo, path=tmp_path / "second")
    remote.git("worktree", "add", "--quiet", str(second.path), "main")
    assert is_clean(second)
    edit(second)
    assert differences(second) == {UNSTAGED}


def test_a_repository_with_its_git_directory_elsewhere_is_measured(
    make_repo: Callable[..., Repo], tmp_path: Path
) -> None:
    repo = make_repo("repo", "--separate-git-dir", str(tmp_path / "elsewhere.git"))
    repo.write("a.py")
    repo.commit()
    assert is_clean(repo)
    repo.write("a.py", "other")
    assert differences(repo) == {("unstaged", "a.py")}


def test_sha_256_repositories_are_measured(make_repo: Callable[..., Repo]) -> None:
    repo = make_repo("repo", "--object-format=sha256")
    repo.write("a.py")
    (repo.path / "link").symlink_to("a.py")
    repo.commit()
    touch_all(repo)
    assert is_clean(repo)
    assert is_clean(repo, paranoid=True)
    repo.git("update-index", "--assume-unchanged", "link", "a.py")
    assert is_clean(repo)
    repo.write("a.py", "other")
    (repo.path / "link").unlink()
    (repo.path / "link").symlink_to("b.py")
    assert differences(repo) == {("hidden-change", "a.py"), ("hidden-change", "link")}


def touch_all(repo: Repo) -> None:
    for name in repo.git("ls-files").splitlines():
        os.utime(repo.path / name, (1e9, 1e9), follow_symlinks=False)


@pytest.mark.parametrize("words", [("--depth=1",), ("--filter=blob:none",), ("--filter=tree:0",)])
def test_shallow_and_partial_clones_are_measured(repo: Repo, tmp_path: Path, words: tuple[str, ...]) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    clone = replace(repo, path=tmp_path / "clone")
    repo.git("clone", "--quiet", *words, f"file://{repo.path}", str(clone.path))
    assert is_clean(clone)
    assert is_clean(clone, paranoid=True)
    edit(clone)
    assert differences(clone) == {UNSTAGED}


def test_an_index_in_another_form_is_read(repo: Repo) -> None:
    repo.git("update-index", "--split-index", "--index-version", "4")
    assert is_clean(repo)
    assert is_clean(repo, paranoid=True)
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


@pytest.mark.skipif(
    os.name == "nt" or sys.platform == "darwin", reason="names that this system does not take"
)
def test_any_name_is_clean_when_clean_and_found_when_changed(repo: Repo) -> None:
    names = [os.fsdecode(name) for name in ODD_NAMES]
    for name in names:
        repo.write(name, f"content of {name!r}")
    repo.commit()
    for name in names:
        os.utime(repo.path / name, (1e9, 1e9))
    assert is_clean(repo)
    assert is_clean(repo, paranoid=True)
    for name in names:
        repo.write(name, "other")
        repo.write(f"{name} too")
    assert differences(repo) == {
        *(("unstaged", name) for name in names),
        *(("untracked", f"{name} too") for name in names),
    }


def test_names_are_not_mixed_up_when_files_are_hashed(repo: Repo) -> None:
    names = ("a", "a\r", '"a"', "a\nb", "b")
    for name in names:
        repo.write(name, f"{name!r}")
    repo.commit()
    repo.git("update-index", "--assume-unchanged", "--", *names)
    assert is_clean(repo)
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
def test_measuring_writes_nothing_and_takes_no_lock(with_submodule: Repo, paranoid: bool) -> None:
    repo = with_submodule
    repo.git("config", "core.fileMode", "false")
    touch(repo)
    os.utime(repo.path / "lib/lib.py", (1e9, 1e9))
    before = everything_in(repo.path)
    assert is_clean(repo, paranoid=paranoid)
    assert everything_in(repo.path) == before
    (repo.git_dir / "index.lock").touch()
    assert is_clean(repo, paranoid=paranoid)


# Parsers: bytes in, values out.

ZERO, ONE, TWO = b"0" * 40, b"1" * 40, b"2" * 40


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            b"1 M. N... 100644 100644 100644 %s %s a b" % (ONE, TWO),
            [Change("staged", "a b", "changed and staged, not committed")],
        ),
        (
            b"1 A. N... 000000 100644 100644 %s %s new" % (ZERO, TWO),
            [Change("staged", "new", "added and staged, not committed")],
        ),
        (
            b"1 .D N... 100644 100644 000000 %s %s gone" % (ONE, ONE),
            [Change("unstaged", "gone", "deleted since the commit, not staged")],
        ),
        (
            b"1 .T N... 100644 100644 120000 %s %s link" % (ONE, ONE),
            [Change("unstaged", "link", "changed in type since the commit, not staged")],
        ),
        (
            b"1 .M N... 100644 100644 100755 %s %s run" % (ONE, ONE),
            [Change("unstaged", "run", "made executable or not since the commit, not staged")],
        ),
        (
            b"2 R. N... 100644 100644 100644 %s %s R100 to\0from" % (ONE, ONE),
            [Change("staged", "to", "renamed and staged, not committed")],
        ),
        (
            b"2 C. N... 100644 100644 100644 %s %s C75 copy of\0? original" % (ONE, TWO),
            [Change("staged", "copy of", "copied and staged, not committed")],
        ),
        (
            b"u UU N... 100644 100644 100644 100644 %s %s %s a path" % (ONE, TWO, ONE),
            [Change("unmerged", "a path", "in conflict")],
        ),
        (
            b"1 .M SC.. 160000 160000 160000 %s %s lib" % (ONE, ONE),
            [Change("submodule", "lib", "submodule at another commit than the one recorded")],
        ),
        (
            b"1 .M S.MU 160000 160000 160000 %s %s lib" % (ONE, ONE),
            [Change("submodule", "lib", "submodule changed inside and with untracked files inside")],
        ),
        (
            b"1 M. SC.. 160000 160000 160000 %s %s lib" % (ONE, TWO),
            [Change("staged", "lib", "changed and staged, not committed")],
        ),
        (
            b"1 .M N... 100644 100644 100644 %s %s \xff\n" % (ONE, ONE),
            [],
        ),
        (b"? untracked", []),
        (b"! ignored", []),
        (b"# stash 3", []),
    ],
)
def test_a_record_of_status_is_read(record: bytes, expected: list[Change]) -> None:
    following = b"1 .D N... 100644 100644 000000 %s %s after" % (ONE, ONE)
    data = b"# branch.oid %s\0# branch.head main\0%s\0%s\0" % (ONE, record, following)
    status = parse_status(data)
    after = Change("unstaged", "after", "deleted since the commit, not staged")
    assert status.head == ONE.decode()
    assert list(status.changes) == [*expected, after]


def test_a_file_whose_content_alone_may_differ_is_a_suspect_until_it_is_hashed() -> None:
    status = parse_status(b"1 .M N... 100755 100755 100755 %s %s \xff x\n\0" % (ONE, TWO))
    assert status.suspects == (Entry("\udcff x\n", 0o100755, TWO.decode()),)
    assert status.changes == ()


def test_before_the_first_commit_there_is_no_head() -> None:
    assert parse_status(b"# branch.oid (initial)\0# branch.head main\0").head is None


@pytest.mark.parametrize("data", [b"9 from the future\0", b"M  src/train.py\0"])
def test_a_status_of_an_unknown_form_is_an_error(data: bytes) -> None:
    with pytest.raises(GitError, match="in a form that is not known"):
        parse_status(data)


def test_a_listing_is_read() -> None:
    def entry(tag: bytes, mode: bytes, stage: bytes, path: bytes) -> bytes:
        return b"%s %s %s %s\t%s\0" % (tag, mode, ONE, stage, path)

    listing = parse_listing(
        entry(b"H", b"100644", b"0", b"plain")
        + entry(b"h", b"100755", b"0", b"assumed\twith tab")
        + entry(b"S", b"100644", b"0", b"skipped")
        + entry(b"s", b"100644", b"0", b"both")
        + entry(b"H", b"160000", b"0", b"lib")
        + entry(b"h", b"160000", b"0", b"hidden lib")
        + entry(b"M", b"100644", b"1", b"conflict")
        + entry(b"M", b"160000", b"2", b"conflict of submodules")
        + b"? un\ntracked\0? nested/\0? H 100644 \0"
    )
    one = ONE.decode()
    assert listing.untracked == ("un\ntracked", "nested/", "H 100644 ")
    assert listing.assumed == (Entry("assumed\twith tab", 0o100755, one),)
    assert listing.skipped == (Entry("skipped", 0o100644, one), Entry("both", 0o100644, one))
    assert listing.submodules == (Entry("lib", 0o160000, one), Entry("hidden lib", 0o160000, one))


def test_an_empty_listing_is_an_empty_worktree() -> None:
    assert parse_listing(b"") == parse_listing(b"\0")
    assert parse_listing(b"").untracked == ()
