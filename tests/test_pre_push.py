"""The push table: every kind of ref update, through the native hook alone and beside pre-commit and prek."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

SETUPS = (
    "native",
    pytest.param("native, then pre-commit", marks=pytest.mark.slow),
    pytest.param("pre-commit, then native", marks=pytest.mark.slow),
    pytest.param("native, then prek", marks=pytest.mark.slow),
    pytest.param("prek, then native", marks=pytest.mark.slow),
)
CONFIG = """\
default_install_hook_types: [pre-push]
repos:
- repo: local
  hooks:
  - id: seen
    name: seen
    entry: git rev-parse --verify HEAD
    language: system
    stages: [pre-push]
    always_run: true
    pass_filenames: false
"""


@pytest.fixture
def installed(
    repo: Repo, remote: Repo, program: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Repo]:
    """Installs the hooks in the order that a setup names; the remote has the branch already."""
    beside = os.path.dirname(sys.executable)
    monkeypatch.setenv("PATH", os.pathsep.join([beside, os.environ["PATH"]]))

    def install(setup: str) -> Repo:
        for name in setup.split(", then "):
            if name == "native":
                assert program("install").code == 0
                continue
            repo.write(".pre-commit-config.yaml", CONFIG)
            repo.commit("Configure")
            subprocess.run([name, "install", "--hook-type", "pre-push"], cwd=repo.path, check=True)
            repo.push("--no-verify", "origin", "HEAD")
        return repo

    return install


def push(repo: Repo, *words: str) -> tuple[int, str]:
    """`git push`: its exit code, and everything that it and the hooks said."""
    done = subprocess.run(["git", "push", *words], cwd=repo.path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def good_branch(repo: Repo) -> tuple[str, ...]:
    repo.commit("More", **{"more.py": "pass\n"})
    return ("origin", "HEAD")


def new_branch(repo: Repo) -> tuple[str, ...]:
    repo.git("switch", "--quiet", "--create", "experiment/one")
    repo.commit("Try", **{"one.py": "pass\n"})
    return ("origin", "HEAD")


def forced(repo: Repo) -> tuple[str, ...]:
    repo.git("commit", "--quiet", "--amend", "--message", "Reworded")
    return ("--force", "origin", "HEAD")


def deletion(repo: Repo) -> tuple[str, ...]:
    repo.git("push", "--quiet", "--no-verify", "origin", "HEAD:refs/heads/old")
    return ("origin", ":refs/heads/old")


def good_tag_alone(repo: Repo) -> tuple[str, ...]:
    repo.git("tag", "--annotate", "--message", "First", "v0.1.0")
    return ("origin", "v0.1.0")


def branch_with_tag(repo: Repo) -> tuple[str, ...]:
    repo.commit("Release", **{"release.py": "pass\n"})
    repo.git("tag", "--annotate", "--message", "First", "v0.1.0")
    return ("--follow-tags", "origin", "HEAD")


def other_tag(repo: Repo) -> tuple[str, ...]:
    repo.git("tag", "exp-1")
    return ("origin", "exp-1")


def crooked_tag_alone(repo: Repo) -> tuple[str, ...]:
    repo.git("tag", "--annotate", "--message", "First", "V1.2.0")
    return ("origin", "V1.2.0")


def light_tag_among_several(repo: Repo) -> tuple[str, ...]:
    repo.commit("More", **{"more.py": "pass\n"})
    repo.git("tag", "v0.1.0")
    return ("origin", "HEAD", "HEAD:refs/heads/another", "v0.1.0")


def moved_tag(repo: Repo) -> tuple[str, ...]:
    repo.git("tag", "--annotate", "--message", "First", "v0.1.0", "HEAD~1")
    repo.git("push", "--quiet", "--no-verify", "origin", "v0.1.0")
    repo.git("tag", "--annotate", "--force", "--message", "Again", "v0.1.0")
    return ("--force", "origin", "v0.1.0")


def large_file_in_second_branch(repo: Repo) -> tuple[str, ...]:
    repo.git("switch", "--quiet", "--create", "heavy")
    repo.write("weights.pt", os.urandom(600 * 1024))
    repo.commit("Weights")
    repo.git("rm", "--quiet", "weights.pt")
    repo.commit("Remove them again")
    return ("origin", "main", "heavy")


PASSES = (good_branch, new_branch, forced, deletion, good_tag_alone, branch_with_tag, other_tag)
STOPS = {
    crooked_tag_alone: "v1.2.0",
    light_tag_among_several: "annotate",
    moved_tag: "v0.1.0",
    large_file_in_second_branch: "weights.pt",
}


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("kind", PASSES, ids=lambda kind: kind.__name__)
def test_a_good_push_goes_through(
    installed: Callable[[str], Repo], setup: str, kind: Callable[[Repo], tuple[str, ...]]
) -> None:
    repo = installed(setup)
    code, said = push(repo, *kind(repo))
    assert code == 0, said


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("kind", STOPS, ids=lambda kind: kind.__name__)
def test_a_bad_push_is_stopped_and_the_remote_stays_as_it_was(
    installed: Callable[[str], Repo], remote: Repo, setup: str, kind: Callable[[Repo], tuple[str, ...]]
) -> None:
    repo = installed(setup)
    words = kind(repo)
    before = remote.git("for-each-ref")
    code, said = push(repo, *words)
    assert code != 0
    assert STOPS[kind] in said
    assert remote.git("for-each-ref") == before


def test_the_hook_that_was_there_gets_the_same_words_and_updates(
    repo: Repo, remote: Repo, program: Callable[..., Ran], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    kept = repo.git_dir / "hooks" / "pre-push"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(f"echo \"$@\" > '{told}'; cat >> '{told}'; exit 3\n")  # no #! line: the shell runs it
    kept.chmod(0o755)
    assert program("install").code == 0
    head = repo.commit("More", **{"more.py": "pass\n"})
    old = remote.git("rev-parse", "main")
    assert push(repo, "origin", "main")[0] != 0
    assert told.read_text() == f"origin {remote.path}\nrefs/heads/main {head} refs/heads/main {old}\n"


def test_the_hook_that_was_there_runs_also_where_the_push_is_refused(
    repo: Repo, remote: Repo, program: Callable[..., Ran], tmp_path: Path
) -> None:
    kept = repo.git_dir / "hooks" / "pre-push"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(f"#!/bin/sh\ncat > '{tmp_path / 'told'}'\n")
    kept.chmod(0o755)
    assert program("install").code == 0
    repo.git("tag", "v0.1.0")
    code, said = push(repo, "origin", "v0.1.0")
    assert code != 0
    assert "lightweight" in said
    assert (tmp_path / "told").read_text().startswith("refs/tags/v0.1.0 ")


def test_sha256_updates_are_read(
    make_repo: Callable[..., Repo], tmp_path: Path, program: Callable[..., Ran]
) -> None:
    repo = make_repo("sha256", "--object-format=sha256")
    bare = make_repo("sha256.git", "--bare", "--object-format=sha256")
    repo.commit("First", **{"a.py": "pass\n"})
    repo.git("remote", "add", "origin", str(bare.path))
    assert program("install", cwd=repo.path).code == 0
    assert push(repo, "origin", "main")[0] == 0
    repo.git("tag", "v0.1.0")
    code, said = push(repo, "origin", "v0.1.0")
    assert code != 0
    assert "annotate" in said


def test_words_that_git_did_not_say_are_a_usage_error(program: Callable[..., Ran], repo: Repo) -> None:
    ran = program("native-pre-push", "origin")
    assert ran.code == 2
    assert "fix: " in ran.err
