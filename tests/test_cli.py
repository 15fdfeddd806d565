"""The program: its exit codes, its help, and what it does when nobody reads or somebody interrupts."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.cli import DEFECT, INTERRUPTED, UNREAD, UNWRITABLE, guarded, main
from deriva_ml_hooks.commands.program import COMMANDS as USED
from deriva_ml_hooks.errors import HooksError, UsageError

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]
SCRIPTS = Path(sys.executable).parent

COMMANDS = {
    "run": ("--dry-run", "--description", "--entry-point", "--tag-required", "--json", "--quiet"),
    "check": ("--json", "--paranoid"),
    "provenance": ("--json", "--refresh"),
    "executions": ("list", "show"),
    "executions list": ("--json", "--limit"),
    "executions show": ("--json", "ID"),
    "hook": ("ID",),
    "demo": (),
}


@pytest.mark.parametrize("command", ["", *COMMANDS])
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_the_help_of_every_command_lists_its_options(
    tmp_path: Path, program: Program, command: str, word: str
) -> None:
    ran = program(*command.split(), word, cwd=tmp_path, env={"COLUMNS": "200", "TERM": "dumb"})
    assert (ran.code, ran.err) == (0, "")
    for name in COMMANDS[command] if command else [name for name in COMMANDS if " " not in name]:
        assert name in ran.out


@pytest.mark.parametrize("command", sorted({*USED} - {"executions", "catalog", "trust"}))
def test_a_usage_line_has_no_brackets_in_brackets_and_the_help_ends_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([command, "--help"]) == 0
    told = capsys.readouterr().out
    assert not re.search(r"[\[{][\[{]|\.\.\.[\]}]", told.partition("Usage:")[2].splitlines()[0])
    if USED[command].example:
        assert f"Example: deriva-ml-hooks {command} " in told


@pytest.mark.parametrize(
    "words",
    [
        *(["nonsense"], ["--nonsense"], ["check", "--nonsense"], ["check", "extra"], ["run"], ["run", "--"]),
        *(
            ["executions", "show"],
            ["executions", "list", "--limit", "0"],
            ["executions", "list", "--limit", "x"],
        ),
        *(
            ["provenance", "extra"],
            ["hook", "nonsense"],
            ["executions", "nonsense"],
            ["run", "--nonsense", "true"],
        ),
    ],
)
def test_words_that_do_not_fit_end_with_2(repo: Repo, program: Program, words: list[str]) -> None:
    ran = program(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("words", [[], ["executions"]])
def test_without_words_it_tells_what_there_is(tmp_path: Path, program: Program, words: list[str]) -> None:
    ran = program(*words, cwd=tmp_path)
    assert ran.code in (0, 2)
    assert "Usage" in ran.out + ran.err


def test_its_version_is_told(tmp_path: Path, program: Program) -> None:
    ran = program("--version", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip()[0].isdigit()


def test_check_answers_with_its_exit_code(repo: Repo, program: Program, tmp_path: Path) -> None:
    assert program("check").code == 0
    repo.write("new.py")
    assert program("check").code == 1
    ran = program("check", "--json")
    assert (ran.code, json.loads(ran.out)["accepted"]) == (1, False)
    assert program("check", cwd=tmp_path).code == 1


@pytest.mark.parametrize("words", [["provenance"], ["executions", "list"], ["executions", "show", "0"]])
def test_outside_a_repository_an_error_says_so_in_two_lines(
    program: Program, tmp_path: Path, words: list[str]
) -> None:
    ran = program(*words, cwd=tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"deriva-ml-hooks: {tmp_path}: not inside a git repository\nfix: ")
    assert ran.err.count("\n") == 2


def test_the_record_is_told_to_people_and_to_programs(repo: Repo, program: Program) -> None:
    repo.write("uv.lock", "x\n")
    repo.commit("Lock")
    told, data = program("provenance"), program("provenance", "--json")
    document = json.loads(data.out)
    assert (told.code, told.err, data.code, data.err) == (0, "", 0, "")
    assert {"commit", "tree", "branch", "version"} <= {line.split()[0] for line in told.out.splitlines()}
    assert document["commit"] in told.out
    assert document["lockfiles"][0]["blob"] in told.out
    assert program("provenance", "--json", "--refresh").out == data.out


def test_a_name_in_another_encoding_does_not_end_it(repo: Repo, program: Program) -> None:
    repo.git("branch", b"\xff-branch")
    repo.git("checkout", "--quiet", b"\xff-branch")
    for words in (["provenance"], ["provenance", "--json"], ["check"], ["check", "--json"]):
        for env in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
            ran = program(*words, env=env)
            assert (ran.code, "Traceback" in ran.err) == (0, False)


def test_git_deriva_is_found_by_git(repo: Repo) -> None:
    path = os.pathsep.join((str(SCRIPTS), os.environ["PATH"]))
    assert repo.git("deriva", "check", env={"PATH": path}).startswith("accepted: ")
    assert repo.git("deriva", "run", "--quiet", "--", "echo", "x", env={"PATH": path}) == "x"
    repo.write("new.py")
    refused = subprocess.run(
        ["git", "deriva", "check"],
        cwd=repo.path,
        env={**os.environ, "PATH": path},
        check=False,
        capture_output=True,
    )
    assert refused.returncode == 1


@pytest.mark.parametrize("script", ["deriva-ml-hooks", "git-deriva"])
def test_both_scripts_are_the_program(repo: Repo, script: str) -> None:
    done = subprocess.run([SCRIPTS / script, "check"], cwd=repo.path, check=False, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.startswith(b"accepted: ")


@pytest.mark.parametrize(
    "words",
    [
        ["provenance", "--json"],
        ["provenance"],
        ["check"],
        ["check", "--json"],
        ["executions", "list", "--json"],
        ["--help"],
    ],
)
def test_when_nobody_reads_it_ends_quietly_and_not_with_success(repo: Repo, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "deriva_ml_hooks", *words],
        cwd=repo.path,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == UNREAD
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize(
    ("words", "where", "code"),
    [
        (["check"], ">&-", UNWRITABLE),
        (["check"], ">/dev/full", UNWRITABLE),
        (["check", "--json"], ">/dev/full", UNWRITABLE),
        (["--help"], ">&-", UNWRITABLE),
        (["hook", "check-clean-tree", "--json"], ">&-", UNWRITABLE),
        (["check"], ">&- 2>&- <&-", UNWRITABLE),
        (["hook", "check-clean-tree"], ">&-", 0),  # says nothing where all is well
        (["check"], "2>&-", 0),
        (["hook", "check-clean-tree"], "2>/dev/full", 0),
        (["check", "extra"], "2>/dev/full", 2),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_answer_that_cannot_be_written_is_told_and_has_a_code_of_its_own(
    repo: Repo, words: list[str], where: str, code: int, unbuffered: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-m", "deriva_ml_hooks", *words],
        cwd=repo.path,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    if code == UNWRITABLE and "2>" not in where:
        assert done.stderr.splitlines()[-2].startswith("deriva-ml-hooks: standard output: ")


def test_a_command_does_not_write_into_our_files_where_stdout_is_closed(repo: Repo) -> None:
    run = [sys.executable, "-m", "deriva_ml_hooks", "run", "--", "sh", "-c", "echo planted; exit 0"]
    subprocess.run(["sh", "-c", '"$@" >&-', "sh", *run], cwd=repo.path, check=False, capture_output=True)
    (ledger,) = repo.git_dir.glob("deriva-ml-hooks/*.sqlite3")
    assert ledger.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize(
    "words",
    [
        ["\x1b[31mred"],
        ["check", "--\x1b[31mred"],
        ["executions", "show", "\x1b[31mred"],
        ["hook", "check-clean-tree", "\x1b[31mred"],
        ["hook", "check-large-files", "--max-kb", "\x1b[31mred"],
        ["hook", "\x1b[31mred"],
        ["provenance", "--format", "\x1b[31mred"],
        ["run", "--", "\x1b[31mred"],
        ["verify", "\x1b[31mred"],
        ["rerun", "\x1b[31mred"],
        ["trust", "host", "\x1b[31mred"],
        ["run-notebook", "\x1b[31mred"],
        ["bump-version", "--prefix", "\x1b[31mred"],
    ],
)
def test_words_that_do_not_fit_are_told_without_what_a_terminal_obeys(
    repo: Repo, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo.path)
    assert main(words) in (1, 2, 125, 127)
    said = "".join(capfd.readouterr())
    assert "\\x1b[31mred" in said
    assert "\x1b" not in said
    assert "fix: " in said


def test_ctrl_c_ends_it_with_130(repo: Repo, tmp_path: Path) -> None:
    """git is made to wait until it is told, so the signal comes while the program measures."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "git"
    fake.write_text(f"#!/bin/sh\necho here >&2 2>/dev/null\nexec cat '{pipe}'\n")
    fake.chmod(0o755)
    path = os.pathsep.join((str(fake.parent), os.environ["PATH"]))
    started = subprocess.Popen(
        [sys.executable, "-m", "deriva_ml_hooks", "check"],
        cwd=repo.path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with pipe.open("wb"):  # opened only once the other side is
        os.killpg(started.pid, signal.SIGINT)
        out, err = started.communicate()
    assert started.returncode == INTERRUPTED
    assert b"Traceback" not in err
    assert out == b""


def test_an_error_of_ours_is_told_and_gives_its_code(capfd: pytest.CaptureFixture[str]) -> None:
    class OwnError(HooksError):
        exit_code = 42

    def fail(error: Exception) -> Callable[[], int]:
        def action() -> int:
            raise error

        return action

    assert guarded(fail(OwnError("what", fix="how"))) == 42
    assert guarded(fail(UsageError("what", fix="how"))) == 2
    assert guarded(fail(HooksError("https://Hunter2@host.org/r", fix="how"))) == 1
    assert guarded(lambda: 7) == 7
    assert guarded(fail(KeyboardInterrupt())) == INTERRUPTED  # type: ignore[arg-type]
    assert capfd.readouterr() == (
        "",
        "deriva-ml-hooks: what\nfix: how\n" * 2 + "deriva-ml-hooks: https://***@host.org/r\nfix: how\n",
    )


DEFECTIVE = """
import sys
from deriva_ml_hooks import cli, hooks
def broken(*_):
    raise RuntimeError("a defect at https://ada:Hunter2@host.org/r")
hooks.run_hook = broken
import deriva_ml_hooks.commands.program
deriva_ml_hooks.commands.program.app = broken
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["check"], ["hook", "cache-provenance"]])
def test_a_defect_keeps_its_traceback_and_has_a_code_of_its_own(repo: Repo, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEFECTIVE, *words], cwd=repo.path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (DEFECT, "")
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("RuntimeError: a defect at https://***@host.org/r\n")


def test_a_defect_in_a_command_is_one_too(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.chdir(repo.path)
    monkeypatch.setattr("deriva_ml_hooks.gate.verdict.load", broken)
    assert main(["check"]) == DEFECT
    assert capfd.readouterr().err.endswith("RuntimeError: a defect\n")


def test_the_hooks_are_listed(tmp_path: Path, program: Program) -> None:
    ran = program("hook", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "cache-provenance" in ran.out.split()
    told = program("hook", "nonsense", cwd=tmp_path)
    assert told.code == 2
    assert "cache-provenance" in told.err


ESCAPE = "\x1b[32mgreen"


def test_nothing_that_a_repository_or_a_remote_holds_is_obeyed_by_a_terminal(
    repo: Repo,
    remote: Repo,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hook = remote.path / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\necho '{ESCAPE} from the remote'\nexit 1\n")
    hook.chmod(0o755)
    ran = program("run", "--description", ESCAPE, "--", "sh", "-c", "exit 3", ESCAPE)
    assert ran.code == 3
    monkeypatch.chdir(repo.path)
    assert main(["bump-version", "--initial", "1.0.0"]) == 1
    told = capfd.readouterr().err
    assert "\\x1b[32mgreen from the remote" in told
    assert "\x1b" not in told
    (ledger,) = repo.git_dir.glob("deriva-ml-hooks/*.sqlite3")
    with sqlite3.connect(ledger) as connection:  # a neighbour, or an older program, wrote it
        connection.execute("UPDATE executions SET host = ?, detail = ?, cwd = ?", (ESCAPE,) * 3)
    connection.close()
    repo.write(f"{ESCAPE}.py")
    for words in (
        *(["executions", "list"], ["executions", "show", "0"], ["verify"], ["check"], ["doctor"], ["demo"]),
        *(["provenance", "--format", "env"], ["hook", "check-clean-tree"], ["provenance"], ["rerun", "0"]),
    ):
        main(words)
        said = "".join(capfd.readouterr())
        assert said, words
        assert "\x1b" not in said, words


def test_a_value_with_control_characters_can_still_be_evaluated(repo: Repo, program: Program) -> None:
    repo.git("remote", "add", "origin", "https://example.org/o/r")
    repo.git("config", "remote.it's \x1b[32m 100% \\.url", "https://example.org/o/r")
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nremote = "it\'s \\u001b[32m 100% \\\\"\n')
    repo.commit("Name the remote")
    lines = program("provenance", "--format", "env").out
    assert lines.replace("\n", "").isprintable()
    script = 'eval "$1"; printf %s "$DERIVA_ML_HOOKS_REMOTE"'
    done = subprocess.run(["sh", "-c", script, "sh", lines], capture_output=True, text=True, check=True)
    assert done.stdout == "it's \x1b[32m 100% \\"


def test_a_repository_whose_path_is_not_utf8_is_one_like_any_other(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9/na\xefve")
    folder.parent.mkdir()
    repo.path.rename(folder)
    monkeypatch.chdir(folder)
    for line, code in {
        "check": 0,
        "check --json": 0,
        "provenance": 0,
        "provenance --format json": 0,
        "provenance --format env": 0,
        "provenance --format docker": 0,
        "run --quiet -- python src/train.py": 0,
        "run --quiet --isolated -- python src/train.py": 0,
        "executions list --json": 0,
        "verify --json": 1,  # nobody else has the commit
        "install": 0,
        "bump-version --no-push": 0,
        "version": 0,
        "uninstall": 0,
        "trust code": 0,
        "trust": 0,
    }.items():
        assert main(line.split()) == code, line
        told = capsys.readouterr()
        (told.out + told.err).encode("utf-8")  # a terminal takes nothing else
