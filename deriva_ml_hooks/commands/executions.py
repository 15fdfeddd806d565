"""`deriva-ml-hooks executions`: what is in the ledger."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Optional

import typer

from deriva_ml_hooks.catalog.address import parse
from deriva_ml_hooks.commands import output
from deriva_ml_hooks.config import Config, load
from deriva_ml_hooks.errors import BareRepositoryError, HooksError, LedgerError, NotARepositoryError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.circumstances import FILE
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.places import default_path, ledger_of
from deriva_ml_hooks.executions.publications import Publication, everywhere
from deriva_ml_hooks.executions.record import LOST, NOT_STARTED, Execution
from deriva_ml_hooks.executions.rows import COLUMNS, JSON, Damaged
from deriva_ml_hooks.git import own
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.redact import redact, redact_command, redacted, shown_command
from deriva_ml_hooks.report import as_error, few, printable, shown
from deriva_ml_hooks.runner import baked

if TYPE_CHECKING:
    from rich.console import Console

program = typer.Typer(help="What was run here: the records in the ledger.", no_args_is_help=True)

_COLOURS = {
    "Completed": "green",
    "Failed": "red",
    "Aborted": "yellow",
    "Running": "cyan",
    "Submitted": "blue",
}
_HEAD = ("ID", "STARTED (UTC)", "STATUS", "TIME", "COMMIT", "VERSION", "RID", "COMMAND")
_LINE = "{:<36}  {:<19}  {:<14}  {:<9}  {:<9}  {:<20}  {:<6}  {}"
_ROOM = 20
"""Columns of a terminal that the commands of a list get at least; a third of a narrow one."""
_AROUND = 4
"""Lines of a terminal for the head, a note, and what is typed next."""
_PAGE = 500
_NONE = "no executions yet; the first one: deriva-ml-hooks run -- COMMAND"

_Published = dict[str, list[dict[str, Optional[str]]]]


@program.command("list")
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
    if as_json or as_lines:
        damaged = _stream(ledger, limit, as_lines=as_lines)
    elif sys.stdout.isatty():
        damaged = _screen(ledger, limit)
    else:
        damaged = _lines(ledger, limit)
    for error in damaged:
        output.note(as_error(error))
    raise typer.Exit(1 if damaged else 0)


def _pages(ledger: Ledger, limit: Optional[int]) -> Iterator[tuple[list[Execution | Damaged], _Published]]:
    """The rows, newest first, and what is known of them in catalogs; a few hundred at a time."""
    rows = itertools.islice(ledger.rows(), None if limit is None else min(limit, sys.maxsize))
    while page := list(itertools.islice(rows, _PAGE)):
        yield page, _published(ledger, [row for row in page if isinstance(row, Execution)])


def _stream(ledger: Ledger, limit: Optional[int], *, as_lines: bool) -> list[LedgerError]:
    """JSON as it is read: what is printed is not kept."""
    damaged = []
    opening, between, closing = ("", "\n", "\n") if as_lines else ("[", ",\n ", "]\n")
    mark = opening
    for page, published in _pages(ledger, limit):
        lines = []
        for row in page:
            if isinstance(row, Execution):
                lines.append(_line(row, published))
            else:
                lines.append(json.dumps({"id": printable(row.id), "error": row.problem}))
                damaged.append(_error(ledger, row))
        sys.stdout.write(mark + between.join(lines))
        mark = between
    sys.stdout.write(closing if mark == between else "" if as_lines else "[]\n")
    return damaged


def _line(execution: Execution, published: _Published) -> str:
    """What `_as_json` and `output.data` make of it, faster: most of it was printed before."""
    told = {name: getattr(execution, name) for name in _PLAIN}
    told |= {name: _redacted(told[name]) for name in _FREE if told[name]}
    told["commit"] = execution.provenance["commit"]
    if of_it := published[execution.id]:
        told["publications"] = redacted(of_it)
    parts = [f'"{name}": {_nested(name, getattr(execution, name))}' for name in JSON]
    return f"{json.dumps(told)[:-1]}, {', '.join(parts)}}}"


_FREE = ("description", "detail", "cwd", "host")
_PLAIN = [name for name in COLUMNS if name not in JSON and name != "process"]
_redacted = lru_cache(maxsize=4096)(redact)
_printed: dict[int, tuple[Any, str]] = {}  # by identity, which a value keeps for as long as it is in here


def _nested(name: str, value: Any) -> str:
    if (known := _printed.get(id(value))) is None:
        if len(_printed) > 4096:
            _printed.clear()
        safe = redact_command(value) if name == "command" else redacted(value)
        known = _printed[id(value)] = value, json.dumps(safe)
    return known[1]


def _error(ledger: Ledger, row: Damaged) -> LedgerError:
    try:
        ledger.sound(row)
    except LedgerError as error:
        return error
    raise AssertionError("a damaged row is none that can be read")


def _lines(ledger: Ledger, limit: Optional[int]) -> list[LedgerError]:
    """A line for each, whole: a pipe has no width, so nothing is cut off."""
    damaged, head = [], True
    for page, published in _pages(ledger, limit):
        for row in page:
            if not isinstance(row, Execution):
                damaged.append(_error(ledger, row))
                continue
            if head:
                sys.stdout.write(_LINE.format(*_HEAD) + "\n")
                head = False
            sys.stdout.write(_LINE.format(*(cell or "-" for cell in _cells(row, published))) + "\n")
    if head and not damaged:
        output.note(_NONE)
    return damaged


def _screen(ledger: Ledger, limit: Optional[int]) -> list[LedgerError]:
    """A table of what fits on the terminal, or of as many as are asked for."""
    from rich.console import Console

    console = Console()
    # One more than is shown, so that what is shown of an id tells it from that one too.
    most = min(limit or max(console.height - _AROUND, 1), sys.maxsize - 1)
    found: list[Execution] = []
    damaged: list[LedgerError] = []
    published: _Published = {}
    for page, of_it in _pages(ledger, most + 1):
        found += [row for row in page if isinstance(row, Execution)]
        damaged += [_error(ledger, row) for row in page if isinstance(row, Damaged)]
        published |= of_it
    if found:
        _table(console, found[:most], _unique_length([execution.id for execution in found]), published)
    elif not damaged:
        output.note(_NONE)
    if limit is None and len(found) + len(damaged) > most:
        output.note("there are more, older ones: --limit N")
    return damaged


@program.command("show")
def show(
    execution_id: str = typer.Argument(..., metavar="ID", help="An id, or enough of its beginning."),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """One execution, whole."""
    ledger = ledger_here()
    look_after_jobs(ledger)
    execution = ledger.find(execution_id)
    published = _published(ledger, [execution])
    if as_json:
        output.data(_as_json(execution, published))
        return
    provenance, entry_point = execution.provenance, execution.entry_point
    pairs = [
        ("id", execution.id),
        ("status", _status(execution)),
        ("exit code", execution.exit_code),
        ("detail", execution.detail),
        ("command", shown_command(execution.command)),
        ("in", execution.cwd),
        ("isolated", "in a temporary worktree" if execution.isolated else None),
        ("rerun of", execution.rerun_of),
        ("description", execution.description),
        ("started", execution.started_at),
        ("ended", execution.ended_at),
        ("duration", _duration(execution)),
        ("commit", provenance["commit"]),
        ("from", "the record of the image" if provenance.get("source") == "file" else None),
        ("branch", provenance["branch"] or "detached HEAD"),
        ("tag", provenance["tag"]),
        ("version", provenance["version"]),
        ("repository", provenance["repository_url"]),
        ("pushed", provenance["pushed"] or "not when it ran"),
        ("entry point", entry_point["path"] or "the tree as a whole"),
        ("checksum", entry_point["checksum"]),
        ("url", entry_point["url"]),
        *_of_notebook(execution.notebook),
        ("input", _input(execution.stdin)),
        ("job", _job(execution.job)),
        ("by", _who(execution.agent)),
        ("host", f"{execution.host}, process {execution.pid}"),
    ]
    pairs += [("result", f"{result['path']} ({result['sha256']})") for result in execution.results]
    pairs += [("warning", line) for line in _gathered(execution.warnings)]
    pairs += [
        ("changed", f"{change['path'] or ''} {change['message']}".strip())
        for change in execution.changed_during_run
    ]
    for publication in published[execution.id]:
        pairs.append(("catalog", f"{publication['catalog']}, {publication['state']}"))
        pairs.append(("RID", publication["rid"]))
        pairs.append(("record", publication["url"]))
        pairs.append(("not published", publication["error"]))
    output.text(output.fields(pairs))


def _gathered(warnings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Warnings with the paths that they are about, those of equal words together."""
    paths: dict[str, list[str]] = {}
    for warning in warnings:
        paths.setdefault(warning["message"], []).extend([path] if (path := warning.get("path")) else [])
    for message, about in paths.items():
        yield f"{message}: {few(about, most=8)}" if about else message


