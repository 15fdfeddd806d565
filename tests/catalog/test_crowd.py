"""Many runs at once, killed and cut off at random: in the end one row for each, with the right workflow."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from catalog_server import Fault

from deriva_ml_hooks.catalog.rows import address
from deriva_ml_hooks.config import load
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.location import ledger_path
from deriva_ml_hooks.git.discovery import measured

pytestmark = pytest.mark.slow

PROCESSES, EACH = 8, 25
CHANCE = random.Random(8)

# What `run` does, without starting Python for each: a process goes on where one that was killed has stopped.
WORKER = """\
import sys
from deriva_ml_hooks.config import load
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.location import ledger_path
from deriva_ml_hooks.runner.request import Request, accept
from deriva_ml_hooks.runner.recorded import run_recorded
name, count = sys.argv[1], int(sys.argv[2])
accepted = accept(Request(["python", f"{name}.py"], name))
ledger = Ledger(ledger_path(accepted.repository, accepted.verdict.config))
silent = lambda line: None
while sum(execution.description == name for execution in ledger.newest()) < count:
    run_recorded(accept(Request(["true"], name, f"{name}.py")), say=silent, complain=silent)
"""


class Sometimes(Fault):
    """A fault of every request with a chance."""

    def fits(self, method: str, path: str) -> bool:
        return CHANCE.random() < 0.04 and super().fits(method, path)


@pytest.mark.parametrize("form", ["later", "as-of-1.17.10"])
def test_two_hundred_executions_of_eight_processes(
    server: Any, repo: Any, program: Callable[..., Any], form: str
) -> None:
    # Where RIDs cannot be leased a kill between a request and its end cannot be told from one before it.
    kills = 12 if form == "later" else 0
    names = [f"w{number}" for number in range(PROCESSES)]
    for name in names:
        repo.write(f"{name}.py", f"print({name!r})\n")
    settings = f'catalog = "{server.host}/{form}"\nworkflow-type = "Training"\ncatalog-timeout = 5\n'
    repo.write("pyproject.toml", f"[tool.deriva-ml-hooks]\n{settings}")
    repo.commit("Workers")
    server.faults.append(Sometimes("drop"))
    count = EACH if form == "later" else 3
    workers = {name: start(repo.path, name, count) for name in names}
    kill = Sometimes("call", times=kills, call=lambda: CHANCE.choice([*workers.values()]).kill())
    server.faults.append(kill)
    for name in names:
        while workers[name].wait() != 0:
            assert workers[name].returncode == -9
            workers[name] = start(repo.path, name, count)
    syncs = [start_sync(repo.path) for _ in range(2)]
    for process in syncs:
        process.wait(60)
    server.faults.clear()
    assert program("sync").code == 0
    assert json.loads(program("sync", "--json").out)["published"] == 0

    repository = measured(str(repo.path))
    made = Ledger(ledger_path(repository, load(repository.worktree))).newest()
    assert len(made) == PROCESSES * count
    catalog = server.catalogs[form]
    rows = list(catalog.tables["Execution"].rows.values())
    assert len(rows) == len(made)
    workflows = catalog.tables["Workflow"].rows
    assert len(workflows) == PROCESSES
    for execution in made:
        (row,) = [row for row in rows if f"execution `{execution.id}`" in row["Description"]]
        workflow = workflows[row["Workflow"]]
        code = execution.entry_point
        assert workflow["URL"] == address(code["url"], execution.provenance["commit"], code["path"])
        assert workflow["Checksum"] == execution.entry_point["checksum"]
        assert row["Status"] == catalog_status(execution.status, form)


def catalog_status(ours: str, form: str) -> str:
    return {"Completed": "Uploaded"}.get(ours, ours) if form == "later" else ours


def start(folder: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, name, str(count)], cwd=folder)


def start_sync(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "deriva_ml_hooks", "sync"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
