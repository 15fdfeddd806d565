"""Workflow rows: found by URL and checksum together, else made; one row, however many ask at once."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.errors import TermError
from deriva_ml_hooks.catalog.leases import in_chunks, leased
from deriva_ml_hooks.catalog.model import Model
from deriva_ml_hooks.catalog.rows import WorkflowRow
from deriva_ml_hooks.catalog.session import Connection

Key = tuple[str, str]


def workflow_rids(connection: Connection, model: Model, wanted: Iterable[WorkflowRow]) -> dict[Key, str]:
    """The RIDs of these workflows by URL and checksum; those that are missing are inserted.

    Raises TermError where a type is unknown or none can be chosen, and CatalogError.
    """
    by_key = {(w.url, w.checksum): w for w in wanted}
    found = _found(connection, model, by_key)
    missing = [workflow for key, workflow in by_key.items() if key not in found]
    if missing:
        _insert(connection, model, missing)
        found |= _found(connection, model, {(w.url, w.checksum) for w in missing})
    return found


def terms(connection: Connection, model: Model, vocabulary: str = "Workflow_Type") -> list[str]:
    """The names of a vocabulary's terms."""
    rows = connection.get(f"/attribute/{model.name(vocabulary)}/Name")
    return sorted(row["Name"] for row in rows)


def _found(connection: Connection, model: Model, keys: Iterable[Key]) -> dict[Key, str]:
    wanted = set(keys)
    filters = [f"(URL={quote(url, safe='')}&Checksum={quote(checksum, safe='')})" for url, checksum in wanted]
    rids: dict[Key, str] = {}
    for chunk in in_chunks(sorted(filters)):
        for row in connection.get(f"/attribute/{model.name('Workflow')}/{chunk}/RID,URL,Checksum"):
            key = (row["URL"], row["Checksum"])
            if key in wanted:  # of several rows, made by others, everybody takes the oldest
                rids[key] = min(rids.get(key, row["RID"]), row["RID"], key=_age)
    return rids


def _age(rid: str) -> tuple[int, str]:
    return len(rid), rid


def _insert(connection: Connection, model: Model, workflows: Sequence[WorkflowRow]) -> None:
    types = {w.types: _types(connection, model, w.types) for w in workflows}
    rids = leased(connection, [_lease_name(w) for w in workflows])
    rows: list[dict[str, Any]] = []
    for workflow in workflows:
        row: dict[str, Any] = {
            "Name": workflow.name,
            "URL": workflow.url,
            "Checksum": workflow.checksum,
            "Version": workflow.version,
            "Description": workflow.description,
        }
        if rids is not None:
            row["RID"] = rids[_lease_name(workflow)]
        if model.type_column:
            row["Workflow_Type"] = types[workflow.types][0]
        rows.append(row)
    query = "nondefaults=RID&onconflict=skip" if rids is not None else "defaults=RID"
    made = connection.insert(model.name("Workflow"), rows, query=query)
    if model.type_column or "Workflow_Workflow_Type" not in model.tables:
        return
    rid_of = {(row["URL"], row["Checksum"]): row["RID"] for row in made}
    if rids is not None:  # also those of a process that was killed between the two inserts
        rid_of = {(w.url, w.checksum): rids[_lease_name(w)] for w in workflows}
    links = [
        {"Workflow": rid_of[key], "Workflow_Type": name}
        for w in workflows
        if (key := (w.url, w.checksum)) in rid_of
        for name in types[w.types]
    ]
    if links:
        query = "defaults=RID&onconflict=skip"
        connection.insert(model.name("Workflow_Workflow_Type"), links, query=query)


def _lease_name(workflow: WorkflowRow) -> str:
    key = f"{workflow.url}\n{workflow.checksum}".encode("utf-8", "surrogateescape")
    return f"deriva-ml-hooks/workflow/{hashlib.sha256(key).hexdigest()}"


def _types(connection: Connection, model: Model, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The types as the vocabulary has them; for a schema that needs one, its only term if none is set."""
    if not wanted and not model.type_column:
        return ()
    known = terms(connection, model)
    if not known and model.type_column:
        raise TermError(
            f"{connection.address}: no workflow type exists there yet, and a workflow needs one",
            fix="add a term to Workflow_Type (in Chaise, or ml.add_term), then set workflow-type to it",
        )
    if not wanted:
        if len(known) == 1:
            return (known[0],)
        raise TermError(
            f"{connection.address}: a workflow needs a type, and workflow-type is not set",
            fix=f"set workflow-type to one of: {', '.join(known)}",
        )
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            fix = f"did you mean {near[0]}?" if near else f"set workflow-type to one of: {', '.join(known)}"
            raise TermError(f"{connection.address}: no workflow type is called {name}", fix=fix)
    return wanted
