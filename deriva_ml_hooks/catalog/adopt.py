"""Executions that the command recorded itself, through DerivaML: taken over instead of being doubled.

DerivaML names the row in a file that `run` asks for. It finds a workflow by the checksum of the entry file
alone, so the row may name an older commit than the one that ran: then it gets the workflow that is right.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from deriva_ml_hooks.catalog import assets, executions
from deriva_ml_hooks.catalog.leases import in_chunks
from deriva_ml_hooks.catalog.model import Model
from deriva_ml_hooks.catalog.rows import WorkflowRow, described, workflow_of
from deriva_ml_hooks.catalog.session import Connection, Row
from deriva_ml_hooks.catalog.settings import Settings
from deriva_ml_hooks.catalog.workflows import workflow_rids
from deriva_ml_hooks.executions.publications import Work
from deriva_ml_hooks.executions.record import Execution

SAVED = "execution_rid.json"
"""The name of the file that DerivaML is asked for, in the folder of the execution."""
_PROGRAMS = ("deriva-ml-run", "deriva-ml-run-notebook")
_MODULES = ("deriva_ml.run_model", "deriva_ml.run_notebook")
_DRY_RUN = "0000"


@dataclass(slots=True)
class Adopted:
    """What became of an execution that recorded itself, and what is to be said of it."""

    work: Work
    said: list[str] = field(default_factory=list)


def records_itself(command: Sequence[str]) -> bool:
    """Whether a command is known to make its own execution: DerivaML's two programs, also behind others."""
    names = {os.path.basename(word).removesuffix(".exe") for word in command}
    return not names.isdisjoint(_PROGRAMS) or any(
        word == "-m" and following in _MODULES for word, following in itertools.pairwise(command)
    )


def saved_rid(path: str, settings: Settings) -> str | None:
    """The RID that DerivaML has written to `path`, if it is one of this host; None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
        rid, host, catalog = saved["execution_rid"], saved["hostname"], str(saved["catalog_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = host == settings.address.host and catalog.partition("@")[0] == settings.address.id
    return str(rid) if rid and rid != _DRY_RUN and same else None


def recorded_meanwhile(
    connection: Connection, model: Model, execution: Execution, taken: set[str]
) -> list[str]:
    """Executions of the same code that this user made in the catalog while `execution` ran, oldest first.

    For DerivaML's notebook runner, which has the RID written to a file of its own and deletes that.
    """
    client = connection.whoami() or {}
    entry_point = execution.entry_point
    sums = {entry_point["checksum"], entry_point["blob"]} - {None}
    if not client.get("id") or entry_point["path"] is None or execution.ended_at is None:
        return []
    slack = timedelta(seconds=2)
    first = datetime.fromisoformat(execution.started_at) + connection.clock_skew - slack
    last = datetime.fromisoformat(execution.ended_at) + connection.clock_skew + slack
    path = (
        f"/attribute/E:={model.name('Execution')}/RCB={quote(str(client['id']), safe='')}"
        f"&RCT::geq::{quote(first.isoformat(), safe='')}&RCT::leq::{quote(last.isoformat(), safe='')}"
        f"/W:=(Workflow)=({model.name('Workflow')}:RID)/{';'.join(f'Checksum={s}' for s in sorted(sums))}"
        "/$E/RID"
    )
    found = [row["RID"] for row in connection.get(path)]
    return sorted((rid for rid in found if rid not in taken), key=lambda rid: (len(rid), rid))


def adopt(connection: Connection, model: Model, settings: Settings, work: Work, rid: str) -> Adopted | None:
    """Take over the row `rid` for the execution of `work`; None where there is no such row.

    Can be repeated: what is as it should be stays. Raises CatalogError.
    """
    execution, publication = work.execution, work.publication
    family = _family(connection, model, rid)
    rows = executions.find(connection, model, family)
    if rid not in rows:
        return None
    head = family[0] if family[0] in rows else rid
    done = Adopted(work)
    texts = [
        {"RID": row["RID"], "Description": text}
        for row in rows.values()
        if (text := described_as_is(row["Description"], execution)) != row["Description"]
    ]
    if model.tables["Execution"].may("update"):
        executions.set_columns(connection, model, ["Description"], texts)
        _correct(connection, model, settings, done, rows)
    else:
        done.said.append(f"{head} is only noted here: this user may not update rows of Execution")
    stored = assets.store(connection, model, [(execution, name) for name in rows])
    own = publication.own_rid
    if publication.recorded_by == "runner" and publication.rid not in (None, *rows):
        own = publication.rid
    if own is not None:
        fold = {"RID": own, "Status": model.status("Aborted"), "Status_Detail": f"recorded as {head}"}
        if executions.set_columns(connection, model, ["Status", "Status_Detail"], [fold]):
            done.said.append(f"the command recorded itself as {head}; {own} is marked as aborted")
    workflow = rows[head]["Workflow"]
    done.work = replace(
        work,
        publication=replace(
            publication,
            state="closed",
            recorded_by="deriva-ml",
            rid=head,
            workflow=workflow,
            own_rid=own,
            asset=stored.get(head),
            error=None,
        ),
    )
    return done


def described_as_is(text: str | None, execution: Execution) -> str:
    """The description of somebody else's row with our block below it; what was there is not touched."""
    block = described(None, execution)
    before = text or ""
    if block.splitlines()[0] in before:
        return before
    return f"{before}\n\n{block}" if before else block


