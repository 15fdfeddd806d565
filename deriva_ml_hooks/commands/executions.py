"""`deriva-ml-hooks executions`: what is in the ledger."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.config import Config, load
from deriva_ml_hooks.errors import BareRepositoryError, HooksError, NotARepositoryError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.circumstances import FILE
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.places import default_path, image_ledger, ledger_of
from deriva_ml_hooks.executions.publications import Publication, everywhere
from deriva_ml_hooks.executions.record import LOST, NOT_STARTED, Execution
from deriva_ml_hooks.executions.rows import Damaged, line
from deriva_ml_hooks.git import own
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.redact import redact, redacted, shown_command
from deriva_ml_hooks.report import as_error, few, printable, shown

program = typer.Typer(help="What was run here: the records in the ledger.", no_args_is_help=True)

_COLUMNS = {
    "ID": 36,
    "STARTED (UTC)": 19,
    "STATUS": 18,
    "TIME": 9,
    "COMMIT": 9,
    "VERSION": 20,
    "RID": 6,
    "DESCRIPTION": 11,
    "COMMAND": 0,
}
"""The columns of the list, and how wide they are in a pipe, where nothing is cut off."""
_LESS = ("VERSION", "COMMIT", "TIME", "STARTED (UTC)", "DESCRIPTION", "RID", "STATUS")
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
_NONE = "no executions yet; the first one: deriva-ml-hooks run -- COMMAND"

_Published = Mapping[str, list[dict[str, Optional[str]]]]


def ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest ids that begin so, and what ran, for a shell that completes words."""
    try:
        rows = [row for row in itertools.islice(ledger_here().rows(), 100) if isinstance(row, Execution)]
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
    if as_json or as_lines:
        damaged = _stream(ledger, limit, as_lines=as_lines)
    elif sys.stdout.isatty():
        damaged = _screen(ledger, limit)
    else:
        damaged = _lines(ledger, limit)
    for row in damaged:
        output.note(as_error(ledger.damage(row)))
    raise typer.Exit(1 if damaged else 0)


def _stream(ledger: Ledger, limit: Optional[int], *, as_lines: bool) -> list[Damaged]:
    """JSON as it is read: what is printed is not kept."""
    damaged: list[Damaged] = []
    opening, between, closing = ("", "\n", "\n") if as_lines else ("[", ",\n ", "]\n")
    mark = opening
    for page in ledger.pages(limit):
        published = _published(ledger, [row[0] for row in page])
        lines = (
            line(row, _more(published, row[0])) or _line(ledger.now(row), published, damaged) for row in page
        )
        sys.stdout.write(mark + between.join(lines))
        mark = between
    sys.stdout.write(closing if mark == between else "" if as_lines else "[]\n")
    return damaged


def _line(row: Execution | Damaged, published: _Published, damaged: list[Damaged]) -> str:
    """The same for a row that takes a closer look."""
    if isinstance(row, Execution):
        return json.dumps(redacted(_as_json(row, published)))
    damaged.append(row)
    return json.dumps({"id": printable(row.id), "error": row.problem})


def _lines(ledger: Ledger, limit: Optional[int]) -> list[Damaged]:
    """A line for each, whole: a pipe has no width, so nothing is cut off."""
    damaged: list[Damaged] = []
    head: list[tuple[str, ...]] = [tuple(_COLUMNS)]
    for page in ledger.pages(limit):
        published = _published(ledger, [row[0] for row in page])
        sound = [*_sound(map(ledger.now, page), damaged)]
        cells = [tuple(cell or "-" for cell in _cells(row, published)) for row in sound]
        if cells:
            output.as_is("\n".join(output.columns(head + cells, list(_COLUMNS.values()))))
            head = []
    if head and not damaged:
        output.note(_NONE)
    return damaged


def _sound(rows: Iterable[Execution | Damaged], damaged: list[Damaged]) -> Iterator[Execution]:
    for row in rows:
        if isinstance(row, Execution):
            yield row
        else:
            damaged.append(row)


def _screen(ledger: Ledger, limit: Optional[int]) -> list[Damaged]:
    """A table of what fits on the terminal, or of as many as are asked for."""
    size = shutil.get_terminal_size()
    most = limit or max(size.lines - _AROUND, 1)
    damaged: list[Damaged] = []
    # One more than is shown, so that what is shown of an id tells it from that one too.
    page = [row for rows in ledger.pages(most + 1) for row in rows]
    found = [*_sound(map(ledger.now, page), damaged)]
    if found:
        length = _unique_length([execution.id for execution in found])
        _table(size.columns, found[:most], length, _published(ledger, [row.id for row in found[:most]]))
    elif not damaged:
        output.note(_NONE)
    if limit is None and len(page) > most:
        output.note("there are more, older ones: --limit N")
    return damaged


@program.command("show", epilog="Example: deriva-ml-hooks executions show last")
def show(
    execution_id: str = ID,
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
) -> None:
    """One execution, whole."""
    ledger = ledger_here()
    look_after_jobs(ledger)
    execution = ledger.find(execution_id)
    published = _published(ledger, [execution.id])
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
        ("started by", f"execution {execution.parent}" if execution.parent else None),
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
        *_of_notebook(execution.notebook or {}),
        ("Python", (execution.interpreter or {}).get("version")),
        ("input", _input(execution.stdin)),
        ("job", _job(execution.job)),
        ("by", _who(execution.agent or {})),
        ("host", f"{execution.host}, process {execution.pid}"),
        *(("result", f"{result['path']} ({result['sha256']})") for result in execution.results),
        *(("warning", text) for text in _gathered(execution.warnings)),
        *(("changed", text) for text in _gathered(execution.changed_during_run)),
    ]
    for publication in _more(published, execution.id).get("publications", ()):
        pairs.append(("catalog", f"{publication['catalog']}, {publication['state']}"))
        pairs.append(("RID", publication["rid"]))
        pairs.append(("record", publication["url"]))
        pairs.append(("not published", publication["error"]))
    output.text(output.fields(pairs))


