"""Executions that the command recorded itself, through DerivaML: taken over instead of being doubled.

Which rows are its own is never guessed: DerivaML names one in a file that `run` asks for, and stores with
each the environment that the command was given. It finds a workflow by the checksum of the entry file
alone, so the row may name another commit than the one that ran: then it gets the workflow that is right. It
gets none, and is marked, where no file of the commit has that checksum: then something else ran.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote

from deriva_ml_hooks.catalog import assets, executions
from deriva_ml_hooks.catalog.code import FindFile
from deriva_ml_hooks.catalog.errors import CatalogError, ForbiddenError, no_right_to_close
from deriva_ml_hooks.catalog.leases import in_chunks
from deriva_ml_hooks.catalog.model import Model
from deriva_ml_hooks.catalog.recorded import SLACK
from deriva_ml_hooks.catalog.rows import (
    WorkflowRow,
    address,
    changes,
    described_too,
    detail,
    holds,
    workflow_of,
)
from deriva_ml_hooks.catalog.session import Connection, Row, moment
from deriva_ml_hooks.catalog.settings import Settings
from deriva_ml_hooks.catalog.workflows import workflow_rids
from deriva_ml_hooks.executions.publications import Work
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.provenance.record import RecordedFile
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import few

_PATH = re.compile(r"(?:/(?:blob|src)/[0-9a-f]{7,64}/|@[0-9a-f]{40,64}#|;path=/)(.+)$")
_OTHER = "which names other code than what ran"
_NO_FILE = "whose code is no file of {}, as far as is known here: the row is marked, and left with it"


@dataclass(slots=True)
class Adopted:
    """What became of an execution that recorded itself (None: nothing), and what is to be said of it."""

    work: Work | None
    said: list[str] = field(default_factory=list)
    error: CatalogError | None = None
    """Why something is left to be done by a later sync, though the rows are known."""


def adopt(
    connection: Connection,
    model: Model,
    settings: Settings,
    work: Work,
    rids: Sequence[str],
    find_file: FindFile | None,
) -> Adopted:
    """Take over the rows `rids` for the execution of `work`, as far as they were made while it ran.

    `find_file` finds the file of the commit that a stale workflow stands for. Can be repeated: what is as
    it should be stays. Raises CatalogError.
    """
    execution, publication = work.execution, work.publication
    family = list(dict.fromkeys(name for rid in rids for name in _family(connection, model, rid)))
    rows = executions.find(connection, model, family)
    begun = moment(execution.started_at) + connection.clock_skew - SLACK
    older = [rid for rid, row in rows.items() if moment(row["RCT"]) < begun]
    rows = {rid: rows[rid] for rid in family if rid in rows and rid not in older}
    head = next((rid for rid in family if rid in rows), None)
    if head is None:
        return Adopted(None, [_reopened(rid) for rid in older if rid in rids])
    done = Adopted(work)
    linked = _linked(connection, model, rows)
    files = {row["RID"]: _file(execution, row, find_file) for row in linked}
    unknown = [row for row in linked if files[row["RID"]] is None]
    stale = [row for row in linked if (file := files[row["RID"]]) and _is_stale(execution, row, file)]
    done.said += [
        _warning(rows, [row], _NO_FILE.format(execution.provenance["commit"][:12])) for row in unknown
    ]
    own = publication.own_rid
    if publication.recorded_by == "runner" and publication.rid not in (None, *rows):
        own = publication.rid
    if not model.tables["Execution"].may("update"):
        left = _left(model, execution, rows, unknown)
        if stale and settings.correct_workflow:
            left = left or _warning(rows, stale, _OTHER)
        elif stale:
            done.said.append(_warning(rows, stale, f"{_OTHER} (correct-workflow = false)"))
        if own is not None:
            left = f"{own} is to be marked as aborted"
        if left is None:
            done.said.append(f"{head} is only noted here: this user may not update rows of Execution")
        else:
            done.error = no_right_to_close(connection.address.host, left)
    else:
        _describe(connection, model, execution, rows, unknown)
        _close(connection, model, execution, rows)
        if stale and settings.correct_workflow:
            done.said += _correct(connection, model, settings, execution, rows, stale, files)
        elif stale:
            done.said.append(_warning(rows, stale, f"{_OTHER} (correct-workflow = false)"))
        _fill_versions(
            connection, model, settings, execution, [w for w in linked if w not in (*stale, *unknown)]
        )
    stored = assets.store(connection, model, [(execution, name) for name in rows])
    if own is not None and done.error is None:
        fold = {"RID": own, "Status": model.status("Aborted"), "Status_Detail": executions.folded_into(head)}
        if executions.set_columns(connection, model, ["Status", "Status_Detail"], [fold]):
            done.said.append(f"the command recorded itself as {head}; {own} is marked as aborted")
    done.work = replace(
        work,
        publication=stored.noted(
            replace(
                publication,
                state="closed" if done.error is None else "published",
                recorded_by="deriva-ml",
                rid=head,
                workflow=rows[head]["Workflow"],
                own_rid=own,
                error=None,
            )
        ),
    )
    return done


def _left(model: Model, execution: Execution, rows: dict[str, Row], unknown: Sequence[Row]) -> str | None:
    """What only an update can put right of rows that say more than is true."""
    marked = {row["RID"] for row in unknown}
    changed = changes(execution)
    for rid, row in rows.items():
        if model.is_open(row["Status"]):
            return f"{rid} is there and open"
        if changed and changed not in (row["Status_Detail"] or ""):
            return f"{rid} does not say that the tree changed"
        if row["Workflow"] in marked and not holds(row["Description"], execution.id):
            return f"{rid} does not say that its code is no file of the commit"
    return None


def _reopened(rid: str) -> str:
    return f"{rid} was made before this run, at a commit of its own: it is left as it is"


def _family(connection: Connection, model: Model, rid: str) -> list[str]:
    """A multirun's parent and its children; else the execution alone."""
    if "Execution_Execution" not in model.tables:
        return [rid]
    table = model.name("Execution_Execution")
    above = connection.get(f"/attribute/{table}/Nested_Execution={quote(rid)}/Execution")
    parent = above[0]["Execution"] if above else rid
    below = connection.get(f"/attribute/{table}/Execution={quote(parent)}/Nested_Execution")
    return [parent, *(row["Nested_Execution"] for row in below)]


