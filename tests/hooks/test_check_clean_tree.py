"""The gate's verdict as a hook: real repositories, the real program, and a real push."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

HOOK = ("hook", "check-clean-tree")


@pytest.mark.usefixtures("remote")
def test_a_clean_and_pushed_tree_passes_without_a_word(repo: Repo, program: Callable[..., Ran]) -> None:
    ran = program(*HOOK)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda repo: repo.write("notes.txt"), "untracked"),
        (lambda repo: repo.write("src/train.py"), "unstaged"),
        (lambda repo: (repo.write("src/train.py"), repo.git("add", "src")), "staged"),
        (lambda repo: repo.git("rm", "--quiet", "src/train.py"), "staged"),
        (
            lambda repo: (
                repo.git("update-index", "--assume-unchanged", "src/train.py"),
                repo.write("src/train.py"),
            ),
            "hidden-change",
        ),
    ],
)
def test_a_change_is_found_with_its_path_and_the_way_out(
    repo: Repo, remote: Repo, program: Callable[..., Ran], change: Callable[[Repo], object], code: str
) -> None:
    change(repo)
    ran = program(*HOOK, "--json")
    assert ran.code == 1
    (finding,) = json.loads(ran.out)
    assert finding["code"] == code
    assert finding["path"] in ("notes.txt", "src/train.py")
    assert finding["fix"]


def test_warnings_go_to_stderr_and_do_not_fail(repo: Repo, program: Callable[..., Ran]) -> None:
    ran = program(*HOOK)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("warning: no remote")


def test_a_policy_of_the_repository_turns_a_warning_into_a_finding(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nno-remote = "refuse"\n')
    repo.commit("Be strict")
    ran = program(*HOOK)
    assert ran.code == 1
    assert ran.out.startswith("no remote")


def test_findings_and_warnings_come_as_annotations_in_github_actions(
    repo: Repo, program: Callable[..., Ran]
) -> None:
    repo.write("notes.txt")
    ran = program(*HOOK, env={"GITHUB_ACTIONS": "true"})
    assert "::error file=notes.txt,title=untracked::" in ran.out
    assert "::warning title=no-remote::" in ran.err


def test_an_edit_that_keeps_size_and_times_is_found_by_the_paranoid(
    repo: Repo, remote: Repo, program: Callable[..., Ran]
) -> None:
    path = repo.path / "src/train.py"
    repo.git("config", "core.trustctime", "false")
    before = path.stat()
    content = path.read_bytes()
    repo.git("update-index", "--refresh")
    path.write_bytes(content.replace(b"trained", b"TRAINED"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ran = program(*HOOK, "--paranoid", "--json")
    assert [finding["code"] for finding in json.loads(ran.out)] == ["unstaged"]


def test_a_push_from_an_unclean_tree_is_stopped(repo: Repo, remote: Repo) -> None:
    words = shlex.join([sys.executable, "-m", "deriva_ml_hooks", *HOOK])
    hook = repo.git_dir / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {words}\n")
    hook.chmod(0o755)
    head = repo.commit("Third", more="1\n")
    repo.write("notes.txt")
    repo.git("push", "--quiet", "origin", "main", check=False)
    assert remote.git("rev-parse", "main") != head
    (repo.path / "notes.txt").unlink()
    repo.git("push", "--quiet", "origin", "main")
    assert remote.git("rev-parse", "main") == head


def test_git_variables_do_not_choose_another_repository(
    repo: Repo, remote: Repo, make_repo: Callable[..., Repo], program: Callable[..., Ran]
) -> None:
    other = make_repo("other")
    other.commit("First")
    repo.write("notes.txt")
    ran = program(*HOOK, env={"GIT_DIR": str(other.git_dir), "GIT_WORK_TREE": str(other.path)})
    assert (ran.code, ran.out.splitlines()[0]) == (1, "notes.txt: not tracked by git, not ignored")


def test_an_operation_in_progress_and_an_empty_repository_are_refused(
    repo: Repo, make_repo: Callable[..., Repo], program: Callable[..., Ran]
) -> None:
    repo.git("merge", "--quiet", "--no-ff", "--no-commit", "HEAD~1", check=False)
    (repo.git_dir / "MERGE_HEAD").write_text(repo.git("rev-parse", "HEAD~1") + "\n")
    assert "a merge is in progress" in program(*HOOK).out
    assert "there is no commit yet" in program(*HOOK, cwd=make_repo("empty").path).out


def test_outside_of_a_repository_the_answer_is_no(
    tmp_path_factory: pytest.TempPathFactory, program: Callable[..., Ran]
) -> None:
    ran = program(*HOOK, cwd=tmp_path_factory.mktemp("elsewhere"))
    assert ran.code == 1
    assert "not inside a git repository" in ran.out


def test_a_broken_configuration_is_an_error_of_its_own(repo: Repo, program: Callable[..., Ran]) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nunpushed = "never"\n')
    assert program(*HOOK).code == 2