def _family(connection: Connection, model: Model, rid: str) -> list[str]:
    """A multirun's parent and its children; else the execution alone."""
    if "Execution_Execution" not in model.tables:
        return [rid]
    table = model.name("Execution_Execution")
    above = connection.get(f"/attribute/{table}/Nested_Execution={quote(rid)}/Execution")
    parent = above[0]["Execution"] if above else rid
    below = connection.get(f"/attribute/{table}/Execution={quote(parent)}/Nested_Execution")
    return [parent, *(row["Nested_Execution"] for row in below)]


def _correct(
    connection: Connection, model: Model, settings: Settings, done: Adopted, rows: dict[str, Row]
) -> None:
    """Link rows whose workflow names another commit to the workflow that names this one."""
    execution = done.work.execution
    commit = execution.provenance["commit"]
    linked = sorted({row["Workflow"] for row in rows.values() if row["Workflow"]})
    stale: dict[str, Row] = {}
    for chunk in in_chunks([f"RID={quote(rid)}" for rid in linked]):
        found = connection.get(f"/entity/{model.name('Workflow')}/{chunk}")
        stale |= {row["RID"]: row for row in found if commit not in (row["URL"] or "")}
    if not stale:
        return
    concerned = [row for row in rows.values() if row["Workflow"] in stale]
    if not settings.correct_workflow:
        first = concerned[0]
        done.said.append(
            f"{first['RID']} is linked to workflow {first['Workflow']}, which names another commit"
            " than the one that ran (correct-workflow = false)"
        )
        return
    right = {rid: _right(connection, model, settings, execution, row) for rid, row in stale.items()}
    found_rids = workflow_rids(connection, model, right.values())
    changes = []
    for row in concerned:
        wanted = right[row["Workflow"]]
        changes.append({"RID": row["RID"], "Workflow": found_rids[wanted.url, wanted.checksum]})
    changed = executions.set_columns(connection, model, ["Workflow"], changes)
    for change in changes:
        if change["RID"] in changed:
            was = rows[change["RID"]]["Workflow"]
            rows[change["RID"]]["Workflow"] = change["Workflow"]
            done.said.append(
                f"{change['RID']} was linked to workflow {was} of another commit; now to {change['Workflow']}"
                f" of {commit[:12]}"
            )


def _right(
    connection: Connection, model: Model, settings: Settings, execution: Execution, stale: Row
) -> WorkflowRow:
    """The workflow that should stand for `stale`: of this commit, with the names its author gave it."""
    ours = workflow_of(execution, settings.workflow_name, settings.workflow_types)
    named = re.search(r"/blob/([0-9a-f]{7,64})/(.+)$", stale["URL"] or "")
    path = execution.entry_point["path"]
    if path is None and named is not None:  # a program ran a file of the tree, and DerivaML knows which
        start, end = named.span(1)
        url = stale["URL"][:start] + execution.provenance["commit"] + stale["URL"][end:]
        ours = replace(ours, url=url, checksum=stale["Checksum"], name=unquote(named[2]))
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
