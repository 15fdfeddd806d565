"""What a worktree differs in, measured on real repositories, whatever git is told to overlook."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.status import Change, measure

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences

TRAIN = "src/train.py"


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
    repo: Repo,
    change: Callable[[Repo], None],
    expected: set[tuple[str, str | None]],
    differences: Differences,
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
    differences: Differences,
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


def test_an_included_configuration_hides_no_mode(repo: Repo, differences: Differences) -> None:
    repo.git("config", "--unset", "core.fileMode")
    (repo.git_dir / "extra").write_text("[core]\n\tfileMode = false\n")
    repo.git("config", f"includeIf.gitdir:{repo.git_dir}.path", "extra")
    make_executable(repo)
    assert repo.git("status", "--porcelain") == ""
    assert differences(repo) == {UNSTAGED}


def test_a_change_of_case_only_is_found_where_the_file_system_keeps_case(
    repo: Repo, differences: Differences
) -> None:
    if (repo.path / "readme.MD").exists():
        pytest.skip("this file system does not keep case apart")
    repo.git("config", "core.ignoreCase", "true")
    repo.write("readme.md")
    assert differences(repo) == {("untracked", "readme.md")}


def test_a_file_system_watcher_that_lies_hides_nothing(repo: Repo, differences: Differences) -> None:
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


def test_an_untracked_cache_that_is_stale_hides_nothing(repo: Repo, differences: Differences) -> None:
    repo.git("config", "core.untrackedCache", "true")
    repo.git("update-index", "--force-untracked-cache")
    repo.git("status")
    stamp = repo.path.stat()
    leave_a_file(repo)
    os.utime(repo.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert differences(repo) == {("untracked", "helper.py")}


def test_paranoid_finds_an_edit_that_every_stamp_in_the_index_denies(
    repo: Repo, differences: Differences
) -> None:
    edit_of_the_same_size(repo)
    os.utime(repo.path / TRAIN, (1e9, 1e9))
    repo.make_the_index_believe(TRAIN)
    assert differences(repo) == set(), "else this test shows nothing"
    assert differences(repo, paranoid=True) == {UNSTAGED}


def test_paranoid_looks_inside_submodules_too(with_submodule: Repo, differences: Differences) -> None:
    inside = replace(with_submodule, path=with_submodule.path / "lib")
    inside.write("lib.py", "two\n")
    os.utime(inside.path / "lib.py", (1e9, 1e9))
    inside.make_the_index_believe("lib.py")
    assert differences(with_submodule) == set(), "else this test shows nothing"
    assert differences(with_submodule, paranoid=True) == {("submodule", "lib/lib.py")}


def test_an_edit_of_the_same_size_with_its_old_time_put_back_is_found_by_its_change_time(
    repo: Repo, differences: Differences
) -> None:
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
    repo: Repo, start: Callable[[Repo], None], operation: str, differences: Differences
) -> None:
    start(repo)
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert measure(measured(str(repo.path))).changes == (Change("operation-in-progress", None, operation),)
    if start is not start_rebase:  # its empty series ends by --continue
        repo.git(operation, "--abort" if "series" not in start.__name__ else "--quit")
        assert differences(repo) == set(), "and not longer than it lasts"


def test_an_operation_of_another_worktree_is_not_ours(
    repo: Repo, tmp_path: Path, differences: Differences
) -> None:
    repo.git("worktree", "add", "--quiet", str(tmp_path / "second"))
    start_merge(repo)
    assert differences(replace(repo, path=tmp_path / "second")) == set()


def test_a_bisection_is_no_operation_in_progress(repo: Repo, differences: Differences) -> None:
    repo.git("bisect", "start", "HEAD", "HEAD~1")
    assert differences(repo) == set()


def test_conflicts_are_found(repo: Repo, differences: Differences) -> None:
    in_conflict(repo)
    repo.git("merge", "other", check=False)
    assert differences(repo) == {("operation-in-progress", None), ("unmerged", TRAIN)}
    (repo.git_dir / "MERGE_HEAD").unlink()
    assert differences(repo) == {("unmerged", TRAIN)}