def _describe(
    connection: Connection,
    model: Model,
    execution: Execution,
    rows: dict[str, Row],
    unknown: Sequence[Row],
) -> None:
    checksums = {row["RID"]: row["Checksum"] or "" for row in unknown}
    texts = [
        {"RID": row["RID"], "Description": text}
        for row in rows.values()
        if (text := described_too(row["Description"], execution, unknown=checksums.get(row["Workflow"])))
        != row["Description"]
    ]
    executions.set_columns(connection, model, ["Description"], texts)


def _close(connection: Connection, model: Model, execution: Execution, rows: dict[str, Row]) -> None:
    """Close what DerivaML left open: the process that could have done so has ended.

    What the run changed in the tree is told of the others too.
    """
    ended = [
        {"RID": row["RID"], "Status": model.left_as(execution.status), "Status_Detail": detail(execution)}
        for row in rows.values()
        if model.is_open(row["Status"])
    ]
    executions.set_columns(connection, model, ["Status", "Status_Detail"], ended)
    changed = changes(execution)
    told = [
        {"RID": row["RID"], "Status_Detail": "; ".join(filter(None, (row["Status_Detail"], changed)))}
        for row in rows.values()
        if changed and not model.is_open(row["Status"]) and changed not in (row["Status_Detail"] or "")
    ]
    executions.set_columns(connection, model, ["Status_Detail"], told)


def _linked(connection: Connection, model: Model, rows: dict[str, Row]) -> list[Row]:
    """The workflows of these rows."""
    linked = sorted({row["Workflow"] for row in rows.values() if row["Workflow"]})
    return [
        row
        for chunk in in_chunks([f"RID={quote(rid)}" for rid in linked])
        for row in connection.get(f"/entity/{model.name('Workflow')}/{chunk}")
    ]


