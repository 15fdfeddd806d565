"""Workflow rows: found by URL and checksum together, else made; one row, however many ask at once."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.errors import ConflictError, ForbiddenError, TermError, not_logged_in
from deriva_ml_hooks.catalog.leases import in_chunks, is_spent, leased
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
        found |= _made(connection, model, missing)
    for url, checksum in by_key.keys() - found.keys():
        raise ConflictError(
            f"{connection.address}: no workflow row could be made for {url} with checksum {checksum}",
            fix="ask the catalog's owner which key of Workflow stands in its way, and who may read its rows",
        )
    _link_types(connection, model, by_key, found)
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


def _made(connection: Connection, model: Model, workflows: Sequence[WorkflowRow]) -> dict[Key, str]:
    """Insert what is missing; also when others do so at the same time there is one row in the end.

    A lease ends with the row, so whoever leases later than that finds the row when looking once more.
    """
    types = {wanted: _types(connection, model, wanted) for wanted in {w.types for w in workflows}}
    keys = [(w.url, w.checksum) for w in workflows]
    rids = leased(connection, [_lease_name(w) for w in workflows])
    found = _found(connection, model, keys)
    missing = [w for w in workflows if (w.url, w.checksum) not in found]
    if missing:
        try:
            _insert(connection, model, missing, types, rids)
        except ForbiddenError as error:
            found = _found(connection, model, keys)
            missing = [w for w in missing if (w.url, w.checksum) not in found]
            if not is_spent(error):
                raise
            if missing:  # leased to somebody else, who has not come back
                _insert(connection, model, missing, types, None)
        found = _found(connection, model, keys)
    return found


def _insert(
    connection: Connection,
    model: Model,
    workflows: Sequence[WorkflowRow],
    types: Mapping[tuple[str, ...], tuple[str, ...]],
    rids: Mapping[str, str] | None,
) -> None:
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
    connection.insert(model.name("Workflow"), rows, query=query)


def _link_types(
    connection: Connection, model: Model, wanted: Mapping[Key, WorkflowRow], rids: Mapping[Key, str]
) -> None:
    """Give workflows without any type theirs: new ones, and those of a process killed between the two."""
    if model.type_column or "Workflow_Workflow_Type" not in model.tables:
        return
    untyped = {rids[key]: workflow.types for key, workflow in wanted.items() if workflow.types}
    table = model.name("Workflow_Workflow_Type")
    for chunk in in_chunks([f"Workflow={quote(rid)}" for rid in untyped]):
        for row in connection.get(f"/attribute/{table}/{chunk}/Workflow"):
            untyped.pop(row["Workflow"], None)
    links = [{"Workflow": rid, "Workflow_Type": name} for rid, types in untyped.items() for name in types]
    if links:
        connection.insert(table, links, query="defaults=RID&onconflict=skip")


def _lease_name(workflow: WorkflowRow) -> str:
    key = f"{workflow.url}\n{workflow.checksum}".encode("utf-8", "surrogateescape")
    return f"deriva-ml-hooks/workflow/{hashlib.sha256(key).hexdigest()}"


def _types(connection: Connection, model: Model, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The types as the vocabulary has them; for a schema that needs one, its only term if none is set."""
    if not wanted and not model.type_column:
        return ()
    known = terms(connection, model)
    # A credential that has run out is no error everywhere: nobody may read, but sees no rows.
    if not known and connection.whoami() is None:
        raise not_logged_in(connection.address.host)
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
            fix = (
                fix
                if known
                else "add it in Chaise or with ml.add_term; or ask for the right to read the terms"
            )
            raise TermError(f"{connection.address}: no workflow type is called {name}", fix=fix)
    return wanted
