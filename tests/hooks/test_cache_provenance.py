"""The hook that caches the record after git has done its work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.hooks.cache_provenance import main

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]


def cached_commit(git_dir: Path) -> str:
    return str(json.loads((git_dir / "deriva-ml-hooks" / "provenance.json").read_bytes())["record"]["commit"])


def test_it_writes_the_cache_and_says_nothing(repo: Repo, program: Program) -> None:
    ran = program("hook", "cache-provenance")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert cached_commit(repo.git_dir) == repo.git("rev-parse", "HEAD")


@pytest.mark.parametrize(
    "words",
    [
        *(
            [],
            ["--"],
            ["--remote-branch"],
            ["a" * 40, "b" * 40, "1"],
            ["amend"],
            ["0"],
            ["--", "x.py", "y.py"],
        ),
        *(["--from-ref", "x", "--to-ref", "y", "file"], ["-x"], [""], ["\udcff"]),
    ],
)
def test_it_takes_whatever_git_and_pre_commit_hand_on(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.chdir(repo.path)
    assert main(words) == 0
    assert capfd.readouterr() == ("", "")
    assert cached_commit(repo.git_dir) == repo.git("rev-parse", "HEAD")


def test_what_comes_on_standard_input_is_left_alone(repo: Repo, program: Program) -> None:
    ran = program("hook", "cache-provenance", "rebase", stdin=f"{'a' * 40} {'b' * 40}\n")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_before_the_first_commit_there_is_nothing_to_say(
    make_repo: Callable[..., Repo], program: Program
) -> None:
    ran = program("hook", "cache-provenance", cwd=make_repo("empty").path)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def overwrite(name: str, content: bytes) -> Callable[[Repo], object]:
    return lambda repo: repo.write(name, content)


def without_objects(repo: Repo) -> None:
    for path in (repo.git_dir / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"nonsense")


BROKEN: dict[str, Callable[[Repo], object]] = {
    "objects": without_objects,
    "HEAD": overwrite(".git/HEAD", b"nonsense\n"),
    "a branch of zeros": overwrite(".git/refs/heads/main", bytes(41)),
    "a branch to nowhere": overwrite(".git/refs/heads/main", b"1" * 40 + b"\n"),
    "packed refs": overwrite(".git/packed-refs", b"\xff\xfe nonsense\n"),
    "git's configuration": overwrite(".git/config", b'[remote "origin"\nurl = https://ada:Hunter2@h.org/r\n'),
    "our configuration": overwrite("pyproject.toml", b"[tool.deriva-ml-hooks]\nnonsense = 1\n"),
    "no TOML": overwrite("pyproject.toml", b"nonsense"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_in_a_broken_repository_it_warns_in_one_line_and_lets_git_go_on(
    repo: Repo, program: Program, name: str
) -> None:
    BROKEN[name](repo)
    ran = program("hook", "cache-provenance")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("deriva-ml-hooks: provenance not cached: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    assert "Hunter2" not in ran.err


def test_outside_a_repository_it_warns_in_one_line(program: Program, tmp_path: Path) -> None:
    ran = program("hook", "cache-provenance", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == f"deriva-ml-hooks: provenance not cached: {tmp_path}: not inside a git repository\n"


def test_it_serves_the_worktree_that_it_runs_in_whatever_variables_say(
    repo: Repo, make_repo: Callable[..., Repo], tmp_path: Path, program: Program
) -> None:
    linked, other = tmp_path / "linked", make_repo("other")
    other.commit("Other", file="other\n")
    repo.git("worktree", "add", "--quiet", "--detach", str(linked), "HEAD~1")
    own = repo.git_dir / "worktrees" / "linked"
    # As git sets them in a hook of the linked worktree; then as another repository's hook would leave them.
    for git_dir in (own, other.git_dir):
        variables = {"GIT_DIR": str(git_dir), "GIT_INDEX_FILE": str(git_dir / "index"), "GIT_PREFIX": ""}
        ran = program("hook", "cache-provenance", cwd=linked, env=variables)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
        assert cached_commit(own) == repo.git("rev-parse", "HEAD~1")
        (own / "deriva-ml-hooks" / "provenance.json").unlink()
    assert not (other.git_dir / "deriva-ml-hooks").exists()
    assert not (repo.git_dir / "deriva-ml-hooks").exists()


def test_as_a_real_hook_of_git_it_follows_every_commit(repo: Repo, tmp_path: Path) -> None:
    for name in ("post-commit", "post-checkout", "post-rewrite", "post-merge"):
        hook = repo.write(
            f".git/hooks/{name}",
            f'#!/bin/sh\nexec "{sys.executable}" -m deriva_ml_hooks hook cache-provenance "$@"\n',
        )
        hook.chmod(0o755)
    repo.commit("More")
    assert cached_commit(repo.git_dir) == repo.git("rev-parse", "HEAD")
    repo.git("commit", "--quiet", "--amend", "--allow-empty", "--message", "Otherwise")
    assert cached_commit(repo.git_dir) == repo.git("rev-parse", "HEAD")
    repo.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked"), "HEAD~1")
    own = repo.git_dir / "worktrees" / "linked"
    assert cached_commit(own) == repo.git("rev-parse", "HEAD~1")
    repo.git("-C", str(tmp_path / "linked"), "commit", "--quiet", "--allow-empty", "--message", "There")
    assert cached_commit(own) == repo.git("rev-parse", "topic")
    assert cached_commit(repo.git_dir) == repo.git("rev-parse", "HEAD")


def test_its_help_is_told(program: Program, tmp_path: Path) -> None:
    ran = program("hook", "cache-provenance", "--help", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "cache" in ran.out
