"""How git is started: what it inherits, what it is told, and how its end is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError, GitMissingError
from deriva_ml_hooks.git import process

if TYPE_CHECKING:
    from tests.conftest import Repo


def test_measuring_inherits_no_git_variable_but_everything_else() -> None:
    base = {"GIT_DIR": "/x", "git_index_file": "/y", "GIT_SSH_COMMAND": "ssh", "PATH": "/bin", "GITHUB": "1"}
    env = process.environment(base)
    assert env["PATH"] == "/bin"
    assert env["GITHUB"] == "1"
    assert not {"GIT_DIR", "git_index_file", "GIT_SSH_COMMAND"} & env.keys()


def test_measuring_takes_no_lock_and_follows_no_replacement_and_no_graft() -> None:
    env = process.environment({})
    assert (env["GIT_OPTIONAL_LOCKS"], env["GIT_NO_REPLACE_OBJECTS"]) == ("0", "1")
    assert not os.path.exists(env["GIT_GRAFT_FILE"])


def test_a_hook_keeps_the_variables_that_git_set_for_it() -> None:
    env = process.hook_environment({"GIT_DIR": "/x/.git", "GIT_INDEX_FILE": "/x/.git/next-index-1.lock"})
    assert (env["GIT_DIR"], env["GIT_INDEX_FILE"]) == ("/x/.git", "/x/.git/next-index-1.lock")
    assert env["GIT_OPTIONAL_LOCKS"] == "0"


def test_a_command_loses_what_names_a_repository_and_keeps_what_is_the_users() -> None:
    kept = {"GIT_SSH_COMMAND": "ssh -i key", "GIT_AUTHOR_NAME": "Ada", "HOME": "/h"}
    assert process.command_environment({**kept, "GIT_DIR": "/x", "GIT_WORK_TREE": "/y"}) == kept


def test_a_command_loses_every_variable_that_git_calls_local(repo: Repo) -> None:
    local = repo.git("rev-parse", "--local-env-vars").split()
    assert process.command_environment(dict.fromkeys(local, "x")) == {}


def test_messages_are_english_and_the_character_set_is_the_users() -> None:
    env = process.environment({"LC_ALL": "de_DE.UTF-8", "LANG": "fr_FR"})
    assert (env["LC_MESSAGES"], env["LC_CTYPE"]) == ("C", "de_DE.UTF-8")
    assert "LC_ALL" not in env


def test_bytes_go_in_and_come_out_as_they_are(repo: Repo) -> None:
    data = b"\x00\xff\r\n"
    done = process.run("hash-object", "-w", "--stdin", cwd=str(repo.path), stdin=data)
    oid = done.checked().decode().strip()
    assert process.run("cat-file", "blob", oid, cwd=str(repo.path)).stdout == data


def test_strict_settings_go_before_the_command_and_can_be_read_back(repo: Repo) -> None:
    repo.git("config", "status.showUntrackedFiles", "no")
    words = ("config", "status.showUntrackedFiles")
    assert process.run(*words, cwd=str(repo.path)).stdout == b"no\n"
    assert process.run(*words, cwd=str(repo.path), strict=True).stdout == b"all\n"


def test_a_failure_says_what_git_said(repo: Repo) -> None:
    done = process.run("rev-parse", "--verify", "no-such-name", cwd=str(repo.path))
    assert done.returncode == 128
    with pytest.raises(GitError, match="git rev-parse: fatal: Needed a single revision"):
        done.checked()


def test_a_failure_repeats_no_secret(repo: Repo) -> None:
    repo.git("config", "alias.tell", "!echo fatal: https://ada:s3cret@example.org/x.git >&2; false")
    done = process.run("tell", cwd=str(repo.path))
    assert "s3cret" in os.fsdecode(done.stderr), "else this test shows nothing"
    with pytest.raises(GitError) as raised:
        done.checked()
    assert "s3cret" not in str(raised.value) + raised.value.detail + raised.value.fix


def test_without_git_the_error_says_so(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitMissingError, match="not found on PATH"):
        process.run("version", cwd=str(repo.path))


def test_a_folder_that_is_gone_is_not_a_missing_git(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="no such folder") as raised:
        process.run("version", cwd=str(tmp_path / "gone"))
    assert not isinstance(raised.value, GitMissingError)


def test_a_git_that_cannot_be_started_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "git"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="cannot be started"):
        process.run("version", cwd=str(tmp_path))


def test_a_git_that_does_not_end_is_ended_with_all_it_started_when_its_time_is_over(repo: Repo) -> None:
    repo.git("config", "alias.forever", "!yes")
    with pytest.raises(GitError, match="no answer in 0 s"):
        process.run("forever", cwd=str(repo.path), timeout=0.01)


def test_a_question_that_is_given_up_leaves_no_process_and_no_open_pipe(repo: Repo) -> None:
    script = (
        "import sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "from deriva_ml_hooks.git import process\n"
        "try:\n"
        "    with process.start('version', cwd='.') as a, process.start('var', '-l', cwd='.') as b:\n"
        "        raise ValueError\n"
        "except ValueError:\n"
        "    del a, b\n"
        "print('ended')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=repo.path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("clone", "--quiet", "--shared", ".", "../made"),
        ("worktree", "add", "--quiet", "--detach", "../made"),
        ("checkout", "--quiet", "--detach", "HEAD~1"),
    ],
    ids=lambda words: words[0],
)
def test_what_we_make_quietly_runs_no_hook_no_template_and_no_watcher(
    repo: Repo, home: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    planted = tmp_path / "planted"
    script = f'#!/bin/sh\necho "$0" >> "{planted}"\n'
    for path in (home / "global/post-checkout", home / "template/hooks/post-checkout", home / "watcher"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    repo.git("config", "--global", "init.templateDir", str(home / "template"))
    repo.git("config", "--global", "core.fsmonitor", str(home / "watcher"))
    repo.git("config", "--global", "core.hooksPath", str(home / "global"))
    process.run(*process.QUIETLY, *words, cwd=str(repo.path)).checked()
    assert not planted.exists()
    assert not (tmp_path / "made/.git/hooks/post-checkout").exists()
