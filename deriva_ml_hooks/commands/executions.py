"""`deriva-ml-hooks executions`: what is in the ledger."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Optional

import typer

from deriva_ml_hooks.commands import output, records
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.location import ledger_here
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.rows import Damaged
from deriva_ml_hooks.git import own
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.redact import redacted, shown_command
from deriva_ml_hooks.report import as_error

program = typer.Typer(help="What was run here: the records in the ledger.", no_args_is_help=True)

_LESS = ("", "VERSION", "COMMIT", "TIME", "STARTED (UTC)", "DESCRIPTION", "RID", "STATUS")
"""What a narrow terminal goes without, in this order: `show` has it."""
_COLOURS = {"Completed": 32, "Failed": 31, "Aborted": 33, "Running": 36, "Submitted": 34}
_COMMAND = 20
"""Columns of a terminal that the commands of a list get at least; a third of a narrow one."""
_DESCRIPTION = 30
"""Columns of a terminal that descriptions get at most."""
_AROUND = 4
"""Lines of a terminal for the head, a note, and what is typed next."""
_TIME_IN_ID = 13
"""How much of an id is the millisecond it was made in: no later one begins so."""


def ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest ids that begin so, and what ran, for a shell that completes words."""
    try:
        rows = [row for row in ledger_here().rows(100) if isinstance(row, Execution)]
    except HooksError:
        return []
    return [(row.id, shown_command(row.command)) for row in rows if row.id.startswith(incomplete)]


ID: Any = typer.Argument(
    ..., metavar="ID", help="An id, enough of its beginning, or `last`.", autocompletion=ids
)


@program.command("list", epilog="Example: deriva-ml-hooks executions list --json-lines --limit 100")
def list_(
    as_json: bool = typer.Option(False, "--json", help="Print an array, newest first."),
    as_lines: bool = typer.Option(
        False, "--json-lines", help="Print one JSON document a line, newest first."
    ),
    limit: Optional[int] = typer.Option(
        None, "--limit", min=1, help="At most this many (default: all; on a terminal what fits on it)."
    ),
) -> None:
    """The executions, newest first. Exit 1 where a row of the ledger cannot be read: that one is named."""
    ledger = ledger_here()
    look_after_jobs(ledger)
    damaged: list[Damaged] = []
    if as_json or as_lines:
        _stream(ledger, limit, damaged, as_lines=as_lines)
    elif not (_screen if sys.stdout.isatty() else _lines)(ledger, limit, damaged) and not damaged:
        output.note("no executions yet; the first one: deriva-ml-hooks run -- COMMAND")
    for row in damaged:
        output.note(as_error(ledger.damage(row)))
    raise typer.Exit(1 if damaged else 0)


def _stream(ledger: Ledger, limit: Optional[int], damaged: list[Damaged], *, as_lines: bool) -> None:
    """JSON as it is read: what is printed is not kept."""
    mark, between, end = ("", "\n", "\n") if as_lines else ("[", ",\n ", "]\n")
    for page in ledger.pages(limit):
        known = records.published(ledger, page)
        lines = [json.dumps(redacted(records.document(row, known))) for row in page]
        sys.stdout.write(mark + between.join(lines))
        mark = between
        damaged += [row for row in page if isinstance(row, Damaged)]
    if mark == between:
        sys.stdout.write(end)
    elif not as_lines:
        sys.stdout.write("[]\n")


def _lines(ledger: Ledger, limit: Optional[int], damaged: list[Damaged]) -> bool:
    """A line for each, whole: a pipe has no width, so nothing is cut off. False where there is none."""
    head = [tuple(records.COLUMNS)]
    for page in ledger.pages(limit):
        rows = [tuple(cell or "-" for cell in cells) for _, cells in _cells(ledger, page, damaged)]
        if rows:
            output.as_is("\n".join(output.columns(head + rows, list(records.COLUMNS.values()))))
            head = []
    return not head


