"""The `executions` command: a table to read, JSON to compute with."""

from __future__ import annotations

import fcntl
import io
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

from deriva_ml_hooks.cli import main
from deriva_ml_hooks.commands import executions, records
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions import ledger as ledger_module
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.executions.publications import Publication, Publications
from deriva_ml_hooks.git.discovery import measured

from ..executions.test_ledger import PROVENANCE, edited, made

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


def test_equal_warnings_are_shown_once_with_all_their_paths(program: Program, repo: Any) -> None:
    repo.write(".deriva-ml-hooks.toml", 'untracked-ignore = ["notes/"]\n')
    repo.commit("Tolerant")
    for name in "abcd":
        repo.write(f"notes/{name}.txt")
    assert program("run", "--", "true").code == 0
    (record,) = json.loads(program("executions", "list", "--json").out)
    out = program("executions", "show", record["id"]).out
    assert out.count("not tracked by git, not ignored") == 1
    lines = " ".join(out.split())
    assert "not ignored: notes/a.txt, notes/b.txt, notes/c.txt, notes/d.txt" in lines


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


@pytest.mark.parametrize("width", [20, 24, 30, 40, 60])
@pytest.mark.parametrize("rid", ["", "1-ABC"])
def test_on_a_narrow_terminal_each_is_one_line_with_an_id_that_leads_to_the_rest(
    here: Ledger, capsys: pytest.CaptureFixture[str], width: int, rid: str
) -> None:
    found = [made(command=["python", "train.py", "--epochs", "1000"]) for _ in range(2)]
    one = {"rid": rid or None}
    executions._table(width, [(row, records.cells(row, {row.id: [one]})) for row in found], 8)
    head, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(len(line) <= width for line in (head, *lines))
    for execution, line in zip(found, lines, strict=True):
        assert line.startswith(f"{execution.id[:8]}  ")
        assert "pyth" in line