def _of_notebook(notebook: Optional[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    if notebook is None:
        return
    yield "kernel", notebook.get("kernel")
    for name, value in (notebook.get("parameters") or {}).items():
        yield "parameter", f"{name} = {json.dumps(value, ensure_ascii=False)}"
    yield "executed", notebook.get("output")
    yield "SHA-256", notebook.get("sha256")


def _input(stdin: Optional[Mapping[str, Any]]) -> Optional[str]:
    if stdin is None or stdin.get("kind") != FILE:
        return stdin.get("kind") if stdin else None
    return f"{stdin.get('path') or 'a file without a name'} ({stdin.get('sha256')})"


def _job(job: Optional[Mapping[str, Any]]) -> Optional[str]:
    return (
        f"{job['id'] or 'no id yet'}, by {job['submitter']} on {job['host']} at {job['at']}" if job else None
    )


def _who(agent: Optional[Mapping[str, Any]]) -> Optional[str]:
    known = agent or {}
    name, email, account = (known.get(key) for key in ("name", "email", "account"))
    shown = [name, f"<{email}>" if email else None, f"account {account}" if account else None]
    return " ".join(filter(None, shown)) or None


def ledger_here() -> Ledger:
    """The ledger of the working directory's repository; of the image, where there is none."""
    try:
        repository = discover()
    except NotARepositoryError:
        path = baked.ledger_path()
        if path is None:
            raise
        return Ledger(path)
    except BareRepositoryError as bare:  # beside its worktrees, which share the ledger
        path = default_path(bare.git_dir or bare.path)
        if not os.path.isfile(path):
            raise
        return Ledger(path)
    return ledger_of(repository, load(repository.worktree))


def look_after_jobs(ledger: Ledger) -> None:
    """Have the records of jobs that are gone closed, where any have been submitted here."""
    with suppress(HooksError, OSError):  # a disk that is only read; what is wrong there is told elsewhere
        home = discover()
        if os.path.isdir(os.path.join(own.folder(home.common_dir), "worktrees")):
            from deriva_ml_hooks.runner.isolation.submission import settle

            settle(home, ledger, lambda line: output.note(f"deriva-ml-hooks: {line}"))


def _config_here() -> Config:
    try:
        return load(discover().worktree)
    except (NotARepositoryError, BareRepositoryError):  # an image, or beside the worktrees
        return Config()


def whole(execution: Execution) -> dict[str, Any]:
    """An execution of the ledger that is here as `executions show --json` prints it."""
    return _as_json(execution, _published(ledger_here(), [execution]))


def _as_json(execution: Execution, published: _Published) -> dict[str, Any]:
    of_it = published[execution.id]
    return execution.as_json() | ({"publications": of_it} if of_it else {})


def _published(ledger: Ledger, found: list[Execution]) -> _Published:
    """What is known of executions in catalogs, as JSON, by id; `url` is where Chaise shows the row."""
    known = everywhere(ledger, [execution.id for execution in found])
    schema = _config_here().schema
    return {
        execution.id: [_publication(publication, schema) for publication in known.get(execution.id, ())]
        for execution in found
    }


def _publication(publication: Publication, schema: str) -> dict[str, Optional[str]]:
    there = publication.rid is not None and publication.state in ("published", "closed")
    rid = publication.rid if there else None
    return {
        "catalog": publication.catalog,
        "state": publication.state,
        "recorded_by": publication.recorded_by,
        "rid": rid,
        "workflow": publication.workflow if there else None,
        "url": parse(publication.catalog).record_url(schema, "Execution", rid) if rid else None,
        "error": publication.error,
    }


def _cells(execution: Execution, published: _Published) -> tuple[str, ...]:
    provenance = execution.provenance
    return (
        execution.id,
        printable(execution.started_at[:19].replace("T", " ")),
        printable(_status(execution)),
        _duration(execution) or "",
        printable(provenance["commit"][:9]),
        shown(provenance["tag"] or provenance["version"] or ""),
        printable(next((p["rid"] for p in published[execution.id] if p["rid"]), None) or ""),
        printable(shown_command(execution.command)),
    )


def _table(console: Console, found: list[Execution], length: int, published: _Published) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = [_cells(execution, published) for execution in found]
    columns = {name: [Text(cell) for cell in cells] for name, *cells in zip(_HEAD, *rows, strict=True)}
    columns["ID"] = [Text(execution.id[:length]) for execution in found]
    for text, execution in zip(columns["STATUS"], found, strict=True):
        text.stylize(_COLOURS[execution.status])
    if not any(columns["RID"]):
        del columns["RID"]
    commands = columns.pop("COMMAND")
    widths = {name: max(len(name), *map(len, cells)) + 2 for name, cells in columns.items()}
    room = min(_ROOM, console.width // 3)
    # They are in `show`; the command is what people look for, by an id that leads there.
    for name in ("VERSION", "COMMIT", "TIME", "STARTED (UTC)", "RID", "STATUS"):
        if name in widths and sum(widths.values()) + room > console.width:
            del columns[name], widths[name]
    for command in commands:  # here, since a table that is too wide takes from every column
        command.truncate(max(console.width - sum(widths.values()), 1), overflow="ellipsis")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=True)
    table.add_column("COMMAND", no_wrap=True)
    for cells in zip(*columns.values(), commands, strict=True):
        table.add_row(*cells)
    with console.capture() as drawn:
        console.print(table)
    output.as_is("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _unique_length(ids: list[str]) -> int:
    """How much of an id tells it from its neighbours; ids sort by time, so neighbours are enough."""
    longest = 8
    for one, other in itertools.pairwise(ids):
        shared = next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))
        longest = max(longest, shared + 1)
    return longest


def _status(execution: Execution) -> str:
    if execution.status == "Running" and processes.is_elsewhere(execution.host, execution.process):
        return "Running (elsewhere)"
    if (execution.detail or "").startswith(NOT_STARTED):
        return f"{execution.status} (not started)"
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
