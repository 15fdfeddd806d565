"""`deriva-ml-hooks rerun`: a recorded command once more, from exactly the recorded commit."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Optional

import typer

from deriva_ml_hooks.commands.conclusion import complain, concluded, require_json
from deriva_ml_hooks.commands.executions import ID
from deriva_ml_hooks.commands.run import keeper
from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import LedgerError
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.report import few
from deriva_ml_hooks.runner.isolation.isolated import Isolated, run_isolated
from deriva_ml_hooks.runner.isolation.rerun import given, left_out, lost_variables, request_of, task_of

if TYPE_CHECKING:
    from deriva_ml_hooks.executions.record import Execution


def rerun(
    execution_id: str = ID,
    keep: bool = typer.Option(False, "--keep", help="Leave the temporary worktree behind."),
    output: Optional[list[str]] = typer.Option(
        None, "--output", metavar="PATH", help="Copy this back afterwards; may be given several times."
    ),
    json_file: Optional[str] = typer.Option(None, "--json", metavar="FILE", help="Write the record to FILE."),
    quiet: bool = typer.Option(False, "--quiet", help="No line before and after, no progress."),
) -> None:
    """Run a recorded command again, from exactly the recorded commit, in a temporary worktree.

    Exit: the command's own code, as `run` has it; 125 refused, nothing was started.
    """

    progress = not quiet and sys.stderr is not None and sys.stderr.isatty()

    def say(line: str) -> None:
        if not quiet:
            complain(line)

    def again() -> tuple[int, Execution]:
        home = measured()
        first = ledger_of(home, load(home.worktree)).find(execution_id)
        if any("\0" in word for word in first.command):
            fix = f"deriva-ml-hooks verify {shlex.quote(first.id)}"
            raise LedgerError(f"{first.id}: a word of its command holds a NUL: nothing can run so", fix=fix)
        wanted = Isolated(
            request_of(first, home, output or ()),
            commit=first.provenance["commit"],
            cwd=first.cwd,
            outputs=output or (),
            keep=keep,
            rerun_of=first.id,
            given=given(first),
            task=task_of(first, progress=progress),
            stdin=first.stdin,
            warnings=left_out(first),
            python=(first.interpreter or {}).get("version"),
        )
        lost = lost_variables(first, os.environ)
        if lost:
            say(f"not set now, but in the first run: {few(lost, most=8)}")
        return run_isolated(wanted, say=say, complain=complain, keeps=keeper(quiet=quiet))

    require_json(json_file)
    raise typer.Exit(concluded(again, json_file))
