"""The `verify` command: which executions, what is printed where, and the exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deriva_ml_hooks.cli import main
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.git.discovery import measured

from ..executions.test_ledger import edited

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
    counts = {"verified": 2, "unknown": 0, "unpushed": 1, "moved-tag": 0, "mismatch": 0, "missing-commit": 0}
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
    assert (done.code, done.out) == (1, "3 executions: 3 unknown\n")
    assert {o["verdict"] for o in json.loads(program("verify", "--remote", "--json").out)["executions"]} == {
        "unknown"
    }
    assert "fix: see why it does not answer: git ls-remote origin" in done.err
    assert "hunter2" not in done.err


def test_many_with_the_same_fix_are_told_together(ids: list[str], repo: Any, program: Program) -> None:
    for _ in range(2):
        program("run", "--", "true")
    done = program("verify")
    assert done.err.count("unpushed: ") == 3
    assert done.err.count("fix: ") == 1


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
    assert b"executions" in seen


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["python", "src/train.py"], "verified"),
        (["python", "./src/../src/train.py", "--lr", "1"], "verified"),
        (["python", "README.md"], "mismatch"),
        (["uv", "run", "README.md"], "mismatch"),
        (["python", "/elsewhere/x.py"], "mismatch"),
        (["python", "/elsewhere/src/train.py"], "verified"),  # the repository was there then
        (["bash", "-c", "python README.md"], "verified"),  # noted: a shell may run anything
        (["make", "train"], "verified"),
    ],
)
def test_a_command_that_runs_another_file_than_the_record_names_is_a_mismatch(
    repo: Any,
    remote: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(repo.path)
    assert main(["run", "--quiet", "--", sys.executable, "src/train.py"]) == 0
    ledger = ledger_of(measured(), Config())
    execution = replace(ledger.newest()[0], command=command)
    ledger.close(execution)
    capsys.readouterr()
    assert main(["verify", "--json"]) == (expected != "verified")
    [found] = json.loads(capsys.readouterr().out)["executions"]
    assert found["verdict"] == expected, found


def test_a_user_who_names_another_file_than_runs_is_told_so_and_the_record_is_verified(
    repo: Any, remote: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo.path)
    assert main(["run", "--entry-point", "README.md", "--", sys.executable, "src/train.py"]) == 0
    assert "another file as the workflow" in capsys.readouterr().err
    assert main(["verify"]) == 0


def test_a_script_that_was_a_link_is_verified_whatever_is_checked_out(
    repo: Any, remote: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo.path)
    (repo.path / "link.py").symlink_to("src/train.py")
    repo.commit("Link")
    repo.push()
    assert main(["run", "--", sys.executable, "link.py"]) == 0
    repo.git("checkout", "--quiet", "HEAD~1")
    assert main(["verify"]) == 0, capsys.readouterr()


def test_a_row_that_cannot_be_read_is_a_mismatch_and_stops_no_other(
    ids: list[str], repo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo.path)
    edited(ledger_of(measured(), Config()), "command", "[7]", ids[0])
    assert main(["verify", "--json"]) == 1
    verdicts = {v["id"]: v["verdict"] for v in json.loads(capsys.readouterr().out)["executions"]}
    assert (verdicts[ids[0]], verdicts[ids[1]]) == ("mismatch", "verified")
    assert main(["verify"]) == 1
    assert "command is not as it was written" in capsys.readouterr().err
