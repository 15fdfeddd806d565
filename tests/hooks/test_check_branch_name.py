"""Which branches take a commit: real commits, through a real pre-commit hook."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

HOOK = ("hook", "check-branch-name")


def guard(repo: Repo, *options: str) -> None:
    """Have git run the hook before each commit of `repo`."""
    words = shlex.join([sys.executable, "-m", "deriva_ml_hooks", *HOOK, *options])
    path = repo.write("hook.log", f"#!/bin/sh\nexec {words}\n")
    path.chmod(0o755)
    (repo.git_dir / "hooks").mkdir(exist_ok=True)
    path.rename(repo.git_dir / "hooks" / "pre-commit")


def commits(repo: Repo) -> bool:
    """Whether a commit goes through."""
    before = repo.git("rev-parse", "--verify", "--quiet", "HEAD", check=False)
    repo.git("commit", "--quiet", "--allow-empty", "--message", "Another", check=False)
    return repo.git("rev-parse", "--verify", "--quiet", "HEAD", check=False) != before


@pytest.mark.parametrize(
    ("branch", "options", "taken"),
    [
        ("main", (), False),
        ("master", (), False),
        ("feature/x", (), True),
        ("mainline", (), True),
        ("Main-2", (), True),
        ("main", ("--protect", "trunk"), True),
        ("trunk", ("--protect", "trunk"), False),
        ("release/1.2", ("--protect", "main", "--protect", "release/*"), False),
        ("feature/x", ("--pattern", "feature/.+"), True),
        ("my-feature/x", ("--pattern", "feature/.+"), False),
        ("feature/xy", ("--pattern", "feature/[a-z]"), False),
        ("feature/ünïcode", ("--pattern", r"feature/\w+"), True),
    ],
)
def test_a_branch_takes_commits_when_it_is_not_protected_and_fits_the_pattern(
    repo: Repo, branch: str, options: tuple[str, ...], taken: bool
) -> None:
    repo.git("switch", "--quiet", "-C", branch)
    guard(repo, *options)
    assert commits(repo) is taken


def test_a_protected_branch_is_named_with_the_way_out(repo: Repo, program: Callable[..., Ran]) -> None:
    ran = program(*HOOK)
    assert ran.code == 1
    assert ran.out == "main is protected: no direct commits\nfix: git switch -c feature/NAME\n"


def test_the_way_out_fits_the_pattern(repo: Repo, program: Callable[..., Ran]) -> None:
    ran = program(*HOOK, "--pattern", "experiment/.+")
    assert ran.out.endswith("fix: git switch -c experiment/NAME\n")
    repo.git("switch", "--quiet", "-c", "mine/unet")
    ran = program(*HOOK, "--pattern", "(fix|experiment)/.+")
    assert ran.out.endswith("fix: git branch -m experiment/unet\n")
    ran = program(*HOOK, "--pattern", "[0-9]+")
    assert ran.out.endswith("fix: git branch -m NAME (one that matches '[0-9]+')\n")


@pytest.mark.parametrize(
    ("branch", "pattern", "fix"),
    [
        ("main", "feature/[a-z0-9-]+", "git switch -c feature/name"),
        ("main", "[0-9]+", "git switch -c NAME (one that matches '[0-9]+')"),
        ("Mine", "(feature|experiment)/[a-z0-9-]+", "git branch -m feature/mine"),
        ("mine/My_Unet.v2", "experiment/[a-z0-9-]+", "git branch -m experiment/my-unet-v2"),
        ("Mine", "feature/.+", "git branch -m feature/Mine"),
        ("mine/Unet", "[a-z-]+", "git branch -m unet"),
        ("mine/Main", "[a-z-]+", "git branch -m NAME (one that matches '[a-z-]+')"),
        ("mine/\u00e4", "feature/[a-z]+", "git branch -m NAME (one that matches 'feature/[a-z]+')"),
    ],
)
def test_a_name_is_suggested_only_where_it_fits(
    repo: Repo, program: Callable[..., Ran], branch: str, pattern: str, fix: str
) -> None:
    if branch != "main":
        repo.git("switch", "--quiet", "-c", branch)
    assert program(*HOOK, "--pattern", pattern).out.endswith(f"\nfix: {fix}\n")


def test_settings_are_obeyed_and_arguments_win_over_them(repo: Repo, program: Callable[..., Ran]) -> None:
    table = '[tool.deriva-ml-hooks.check-branch-name]\nprotected = ["trunk"]\npattern = "main|x/.*"\n'
    repo.write("pyproject.toml", table)
    assert program(*HOOK).code == 0
    assert program(*HOOK, "--protect", "main").code == 1
    assert program(*HOOK, "--pattern", "y/.*").code == 1
    repo.git("switch", "--quiet", "-c", "trunk")
    assert "trunk is protected" in program(*HOOK).out


def test_no_printed_fix_runs_what_the_pattern_says(
    repo: Repo, program: Callable[..., Ran], tmp_path: Path
) -> None:
    for pattern in (
        f"$(touch {tmp_path}/planted)x",
        f"`touch {tmp_path}/planted`x",
        f"'; touch {tmp_path}/planted",
    ):
        fix = program(*HOOK, "--pattern", pattern).out.partition("fix: ")[2]
        subprocess.run(["bash", "-c", fix], cwd=repo.path, check=False, capture_output=True)
        assert fix
        assert not (tmp_path / "planted").exists(), fix


def test_a_pattern_that_takes_for_ever_is_an_error_and_not_a_wait(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    repo.git("switch", "--quiet", "-c", "feature/" + "a" * 60)
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks.check-branch-name]\npattern = "feature/(a+)+!"\n')
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    ran = program(*HOOK)
    assert (ran.code, ran.out) == (2, "")
    assert "pattern 'feature/(a+)+!': no answer within" in ran.err
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5, "seconds of CPU time"


def test_an_invalid_pattern_is_a_usage_error(repo: Repo, program: Callable[..., Ran]) -> None:
    ran = program(*HOOK, "--pattern", "feature/(")
    assert ran.code == 2
    assert "not a regular expression" in ran.err
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks.check-branch-name]\npattern = "("\n')
    assert program(*HOOK).code == 2


def test_a_setting_of_the_wrong_type_is_a_configuration_error(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks.check-branch-name]\nprotected = "main"\n')
    ran = program(*HOOK)
    assert (ran.code, ran.out) == (2, "")
    assert "check-branch-name.protected" in ran.err


def test_the_first_commit_of_a_repository_may_be_on_main(make_repo: Callable[..., Repo]) -> None:
    empty = make_repo("empty")
    guard(empty)
    assert commits(empty)
    assert not commits(empty)


def test_a_first_commit_has_to_fit_the_pattern(make_repo: Callable[..., Repo]) -> None:
    empty = make_repo("empty", "--initial-branch", "anything")
    guard(empty, "--pattern", "feature/.+")
    assert not commits(empty)


def test_a_detached_head_takes_commits(repo: Repo) -> None:
    guard(repo, "--pattern", "feature/.+")
    repo.git("checkout", "--quiet", "--detach")
    assert commits(repo)


def test_a_rebase_of_main_goes_through(repo: Repo) -> None:
    repo.git("switch", "--quiet", "-c", "other", "HEAD~1")
    repo.commit("Other", conflict="other\n")
    repo.git("switch", "--quiet", "main")
    repo.commit("Mine", conflict="mine\n")
    guard(repo)
    repo.git("rebase", "other", check=False)
    repo.write("conflict", "both\n")
    repo.git("add", "conflict")
    repo.git("rebase", "--continue", env={"GIT_EDITOR": "true"})
    assert repo.git("log", "--format=%s", "-1") == "Mine"
    assert repo.git("rev-parse", "HEAD~2") == repo.git("rev-parse", "other")


def test_the_merge_commit_that_brings_a_branch_in_is_taken_by_main(repo: Repo) -> None:
    repo.git("switch", "--quiet", "-c", "feature/x")
    repo.commit("Feature", conflict="feature\n")
    repo.git("switch", "--quiet", "main")
    repo.commit("Mine", conflict="mine\n")
    guard(repo)
    repo.git("merge", "feature/x", check=False)
    repo.write("conflict", "both\n")
    repo.git("add", "conflict")
    repo.git("commit", "--quiet", "--no-edit")
    assert len(repo.git("show", "--no-patch", "--format=%P").split()) == 2
    assert not commits(repo)


def test_an_amended_commit_of_main_is_a_direct_one(repo: Repo) -> None:
    guard(repo)
    before = repo.git("rev-parse", "HEAD")
    repo.git("commit", "--amend", "--message", "Other words", check=False)
    assert repo.git("rev-parse", "HEAD") == before


def test_a_linked_worktree_is_judged_by_its_own_branch(repo: Repo) -> None:
    guard(repo)
    repo.git("worktree", "add", "--quiet", "../linked", "-b", "feature/x")
    linked = type(repo)(repo.path.parent / "linked")
    assert commits(linked)
    assert not commits(repo)
    linked.git("switch", "--quiet", "-c", "master")
    assert not commits(linked)


def test_git_dir_in_the_environment_is_the_repository_that_is_asked_about(
    repo: Repo, make_repo: Callable[..., Repo], program: Callable[..., Ran]
) -> None:
    elsewhere = make_repo("elsewhere", "--initial-branch", "feature/x")
    elsewhere.commit("First")
    env = {"GIT_DIR": str(repo.git_dir), "GIT_WORK_TREE": str(repo.path)}
    assert program(*HOOK, cwd=elsewhere.path).code == 0
    assert program(*HOOK, cwd=elsewhere.path, env=env).code == 1


def test_findings_come_as_json_and_as_annotations(repo: Repo, program: Callable[..., Ran]) -> None:
    found = json.loads(program(*HOOK, "--json").out)
    assert [finding["code"] for finding in found] == ["protected-branch"]
    ran = program(*HOOK, env={"GITHUB_ACTIONS": "true"})
    assert "::error title=protected-branch::main is protected" in ran.out


def test_outside_of_a_repository_there_is_no_branch_to_judge(
    tmp_path_factory: pytest.TempPathFactory, program: Callable[..., Ran]
) -> None:
    ran = program(*HOOK, cwd=tmp_path_factory.mktemp("bare-folder"))
    assert ran.code == 1
    assert "not inside a git repository" in ran.err