def _file(execution: Execution, workflow: Row, find_file: FindFile | None) -> RecordedFile | None:
    """The file of the commit that a workflow's checksum stands for; its address may be of anywhere."""
    entry, checksum, named = execution.entry_point, workflow["Checksum"], _named(workflow)
    of_entry = entry["path"] is not None and checksum == entry["checksum"]
    if (not of_entry or named not in (None, entry["path"])) and find_file is not None and checksum:
        found = find_file(execution, checksum, named)
        if found is not None and (not of_entry or found.path == named):
            return found
    return RecordedFile(entry["path"], entry["blob"], checksum, entry["url"]) if of_entry else None


def _named(workflow: Row) -> str | None:
    """The file that the address of a workflow names, at whatever commit."""
    found = _PATH.search(workflow["URL"] or "")
    return unquote(found[1]) if found else None


def _is_stale(execution: Execution, workflow: Row, file: RecordedFile) -> bool:
    """Whether a workflow's address is not that of its code in the commit that ran; or holds a secret."""
    url = workflow["URL"] or ""
    other = _named(workflow) not in (None, file.path)
    return other or execution.provenance["commit"] not in url or redact(url) != url


def _fill_versions(
    connection: Connection, model: Model, settings: Settings, execution: Execution, right: Sequence[Row]
) -> None:
    """Give DerivaML's workflows of this commit their version: those of notebooks have none."""
    version = workflow_of(execution, settings.workflow_name, settings.workflow_types).version
    rows = [{"RID": row["RID"], "Version": version} for row in right if not row["Version"]]
    if version and rows:
        with suppress(ForbiddenError):
            connection.update(model.name("Workflow"), ["Version"], rows)


def _warning(rows: dict[str, Row], workflows: Sequence[Row], why: str) -> str:
    names = {row["RID"] for row in workflows}
    linked = [row for row in rows.values() if row["Workflow"] in names]
    verb = "are" if len(linked) > 1 else "is"
    return f"{_rids(linked)} {verb} linked to workflow {linked[0]['Workflow']}, {why}"


def _rids(rows: Sequence[Row]) -> str:
    return few([row["RID"] for row in rows])


def _correct(
    connection: Connection,
    model: Model,
    settings: Settings,
    execution: Execution,
    rows: dict[str, Row],
    stale: Sequence[Row],
    files: Mapping[str, RecordedFile | None],
) -> list[str]:
    """Link rows of stale workflows to those that name this commit; one line that says so."""
    right = {
        row["RID"]: _right(connection, model, settings, execution, row, file)
        for row in stale
        if (file := files[row["RID"]]) is not None
    }
    rids = workflow_rids(connection, model, right.values())
    changes = [
        {"RID": row["RID"], "Workflow": rids[right[row["Workflow"]].url, right[row["Workflow"]].checksum]}
        for row in rows.values()
        if row["Workflow"] in right
    ]
    done = executions.set_columns(connection, model, ["Workflow"], changes)
    changes = [change for change in changes if change["RID"] in done]
    if not changes:
        return []
    was = rows[changes[0]["RID"]]["Workflow"]
    for change in changes:
        rows[change["RID"]]["Workflow"] = change["Workflow"]
    verb = "were" if len(changes) > 1 else "was"
    line = (
        f"{_rids(changes)} {verb} linked to workflow {was} of other code; now to"
        f" {changes[0]['Workflow']} of {execution.provenance['commit'][:12]}"
    )
    return [line]


def _right(
    connection: Connection,
    model: Model,
    settings: Settings,
    execution: Execution,
    stale: Row,
    file: RecordedFile,
) -> WorkflowRow:
    """The workflow that should stand for `stale`: of this commit, with the names its author gave it."""
    ours = workflow_of(execution, settings.workflow_name, settings.workflow_types)
    if file.path != execution.entry_point["path"]:
        url = address(file.url, execution.provenance["commit"], file.path)
        ours = replace(ours, url=url, checksum=stale["Checksum"], name=file.path)
    types: Any = stale.get("Workflow_Type")
    if not model.type_column:
        linked = f"/attribute/{model.name('Workflow_Workflow_Type')}/Workflow={quote(stale['RID'])}"
        types = [row["Workflow_Type"] for row in connection.get(f"{linked}/Workflow_Type")]
    known = tuple([types] if isinstance(types, str) else types or ()) or ours.types
    return replace(
        ours,
        name=stale["Name"] or ours.name,
        description=stale["Description"] or ours.description,
        types=known,
    )
