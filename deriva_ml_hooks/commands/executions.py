"""`deriva-ml-hooks executions`: what is in the ledger."""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Optional

import typer

from deriva_ml_hooks.catalog.address import parse
from deriva_ml_hooks.commands import output
from deriva_ml_hooks.config import Config, load
from deriva_ml_hooks.errors import NotARepositoryError
from deriva_ml_hooks.executions.circumstances import FILE
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.places import ledger_of
from deriva_ml_hooks.executions.publications import Publication, everywhere
from deriva_ml_hooks.executions.record import LOST, Execution
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.redact import redact_command
from deriva_ml_hooks.report import printable, shown
from deriva_ml_hooks.runner import baked

program = typer.Typer(help="What was run here: the records in the ledger.", no_args_is_help=True)

_COLOURS = {"Completed": "green", "Failed": "red", "Aborted": "yellow", "Running": "cyan"}
_ROOM = 20
"""Columns of a terminal that the commands of a list get at least."""

_Published = dict[str, list[dict[str, Optional[str]]]]


@program.command("list")
def list_(
    as_json: bool = typer.Option(False, "--json", help="Print an array, newest first."),
    limit: Optional[int] = typer.Option(None, "--limit", min=1, help="At most this many."),
) -> None:
    """The executions, newest first."""
    # One more than is shown, so that what is shown of an id tells it from that one too.
    ledger = ledger_here()
    everything = ledger.newest(None if limit is None else limit + 1)
    found = everything[:limit]
    published = _published(ledger, found)
    if as_json:
        output.data([_as_json(execution, published) for execution in found])
    elif not found:
        output.note("no executions yet; the first one: deriva-ml-hooks run -- COMMAND")
    else:
        _table(found, _unique_length([execution.id for execution in everything]), published)


@program.command("show")
def show(
    execution_id: str = typer.Argument(..., metavar="ID", help="An id, or enough of its beginning."),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """One execution, whole."""
    ledger = ledger_here()
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
        ("command", shlex.join(redact_command(execution.command))),
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
        ("by", _who(execution.agent)),
        ("host", f"{execution.host}, process {execution.pid}"),
    ]
    pairs += [("result", f"{result['path']} ({result['sha256']})") for result in execution.results]
    pairs += [("warning", warning["message"]) for warning in execution.warnings]
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
    return ledger_of(repository, load(repository.worktree))


def _config_here() -> Config:
    try:
        return load(discover().worktree)
    except NotARepositoryError:  # an image without one
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


def _table(found: list[Execution], length: int, published: _Published) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = {
        "ID": [Text(execution.id[:length]) for execution in found],
        "STARTED (UTC)": [Text(execution.started_at[:19].replace("T", " ")) for execution in found],
        "STATUS": [
            Text(printable(_status(execution)), style=_COLOURS[execution.status]) for execution in found
        ],
        "TIME": [Text(_duration(execution) or "") for execution in found],
        "COMMIT": [Text(execution.provenance["commit"][:9]) for execution in found],
        "VERSION": [Text(shown(e.provenance["tag"] or e.provenance["version"] or "")) for e in found],
    }
    rids = [next((p["rid"] for p in published[e.id] if p["rid"]), None) for e in found]
    if any(rids):
        columns["RID"] = [Text(printable(rid or "")) for rid in rids]
    commands = [Text(printable(shlex.join(redact_command(execution.command)))) for execution in found]
    console = Console()
    widths = {name: max(len(name), *map(len, cells)) + 2 for name, cells in columns.items()}
    if sys.stdout.isatty():
        for name in ("VERSION", "COMMIT", "TIME"):  # they are in `show`; the command is what people look for
            if sum(widths.values()) + _ROOM > console.width:
                del columns[name], widths[name]
        for command in commands:  # here, since a table that is too wide takes from every column
            command.truncate(max(console.width - sum(widths.values()), _ROOM), overflow="ellipsis")
    else:  # a pipe has no width, also where colours are forced: nothing is cut off
        console.width = sum(widths.values()) + max(command.cell_len for command in commands) + 80
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
