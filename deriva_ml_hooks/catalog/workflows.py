"""Workflow rows: found by URL and checksum together, else made."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache

from deriva_ml_hooks.catalog.catalog import Catalog, Key
from deriva_ml_hooks.catalog.client import Row
from deriva_ml_hooks.catalog.errors import CatalogError

Workflow = tuple[Row, tuple[str, ...]]
"""A row, found by its URL and checksum together, and its types."""


def workflow_rids(catalog: Catalog, wanted: Iterable[Workflow]) -> dict[Key, str]:
    """The RIDs of these workflows by URL and checksum; those that are missing are inserted.

    Raises CatalogError, also where a type is unknown or none can be chosen.
    """
    by_key: dict[Key, Workflow] = {key_of(workflow): workflow for workflow in wanted}
    known = cache(lambda types: _types(catalog, types))

    def row_of(key: Key) -> Row:
        row, wanted = by_key[key]
        types = known(wanted)
        return {**row, "Workflow_Type": types[0]} if catalog.schema.type_column else row

    rids = catalog.ensure("Workflow", ("URL", "Checksum"), [*by_key], row_of)
    if not catalog.schema.type_column and catalog.has("Workflow_Workflow_Type"):
        _link_types(catalog, {rids[key]: types for key, (_, types) in by_key.items()})
    return rids


def key_of(workflow: Workflow) -> Key:
    """What a workflow is found by."""
    return workflow[0]["URL"], workflow[0]["Checksum"]


def _link_types(catalog: Catalog, types: dict[str, tuple[str, ...]]) -> None:
    """Give workflows without any type theirs: new ones, and those of a process killed between the two."""
    wanted = [rid for rid, names in types.items() if names]
    linked = catalog.find("Workflow_Workflow_Type", [{"Workflow": rid} for rid in wanted])
    typed = {row["Workflow"] for row in linked}
    catalog.insert(
        "Workflow_Workflow_Type",
        [{"Workflow": r, "Workflow_Type": name} for r in wanted if r not in typed for name in types[r]],
    )


def _types(catalog: Catalog, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The types as the vocabulary has them; for a schema that needs one, its only term if none is set."""
    needs_one = catalog.schema.type_column
    if not wanted and not needs_one:
        return ()
    where = catalog.client.address
    known = catalog.terms("Workflow_Type")
    choose = f"set workflow-type to one of: {', '.join(known)}"
    add = "add a term to Workflow_Type (in Chaise, or ml.add_term), then set workflow-type to it"
    if not known and needs_one:
        raise CatalogError(f"{where}: no workflow type exists there yet, and a workflow needs one", fix=add)
    if not wanted:
        if len(known) > 1:
            raise CatalogError(f"{where}: a workflow needs a type, and workflow-type is not set", fix=choose)
        return (known[0],)
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            fix = f"did you mean {near[0]}?" if near else choose if known else add
            raise CatalogError(f"{where}: no workflow type is called {name}", fix=fix)
    return wanted
