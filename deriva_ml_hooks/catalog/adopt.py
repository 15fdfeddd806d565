"""Executions that the command recorded itself, through DerivaML: taken over instead of being doubled.

DerivaML finds a workflow by the checksum of the entry file alone, so the row may name another commit than
the one that ran: then it gets the workflow that is right. It gets none, and is marked, where no file of the
commit has that checksum: then something else ran.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import unquote

from deriva_ml_hooks.catalog import executions
from deriva_ml_hooks.catalog.catalog import Catalog
from deriva_ml_hooks.catalog.client import Row
from deriva_ml_hooks.catalog.commit_files import CommitFiles
from deriva_ml_hooks.catalog.own_rows import begun
from deriva_ml_hooks.catalog.rows import WorkflowRow, address, changes, described_too, detail, workflow_of
from deriva_ml_hooks.catalog.workflows import workflow_rids
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.publications import Work
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.provenance.record import RecordedFile
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import few

_PATH = re.compile(r"(?:/(?:blob|src)/[0-9a-f]{7,64}/|@[0-9a-f]{40,64}#|;path=/)(.+)$")


@dataclass(slots=True)
class Adopted:
    """What became of an execution that recorded itself: its `rows`, none if none is its own.

    `said` is what is to be said of it.
    """

    work: Work
    rows: dict[str, Row]
    said: list[str] = field(default_factory=list)


def adopt(
    catalog: Catalog, config: Config, work: Work, rids: Sequence[str], files: CommitFiles | None
) -> Adopted:
    """Take over the rows `rids` for the execution of `work`, as far as they were made while it ran.

    Can be repeated: what is as it should be stays. Raises CatalogError.
    """
    execution, publication = work.execution, work.publication
    family = list(dict.fromkeys(name for rid in rids for name in _family(catalog, rid)))
    there = executions.by_rid(catalog, family)
    older = [rid for rid in there if _moment(there[rid]["RCT"]) < begun(execution, catalog)]
    rows = {rid: there[rid] for rid in family if rid in there and rid not in older}
    if not rows:
        left = "was made before this run, at a commit of its own: it is left as it is"
        return Adopted(work, {}, [f"{rid} {left}" for rid in older if rid in rids])
    head = next(iter(rows))
    done = Adopted(work, rows)
    found = {row["RID"]: (row, _file(execution, row, files)) for row in _workflows(catalog, rows)}
    unknown = {rid: row["Checksum"] or "" for rid, (row, file) in found.items() if file is None}
    stale = {
        rid: _right(catalog, config, execution, row, file)
        for rid, (row, file) in found.items()
        if file is not None and _is_stale(execution, row, file)
    }
    commit = execution.provenance["commit"][:12]
    for rid in unknown:
        why = (
            f"whose code is no file of {commit}, as far as is known here: the row is marked, and left with it"
        )
        done.said.append(_linked(rows, rid, why))
    if not config.correct_workflow:
        why = "which names other code than what ran (correct-workflow = false)"
        done.said += [_linked(rows, rid, why) for rid in stale]
        stale = {}
    right = _right_rids(catalog, stale)
    plan = {rid: _changes(catalog, execution, row, unknown, right) for rid, row in rows.items()}
    own = publication.own_rid
    if publication.recorded_by == "runner" and publication.rid not in (None, *rows):
        own = publication.rid
    if own is not None:
        folded = executions.folded_into(head)
        plan[own] = {"Status": catalog.schema.status("Aborted"), "Status_Detail": folded}
    updated = catalog.update("Execution", {rid: columns for rid, columns in plan.items() if columns})
    done.said += _relinked(rows, [r for r in rows if r in updated and "Workflow" in plan[r]], plan, commit)
    if own in updated:
        done.said.append(f"the command recorded itself as {head}; {own} is marked as aborted")
    workflow = plan[head].get("Workflow", rows[head]["Workflow"])
    done.work = executions.changed(
        executions.settled(work), recorded_by="deriva-ml", rid=head, workflow=workflow, own_rid=own
    )
    return done


def _family(catalog: Catalog, rid: str) -> list[str]:
    """A multirun's parent and its children; else the execution alone."""
    if not catalog.has("Execution_Execution"):
        return [rid]
    above = catalog.find("Execution_Execution", [{"Nested_Execution": rid}])
    parent = above[0]["Execution"] if above else rid
    below = catalog.find("Execution_Execution", [{"Execution": parent}])
    return [parent, *(row["Nested_Execution"] for row in below)]


