"""Whether a catalog is fit to take executions, point by point, each with its way out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deriva_ml_hooks.catalog import assets, model
from deriva_ml_hooks.catalog.bounded import within
from deriva_ml_hooks.catalog.errors import LOGIN, CatalogError, LateError, LoginError
from deriva_ml_hooks.catalog.leases import leased
from deriva_ml_hooks.catalog.session import Connection
from deriva_ml_hooks.catalog.settings import Settings
from deriva_ml_hooks.catalog.workflows import terms


@dataclass(frozen=True, slots=True)
class Point:
    """One thing looked at: `fine` True, False, or None for what can be done without."""

    name: str
    fine: bool | None
    found: str
    fix: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The point as JSON."""
        return {"name": self.name, "ok": self.fine is not False, "found": self.found, "fix": self.fix}


def examine(settings: Settings) -> list[Point]:
    """Every point that can be told within `catalog-timeout`; those behind a failed one are left out."""
    points: list[Point] = []

    def look() -> None:
        for point in _examined(settings):
            points.append(point)  # what is known counts, however long the next one takes

    try:
        within(settings.timeout, settings.address.host, look)
    except LateError as error:
        points.append(Point("time", False, str(error), error.fix))
    return points


def _examined(settings: Settings) -> Iterator[Point]:
    address = settings.address
    try:
        connection = Connection(address, settings.timeout, named_by_user=settings.named_by_user)
        client = connection.whoami()
        yield Point("server", True, f"{address.host} answers")
    except CatalogError as error:
        yield Point("server", False, str(error), error.fix)
        return
    if client is None:
        found = "the credential is not taken (any more)" if connection.has_credential else "no credential"
        yield Point("login", False, found, LOGIN.format(host=address.host))
    else:
        name = client.get("display_name") or client.get("id")
        yield Point("login", True, f"as {name}")
    try:
        found_model = model.read(connection, settings.schema)
    except LoginError as error:
        yield Point("catalog", False, str(error), error.fix)
        return
    except CatalogError as error:
        yield Point("schema", False, str(error), error.fix)
        return
    yield Point("schema", True, f"{settings.schema}, {found_model.form}")
    if client is None:  # what nobody may do says nothing of this user
        return
    for table in ("Workflow", "Execution"):
        yield _rights(found_model, table)
    try:
        yield _lease(connection, str(client.get("id")))
    except CatalogError as error:
        yield Point("RID leases", False, str(error), error.fix)
    try:
        yield _types(settings, connection, found_model)
    except CatalogError as error:
        yield Point("workflow types", False, str(error), error.fix)
    if assets.answers(connection):
        yield Point("hatrac", True, "there")
    else:
        yield Point("hatrac", None, "not there: the provenance is not stored as a file")


def _rights(found: model.Model, table: str) -> Point:
    needed = ("insert", "update") if table == "Execution" else ("insert",)
    denied = [right for right in needed if not found.tables[table].may(right)]
    if denied:
        fix = "ask the catalog's owner to be made one of its writers"
        if denied == ["update"]:
            fix = (
                "ask for the right to update one's own rows; until then a run is published when it has ended"
            )
        return Point(
            table, None if denied == ["update"] else False, f"no right to {' and '.join(denied)} rows", fix
        )
    return Point(table, True, f"may {' and '.join(needed)} rows")


def _lease(connection: Connection, user: str) -> Point:
    # Tried, since what the schema says of rights is not all; it is the same lease every time.
    if leased(connection, [f"deriva-ml-hooks/check/{user}"]) is not None:
        return Point("RID leases", True, "may be made")
    fix = "ask for the right to insert into public:ERMrest_RID_Lease, as DerivaML's newer policy gives it"
    return Point(
        "RID leases", None, "no right: rows are looked for by execution id before they are made", fix
    )


def _types(settings: Settings, connection: Connection, found: model.Model) -> Point:
    known = terms(connection, found)
    unknown = [name for name in settings.workflow_types if name not in known]
    shown = ", ".join(known) or "none"
    if unknown:
        return Point(
            "workflow types",
            False,
            f"{shown}; not {', '.join(unknown)}",
            "set workflow-type to one that exists",
        )
    if found.type_column and not known:
        return Point(
            "workflow types", False, shown, "add a term to Workflow_Type (in Chaise, or ml.add_term)"
        )
    if found.type_column and not settings.workflow_types and len(known) > 1:
        return Point("workflow types", False, shown, "set workflow-type to one of them")
    if not settings.workflow_types:
        fix = f"set workflow-type to one of: {shown}" if known else "add a term to Workflow_Type"
        return Point("workflow types", None, f"{shown}; workflow-type is not set: workflows have none", fix)
    return Point("workflow types", True, shown)
