"""`executions list` and `verify` over 10,000 and 100,000 records, in pipes and on a terminal."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from benchmarks.repositories import with_files
from benchmarks.timing import Command, in_turn, milliseconds, table
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.location import ledger_path
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.git.discovery import measured

OURS = (sys.executable, "-m", "deriva_ml_hooks")
_ON_A_TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"


def main(folder: Path, runs: int) -> None:
    """Print the table."""
    rows = [("records", "command", "median", "memory")]
    for count in (10_000, 100_000):
        (folder / str(count)).mkdir()
        work = with_files(folder / str(count), 10)
        fill(work, count)
        listing = (*OURS, "executions", "list")
        commands = {
            "list --json-lines": Command((*listing, "--json-lines"), str(work)),
            "list --json": Command((*listing, "--json"), str(work)),
            "list, in a pipe": Command(listing, str(work)),
            "list, on a terminal": Command((sys.executable, "-c", _ON_A_TERMINAL, *listing), str(work)),
            "verify": Command((*OURS, "verify"), str(work)),
        }
        for name, timed in in_turn(commands, runs).items():
            rows.append((f"{count:,}", name, milliseconds(timed), f"{timed.megabytes:.0f} MB"))
    print(table(rows))


def fill(work: Path, count: int) -> None:
    """Put `count` executions into the ledger: a real one, repeated with an id and a text of its own."""
    subprocess.run([*OURS, "run", "--quiet", "--", "true"], cwd=work, check=True)
    connection = sqlite3.connect(ledger_path(measured(str(work)), Config()))
    connection.execute("CREATE TEMP TABLE one AS SELECT * FROM executions")
    connection.execute("DELETE FROM executions")
    for number in range(count):
        # No two are alike, so that nothing is saved by knowing one already.
        connection.execute("UPDATE one SET id = ?, provenance = provenance || ?", (new_id(), " "))
        connection.execute("INSERT INTO executions SELECT * FROM one")
        if number % 100 == 99:
            connection.execute("UPDATE one SET provenance = trim(provenance)")
    connection.commit()
    connection.close()
