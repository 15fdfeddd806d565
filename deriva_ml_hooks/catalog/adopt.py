"""Executions that the command recorded itself, through DerivaML: taken over instead of being doubled.

DerivaML finds a workflow by the checksum of the entry file alone, so the row may name another commit than
the one that ran: then it gets the workflow that is right. It gets none, and is marked, where no file of the
commit has that checksum: then something else ran.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import unquote

from deriva_ml_hooks.catalog import executions
from deriva_ml_hooks.catalog.catalog import Catalog
from deriva_ml_hooks.catalog.client import Row
from deriva_ml_hooks.catalog.commit_files import CommitFiles
from deriva_ml_hooks.catalog.own_rows import begun
from deriva_ml_hooks.catalog.rows import address, changes, described_too, detail, workflow_of
from deriva_ml_hooks.catalog.workflows import Workflow, key_of, workflow_rids
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.publications import Work
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.provenance.record import RecordedFile
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import few

_PATH = re.compile(r"(?:/(?:blob|src)/[0-9a-f]{7,64}/|@[0-9a-f]{40,64}#|;path=/)(.+)$")


def adopt(
    catalog: Catalog, config: Config, work: Work, rids: Sequence[str], files: CommitFiles | None
) -> tuple[Work, list[str], list[str]]:
    """Take over the rows `rids` for the execution of `work`, as far as they were made while it ran.

    What is known then, the RIDs of all that were taken over (none: nothing has changed), and what is to be
    said of it. Can be repeated: what is as it should be stays. Raises CatalogError.
    """
    execution, publication = work.execution, work.publication
    family = list(dict.fromkeys(name for rid in rids for name in _family(catalog, rid)))
    there = executions.by_rid(catalog, family)
    older = [rid for rid in there if _moment(there[rid]["RCT"]) < begun(execution, catalog)]
    rows = {rid: there[rid] for rid in family if rid in there and rid not in older}
    if not rows:
        left = "was made before this run, at a commit of its own: it is left as it is"
        return work, [], [f"{rid} {left}" for rid in older if rid in rids]
    head = next(iter(rows))
    unknown, right, said = _judged(catalog, config, execution, rows, files)
    plan = {rid: _changes(catalog, execution, row, unknown, right) for rid, row in rows.items()}
    own = publication.own_rid
    if publication.recorded_by == "runner" and publication.rid not in (None, *rows):
        own = publication.rid
    if own is not None:
        folded = executions.folded_into(head)
        plan[own] = {"Status": catalog.schema.status("Aborted"), "Status_Detail": folded}
    updated = catalog.update("Execution", {rid: columns for rid, columns in plan.items() if columns})
    if relinked := [rid for rid in rows if rid in updated and "Workflow" in plan[rid]]:
        verb = "were" if len(relinked) > 1 else "was"
        before, after = rows[relinked[0]]["Workflow"], plan[relinked[0]]["Workflow"]
        commit = execution.provenance["commit"][:12]
        said.append(
            f"{few(relinked)} {verb} linked to workflow {before} of other code; now to {after} of {commit}"
        )
    if own in updated:
        said.append(f"the command recorded itself as {head}; {own} is marked as aborted")
    workflow = plan[head].get("Workflow", rows[head]["Workflow"])
    known = {"recorded_by": "deriva-ml", "rid": head, "workflow": workflow, "own_rid": own}
    return executions.changed(executions.settled(work), **known), [*rows], said


def _judged(
    catalog: Catalog, config: Config, execution: Execution, rows: Mapping[str, Row], files: CommitFiles | None
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """What the workflows of these rows say of their code.

    By the RIDs of workflows: the checksums that no file of the commit has, and the RIDs of those that are
    right in place of stale ones; and what is to be said of those that stay.
    """
    linked = dict.fromkeys(row["Workflow"] for row in rows.values() if row["Workflow"])
    unknown, stale = {}, {}
    for workflow in catalog.find("Workflow", [{"RID": rid} for rid in linked]):
        file = _file(execution, workflow, files)
        if file is None:
            unknown[workflow["RID"]] = workflow["Checksum"] or ""
        elif _is_stale(execution, workflow, file):
            stale[workflow["RID"]] = _right(catalog, config, execution, workflow, file)
    commit = execution.provenance["commit"][:12]
    why = f"whose code is no file of {commit}, as far as is known here: the row is marked, and left with it"
    said = [_linked(rows, rid, why) for rid in unknown]
    if not config.correct_workflow:
        why = "which names other code than what ran (correct-workflow = false)"
        return unknown, {}, said + [_linked(rows, rid, why) for rid in stale]
    made = workflow_rids(catalog, stale.values())
    return unknown, {rid: made[key_of(workflow)] for rid, workflow in stale.items()}, said


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
) -> Workflow:
    """The workflow that should stand for `stale`: of this commit, with the names its author gave it."""
    row = workflow_of(execution, config.workflow_name)
    if file.path != execution.entry_point["path"]:
        url = address(file.url, execution.provenance["commit"], file.path)
        row |= {"URL": url, "Checksum": stale["Checksum"], "Name": file.path}
    row |= {name: stale[name] for name in ("Name", "Description") if stale[name]}
    if catalog.schema.type_column:
        types = [stale["Workflow_Type"]]
    else:
        links = catalog.find("Workflow_Workflow_Type", [{"Workflow": stale["RID"]}])
        types = [link["Workflow_Type"] for link in links]
    return row, tuple(filter(None, types)) or config.workflow_type


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


def _linked(rows: Mapping[str, Row], workflow: str, why: str) -> str:
    linked = [rid for rid, row in rows.items() if row["Workflow"] == workflow]
    return f"{few(linked)} {'are' if len(linked) > 1 else 'is'} linked to workflow {workflow}, {why}"
