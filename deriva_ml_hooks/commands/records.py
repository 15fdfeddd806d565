"""How an execution looks: as a document of JSON, as the cells of a table, and whole, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from deriva_ml_hooks.config import Config, load
from deriva_ml_hooks.errors import BareRepositoryError, NotARepositoryError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.circumstances import FILE
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Publication, everywhere
from deriva_ml_hooks.executions.record import LOST, NOT_STARTED, Execution
from deriva_ml_hooks.executions.rows import Damaged
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.redact import redact, shown_command
from deriva_ml_hooks.report import few, printable

COLUMNS = {
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
"""The columns of a list, and how wide they are in a pipe, where nothing is cut off."""

Published = Mapping[str, Sequence[Mapping[str, Optional[str]]]]
"""What is known of executions in catalogs, as JSON, by the id of the execution."""


def published(ledger: Ledger, rows: Sequence[Execution | Damaged]) -> Published:
    """What is known of these in catalogs; `url` is where Chaise shows the row."""
    known = everywhere(ledger, [row.id for row in rows if isinstance(row, Execution)])
    if not known:
        return {}
    try:
        schema = load(measured().worktree).schema
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


def document(row: Execution | Damaged, known: Published) -> dict[str, Any]:
    """A row as JSON."""
    if isinstance(row, Damaged):
        return {"id": row.id, "error": row.problem}
    return row.as_json() | ({"publications": known[row.id]} if row.id in known else {})


def cells(execution: Execution, known: Published) -> tuple[str, ...]:
    """The cells of COLUMNS, safe to print."""
    provenance = execution.provenance
    rids = (publication["rid"] for publication in known.get(execution.id, ()))
    values = (
        execution.id,
        execution.started_at[:19].replace("T", " "),
        _status(execution),
        _duration(execution),
        provenance["commit"][:9],
        provenance["tag"] or provenance["version"],
        next(filter(None, rids), None),
        execution.description,
        shown_command(execution.command),
    )
    return tuple(printable(redact(value or "")) for value in values)


def details(execution: Execution, known: Published) -> Iterator[tuple[str, Any]]:
    """Every field with its name; None where there is nothing to say."""
    provenance, code = execution.provenance, execution.entry_point
    yield "id", execution.id
    yield "status", _status(execution)
    yield "exit code", execution.exit_code
    yield "detail", execution.detail
    yield "command", shown_command(execution.command)
    yield "in", execution.cwd
    yield "isolated", "in a temporary worktree" if execution.isolated else None
    yield "rerun of", execution.rerun_of
    yield "started by", f"execution {execution.parent}" if execution.parent else None
    yield "description", execution.description
    yield "started", execution.started_at
    yield "ended", execution.ended_at
    yield "duration", _duration(execution)
    yield "commit", provenance["commit"]
    yield "from", "the record of the image" if provenance.get("source") == "file" else None
    yield "branch", provenance["branch"] or "detached HEAD"
    yield "tag", provenance["tag"]
    yield "version", provenance["version"]
    yield "repository", provenance["repository_url"]
    yield "pushed", provenance["pushed"] or "not when it ran"
    yield "entry point", code["path"] or "the tree as a whole"
    yield "checksum", code["checksum"]
    yield "url", code["url"]
    notebook = execution.notebook or {}
    yield "kernel", notebook.get("kernel")
    for name, value in (notebook.get("parameters") or {}).items():
        yield "parameter", f"{name} = {json.dumps(value, ensure_ascii=False)}"
    yield "executed", notebook.get("output")
    yield "SHA-256", notebook.get("sha256")
    yield "Python", (execution.interpreter or {}).get("version")
    yield "input", _input(execution.stdin or {})
    if job := execution.job:
        yield "job", f"{job['id'] or 'no id yet'}, by {job['submitter']} on {job['host']} at {job['at']}"
    yield "by", _agent(execution.agent or {})
    yield "host", f"{execution.host}, process {execution.pid}"
    for result in execution.results:
        yield "result", f"{result['path']} ({result['sha256']})"
    for name, findings in (("warning", execution.warnings), ("changed", execution.changed_during_run)):
        for text in _gathered(findings):
            yield name, text
    for publication in known.get(execution.id, ()):
        yield "catalog", f"{publication['catalog']}, {publication['state']}"
        yield "RID", publication["rid"]
        yield "record", publication["url"]
        yield "not published", publication["error"]


def _gathered(findings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Findings with the paths that they are about, those of equal words together."""
    paths: dict[str, list[str]] = {}
    for finding in findings:
        paths.setdefault(finding["message"], []).extend([finding["path"]] if finding.get("path") else [])
    for message, about in paths.items():
        yield f"{message}: {few(about, most=8)}" if about else message


def _input(stdin: Mapping[str, Any]) -> Optional[str]:
    if stdin.get("kind") != FILE:
        return stdin.get("kind")
    return f"{stdin.get('path') or 'a file without a name'} ({stdin.get('sha256')})"


def _agent(agent: Mapping[str, Any]) -> Optional[str]:
    forms = {"name": "{}", "email": "<{}>", "account": "account {}"}
    return " ".join(form.format(agent[key]) for key, form in forms.items() if agent.get(key)) or None


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


def _duration(execution: Execution) -> Optional[str]:
    if execution.duration is None:
        return None
    minutes, seconds = divmod(execution.duration, 60)
    if minutes < 1:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{int(seconds):02d}" if hours else f"{minutes}:{int(seconds):02d} min"
