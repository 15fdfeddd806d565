"""Execution rows, each exactly once: inserted under a leased RID, looked for before a second try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from deriva_ml_hooks.catalog.catalog import Catalog
from deriva_ml_hooks.catalog.client import Row
from deriva_ml_hooks.catalog.rows import blocks, ending, execution_row, is_adopted
from deriva_ml_hooks.executions.publications import Publications, Work
from deriva_ml_hooks.executions.record import NOT_STARTED

GONE = "its row was deleted in the catalog, and is not made again"
_FOLDED = "recorded as "
_IDS = 100
"""Ids that are looked for in one request."""


def put(
    catalog: Catalog, publications: Publications, works: Sequence[Work], workflows: Mapping[str, str]
) -> list[Work]:
    """Bring the rows of these executions to what the ledger says; what is known of them afterwards.

    Those whose row is not begun, since it could not be closed, are not among them. `workflows` gives the RIDs
    of their workflows by id, for those that are not known to be there. Raises CatalogError.
    """
    may_update = catalog.schema.tables["Execution"].may("update")
    there = [work for work in works if work.publication.state == "published"]
    new = [
        changed(work, workflow=workflows[work.execution.id])
        for work in works
        if work.publication.state != "published" and (may_update or work.execution.status != "Running")
    ]
    rids = catalog.lease([w.execution.id for w in new if w.publication.rid is None and _began(w)])
    # A lease ends with the row: what anybody has inserted before is there to be seen now.
    known, new = _looked_for(catalog, new)
    never = [settled(work) for work in new if not _began(work)]
    new = [work for work in new if _began(work)]
    if rids is not None:
        new = publications.note([changed(w, rid=w.publication.rid or rids[w.execution.id]) for w in new])
    made, met = _insert(catalog, new, leased=rids is not None)
    waiting = [*there, *met, *(work for work in known if work.publication.state != "closed")]
    closed = [work for work in known if work.publication.state == "closed"]
    return [*made, *never, *closed, *_close(catalog, waiting)]


def _began(work: Work) -> bool:
    """Whether its command was started: what was given up before gets no row."""
    return not (work.execution.detail or "").startswith(NOT_STARTED)


def folded_into(rid: str) -> str:
    """The detail of a row of ours whose execution turned out to have one of the command's own."""
    return f"{_FOLDED}{rid}"


def by_rid(catalog: Catalog, rids: Sequence[str]) -> dict[str, Row]:
    """Execution rows by RID; those that are not there are left out."""
    return {row["RID"]: row for row in catalog.find("Execution", [{"RID": rid} for rid in rids])}


def changed(work: Work, **changes: object) -> Work:
    """The execution with something else known of its publication."""
    return replace(work, publication=replace(work.publication, **changes))  # type: ignore[arg-type]


def settled(work: Work) -> Work:
    """The execution, with everything done that there is to do now."""
    return changed(work, state="published" if work.execution.status == "Running" else "closed", error=None)


def _looked_for(catalog: Catalog, works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
    """Those whose row is in the catalog, though the ledger was never told, and the others.

    By the RID that was noted for them, else by the execution's id in the description: of one's own rows,
    and not for an execution that has just begun.
    """
    noted = by_rid(catalog, [w.publication.rid for w in works if w.publication.rid is not None])
    nameless = [w.execution.id for w in works if w.publication.rid not in noted and not w.fresh]
    named = _own_rows(catalog, nameless)
    known, unknown = [], []
    for work in works:
        row = noted.get(work.publication.rid or "") or named.get(work.execution.id)
        if row is None:
            unknown.append(work)
        elif is_adopted(row["Description"]) or (row["Status_Detail"] or "").startswith(_FOLDED):
            own = (row["Status_Detail"] or "").removeprefix(_FOLDED)
            rid = row["RID"] if is_adopted(row["Description"]) else own
            known.append(changed(work, state="closed", recorded_by="deriva-ml", rid=rid, error=None))
        else:
            known.append(changed(work, rid=row["RID"]))
    return known, unknown


def _own_rows(catalog: Catalog, ids: Sequence[str]) -> dict[str, Row]:
    """The oldest row of this user for each execution."""
    found: dict[str, Row] = {}
    for start in range(0, len(ids), _IDS):
        pattern = quote("|".join(ids[start : start + _IDS]), safe="")
        mine = f"RCB={quote(catalog.user, safe='')}&Description::regexp::{pattern}"
        rows = catalog.client.get(
            f"/attribute/{catalog.name('Execution')}/{mine}/RID,Description,Status_Detail"
        )
        for row in sorted(rows, key=lambda row: (len(row["RID"]), row["RID"])):
            for name in blocks(row["Description"]):
                found.setdefault(name, row)
    return found


def _insert(catalog: Catalog, works: Sequence[Work], *, leased: bool) -> tuple[list[Work], list[Work]]:
    """Insert what was not there: those that were inserted, and those that somebody else has by now."""
    rows = []
    for work in works:
        row = execution_row(work.execution, catalog.schema, work.publication.workflow or "")
        rows.append(row | ({"RID": work.publication.rid} if leased else {}))
    done = catalog.insert("Execution", rows, once=leased)
    inserted = {name: row["RID"] for row in done for name in blocks(row["Description"])}
    made = [settled(changed(w, rid=inserted[i])) for w in works if (i := w.execution.id) in inserted]
    return made, [work for work in works if work.execution.id not in inserted]


def _close(catalog: Catalog, works: Sequence[Work]) -> list[Work]:
    """Have the rows say how their executions ended; a description is the user's own once the row is there."""
    rows = by_rid(catalog, [work.publication.rid for work in works if work.publication.rid is not None])
    ends: dict[str, Row] = {}
    for work in works:
        row = rows.get(work.publication.rid or "")
        end = ending(work.execution, catalog.schema)
        if row is not None and work.execution.status != "Running" and row != {**row, **end}:
            ends[row["RID"]] = end
    catalog.update("Execution", ends)
    return [
        settled(work) if work.publication.rid in rows else changed(work, state="closed", error=GONE)
        for work in works
    ]