def _gathered(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Findings with the paths that they are about, those of equal words together."""
    paths: dict[str, list[str]] = {}
    for finding in findings:
        paths.setdefault(finding["message"], []).extend([path] if (path := finding.get("path")) else [])
    for message, about in paths.items():
        yield f"{message}: {few(about, most=8)}" if about else message


def _of_notebook(notebook: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
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


def _who(agent: Mapping[str, Any]) -> Optional[str]:
    forms = {"name": "{}", "email": "<{}>", "account": "account {}"}
    return " ".join(form.format(agent[key]) for key, form in forms.items() if agent.get(key)) or None


def ledger_here() -> Ledger:
    """The ledger of the working directory's repository; of the image, where there is none."""
    try:
        repository = discover()
    except NotARepositoryError:
        ledger = image_ledger()
        if ledger is None:
            raise
        return ledger
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


def whole(execution: Execution) -> dict[str, Any]:
    """An execution of the ledger that is here as `executions show --json` prints it."""
    return _as_json(execution, _published(ledger_here(), [execution.id]))


def _as_json(execution: Execution, published: _Published) -> dict[str, Any]:
    return execution.as_json() | _more(published, execution.id)


def _more(published: _Published, execution_id: str) -> dict[str, Any]:
    return {"publications": redacted(published[execution_id])} if execution_id in published else {}


def _published(ledger: Ledger, execution_ids: Sequence[str]) -> _Published:
    """What is known of executions in catalogs, as JSON, by id; `url` is where Chaise shows the row."""
    known = everywhere(ledger, [id_ for id_ in execution_ids if isinstance(id_, str) and id_.isascii()])
    if not known:
        return {}
    try:
        schema = load(discover().worktree).schema
    except (NotARepositoryError, BareRepositoryError):  # an image, or beside the worktrees
        schema = Config().schema
    return {id_: [_publication(publication, schema) for publication in of_it] for id_, of_it in known.items()}


def _publication(publication: Publication, schema: str) -> dict[str, Optional[str]]:
    from deriva_ml_hooks.catalog.settings import parse

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
    of_it = published.get(execution.id, ())
    return (
        execution.id,
        printable(execution.started_at[:19].replace("T", " ")),
        printable(_status(execution)),
        _duration(execution) or "",
        printable(provenance["commit"][:9]),
        shown(provenance["tag"] or provenance["version"] or ""),
        printable(next((p["rid"] for p in of_it if p["rid"]), None) or ""),
        printable(redact(execution.description or "")),
        printable(shown_command(execution.command)),
    )


def _table(width: int, found: list[Execution], length: int, published: _Published) -> None:
    """A line for each on a terminal of `width` columns, with as much of an id as `length`."""
    from rich.cells import cell_len, set_cell_size

    rows = [(row.id[:length], *_cells(row, published)[1:]) for row in found]
    columns = {name: list(cells) for name, *cells in zip(_COLUMNS, *rows, strict=True)}
    for name in ("RID", "DESCRIPTION"):
        if not any(columns[name]):
            del columns[name]
    widths = {name: max(map(cell_len, (name, *cells))) for name, cells in columns.items()}
    if "DESCRIPTION" in widths:
        widths["DESCRIPTION"] = min(widths["DESCRIPTION"], _DESCRIPTION)
    command = widths.pop("COMMAND")
    for name in ("", *_LESS):
        widths.pop(name, 0)
        room = width - sum(widths.values()) - 2 * len(widths)
        if room >= min(_COMMAND, command, width // 3):
            break
    widths["COMMAND"] = max(room, 1)

    def fitted(cell: str, wide: int) -> str:
        return set_cell_size(cell, wide) if cell_len(cell) <= wide else set_cell_size(cell, wide - 1) + "…"

    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    output.as_is("  ".join(fitted(name, wide) for name, wide in widths.items()).rstrip())
    for at, execution in enumerate(found):
        cells = {name: fitted(columns[name][at], wide) for name, wide in widths.items()}
        if "STATUS" in cells and not plain:
            cells["STATUS"] = f"\x1b[{_COLOURS[execution.status]}m{cells['STATUS']}\x1b[0m"
        output.as_is("  ".join(cells.values()).rstrip())


def _unique_length(ids: list[str]) -> int:
    """How much of an id tells it from its neighbours; ids sort by time, so neighbours are enough."""
    longest = _TIME_IN_ID
    for one, other in itertools.pairwise(ids):
        shared = next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))
        longest = max(longest, shared + 1)
    return longest


def _status(execution: Execution) -> str:
    """How it ended, and a mark where the worktree did not stay what it was accepted as."""
    why = execution.detail
    if execution.status == "Running" and processes.is_elsewhere(execution.host, execution.process):
        why = "elsewhere"
    elif (why or "").startswith(NOT_STARTED):
        why = "not started"
    elif execution.status == "Failed" and execution.signal is None and why != LOST:
        why = str(execution.exit_code)
    changed = ", changed" if execution.changed_during_run else ""
    return f"{execution.status} ({why}){changed}" if why else execution.status + changed


def _duration(execution: Execution) -> str | None:
    if execution.duration is None:
        return None
    minutes, seconds = divmod(execution.duration, 60)
    if minutes < 1:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{int(seconds):02d}" if hours else f"{minutes}:{int(seconds):02d} min"
