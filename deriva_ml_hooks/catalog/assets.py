"""The provenance of executions as files in Hatrac, Deriva's object store: one file for each commit.

Extra to the row: where Hatrac is not there, or does not take the file, nothing is missing but the file.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from deriva_ml_hooks.catalog.catalog import Catalog, Key
from deriva_ml_hooks.catalog.client import Row
from deriva_ml_hooks.catalog.errors import CatalogError, of_answer, senseless
from deriva_ml_hooks.catalog.rows import provenance_document
from deriva_ml_hooks.executions.record import Execution

NAME = "deriva-ml-hooks-provenance.json"
_TABLES = ("Execution_Metadata", "Execution_Metadata_Execution", "Execution_Metadata_Asset_Type")


def store(catalog: Catalog, runs: Sequence[tuple[Execution, str]]) -> dict[str, str]:
    """Store the provenance of executions, each with the RID of its row; the files' RIDs by those.

    What cannot be stored is left out. Raises a CatalogError that is `passing` where it is worth trying again.
    """
    if not runs or not catalog.has(*_TABLES):
        return {}
    documents = {rid: provenance_document(execution) for execution, rid in runs}
    digests = {rid: hashlib.md5(data, usedforsecurity=False).hexdigest() for rid, data in documents.items()}
    by_key: dict[Key, bytes] = {(digest, NAME): documents[rid] for rid, digest in digests.items()}
    uploaded: list[Key] = []

    def upload(key: Key) -> Row:
        uploaded.append(key)
        return _uploaded(catalog, key[0], by_key[key])

    try:
        files = catalog.ensure("Execution_Metadata", ("MD5", "Filename"), [*by_key], upload)
        types = [{"Execution_Metadata": files[k], "Asset_Type": "Execution_Metadata"} for k in uploaded]
        catalog.insert("Execution_Metadata_Asset_Type", types)
        stored = {rid: files[digest, NAME] for rid, digest in digests.items()}
        links = [
            {"Execution_Metadata": file, "Execution": rid, "Asset_Role": "Output"}
            for rid, file in stored.items()
        ]
        catalog.insert("Execution_Metadata_Execution", links)
    except CatalogError as error:
        if error.passing:
            raise
        return {}
    return stored


def answers(catalog: Catalog) -> bool:
    """Whether the host has a Hatrac at all (it may refuse to list its root)."""
    try:
        status, _, _ = catalog.client.service("GET", "/hatrac/")
    except CatalogError:
        return False
    return status in (200, 401, 403)


def _uploaded(catalog: Catalog, digest: str, data: bytes) -> Row:
    """Put a file where DerivaML puts those of this table (`/hatrac/TABLE/MD5.NAME`); its row."""
    headers = {
        "Content-Type": "application/json",
        "Content-MD5": base64.b64encode(bytes.fromhex(digest)).decode("ascii"),
        "Content-Disposition": f"filename*=UTF-8''{NAME}",
    }
    path = f"/hatrac/Execution_Metadata/{digest}.{NAME}"
    sent = {"data": data, "headers": headers}
    status, text, answered = catalog.client.service("PUT", f"{path}?parents=true", **sent)
    if status >= 300:
        raise of_answer(catalog.client.address.host, status, text)
    place = text.strip() or answered.get("Location") or path
    if not place.startswith("/hatrac/"):  # a login page would be an answer too
        error = senseless(catalog.client.address.host, "no address of a file")
        error.passing = False
        raise error
    return {
        "URL": place,
        "Filename": NAME,
        "Length": len(data),
        "MD5": digest,
        "Description": "What is known of the commit that ran, by deriva-ml-hooks",
    }
