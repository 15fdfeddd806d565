"""Execution rows, each exactly once: inserted under a leased RID, looked for before a second try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from deriva_ml_hooks.catalog.errors import ForbiddenError, not_logged_in
from deriva_ml_hooks.catalog.leases import in_chunks, is_spent, leased
from deriva_ml_hooks.catalog.model import Model
from deriva_ml_hooks.catalog.rows import execution_row, holds, is_adopted
from deriva_ml_hooks.catalog.session import Connection, Row
from deriva_ml_hooks.executions.publications import Publications, Work
from deriva_ml_hooks.executions.record import NOT_STARTED

GONE = "its row was deleted in the catalog, and is not made again"
_FOLDED = "recorded as "


def put(
    connection: Connection,
    model: Model,
    publications: Publications,
    works: Sequence[Work],
    workflows: Mapping[str, str],
) -> list[Work]:
    """Bring the rows of these executions to what the ledger says; what is known of them afterwards.

    Those whose row is open and may not be closed are not among them. `workflows` gives the RIDs of their
    workflows by id, for those that are not known to be there. Raises CatalogError.
    """
    there = [work for work in works if work.publication.state == "published"]
    new = [
        _with(work, workflow=workflows[work.execution.id])
        for work in works
        if work.publication.state != "published"
    ]
    if not model.tables["Execution"].may("update"):  # a row that cannot be closed is not begun
        new = [work for work in new if work.execution.status != "Running"]
    known, new = _looked_for(connection, model, new)
    unstarted = [work for work in new if (work.execution.detail or "").startswith(NOT_STARTED)]
    new = [work for work in new if work not in unstarted]
    made, met = _insert(connection, model, publications, new) if new else ([], [])
    known += met
    settled = [work for work in known if work.publication.state == "closed"]
    waiting = [*there, *(work for work in known if work not in settled)]
    return made + settled + [_settled(work) for work in unstarted] + _update(connection, model, waiting)


def folded_into(rid: str) -> str:
    """The detail of a row of ours whose execution turned out to have one of the command's own."""
    return f"{_FOLDED}{rid}"


def set_columns(
    connection: Connection, model: Model, columns: Sequence[str], rows: Sequence[Row]
) -> set[str]:
    """Set columns of execution rows; the RIDs of those that were there to be set."""
    done = connection.update(model.name("Execution"), columns, rows) if rows else []
    return {row["RID"] for row in done}


def _looked_for(connection: Connection, model: Model, works: Sequence[Work]) -> tuple[list[Work], list[Work]]:
    """Those whose row is in the catalog, though the ledger was never told, and the others.

    By the RID that was noted for them, else by the execution's id in the description: of one's own rows,
    and not for an execution that has just begun.
    """
    noted = find(connection, model, [w.publication.rid for w in works if w.publication.rid is not None])
    nameless = [w.execution.id for w in works if w.publication.rid not in noted and not w.fresh]
    named = _own_rows(connection, model, nameless) if nameless else {}
    known, unknown = [], []
    for work in works:
        rows = named.get(work.execution.id, [])
        if work.publication.rid in noted:
            rows = [noted[work.publication.rid]]
        if rows:
            known.append(_met(work, rows))
        else:
            unknown.append(work)
    return known, unknown


def _met(work: Work, rows: Sequence[Row]) -> Work:
    """An execution with the rows it was found to have; closed where it is one of the command's own."""
    for row in rows:
        folded = (row["Status_Detail"] or "").partition(_FOLDED)
        if is_adopted(row["Description"], work.execution.id):
            return _with(work, state="closed", recorded_by="deriva-ml", rid=row["RID"], error=None)
        if folded[:2] == ("", _FOLDED):
            return _with(
                work,
                state="closed",
                recorded_by="deriva-ml",
                rid=folded[2],
                own_rid=row["RID"],
                error=None,
            )
    return _with(work, rid=rows[0]["RID"])


def _insert(
    connection: Connection, model: Model, publications: Publications, works: Sequence[Work]
) -> tuple[list[Work], list[Work]]:
    """Insert what was not there: those that were inserted, and those that somebody else has by now."""
    names = [w.execution.id for w in works if w.publication.rid is None]
    rids = leased(connection, names)
    if rids is None:
        return _insert_unleased(connection, model, works)
    # A lease ends with the row: what another copy of this ledger has inserted meanwhile is there to be seen.
    met, works = _looked_for(connection, model, works)
    if not works:
        return [], met
    works = [_with(w, rid=w.publication.rid or rids[w.execution.id]) for w in works]
    works = publications.note(works)
    rows = [_row(work, model) | {"RID": work.publication.rid} for work in works]
    try:
        done = connection.insert(model.name("Execution"), rows, query="nondefaults=RID&onconflict=skip")
    except ForbiddenError as error:
        late, rest = _looked_for(connection, model, works)
        if not is_spent(error) or not late:
            raise
        made, more = _insert(connection, model, publications, rest) if rest else ([], [])
        return made, [*met, *late, *more]
    inserted = {row["RID"] for row in done}
    made = [_settled(work) for work in works if work.publication.rid in inserted]
    return made, [*met, *(work for work in works if work.publication.rid not in inserted)]