def _cells(
    ledger: Ledger, rows: Sequence[Execution | Damaged], damaged: list[Damaged]
) -> list[tuple[Execution, tuple[str, ...]]]:
    """The executions among `rows` with their cells; the others go to `damaged`."""
    damaged += [row for row in rows if isinstance(row, Damaged)]
    known = records.published(ledger, rows)
    return [(row, records.cells(row, known)) for row in rows if isinstance(row, Execution)]


def _screen(ledger: Ledger, limit: Optional[int], damaged: list[Damaged]) -> bool:
    """A table of what fits on the terminal, or of as many as are asked for. False where there is none."""
    size = shutil.get_terminal_size()
    most = limit or max(size.lines - _AROUND, 1)
    # One more than is shown, so that what is shown of an id tells it from that one too.
    found = _cells(ledger, list(ledger.rows(most + 1)), damaged)
    if found:
        _table(size.columns, found[:most], _unique_length([row.id for row, _ in found]))
    if limit is None and len(found) + len(damaged) > most:
        output.note("there are more, older ones: --limit N")
    return bool(found)


def _table(width: int, found: Sequence[tuple[Execution, tuple[str, ...]]], length: int) -> None:
    """A line for each on a terminal of `width` columns, with as much of an id as `length`."""
    from rich.cells import cell_len, set_cell_size

    rows = [(row.id[:length], *cells[1:]) for row, cells in found]
    columns = dict(zip(records.COLUMNS, zip(*rows, strict=True), strict=True))
    widths = {name: max(map(cell_len, (name, *cells))) for name, cells in columns.items() if any(cells)}
    if "DESCRIPTION" in widths:
        widths["DESCRIPTION"] = min(widths["DESCRIPTION"], _DESCRIPTION)
    command = widths.pop("COMMAND")
    for name in _LESS:
        widths.pop(name, None)
        room = width - sum(widths.values()) - 2 * len(widths)
        if room >= min(_COMMAND, command, width // 3):
            break
    widths["COMMAND"] = max(room, 1)

    def fitted(cell: str, wide: int) -> str:
        return set_cell_size(cell, wide) if cell_len(cell) <= wide else set_cell_size(cell, wide - 1) + "…"

    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    output.as_is("  ".join(fitted(name, wide) for name, wide in widths.items()).rstrip())
    for at, (execution, _) in enumerate(found):
        shown = {name: fitted(columns[name][at], wide) for name, wide in widths.items()}
        if "STATUS" in shown and not is_plain:
            shown["STATUS"] = f"\x1b[{_COLOURS[execution.status]}m{shown['STATUS']}\x1b[0m"
        output.as_is("  ".join(shown.values()).rstrip())


def _unique_length(ids: list[str]) -> int:
    """How much of an id tells it from its neighbours; ids sort by time, so neighbours are enough."""
    longest = _TIME_IN_ID
    for one, other in itertools.pairwise(ids):
        shared = (at for at, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1)
        longest = max(longest, next(shared, len(one)) + 1)
    return longest


@program.command("show", epilog="Example: deriva-ml-hooks executions show last")
def show(
    execution_id: str = ID,
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """One execution, whole."""
    ledger = ledger_here()
    look_after_jobs(ledger)
    execution = ledger.find(execution_id)
    known = records.published(ledger, [execution])
    if as_json:
        output.data(records.document(execution, known))
    else:
        output.text(output.fields(list(records.details(execution, known))))


def look_after_jobs(ledger: Ledger) -> None:
    """Have the records of jobs that are gone closed, where any have been submitted here."""
    with suppress(HooksError, OSError):  # a disk that is only read; what is wrong there is told elsewhere
        home = measured()
        if os.path.isdir(os.path.join(own.folder(home.common_dir), "worktrees")):
            from deriva_ml_hooks.runner.isolation.submission import settle

            settle(home, ledger, lambda line: output.note(f"deriva-ml-hooks: {line}"))
