"""`deriva-ml-hooks executions`: what is in the ledger."""

from __future__ import annotations

import itertools
import shlex
from typing import Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.config import load
from deriva_ml_hooks.executions.ledger import Ledger, ledger_path
from deriva_ml_hooks.executions.record import LOST, Execution
from deriva_ml_hooks.git.repository import discover
from deriva_ml_hooks.report import printable

program = typer.Typer(help="What was run here: the records in the ledger.", no_args_is_help=True)

_COLOURS = {"Completed": "green", "Failed": "red", "Aborted": "yellow", "Running": "cyan"}


@program.command("list")
def list_(
    as_json: bool = typer.Option(False, "--json", help="Print an array, newest first."),
    limit: Optional[int] = typer.Option(None, "--limit", min=1, help="At most this many."),
) -> None:
    """The executions, newest first."""
    found = _ledger().newest(limit)
    if as_json:
        output.data([execution.as_json() for execution in found])
    elif not found:
        output.note("no executions yet; the first one: deriva-ml-hooks run -- COMMAND")
    else:
        _table(found)


@program.command("show")
def show(
    execution_id: str = typer.Argument(..., metavar="ID", help="An id, or enough of its beginning."),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """One execution, whole."""
    execution = _ledger().find(execution_id)
    if as_json:
        output.data(execution.as_json())
        return
    provenance, entry_point = execution.provenance, execution.entry_point
    pairs = [
        ("id", execution.id),
        ("status", _status(execution)),
        ("exit code", execution.exit_code),
        ("command", shlex.join(execution.command)),
        ("in", execution.cwd),
        ("description", execution.description),
        ("started", execution.started_at),
        ("ended", execution.ended_at),
        ("duration", _duration(execution)),
        ("commit", provenance["commit"]),
        ("branch", provenance["branch"] or "detached HEAD"),
        ("tag", provenance["tag"]),
        ("version", provenance["version"]),
        ("repository", provenance["repository_url"]),
        ("pushed", provenance["pushed"] or "not when it ran"),
        ("entry point", entry_point["path"] or "the tree as a whole"),
        ("checksum", entry_point["checksum"]),
        ("url", entry_point["url"]),
        ("host", f"{execution.host}, process {execution.pid}"),
    ]
    pairs += [("warning", warning["message"]) for warning in execution.warnings]
    pairs += [
        ("changed", f"{change['path'] or ''} {change['message']}".strip())
        for change in execution.changed_during_run
    ]
    output.text(output.fields(pairs))


def _ledger() -> Ledger:
    repository = discover()
    return Ledger(ledger_path(repository, load(repository.worktree)))


def _table(found: list[Execution]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    length = _unique_length([execution.id for execution in found])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("ID", "STARTED", "STATUS", "TIME", "COMMIT", "VERSION"):
        table.add_column(name, no_wrap=True)
    table.add_column("COMMAND", overflow="ellipsis", no_wrap=True)
    for execution in found:
        provenance = execution.provenance
        table.add_row(
            execution.id[:length],
            execution.started_at[:19].replace("T", " "),
            Text(_status(execution), style=_COLOURS[execution.status]),
            _duration(execution) or "",
            provenance["commit"][:9],
            Text(provenance["tag"] or provenance["version"] or ""),
            Text(printable(shlex.join(execution.command))),
        )
    console = Console(soft_wrap=False)
    if not console.is_terminal:  # a pipe has no width: nothing is cut off in a log
        console = Console(width=10_000)
    console.print(table)


def _unique_length(ids: list[str]) -> int:
    """How much of an id tells it from its neighbours; ids sort by time, so neighbours are enough."""
    longest = 8
    for one, other in itertools.pairwise(ids):
        shared = next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))
        longest = max(longest, shared + 1)
    return longest


def _status(execution: Execution) -> str:
    if execution.detail == LOST:
        return f"{execution.status} ({LOST})"
    if execution.status == "Failed" and execution.signal is None:
        return f"{execution.status} ({execution.exit_code})"
    return f"{execution.status} ({execution.detail})" if execution.detail else execution.status


def _duration(execution: Execution) -> str | None:
    if execution.duration is None:
        return None
    minutes, seconds = divmod(execution.duration, 60)
    if minutes < 1:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{int(seconds):02d}" if hours else f"{minutes}:{int(seconds):02d} min"
