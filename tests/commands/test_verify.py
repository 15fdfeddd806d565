"""The `verify` command: which executions, what is printed where, and the exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

Program = Callable[..., Any]


@pytest.fixture
def ids(repo: Any, remote: Any, program: Program) -> list[str]:
    """Two executions of a pushed commit and one of a commit that is not pushed, oldest first."""
    for _ in range(2):
        assert program("run", "--", "true").code == 0
    repo.commit("Local", **{"more.py": "x\n"})
    assert program("run", "--", "true").code == 0
    listed = json.loads(program("executions", "list", "--json").out)
    return [execution["id"] for execution in listed][::-1]


def test_without_executions_there_is_nothing_wrong(repo: Any, program: Program) -> None:
    done = program("verify")
    assert (done.code, done.out, done.err) == (0, "no executions\n", "")
    document = json.loads(program("verify", "--json").out)
    assert (document["verified"], document["executions"]) == (True, [])
    assert not (repo.git_dir / "deriva-ml-hooks").exists()


def test_all_is_what_it_does_without_ids(ids: list[str], program: Program) -> None:
    done = program("verify")
    assert (done.code, done.out) == (1, "3 executions: 2 verified, 1 unpushed\n")
    assert done.err.startswith(f"{ids[2]} unpushed: commit ")
    assert done.err.endswith("fix: git push origin main\n\n")
    assert program("verify", "--all") == done
    assert program("verify", "--all", ids[0]).code == 2


def test_some_of_them_by_their_ids_or_what_is_enough_of_one(ids: list[str], program: Program) -> None:
    done = program("verify", ids[0], ids[1], ids[0])
    assert (done.code, done.out, done.err) == (0, "2 executions: 2 verified\n", "")
    assert program("verify", ids[2]).code == 1
    assert program("verify", "ffff").code == 1
    assert "no execution" in program("verify", "ffff").err


def test_json_names_each_with_its_verdict_findings_and_notes(ids: list[str], program: Program) -> None:
    done = program("verify", "--json")
    assert done.code == 1
    document = json.loads(done.out)
    assert (document["schema"], document["verified"]) == (1, False)
    counts = {"verified": 2, "unpushed": 1, "moved-tag": 0, "mismatch": 0, "missing-commit": 0}
    assert document["counts"] == counts
    newest, *others = document["executions"]
    assert (newest["id"], newest["verdict"], newest["notes"]) == (ids[2], "unpushed", [])
    assert [(f["code"], f["path"], f["fix"]) for f in newest["findings"]] == [
        ("unpushed", None, "git push origin main")
    ]
    assert [(o["verdict"], o["findings"]) for o in others] == [("verified", [])] * 2


def test_the_remote_is_asked_only_when_told_to(ids: list[str], repo: Any, program: Program) -> None:
    repo.push()
    assert program("verify", "--remote").code == 0
    repo.git("remote", "set-url", "origin", "https://ada:hunter2-url@127.0.0.1:1/x.git")
    assert program("verify").code == 0
    done = program("verify", "--remote")
    assert (done.code, done.out) == (1, "")
    assert "fix: see why it does not answer: git ls-remote origin" in done.err
    assert "hunter2" not in done.err


def test_many_with_the_same_fix_are_told_together(ids: list[str], repo: Any, program: Program) -> None:
    for _ in range(2):
        program("run", "--", "true")
    done = program("verify")
    assert done.err.count("unpushed: ") == 3
    assert done.err.count("fix: ") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="terminals")
def test_a_progress_bar_is_on_a_terminal_only_and_leaves_the_output_alone(ids: list[str], repo: Any) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "CI": ""}
    with subprocess.Popen(
        [sys.executable, "-m", "deriva_ml_hooks", "verify", ids[0]],
        cwd=repo.path, env=env, stdout=subprocess.PIPE, stderr=theirs,
    ) as running:  # fmt: skip
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 65536):
                seen += chunk
        except OSError:  # how Linux tells that nobody writes any more
            pass
        out = running.communicate()[0]
    os.close(ours)
    assert out == b"1 execution: 1 verified\n"
    assert b"objects" in seen
