"""`recorded()` and `guard()` in a script of the user's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.guard.conftest import rows

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.guard.conftest import Typed

WITH = """\
import os, signal, sys
import deriva_ml_hooks

with deriva_ml_hooks.recorded("A try") as execution:
    print(execution.id, os.environ["DERIVA_ML_HOOKS_EXECUTION"], flush=True)
    {}
print("DERIVA_ML_HOOKS_EXECUTION" in os.environ)
"""
DECORATED = """\
import deriva_ml_hooks

@deriva_ml_hooks.recorded("Twice")
def train():
    print("trained")

train()
train()
"""
GUARDED = """\
import os, sys
import deriva_ml_hooks

deriva_ml_hooks.guard()
print("ran", *sys.argv[1:], sys.stdin.read())
raise SystemExit(3)
"""


@pytest.fixture
def script(project: Repo, typed: Typed) -> Any:
    """Commits a script, and runs it with these words."""

    def run(content: str, *words: str) -> Any:
        project.write("script.py", content)
        project.commit("Script")
        return typed("python", "script.py", *words)

    return run


@pytest.mark.parametrize(
    ("body", "code", "status", "detail"),
    [
        ("pass", 0, "Completed", None),
        ("sys.exit(0)", 0, "Completed", None),
        ("sys.exit(4)", 4, "Failed", None),
        ("sys.exit('so')", 1, "Failed", None),
        ("raise ValueError('no\\nmore')", 1, "Failed", "ValueError: no"),
        ("raise KeyboardInterrupt", -2, "Aborted", "signal 2"),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", -15, "Aborted", "signal 15"),
        ("os.kill(os.getpid(), signal.SIGHUP); signal.pause()", -1, "Aborted", "signal 1"),
    ],
)
def test_it_is_closed_at_any_end(
    project: Repo, script: Any, body: str, code: int, status: str, detail: str | None
) -> None:
    done = script(WITH.format(body))
    assert done.returncode == code, done
    (row,) = rows(project)
    assert (row["status"], row["detail"], row["description"]) == (status, detail, "A try")
    assert row["provenance"]["commit"] == project.git("rev-parse", "HEAD")
    assert row["entry_point"]["path"] == "script.py"
    assert done.stdout.startswith(f"{row['id']} {row['id']}\n")
    if body == "pass":
        assert done.stdout.endswith("False\n")


def test_a_kill_leaves_a_row_that_is_known_to_be_lost(project: Repo, script: Any, program: Any) -> None:
    assert script(WITH.format("os.kill(os.getpid(), signal.SIGKILL)")).returncode == -9
    assert "Aborted (lost)" in program("executions", "list").out


def test_a_tree_that_is_not_the_commit_is_refused(project: Repo, script: Any, typed: Typed) -> None:
    project.write("src/models/new.py")
    project.git("add", "--intent-to-add", "src/models/new.py")
    project.write("script.py", "")
    done = script("pass")  # commits everything
    assert done.returncode == 0
    project.write("src/models/helper.py", "FACTOR = 11\n")
    for content in (WITH.format("print('ran')"), GUARDED):
        project.write("script.py", content)
        done = typed("python", "script.py")
        assert "ran" not in done.stdout
        if sys.version_info >= (3, 11):
            assert "src/models/helper.py: changed since the commit" in done.stderr
            assert "fix: git commit -a" in done.stderr
    assert rows(project) == []


def test_a_fork_that_ends_does_not_close_it(project: Repo, script: Any) -> None:
    fork = "pid = os.fork()\n    if pid == 0: sys.exit(7)\n    os.waitpid(pid, 0)"
    assert script(WITH.format(fork)).returncode == 0
    (row,) = rows(project)
    assert (row["status"], row["exit_code"]) == ("Completed", 0)


def test_the_decorator_records_every_call(project: Repo, script: Any) -> None:
    assert script(DECORATED).stdout == "trained\ntrained\n"
    assert [row["description"] for row in rows(project)] == ["Twice", "Twice"]


def test_inside_a_run_there_is_one_row(project: Repo, typed: Typed) -> None:
    project.write("script.py", DECORATED)
    project.commit("Script")
    done = typed("python", "-m", "deriva_ml_hooks", "run", "--", "python", "script.py")
    assert done.stdout == "trained\ntrained\n"
    assert len(rows(project)) == 1


def test_what_changes_meanwhile_is_told(project: Repo, script: Any) -> None:
    script(WITH.format("open('src/models/helper.py', 'a').write('#')"))
    (row,) = rows(project)
    assert [change["path"] for change in row["changed_during_run"]] == ["src/models/helper.py"]


def test_code_that_was_loaded_before_it_changed_is_refused(project: Repo, script: Any) -> None:
    before = (
        "import subprocess, sys, time; sys.path.insert(0, 'src')\n"
        "while time.process_time() < 0.3: pass\n"
        "open('src/models/helper.py', 'a').write('#')\nimport models.helper\n"
        "subprocess.run(['git', 'checkout', '--quiet', 'src'])\n"
    )
    done = script(before + WITH.format("pass"))
    assert done.returncode == 1
    assert "written after this process began" in done.stderr
    assert rows(project) == []


def test_guard_starts_a_script_again_under_run_once(project: Repo, typed: Typed) -> None:
    project.write("script.py", GUARDED)
    project.commit("Script")
    done = typed("sh", "-c", "echo in | python script.py a 'b c'")
    assert (done.returncode, done.stdout) == (3, "ran a b c in\n\n")
    (row,) = rows(project)
    assert (row["status"], row["exit_code"], row["command"][-2:]) == ("Failed", 3, ["a", "b c"])


def test_another_thread_is_refused(project: Repo, script: Any) -> None:
    body = "import threading, deriva_ml_hooks\n\nthread = threading.Thread(target={})\nthread.start()\n"
    done = script(body.format("deriva_ml_hooks.recorded().__enter__"))
    assert "main thread" in done.stderr
    assert rows(project) == []


def test_guard_leaves_a_module_alone_that_pytest_imports(project: Repo, typed: Typed) -> None:
    project.write("script.py", GUARDED.replace("raise SystemExit(3)", ""))
    project.write("test_it.py", "import script\n\ndef test_it():\n    assert script\n")
    done = typed("python", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_it.py")
    assert (done.returncode, rows(project)) == (0, []), done


@pytest.mark.parametrize("function", ["async def f(): pass", "def f(): yield"])
def test_a_function_whose_body_runs_later_is_not_decorated(script: Any, function: str) -> None:
    done = script(f"import deriva_ml_hooks\n\n@deriva_ml_hooks.recorded()\n{function}\n")
    assert "when the record is closed" in done.stderr
