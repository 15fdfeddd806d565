"""Whether a catalog is fit to take executions, point by point, each with its fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deriva_ml_hooks.catalog import assets
from deriva_ml_hooks.catalog.catalog import Catalog, read_schema
from deriva_ml_hooks.catalog.client import Client
from deriva_ml_hooks.catalog.deadline import within
from deriva_ml_hooks.catalog.errors import LOGIN, CatalogError, LateError, sensible
from deriva_ml_hooks.catalog.settings import Settings


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

    timeout = settings.config.catalog_timeout
    try:
        within(timeout, settings.address.host, look)
    except LateError as error:
        points.append(Point("time", False, str(error), error.fix))
    return points


def _examined(settings: Settings) -> Iterator[Point]:
    host, config = settings.address.host, settings.config
    name = "server"
    try:
        client = Client(settings, config.catalog_timeout)
        user = client.whoami()
        yield Point(name, True, f"{host} answers")
        if user is None:
            found = "the credential is not taken (any more)" if client.has_credential else "no credential"
            yield Point("login", False, found, LOGIN.format(host=host))
        else:
            yield Point("login", True, f"as {user.get('display_name') or user.get('id')}")
        name = "schema"
        schema = read_schema(client, config.schema)
        yield Point(name, True, f"{config.schema}, {schema.form}")
        if user is None:  # what nobody may do says nothing of this user
            return
        catalog = Catalog(client, schema, str(user.get("id")))
        yield _rights(catalog, "Workflow", "insert")
        yield _rights(catalog, "Execution", "insert", "update")
        for name, point in (("RID leases", _leases), ("workflow types", _types), ("hatrac", _hatrac)):
            with sensible(host):
                yield point(name, catalog, config.workflow_type)
    except CatalogError as error:
        yield Point(name, False, str(error), error.fix)


def _rights(catalog: Catalog, table: str, *needed: str) -> Point:
    denied = [right for right in needed if not catalog.schema.tables[table].may(right)]
    if not denied:
        return Point(table, True, f"may {' and '.join(needed)} rows")
    found = f"no right to {' and '.join(denied)} rows"
    if denied == ["update"]:
        fix = "ask for the right to update one's own rows; until then a run is published when it has ended"
        return Point(table, None, found, fix)
    return Point(table, False, found, "ask the catalog's owner to be made one of its writers")


def _leases(name: str, catalog: Catalog, _: tuple[str, ...]) -> Point:
    # Tried, since what the schema says of rights is not all; it is the same lease every time.
    if catalog.lease([f"deriva-ml-hooks/check/{catalog.user}"]) is not None:
        return Point(name, True, "may be made")
    found = "no right: rows are looked for by execution id before they are made"
    fix = "ask for the right to insert into public:ERMrest_RID_Lease, as DerivaML's newer policy gives it"
    return Point(name, None, found, fix)


def _types(name: str, catalog: Catalog, wanted: tuple[str, ...]) -> Point:
    known = catalog.terms("Workflow_Type")
    unknown = [one for one in wanted if one not in known]
    shown = ", ".join(known) or "none"
    choose = f"set workflow-type to one of: {shown}"
    add = "add a term to Workflow_Type (in Chaise, or ml.add_term)"
    if unknown:
        return Point(name, False, f"{shown}; not {', '.join(unknown)}", choose if known else add)
    if catalog.schema.type_column and not known:
        return Point(name, False, shown, add)
    if catalog.schema.type_column and not wanted and len(known) > 1:
        return Point(name, False, shown, choose)
    if not wanted:
        found = f"{shown}; workflow-type is not set: workflows have none"
        return Point(name, None, found, choose if known else add)
    return Point(name, True, shown)


def _hatrac(name: str, catalog: Catalog, _: tuple[str, ...]) -> Point:
    if assets.answers(catalog):
        return Point(name, True, "there")
    return Point(name, None, "not there: the provenance is not stored as a file")
