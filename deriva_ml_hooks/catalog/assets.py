"""The provenance of executions as files in Hatrac, Deriva's object store: one file for each commit.

Extra to the row: where Hatrac is not there, or does not take the file, nothing is missing but the file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.errors import (
    CatalogError,
    ForbiddenError,
    ServerError,
    UnreachableError,
    of_answer,
)
from deriva_ml_hooks.catalog.leases import in_chunks, is_spent, leased
from deriva_ml_hooks.catalog.model import Model
from deriva_ml_hooks.catalog.rows import provenance_document
from deriva_ml_hooks.catalog.session import Connection
from deriva_ml_hooks.executions.publications import Publication
from deriva_ml_hooks.executions.record import Execution

NAME = "deriva-ml-hooks-provenance.json"
_TABLES = ("Execution_Metadata", "Execution_Metadata_Execution", "Execution_Metadata_Asset_Type")


@dataclass(frozen=True, slots=True)
class Stored:
    """The assets' RIDs by execution RID; `late` says why it is worth trying again, where it is."""

    rids: Mapping[str, str]
    late: str | None = None

    def noted(self, publication: Publication) -> Publication:
        """What is known of an execution now; it is not closed where its file is still to come."""
        asset = self.rids.get(publication.rid or "")
        if asset is None and self.late is not None:
            return replace(publication, state="published", error=self.late)
        return replace(publication, asset=asset)


def store(connection: Connection, model: Model, runs: Sequence[tuple[Execution, str]]) -> Stored:
    """Store the provenance of executions, each with the RID of its row.

    What cannot be stored is left out.
    """
    if not runs or any(name not in model.tables for name in _TABLES):
        return Stored({})
    documents = {rid: provenance_document(execution) for execution, rid in runs}
    by_digest = {_digest(data): data for data in documents.values()}
    try:
        assets = _found(connection, model, [*by_digest])
        missing = {digest: data for digest, data in by_digest.items() if digest not in assets}
        assets |= _added(connection, model, missing)
        linked = {rid: assets[d] for rid, data in documents.items() if (d := _digest(data)) in assets}
        links = [
            {"Execution_Metadata": asset, "Execution": rid, "Asset_Role": "Output"}
            for rid, asset in linked.items()
        ]
        if links:
            name = model.name("Execution_Metadata_Execution")
            connection.insert(name, links, query="defaults=RID&onconflict=skip")
    except (ServerError, UnreachableError) as error:
        return Stored({}, f"its row is there, its provenance file is not: {error}")
    except CatalogError:
        return Stored({})
    return Stored(linked)


def answers(connection: Connection) -> bool:
    """Whether the host has a Hatrac at all (it may refuse to list its root)."""
    try:
        status, _, _ = connection.service("GET", "/hatrac/")
    except CatalogError:
        return False
    return status in (200, 401, 403)


def _digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _found(connection: Connection, model: Model, digests: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for chunk in in_chunks([f"(MD5={digest}&Filename={quote(NAME)})" for digest in digests]):
        for row in connection.get(f"/attribute/{model.name('Execution_Metadata')}/{chunk}/RID,MD5"):
            found[row["MD5"]] = min(found.get(row["MD5"], row["RID"]), row["RID"])
    return found


def _added(connection: Connection, model: Model, documents: dict[str, bytes]) -> dict[str, str]:
    rows: list[dict[str, Any]] = []
    for digest, data in documents.items():
        place = _uploaded(connection, digest, data)
        if place is None:
            break  # nor will it take the others
        rows.append(
            {
                "URL": place,
                "Filename": NAME,
                "Length": len(data),
                "MD5": digest,
                "Description": "What is known of the commit that ran, by deriva-ml-hooks",
            }
        )
    if not rows:
        return {}
    names = {row["MD5"]: f"deriva-ml-hooks/provenance/{row['MD5']}" for row in rows}
    rids = leased(connection, [*names.values()])
    query = "defaults=RID&onconflict=skip"
    if rids is not None:
        rows = [row | {"RID": rids[names[row["MD5"]]]} for row in rows]
        query = "nondefaults=RID&onconflict=skip"
    try:
        connection.insert(model.name("Execution_Metadata"), rows, query=query)
    except ForbiddenError as error:  # another run of the same commit was faster
        if not is_spent(error):
            raise
    assets = _found(connection, model, [*names])
    types = [{"Execution_Metadata": asset, "Asset_Type": "Execution_Metadata"} for asset in assets.values()]
    name = model.name("Execution_Metadata_Asset_Type")
    connection.insert(name, types, query="defaults=RID&onconflict=skip")
    return assets


def _uploaded(connection: Connection, digest: str, data: bytes) -> str | None:
    """Put a file where DerivaML puts those of this table (`/hatrac/TABLE/MD5.NAME`); its address."""
    headers = {
        "Content-Type": "application/json",
        "Content-MD5": base64.b64encode(bytes.fromhex(digest)).decode("ascii"),
        "Content-Disposition": f"filename*=UTF-8''{NAME}",
    }
    path = f"/hatrac/Execution_Metadata/{digest}.{NAME}"
    status, text, answered = connection.service("PUT", f"{path}?parents=true", data=data, headers=headers)
    if status in (408, 429) or status >= 500:
        raise of_answer(connection.address.host, status, text)
    place = text.strip() or answered.get("Location") or path
    # A login page would be an answer too.
    return place if status in (200, 201) and place.startswith("/hatrac/") else None