@pytest.mark.parametrize("name", ["bare", "project"])
def test_beside_the_worktrees_of_a_bare_repository_the_ledger_is_theirs(
    repo: Any, tmp_path: Any, program: Program, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    top = tmp_path / name
    where = top if name == "bare" else top / ".bare"
    repo.git("clone", "--quiet", "--bare", str(repo.path), str(where))
    if name == "project":
        (top / ".git").write_text("gitdir: ./.bare\n")
    repo.git("-C", str(where), "worktree", "add", "--quiet", "-b", "own", str(top / "a worktree"))
    assert program("executions", "list", cwd=top).code == 1  # there is none yet
    assert program("run", "--", "true", cwd=top / "a worktree").code == 0
    inside = json.loads(program("executions", "list", "--json", cwd=top / "a worktree").out)
    assert len(inside) == 1
    assert json.loads(program("executions", "list", "--json", cwd=top).out) == inside


def test_outside_a_repository_it_is_an_error_with_a_fix(program: Program, tmp_path: Any) -> None:
    done = program("executions", "list", cwd=tmp_path)
    assert done.code == 1
    assert "fix: " in done.err


@pytest.fixture
def here(repo: Any, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The ledger of `repo`, which is the working directory, with three executions."""
    monkeypatch.chdir(repo.path)
    ledger = ledger_of(measured(), Config())
    for number in range(3):
        provenance = {**PROVENANCE, "branch": "main"}
        ended = {"status": "Completed", "exit_code": 0, "duration": 1.0}
        ledger.add(
            made(id=f"01890000-000{number}", command=["echo", str(number)], provenance=provenance, **ended)
        )
    return ledger


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("provenance", "{}"),
        ("pid", b"\x00"),
        ("command", "[]"),
        ("duration", float("inf")),
        ("id", "../../x"),
    ],
)
def test_a_damaged_row_is_named_and_the_others_are_listed(
    here: Ledger, column: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(here, column, value, "01890000-0001")
    for words in (["--json-lines"], ["--json"], []):
        assert main(["executions", "list", *words]) == 1
        done = capsys.readouterr()
        assert "not as it was written" in done.err
        assert "fix: " in done.err
        assert "01890000-0000" in done.out
        assert "01890000-0002" in done.out
        assert "Traceback" not in done.err
    for words in (["show"], ["rerun"]):
        command = [*(["executions"] if words == ["show"] else []), *words, "01890000-0001"]
        assert main(command) != 0
        assert "fix: " in capsys.readouterr().err


def test_a_command_that_nothing_can_have_run_is_shown_and_neither_verified_nor_run_again(
    here: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(here, "command", '["python", "a\\u0000b"]', "01890000-0001")
    assert main(["executions", "show", "01890000-0001"]) == 0
    assert main(["verify", "01890000-0001"]) == 1
    assert main(["rerun", "01890000-0001"]) == 125
    assert "holds a NUL" in capsys.readouterr().err


def test_json_lines_are_the_array_a_document_each(here: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["executions", "list", "--json"]) == 0
    array = json.loads(capsys.readouterr().out)
    assert main(["executions", "list", "--json-lines"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == array
    assert [record["command"][1] for record in array] == ["2", "1", "0"]


def test_an_empty_list_is_an_empty_array_and_no_line(
    repo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo.path)
    assert main(["executions", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["executions", "list", "--json-lines"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("limit", ["3", "99999999999999999999", "9223372036854775807"])
@pytest.mark.parametrize("words", [[], ["--json"], ["--json-lines"]])
def test_a_limit_of_any_size_is_a_limit(
    here: Ledger, limit: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["executions", "list", *words, "--limit", limit]) == 0
    assert capsys.readouterr().out.count("echo") == 3


def test_a_line_of_json_is_what_show_prints_whatever_the_row_holds(
    here: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = 'a "quoted" \x1b[31m \u00e9 \udce9 https://ada:Hunter2@host.org/r'
    changed = [{"code": "modified", "path": odd, "message": odd}]
    for values in (
        {"description": odd, "command": ["curl", "--token", "Hunter2Hunter2", odd], "cwd": odd},
        {"status": "Failed", "exit_code": 3, "duration": 2, "changed_during_run": changed},
        {"process": "another boot/1"},
        {"status": "Aborted", "signal": 9, "detail": odd, "parent": "01890000-0001", "pid": 10**15},
    ):
        here.add(made(**values))
    Publications(here, "host.org/1").put([Publication("01890000-0001", "host.org/1", "closed", rid="1-ABC")])
    assert main(["executions", "list", "--json-lines"]) == 0
    out = capsys.readouterr().out
    assert "Hunter2" not in out
    listed = [json.loads(line) for line in out.splitlines()]
    assert len(listed) == 7
    assert [record["publications"][0]["rid"] for record in listed if "publications" in record] == ["1-ABC"]
    for record in listed:
        assert main(["executions", "show", "--json", record["id"]]) == 0
        assert json.loads(capsys.readouterr().out) == record


def test_a_run_whose_tree_changed_is_marked_and_its_description_and_parent_are_shown(
    repo: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A lock file that `uv run` writes anew is such a change."""
    repo.write("uv.lock", "1\n")
    repo.commit("Lock")
    monkeypatch.chdir(repo.path)
    inner = f"echo 2 > uv.lock; echo 1 > uv.lock; {sys.executable} -m deriva_ml_hooks run -- true"
    assert main(["run", "--quiet", "--description", "first try", "--", "sh", "-c", inner]) == 0
    capfd.readouterr()
    assert main(["executions", "list"]) == 0
    _, nested, outer = capfd.readouterr().out.splitlines()
    assert ("Completed, changed" in nested, "first try" in nested) == (False, False)
    assert ("Completed, changed" in outer, "first try" in outer) == (True, True)
    assert main(["executions", "show", "LAST"]) == 0
    assert f"started by   execution {outer.split()[0]}" in capfd.readouterr().out
    assert main(["executions", "show", outer.split()[0]]) == 0
    assert "uv.lock" in capfd.readouterr().out
    found = ledger_of(measured(), Config()).newest()
    executions._table(90, [(row, records.cells(row, {})) for row in found], 13)
    table = capfd.readouterr().out
    assert "first try" in table
    assert "Completed, changed" in table


def test_what_is_shown_of_an_id_leads_to_it_when_later_ones_have_come(
    here: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    here.add(first := made())
    executions._screen(here, 1, [])
    (line,) = [line for line in sys.stdout.getvalue().splitlines() if line.startswith("01") or "true" in line]
    stamp, rest = int(first.id[:13].replace("-", ""), 16) + 1, first.id[13:]
    later = f"{stamp:012x}"
    here.add(made(id=f"{later[:8]}-{later[8:]}{rest}"))
    assert here.find(line.split()[0]) == first
    assert here.find("last").id != first.id


def test_a_shell_completes_ids_and_hooks(
    here: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_DERIVA_ML_HOOKS_COMPLETE", "complete_bash")
    for words, found in {
        "executions show 01": ["01890000-0002", "01890000-0001", "01890000-0000"],
        "rerun 01890000-0001": ["01890000-0001"],
        "verify 02": [],
        "hook check-n": ["check-notebooks"],
    }.items():
        monkeypatch.setenv("COMP_WORDS", f"deriva-ml-hooks {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
        assert main([]) == 0
        assert capsys.readouterr().out.split() == found


def test_no_table_library_is_loaded_in_a_pipe(here: Ledger) -> None:
    script = (
        "import sys; from deriva_ml_hooks.cli import main\n"
        "main(['executions', 'list'])\n"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("echo") == 3
    assert done.stdout.splitlines()[-1] == "False"


def test_what_is_printed_is_not_kept(here: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lines are out before the last rows are read."""
    events: list[str] = []
    read = Ledger.pages

    def told(self: Ledger, limit: int | None = None) -> Any:
        for page in read(self, limit):
            events.append("row")
            yield page

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            events.append("out")
            return len(text)

    monkeypatch.setattr(Ledger, "pages", told)
    monkeypatch.setattr(ledger_module, "_PAGE", 1)
    monkeypatch.setattr(sys, "stdout", Out())
    assert main(["executions", "list", "--json-lines"]) == 0
    assert events[:4] == ["row", "out", "row", "out"]


def test_a_terminal_is_given_what_fits_on_it(here: Ledger, repo: Any) -> None:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 80, 0, 0))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    words = [sys.executable, "-m", "deriva_ml_hooks", "executions", "list"]
    done = subprocess.run(
        words, cwd=repo.path, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env={**env, "TERM": "xterm"},
        check=False,
    )  # fmt: skip
    os.close(slave)
    out = os.read(master, 65536)
    os.close(master)
    assert done.returncode == 0
    assert out.count(b"echo") == 2
    assert b"--limit N" in done.stderr
