"""`run-notebook` on real repositories with real kernels: the gate, the record, and every way it can end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]

DEFAULTS = "seed = 7\ntoken = ''\nrate = 0.5"
SHOW = "import json, os\nprint(json.dumps([seed, rate, os.getcwd(), dict(os.environ)]))"


def notebook(*cells: str, kernel: str = "python3") -> str:
    made = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {"tags": ["parameters"]} if number == 0 else {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    metadata = {"kernelspec": {"name": kernel, "language": "python", "display_name": kernel}}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)


@pytest.fixture(autouse=True)
def committed(repo: Repo) -> Repo:
    """A repository with a notebook that shows where it runs, one that fails and one that waits."""
    repo.write("nb/show.ipynb", notebook(DEFAULTS, SHOW))
    repo.write("fail.ipynb", notebook(DEFAULTS, "print('so far')", "1 / (seed - 7)", "print('never')"))
    waits = "open(os.environ['FIFO'], 'w').write('x')\nwhile True: time.sleep(60)"
    repo.write("wait.ipynb", notebook("import os, time", "print('begun')", waits, "print('never')"))
    repo.commit("Notebooks")
    return repo


def newest(program: Program) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(program("executions", "list", "--json").out)
    return found[0]


def outputs(path: str) -> list[str]:
    """The text that each cell printed, ended with or has not."""
    cells = json.loads(Path(path).read_text())["cells"]
    return [
        "".join("".join(o.get("text", o.get("ename", ""))) for o in cell.get("outputs", [])) for cell in cells
    ]


class TestRun:
    def test_it_runs_in_the_callers_folder_under_the_gate_with_a_record(
        self, repo: Repo, program: Program
    ) -> None:
        head = repo.git("rev-parse", "HEAD")
        done = program(
            *("run-notebook", "show.ipynb", "-p", "seed", "-3", "--description", "first"),
            cwd=repo.path / "nb",
        )
        assert done.code == 0, done.err
        record = newest(program)
        about = record["notebook"]
        assert about["parameters"] == {"seed": -3}
        assert about["kernel"] == "python3"
        assert about["failed_cell"] is None
        output = Path(about["output"])
        assert output == repo.git_dir / "deriva-ml-hooks" / "executions" / record["id"] / "show.ipynb"
        assert about["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
        seed, rate, cwd, env = json.loads(outputs(str(output))[-1])
        assert (seed, rate, cwd) == (-3, 0.5, str(repo.path / "nb"))
        assert env["DERIVA_ML_HOOKS_EXECUTION"] == record["id"]
        assert json.loads(Path(env["DERIVA_ML_HOOKS_PROVENANCE"]).read_text())["commit"] == head
        assert not any(name.startswith("_DERIVA_ML_HOOKS") for name in env)
        assert (record["status"], record["exit_code"], record["description"]) == ("Completed", 0, "first")
        assert (record["cwd"], record["commit"]) == ("nb", head)
        entry = record["entry_point"]
        assert (entry["path"], entry["blob"]) == (
            "nb/show.ipynb",
            repo.git("rev-parse", "HEAD:nb/show.ipynb"),
        )
        assert record["command"] == ["deriva-ml-hooks", "run-notebook", "show.ipynb", "-p", "seed", "-3"]
        assert record["changed_during_run"] == []
        assert repo.git("status", "--porcelain") == ""
        assert json.loads(output.read_text())["metadata"]["papermill"]["input_path"] == "nb/show.ipynb"
        ours = [line for line in done.err.splitlines() if line.startswith("deriva-ml-hooks: ")]
        opening, executed, closing = ours
        assert record["id"] in opening
        assert record["notebook"]["output"] in executed
        assert "Completed" in closing

    def test_what_is_executed_is_what_is_committed(self, repo: Repo, program: Program) -> None:
        """Under nbstripout as a filter the working file may hold outputs of its own."""
        repo.write(".gitattributes", "*.ipynb filter=nbstripout\n")
        repo.git("config", "filter.nbstripout.clean", f"{sys.executable} -m nbstripout")
        repo.git("config", "filter.nbstripout.smudge", "cat")
        repo.commit("Filter")
        working = json.loads((repo.path / "fail.ipynb").read_text())
        working["cells"][1]["outputs"] = [
            {"output_type": "stream", "name": "stdout", "text": "old outputs\n"}
        ]
        before = repo.write("fail.ipynb", json.dumps(working)).read_bytes()
        assert program("run-notebook", "fail.ipynb", "-p", "seed", "8").code == 0
        record = newest(program)
        assert outputs(record["notebook"]["output"])[2:] == ["so far\n", "", "never\n"]
        assert "old outputs" not in Path(record["notebook"]["output"]).read_text()
        assert record["entry_point"]["blob"] == repo.git("rev-parse", "HEAD:fail.ipynb")
        assert (repo.path / "fail.ipynb").read_bytes() == before

    def test_what_is_written_after_each_cell_replaces_the_file_as_a_whole(
        self, repo: Repo, program: Program, tmp_path: Path
    ) -> None:
        """Else an interrupt or a kill in the middle of writing would leave nothing of what was done."""
        output, kept = tmp_path / "out {}.ipynb", tmp_path / "kept.ipynb"
        link = f"import os\nprint('so far')\nos.link({str(output)!r}, {str(kept)!r})"
        repo.write("long.ipynb", notebook("print('begun')", link, "print('later')"))
        repo.commit()
        assert program("run-notebook", "long.ipynb", "--output", str(output)).code == 0
        assert outputs(str(output)) == ["begun\n", "so far\n", "later\n"]
        assert outputs(str(kept))[::2] == ["begun\n", ""]

    def test_a_failing_cell(self, repo: Repo, program: Program) -> None:
        done = program("run-notebook", "fail.ipynb", "-p", "seed", "7")
        assert done.code == 1
        assert "ZeroDivisionError" in done.err
        assert "\x1b" not in done.err
        assert "ZeroDivisionError: division by zero" in done.err.splitlines()[-1]
        record = newest(program)
        assert (record["status"], record["exit_code"]) == ("Failed", 1)
        assert record["notebook"]["failed_cell"] == {
            "index": 2,
            "exception": "ZeroDivisionError",
            "message": "division by zero",
        }
        partial = outputs(record["notebook"]["output"])
        assert "so far\n" in partial
        assert "never\n" not in partial
        assert f"the executed notebook: {record['notebook']['output']}\n" in done.err
        shown = program("executions", "show", record["id"]).out
        for about in ("detail ", "kernel ", "parameter ", "executed ", "SHA-256 "):
            assert about in shown
        for value in (record["detail"], "seed = 7", record["notebook"]["sha256"]):
            assert value in shown

    @pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 9)"])
    def test_a_kernel_that_dies(self, repo: Repo, program: Program, end: str) -> None:
        repo.write("die.ipynb", notebook("import os", "print('so far', flush=True)", end, "print('never')"))
        repo.commit()
        done = program("run-notebook", "die.ipynb")
        assert done.code == 1
        assert "the kernel died" in done.err
        record = newest(program)
        assert record["status"] == "Failed"
        about = record["notebook"]
        assert about["failed_cell"] == {
            "index": 2,
            "exception": "DeadKernelError",
            "message": "the kernel died",
        }
        assert record["detail"].startswith("cell 2")
        assert "so far\n" in outputs(about["output"])
        cells = json.loads(Path(about["output"]).read_text())["cells"]
        statuses = [cell["metadata"]["papermill"]["status"] for cell in cells]
        assert statuses == ["completed", "completed", "failed", "pending"]

    def test_a_process_of_papermill_that_is_killed(self, repo: Repo, program: Program) -> None:
        kill = "import os\nos.kill(os.getppid(), 9)\nwhile True: pass"
        repo.write("die.ipynb", notebook("1", "print('so far')", kill, "print('never')"))
        repo.commit()
        assert program("run-notebook", "die.ipynb").code == 128 + 9
        record = newest(program)
        assert (record["status"], record["signal"]) == ("Failed", 9)
        failed = record["notebook"]["failed_cell"]
        assert (failed["index"], failed["exception"]) == (2, "SIGKILL")
        assert record["detail"].startswith("cell 2")

    def test_an_exit_before_the_last_cell(self, repo: Repo, program: Program) -> None:
        repo.write("exit.ipynb", notebook("import sys", "sys.exit(0)", "print('never')"))
        repo.commit()
        done = program("run-notebook", "exit.ipynb")
        assert done.code == 0
        record = newest(program)
        assert (record["status"], record["detail"]) == ("Completed", "ended by SystemExit at cell 1 (In [2])")
        assert "ended by SystemExit at cell 1" in done.err.splitlines()[-1]

    def test_a_kernel_that_does_not_start(
        self, repo: Repo, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = {"argv": ["false"], "display_name": "x", "language": "python"}
        (tmp_path / "jupyter" / "kernels" / "stillborn").mkdir(parents=True)
        (tmp_path / "jupyter" / "kernels" / "stillborn" / "kernel.json").write_text(json.dumps(spec))
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        done = program("run-notebook", "nb/show.ipynb", "--kernel", "stillborn")
        assert done.code == 1
        assert "Traceback" not in done.err
        record = newest(program)
        assert record["status"] == "Failed"
        assert "Kernel died before replying" in record["detail"]

    def test_a_link_to_what_has_another_name_is_kept_apart(self, repo: Repo, program: Program) -> None:
        repo.write("provenance.json", notebook(DEFAULTS, SHOW))
        (repo.path / "link.ipynb").symlink_to("provenance.json")
        repo.commit()
        assert program("run-notebook", "link.ipynb").code == 0
        about = newest(program)["notebook"]
        assert Path(about["output"]).name == "provenance.json.ipynb"
        assert "commit" in json.loads(Path(about["output"]).with_name("provenance.json").read_text())

    def test_an_output_of_its_own_place_and_any_name(
        self, repo: Repo, program: Program, tmp_path: Path
    ) -> None:
        output, result = tmp_path / "{seed} caf\u00e9.ipynb", tmp_path / "r.json"
        words = ("--output", str(output), "--json", str(result), "--quiet")
        done = program("run-notebook", "nb/show.ipynb", *words)
        assert done.code == 0
        assert "deriva-ml-hooks: " not in done.err
        record = json.loads(result.read_text())
        assert record == newest(program)
        assert record["notebook"]["output"] == str(output)
        assert record["notebook"]["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()

    def test_parameters_of_any_length(self, repo: Repo, program: Program, tmp_path: Path) -> None:
        repo.write("long.ipynb", notebook("text = ''", "print(len(text), text[:3])"))
        repo.commit()
        (tmp_path / "p.json").write_text(json.dumps({"text": "é" * 150_000}))
        done = program("run-notebook", "long.ipynb", "-f", str(tmp_path / "p.json"))
        assert done.code == 0, done.err
        about = newest(program)["notebook"]
        assert outputs(about["output"])[-1] == "150000 ééé\n"
        assert len(about["parameters"]["text"]) == 150_000

    def test_a_child_that_reads_nothing_of_long_parameters(self, repo: Repo, program: Program) -> None:
        script = (
            "import sys; from deriva_ml_hooks.runner import recorded\n"
            "code = recorded.run_unrecorded(['true'], say=print, stdin=bytes(10**7)); print(code)"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=repo.path, capture_output=True, text=True)
        assert (done.stdout.splitlines()[-1], done.stderr) == ("0", "")

    def test_a_secret_from_the_environment_that_a_cell_fails_with_is_neither_told_nor_recorded(
        self, repo: Repo, program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TOKEN", "hunter2")
        fails = "import os\nraise ValueError('refused: token=' + os.environ['TOKEN'])"
        repo.write("leak.ipynb", notebook(DEFAULTS, fails))
        repo.commit()
        done = program("run-notebook", "leak.ipynb")
        assert (done.code, "ValueError" in done.err, "hunter2" in done.out + done.err) == (1, True, False)
        assert newest(program)["notebook"]["failed_cell"]["message"] == "refused: token=***"
        assert b"hunter2" not in (repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3").read_bytes()

    def test_a_file_of_the_folder_stands_in_for_no_module_of_ours(self, repo: Repo, program: Program) -> None:
        for name in ("papermill", "json", "nbclient"):
            repo.write(f"{name}.py", "raise SystemExit(9)\n")
        repo.write(".gitignore", "*.log\n__pycache__/\n")
        repo.write("own.py", "value = 5\n")
        repo.write("x.ipynb", notebook("", "import own; print(own.value)"))
        for name in ("json", "nbclient"):  # the kernel, though, imports from there like any notebook
            (repo.path / f"{name}.py").unlink()
        repo.commit()
        assert program("run-notebook", "x.ipynb").code == 0
        assert outputs(newest(program)["notebook"]["output"])[-1] == "5\n"


class TestRefused:
    @pytest.mark.parametrize(
        ("words", "said", "code"),
        [
            (("nb/show.ipynb", "-p", "sed", "1"), "did you mean seed?", 2),
            (("nb/show.ipynb", "-p", "seed"), "-p NAME VALUE", 2),
            (("nb/show.ipynb", "-f", "gone.yaml"), "gone.yaml", 2),
            (("nb/show.ipynb", "--output", "fail.ipynb"), "a tracked file", 2),
            (("nb/show.ipynb", "--output", "no/such/folder/x.ipynb"), "in a folder that exists", 2),
            (("nb/show.ipynb", "--output", "nb"), "a folder", 2),
            (("nb/show.ipynb", "--output", ".git/config"), "inside a git directory", 2),
            (("nb/show.ipynb", "--output", ".git/x.ipynb"), "inside a git directory", 2),
            (("nb/show.ipynb", "--output", os.devnull), "not a regular file", 2),
            (("nb/show.ipynb", "--kernel", "nope"), "ipykernel install", 125),
            (("README.md",), "not a notebook", 125),
            (("nb",), "not a regular file", 125),
            (("link.ipynb",), "fix: put it into the repository and commit it", 125),
            (("nb/show.ipynb", "-p", "token", os.fsdecode(b"\xff")), "not UTF-8", 2),
            (("missing.ipynb",), "no such file", 125),
            (("nb/show.ipynb", "--tag-required"), "version tag", 125),
        ],
    )
    def test_nothing_is_started_and_nothing_recorded(
        self, repo: Repo, program: Program, words: tuple[str, ...], said: str, code: int
    ) -> None:
        (repo.path / "link.ipynb").symlink_to(__file__)
        repo.write(".git/info/exclude", "/link.ipynb\n")
        for more in ((), ("--dry-run",)) if "--output" in words else ((),):
            done = program("run-notebook", *words, *more)
            assert done.code == code, done.err
            assert said in done.err
            assert "fix: " in done.err
        assert not (repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3").exists()
        assert not list((repo.git_dir / "deriva-ml-hooks").glob("executions/*"))
        assert repo.git("status", "--porcelain") == ""

    @pytest.mark.parametrize("way", ["a word", "a file", "a dry run"])
    def test_a_secret(self, repo: Repo, program: Program, tmp_path: Path, way: str) -> None:
        (tmp_path / "p.yaml").write_text("seed: 3\ntoken: hunter2\n")
        words = ("-f", str(tmp_path / "p.yaml")) if way == "a file" else ("-p", "token", "hunter2")
        done = program("run-notebook", "nb/show.ipynb", *words, *["--dry-run"] * (way == "a dry run"))
        said = done.err.splitlines()
        assert (done.code, done.out, len(said)) == (2, "", 2), done.err
        assert "nb/show.ipynb: the parameter token is a secret" in said[0]
        assert "hunter2" not in done.err
        assert not list((repo.git_dir / "deriva-ml-hooks").glob("executions*"))
        given = said[1].rpartition(": ")[2] + " && python3 -c 'import os; print(os.environ[\"TOKEN\"])'"
        pasted = subprocess.run(["bash", "-c", given], input="hun ter\\2\n", capture_output=True, text=True)
        assert (pasted.stdout, pasted.stderr) == ("hun ter\\2\n", "")

    def test_a_tree_that_is_not_the_commit(self, repo: Repo, program: Program, tmp_path: Path) -> None:
        repo.write("nb/show.ipynb", notebook(DEFAULTS, "print('edited')"))
        result = tmp_path / "r.json"
        done = program("run-notebook", "nb/show.ipynb", "--json", str(result))
        assert done.code == 125
        assert "nb/show.ipynb: " in done.err
        assert [r["code"] for r in json.loads(result.read_text())["reasons"]] == ["unstaged"]

    def test_a_notebook_that_is_not_in_the_commit(self, repo: Repo, program: Program) -> None:
        repo.write(".gitignore", "*.log\nscratch.ipynb\n")
        repo.commit()
        repo.write("scratch.ipynb", notebook(DEFAULTS))
        done = program("run-notebook", "scratch.ipynb")
        assert done.code == 125
        assert "scratch.ipynb: " in done.err
        assert "not a file of commit" in done.err

    def test_an_output_over_a_file_of_the_superproject(
        self, repo: Repo, program: Program, make_repo: Callable[..., Repo]
    ) -> None:
        outer = make_repo("outer")
        outer.write("kept.ipynb", notebook("1"))
        outer.git("submodule", "--quiet", "add", str(repo.path), "sub")
        outer.commit()
        words = ("run-notebook", "nb/show.ipynb", "--output", "../kept.ipynb")
        for more in ((), ("--dry-run",)):
            done = program(*words, *more, cwd=outer.path / "sub")
            assert (done.code, "a tracked file" in done.err) == (2, True), done.err
        assert outer.git("status", "--porcelain") == ""

    def test_an_output_over_the_ledger_or_an_earlier_execution(self, repo: Repo, program: Program) -> None:
        repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nledger = "runs/all.sqlite3"\n')
        repo.write(".gitignore", "/runs/\n")
        repo.commit()
        assert program("run-notebook", "nb/show.ipynb").code == 0
        first = newest(program)
        for output in ("runs/all.sqlite3", first["notebook"]["output"]):
            for words in (("--output", output), ("--output", output, "--dry-run"), ("--json", output)):
                done = program("run-notebook", "nb/show.ipynb", *words)
                assert (done.code, "kept with the ledger" in done.err) == (2, True), done.err
        assert [newest(program)] == json.loads(program("executions", "list", "--json").out) == [first]

    def test_without_papermill_it_says_what_to_install(self, repo: Repo, tmp_path: Path) -> None:
        (tmp_path / "hidden").mkdir()
        for more in ([], ["--dry-run"], ["--inspect"]):
            script = (
                "import sys; sys.modules['papermill'] = None; from deriva_ml_hooks.cli import main\n"
                f"sys.exit(main(['run-notebook', 'nb/show.ipynb', *{more}]))"
            )
            done = subprocess.run(
                [sys.executable, "-c", script], cwd=repo.path, capture_output=True, text=True
            )
            assert done.returncode == 125
            assert "pip install 'deriva-ml-hooks[notebook]'" in done.stderr

    @pytest.mark.parametrize("more", [(), ("--dry-run",), ("--inspect",)])
    def test_what_cannot_be_executed_has_one_exit_code(
        self, repo: Repo, program: Program, more: tuple[str, ...]
    ) -> None:
        old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": []}
        repo.write("old.ipynb", json.dumps(old))
        repo.write("sound.json", notebook("1"))
        repo.commit()
        assert program("run-notebook", "nb/show.ipynb", "--kernel", "nope", *more).code == 125
        for name in ("old.ipynb", "sound.json", "missing.ipynb", "nb"):
            done = program("run-notebook", name, *more)
            assert (done.code, "fix: " in done.err) == (125, True), done.err


class TestWithoutARecord:
    def test_inspect_lists_parameters_with_types_and_defaults(self, repo: Repo, program: Program) -> None:
        repo.write("typed.ipynb", notebook("seed: int = 7  # for the shuffle\nname = 'x'\n"))
        done = program("run-notebook", "typed.ipynb", "--inspect")
        assert done.code == 0
        assert [line.split() for line in done.out.splitlines()] == [
            ["seed", "int", "7"],
            ["name", "'x'"],
        ]
        assert not (repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3").exists()
        repo.write("none.ipynb", notebook(""))
        done = program("run-notebook", "none.ipynb", "--inspect")
        assert (done.code, done.out) == (0, "")
        assert "no parameters" in done.err

    def test_a_dry_run_executes_the_working_file_and_leaves_nothing(
        self, repo: Repo, program: Program, tmp_path: Path
    ) -> None:
        repo.write("new.ipynb", notebook(DEFAULTS, SHOW))
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        words = ("run-notebook", "new.ipynb", "--dry-run", "-p", "seed", "1")
        assert program(*words).code == 0
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
        output = tmp_path / "out.ipynb"
        assert program(*words, "--output", str(output)).code == 0
        seed, _, _, env = json.loads(outputs(str(output))[-1])
        assert (seed, env["DERIVA_ML_HOOKS_DRY_RUN"]) == (1, "true")
        assert "DERIVA_ML_HOOKS_EXECUTION" not in env
        assert json.loads(program("executions", "list", "--json").out) == []
        assert program("run-notebook", "fail.ipynb", "--dry-run").code == 1


class TestPosix:
    @pytest.mark.parametrize(("number", "to_all"), [("SIGINT", True), ("SIGTERM", False), ("SIGHUP", False)])
    def test_a_signal_closes_the_record_as_aborted_and_keeps_what_was_done(
        self, repo: Repo, program: Program, tmp_path: Path, number: str, to_all: bool
    ) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        running = subprocess.Popen(
            [sys.executable, "-m", "deriva_ml_hooks", "run-notebook", "wait.ipynb"],
            cwd=repo.path,
            env={**os.environ, "FIFO": str(fifo)},
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        fifo.read_text()
        send = os.killpg if to_all else os.kill
        send(running.pid, getattr(signal, number))
        _, said = running.communicate()
        assert running.returncode == 128 + getattr(signal, number), said.decode()
        assert b"Traceback" not in said, said.decode()
        record = newest(program)
        assert record["status"] == "Aborted"
        assert record["signal"] == getattr(signal, number)
        about = record["notebook"]
        assert about["sha256"] == hashlib.sha256(Path(about["output"]).read_bytes()).hexdigest()
        shown = outputs(about["output"])
        assert (shown[1], shown[-1]) == ("begun\n", "")

    def test_progress_is_shown_on_a_terminal(self, repo: Repo) -> None:
        screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        words = [sys.executable, "-m", "deriva_ml_hooks", "run-notebook", "fail.ipynb", "-p", "seed", "8"]
        with subprocess.Popen(words, cwd=repo.path, stderr=terminal) as running:
            os.close(terminal)
            shown = b""
            with contextlib.suppress(OSError):  # the other side is closed
                while data := os.read(screen, 65536):
                    shown += data
        os.close(screen)
        assert running.returncode == 0
        assert b"5/5" in shown

    def test_no_progress_in_a_log(self, program: Program) -> None:
        assert "Executing" not in program("run-notebook", "fail.ipynb", "-p", "seed", "8").err


class TestRerun:
    @pytest.fixture
    def temporary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Where temporary worktrees are made; none stays."""
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        yield folder
        assert not list(folder.glob("deriva-ml-hooks-*"))

    def test_it_runs_as_it_was_committed_with_the_same_parameters(
        self, repo: Repo, program: Program, temporary: Path
    ) -> None:
        repo.write("more.log", "rate: 0.25\n")
        words = ("-p", "seed", "3", "-f", "../more.log", "--output", "../shown.log")
        assert program("run-notebook", "show.ipynb", *words, cwd=repo.path / "nb").code == 0
        first = newest(program)
        repo.write("nb/show.ipynb", notebook(DEFAULTS, "print('another')"))
        repo.commit("Another")
        repo.write("nb/show.ipynb", "dirty")
        (repo.path / "more.log").unlink()
        shown = (repo.path / "shown.log").read_bytes()
        done = program("rerun", first["id"])
        assert done.code == 0, done.err
        again = newest(program)
        for field in ("commit", "cwd", "entry_point"):
            assert again[field] == first[field], field
        assert (again["rerun_of"], again["status"]) == (first["id"], "Completed")
        assert again["command"] == first["command"][:-2]
        for field in ("parameters", "kernel"):
            assert again["notebook"][field] == first["notebook"][field], field
        seed, rate, where, _ = json.loads(outputs(again["notebook"]["output"])[2])
        assert (seed, rate) == (3, 0.25)
        assert where.startswith(str(temporary))
        assert where.endswith("/repo/nb")
        assert (repo.path / "shown.log").read_bytes() == shown
        assert program("rerun", again["id"]).code == 0
        assert newest(program)["notebook"]["parameters"] == {"seed": 3, "rate": 0.25}

    def test_parameters_that_lead_back(self, repo: Repo, program: Program) -> None:
        repo.write("path.ipynb", notebook("path = ''", "print(path)"))
        repo.commit("Path")
        assert program("run-notebook", "path.ipynb", "-p", "path", f"{repo.path}/fail.ipynb").code == 0
        done = program("rerun", newest(program)["id"])
        assert (done.code, "your own worktree" in done.err) == (125, True)

    def test_parameters_that_an_earlier_release_has_masked_are_shown_and_not_run(
        self, repo: Repo, program: Program
    ) -> None:
        assert program("run-notebook", "nb/show.ipynb", "-p", "seed", "3").code == 0
        with sqlite3.connect(repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3") as ledger:
            ledger.execute("UPDATE executions SET notebook = json_set(notebook, '$.parameters.token', '***')")
        record = newest(program)
        assert record["notebook"]["parameters"] == {"seed": 3, "token": "***"}
        assert "token = ***" in program("executions", "show", record["id"]).out.replace("'", "").replace(
            '"', ""
        )
        done = program("rerun", record["id"])
        assert (done.code, "stands for a secret" in done.err) == (125, True), done.err

    def test_the_kernel_imports_what_was_committed_or_is_refused(
        self, repo: Repo, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path
    ) -> None:
        """A kernel of another environment, in which the repository's package is installed as editable."""
        repo.write("src/package.py", "WORD = 'committed'\n")
        repo.write("word.ipynb", notebook("import package", "print(package.WORD)", kernel="other"))
        repo.commit("Package")
        venv = tmp_path / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        [packages] = venv.glob("lib/python*/site-packages")
        own = [path for path in sys.path if path.endswith("-packages")]
        (packages / "these.pth").write_text("\n".join([*own, f"{repo.path}/src"]) + "\n")
        kernel = tmp_path / "jupyter" / "kernels" / "other"
        kernel.mkdir(parents=True)
        monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
        spec: dict[str, Any] = {"display_name": "other", "language": "python"}
        spec["argv"] = [str(venv / "bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (kernel / "kernel.json").write_text(json.dumps(spec))
        assert program("run-notebook", "word.ipynb").code == 0
        first = newest(program)["id"]
        repo.write("src/package.py", "WORD = 'dirty'\n")
        done = program("rerun", first)
        assert done.code == 0, done.err
        assert "committed" in outputs(newest(program)["notebook"]["output"])[1]
        (kernel / "kernel.json").write_text(json.dumps(spec | {"env": {"PYTHONPATH": f"{repo.path}/src"}}))
        done = program("rerun", first)
        assert done.code == 125
        assert "your own worktree" in done.err
        (kernel / "kernel.json").unlink()
        done = program("rerun", first)
        assert done.code == 125
        assert "no such kernel" in done.err
