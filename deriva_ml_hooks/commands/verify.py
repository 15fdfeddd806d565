"""`deriva-ml-hooks verify`: whether what the ledger says is true."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.commands.executions import ids as known
from deriva_ml_hooks.commands.executions import look_after_jobs
from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.verify.checks import Row, verify
from deriva_ml_hooks.verify.verdicts import Verifications

if TYPE_CHECKING:
    from deriva_ml_hooks.executions.record import Execution


def verify_(
    ids: Optional[list[str]] = typer.Argument(
        None, metavar="ID", help="Ids, enough of each, or `last`.", autocompletion=known
    ),
    everything: bool = typer.Option(False, "--all", help="Every execution, which is also the default."),
    as_json: bool = typer.Option(False, "--json", help="Print what was found as JSON."),
    remote: bool = typer.Option(
        False, "--remote", help="Ask the remotes themselves, not what is known of them here."
    ),
) -> None:
    """Hold the executions in the ledger against the repository as it is now.

    Exit 0: all verified. 1: one at least is not, or it cannot be told. 2: usage or configuration error.
    """
    if ids and everything:
        raise UsageError("ids and --all exclude each other", fix="deriva-ml-hooks verify --all")
    repository = measured()
    config = load(repository.worktree)
    ledger = ledger_of(repository, config)
    look_after_jobs(ledger)
    rows: Callable[[], Iterable[Row]] = ledger.rows
    if ids:
        wanted = list({found.id: found for found in map(ledger.row_of, ids)}.values())
        rows = lambda: wanted  # noqa: E731
    chosen = remotes.chosen(repository, configured=config.remote, hosts=config.hosts)
    total = len(wanted) if ids else ledger.count()
    with output.progress("executions", total, quiet=as_json and sys.stdout.isatty()) as tick:
        found = verify(
            repository,
            rows,
            remote=chosen.name if chosen else None,
            hosts=config.hosts,
            ask=remote,
            runs=lambda execution: _runs(execution, repository.worktree),
            tick=tick,
        )
        verifications = Verifications([*found])
    if as_json:
        output.data(verifications.as_json())
    else:
        if findings := verifications.findings():
            output.note(findings + "\n")
        for line in verifications.notes():
            output.note(line)
        output.text(verifications.summary())
    raise typer.Exit(verifications.exit_code)


def _runs(execution: Execution, worktree: str) -> str | None:
    """What a command runs, by its words alone, as `Runs` has it."""
    from deriva_ml_hooks.runner.command.invocation import Kind, invocation

    if execution.notebook is not None:
        return None
    cwd = os.path.join(worktree, execution.cwd)
    found = invocation(execution.command, cwd=cwd, top=worktree, executable=None)
    if found.kind is Kind.INLINE:
        return ""
    if found.kind is not Kind.FILE or found.path is None or found.guessed is not None:
        return None
    if "://" in found.path:
        return found.path
    way = inside(os.path.realpath(found.path), os.path.realpath(worktree))
    return None if os.path.islink(found.path) else way or found.path