def _insert_unleased(
    connection: Connection, model: Model, works: Sequence[Work]
) -> tuple[list[Work], list[Work]]:
    """The same where RIDs may not be leased: what was looked for and not found is all that is known.

    Another copy of the ledger may be synced at the same time. So it is looked for once more before, and
    after: of two rows the younger one is marked, by whoever sees both.
    """
    met, works = _looked_for(connection, model, works)
    if not works:
        return [], met
    done = connection.insert(
        model.name("Execution"), [_row(work, model) for work in works], query="defaults=RID"
    )
    made = [
        _settled(_with(work, rid=row["RID"]))
        for work in works
        for row in done
        if holds(row.get("Description"), work.execution.id)
    ]
    shared = [work for work in made if not work.fresh]
    if not shared or not model.tables["Execution"].may("update"):
        return made, met
    found = _own_rows(connection, model, [work.execution.id for work in shared])
    folds = [
        {"RID": row["RID"], "Status": model.status("Aborted"), "Status_Detail": folded_into(rows[0]["RID"])}
        for rows in found.values()
        for row in rows[1:]
    ]
    set_columns(connection, model, ["Status", "Status_Detail"], folds)
    first = {name: rows[0]["RID"] for name, rows in found.items()}
    return [_with(w, rid=first.get(w.execution.id, w.publication.rid)) for w in made], met


def _own_rows(connection: Connection, model: Model, ids: Sequence[str]) -> dict[str, list[Row]]:
    client = connection.whoami() or {}
    mine = f"RCB={quote(str(client['id']), safe='')}&" if client.get("id") else ""
    rows: dict[str, list[Row]] = {}
    for start in range(0, len(ids), 100):
        some = ids[start : start + 100]
        pattern = quote("|".join(some), safe="")
        path = f"/attribute/{model.name('Execution')}/{mine}Description::regexp::{pattern}"
        for row in connection.get(f"{path}/RID,Description,Status_Detail"):
            for name in some:
                if holds(row["Description"], name):
                    rows.setdefault(name, []).append(row)
    return {
        name: sorted(found, key=lambda row: (len(row["RID"]), row["RID"])) for name, found in rows.items()
    }


def _update(connection: Connection, model: Model, works: Sequence[Work]) -> list[Work]:
    if works and not model.tables["Execution"].may("update"):
        return _closed_already(connection, model, works)
    ended = [work for work in works if work.execution.status != "Running"]
    rows = [_row(work, model) | {"RID": work.publication.rid} for work in ended]
    columns = [name for name in rows[0] if name != "RID"] if rows else []
    # One request for rows of one form; the description is the user's own once the row is there.
    columns = [name for name in columns if name not in ("Description", "Workflow")]
    done = set_columns(connection, model, columns, [{k: row[k] for k in (*columns, "RID")} for row in rows])
    settled = []
    for work in works:
        lost = work in ended and work.publication.rid not in done
        settled.append(_with(work, state="closed", error=GONE) if lost else _settled(work))
    return settled


def _closed_already(connection: Connection, model: Model, works: Sequence[Work]) -> list[Work]:
    """Those that need no update: they run still, or their row is closed or gone.

    Raises LoginError where the right is missing because nobody is logged in (any more).
    """
    if connection.whoami() is None:
        raise not_logged_in(connection.address.host)
    rows = find(connection, model, [work.publication.rid for work in works if work.publication.rid])
    settled = []
    for work in works:
        row = rows.get(work.publication.rid or "")
        if row is None:
            settled.append(_with(work, state="closed", error=GONE))
        elif work.execution.status == "Running" or not model.is_open(row["Status"]):
            settled.append(_settled(work))
    return settled


def find(connection: Connection, model: Model, rids: Sequence[str]) -> dict[str, Row]:
    """Execution rows by RID; those that are not there are left out."""
    rows: dict[str, Row] = {}
    for chunk in in_chunks([f"RID={quote(rid, safe='')}" for rid in rids]):
        rows |= {row["RID"]: row for row in connection.get(f"/entity/{model.name('Execution')}/{chunk}")}
    return rows


def _row(work: Work, model: Model) -> Row:
    return execution_row(work.execution, model, work.publication.workflow or "")


def _settled(work: Work) -> Work:
    running = work.execution.status == "Running"
    return _with(work, state="published" if running else "closed", error=None)


def _with(work: Work, **changes: object) -> Work:
    return replace(work, publication=replace(work.publication, **changes))  # type: ignore[arg-type]
