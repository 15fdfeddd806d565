"""The `executions` command: a table to read, JSON to compute with."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import Any

import pytest

Program = Callable[..., Any]
LONG = "--option=" + "x" * 300


@pytest.fixture
def runs(repo: Any, program: Program) -> list[dict[str, Any]]:
    """Three executions, newest first: one failed, one killed, one completed with a long command."""
    program("run", "--", "true", LONG, "last word")
    program("run", "--", "sh", "-c", "kill -9 $$")
    program("run", "--", "sh", "-c", "exit 3")
    listed: list[dict[str, Any]] = json.loads(program("executions", "list", "--json").out)
    return listed


def test_without_executions_it_says_how_to_begin(repo: Any, program: Program) -> None:
    done = program("executions", "list")
    assert (done.code, done.out) == (0, "")
    assert "no executions yet" in done.err
    assert json.loads(program("executions", "list", "--json").out) == []
    assert not (repo.git_dir / "deriva-ml-hooks").exists()


def test_the_list_is_newest_first_and_limited_as_asked(program: Program, repo: Any, runs: Any) -> None:
    assert [r["status"] for r in runs] == ["Failed", "Failed", "Completed"]
    assert [r["exit_code"] for r in runs] == [3, 137, 0]
    assert [r["id"] for r in runs] == sorted((r["id"] for r in runs), reverse=True)
    assert [r["started_at"] for r in runs] == sorted((r["started_at"] for r in runs), reverse=True)
    for record in runs:
        assert {"id", "status", "exit_code", "started_at", "commit", "command"} <= record.keys()
        assert record["commit"] == repo.git("rev-parse", "HEAD")
    assert json.loads(program("executions", "list", "--json", "--limit", "2").out) == runs[:2]
    for wrong in ("0", "-1", "x"):
        assert program("executions", "list", "--limit", wrong).code == 2


def test_one_is_shown_by_the_whole_id_or_enough_of_it(program: Program, repo: Any, runs: Any) -> None:
    for prefix in (runs[1]["id"], runs[1]["id"][:-4], runs[1]["id"].upper()):
        done = program("executions", "show", "--json", prefix)
        assert done.code == 0, done.err
        assert json.loads(done.out) == runs[1]
    promised = (
        "id status exit_code signal started_at ended_at duration description command cwd host pid entry_point"
        " provenance changed_during_run"
    )
    assert set(promised.split()) <= runs[1].keys()
    assert {"path", "blob", "checksum", "url"} <= runs[1]["entry_point"].keys()
    text = program("executions", "show", runs[2]["id"]).out
    for words in (runs[2]["id"], "Completed", runs[2]["commit"], LONG, "'last word'"):
        assert words in text


def test_too_little_of_an_id_and_one_that_is_not_there_are_errors(
    program: Program, repo: Any, runs: Any
) -> None:
    done = program("executions", "show", runs[0]["id"][:4])
    assert (done.code, done.out) == (1, "")
    assert "several executions" in done.err
    assert "fix: " in done.err
    done = program("executions", "show", "ffff")
    assert (done.code, done.out) == (1, "")
    assert "no execution" in done.err


@pytest.mark.parametrize(
    "env", [{}, {"COLUMNS": "40"}, {"FORCE_COLOR": "1"}, {"COLUMNS": "40", "TERM": "dumb"}]
)
def test_nothing_is_cut_off_in_a_pipe(program: Program, repo: Any, runs: Any, env: dict[str, str]) -> None:
    lines = program("executions", "list", env=env).out.splitlines()
    assert len(lines) == 4
    for record, line in zip(runs, lines[1:], strict=True):
        assert shlex.join(record["command"]) in line
        assert record["status"] in line
    assert not any(line.endswith(" ") for line in lines)


def test_a_command_of_any_length_is_whole(program: Program, repo: Any) -> None:
    program("run", "--quiet", "--", "true", *(["word"] * 5000), "end-of-it")
    lines = program("executions", "list").out.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("end-of-it")


def test_the_ids_of_a_limited_list_are_enough_to_show_them(program: Program, repo: Any, runs: Any) -> None:
    for limit in ("1", "2", "3"):
        for line in program("executions", "list", "--limit", limit).out.splitlines()[1:]:
            assert program("executions", "show", line.split()[0]).code == 0


def test_on_a_terminal_of_80_columns_each_execution_is_one_line(
    program: Program, repo: Any, runs: Any
) -> None:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    env.pop("COLUMNS", None)
    words = [sys.executable, "-m", "deriva_ml_hooks", "executions", "list"]
    done = subprocess.run(words, cwd=repo.path, stdin=slave, stdout=slave, stderr=slave, env=env, check=False)
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 65536):
            out += chunk
    except OSError:  # EIO: everything has been read
        pass
    os.close(master)
    assert done.returncode == 0
    lines = out.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) == 4, lines
    for record, line in zip(runs, lines[1:], strict=True):
        assert len(line) <= 80
        assert record["status"] in line
        assert record["command"][0] in line


def test_outside_a_repository_it_is_an_error_with_a_fix(program: Program, tmp_path: Any) -> None:
    done = program("executions", "list", cwd=tmp_path)
    assert done.code == 1
    assert "fix: " in done.err