def _moment(text: str) -> datetime:
    """A time as ERMrest writes it, with as many digits of a second as it happens to have."""
    return datetime.fromisoformat(re.sub(r"\.\d+", lambda digits: digits[0][:7].ljust(7, "0"), text))


def _workflows(catalog: Catalog, rows: dict[str, Row]) -> list[Row]:
    linked = dict.fromkeys(row["Workflow"] for row in rows.values() if row["Workflow"])
    return catalog.find("Workflow", [{"RID": rid} for rid in linked])


def _file(execution: Execution, workflow: Row, files: CommitFiles | None) -> RecordedFile | None:
    """The file of the commit that a workflow's checksum stands for; its address may be of anywhere."""
    entry, checksum = execution.entry_point, workflow["Checksum"]
    paths = [path for path in (_path(workflow), entry["path"]) if path is not None]
    found = files.find(execution, checksum, paths) if files is not None and checksum else None
    if found is None and entry["path"] is not None and checksum == entry["checksum"]:
        return RecordedFile(entry["path"], entry["blob"], checksum, entry["url"])
    return found


def _path(workflow: Row) -> str | None:
    """The file that the address of a workflow names, at whatever commit."""
    found = _PATH.search(workflow["URL"] or "")
    return unquote(found[1]) if found else None


def _is_stale(execution: Execution, workflow: Row, file: RecordedFile) -> bool:
    """Whether a workflow's address is not that of its code in the commit that ran; or holds a secret."""
    url = workflow["URL"] or ""
    elsewhere = _path(workflow) not in (None, file.path) or execution.provenance["commit"] not in url
    return elsewhere or redact(url) != url


def _right(
    catalog: Catalog, config: Config, execution: Execution, stale: Row, file: RecordedFile
) -> WorkflowRow:
    """The workflow that should stand for `stale`: of this commit, with the names its author gave it."""
    ours = workflow_of(execution, config.workflow_name, config.workflow_type)
    if file.path != execution.entry_point["path"]:
        url = address(file.url, execution.provenance["commit"], file.path)
        ours = replace(ours, url=url, checksum=stale["Checksum"], name=file.path)
    if catalog.schema.type_column:
        types = [stale["Workflow_Type"]]
    else:
        links = catalog.find("Workflow_Workflow_Type", [{"Workflow": stale["RID"]}])
        types = [link["Workflow_Type"] for link in links]
    return replace(
        ours,
        name=stale["Name"] or ours.name,
        description=stale["Description"] or ours.description,
        types=tuple(filter(None, types)) or ours.types,
    )


def _right_rids(catalog: Catalog, stale: dict[str, WorkflowRow]) -> dict[str, str]:
    """The RIDs of the workflows that are right, by those of the stale ones."""
    rids = workflow_rids(catalog, stale.values())
    return {rid: rids[workflow.url, workflow.checksum] for rid, workflow in stale.items()}


def _changes(
    catalog: Catalog, execution: Execution, row: Row, unknown: dict[str, str], right: dict[str, str]
) -> Row:
    """The columns of a row that are not as they should be.

    DerivaML may have left it open: the process that could have closed it has ended.
    """
    columns: Row = {}
    text = described_too(row["Description"], execution, unknown=unknown.get(row["Workflow"]))
    if text != row["Description"]:
        columns["Description"] = text
    told, changed = row["Status_Detail"] or "", changes(execution)
    if catalog.schema.is_open(row["Status"]):
        columns |= {"Status": catalog.schema.left_as(execution.status), "Status_Detail": detail(execution)}
    elif changed and changed not in told:
        columns["Status_Detail"] = "; ".join(filter(None, (told, changed)))
    if row["Workflow"] in right:
        columns["Workflow"] = right[row["Workflow"]]
    return columns


def _linked(rows: dict[str, Row], workflow: str, why: str) -> str:
    linked = [rid for rid, row in rows.items() if row["Workflow"] == workflow]
    return f"{few(linked)} {'are' if len(linked) > 1 else 'is'} linked to workflow {workflow}, {why}"


def _relinked(rows: dict[str, Row], rids: Sequence[str], plan: dict[str, Row], commit: str) -> list[str]:
    if not rids:
        return []
    verb = "were" if len(rids) > 1 else "was"
    before, after = rows[rids[0]]["Workflow"], plan[rids[0]]["Workflow"]
    return [f"{few(rids)} {verb} linked to workflow {before} of other code; now to {after} of {commit}"]
