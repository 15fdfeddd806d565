"""RIDs that are reserved before their row is there, so that a row can be inserted again without becoming two.

ERMrest leases a RID under an id of the client's choice (table public:ERMrest_RID_Lease). The same id gives
the same RID until a row has been inserted under it: that ends the lease, in the same transaction, and who
is not the owner of the catalog is then refused (403, "non-leased value"). So a RID has to be noted before it
is used, and a row looked for before it is inserted again. Where leasing is not allowed the answer is None; so
it is where the schema `public` is hidden from the user, for whom the table does not exist then (409).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from deriva_ml_hooks.catalog.errors import (
    CatalogError,
    ConflictError,
    ForbiddenError,
    MissingError,
    ServerError,
)
from deriva_ml_hooks.catalog.session import Connection

TABLE = "public:ERMrest_RID_Lease"
LONGEST = 6_000
"""Characters of an address that every web server in front of a catalog takes."""


def leased(connection: Connection, names: Sequence[str]) -> dict[str, str] | None:
    """The RIDs leased under `names`; None where this user may not lease. Raises CatalogError."""
    if not names:
        return {}
    rows = [{"ID": name} for name in names]
    try:
        made = connection.insert(TABLE, rows, query="defaults=RID&onconflict=skip")
    except (ForbiddenError, MissingError):
        return None
    except ConflictError as error:
        if "does not exist" not in str(error):
            raise
        return None
    rids = {row["ID"]: row["RID"] for row in made}
    missing = [name for name in names if name not in rids]
    for filters in in_chunks([f"ID={quote(name, safe='')}" for name in missing]):
        found = connection.get(f"/attribute/{TABLE}/{filters}/ID,RID")
        rids |= {row["ID"]: row["RID"] for row in found}
    lost = [name for name in names if name not in rids]
    if lost:
        raise ServerError(
            f"{connection.address.host}: no RID is leased for {lost[0]}, and none was there before",
            fix="ask the catalog's owner whether public:ERMrest_RID_Lease can be read",
        )
    return rids


def is_spent(error: CatalogError) -> bool:
    """Whether an insertion was refused because its RID is not leased: used already, or somebody else's."""
    return isinstance(error, ForbiddenError) and "non-leased" in str(error)


def in_chunks(filters: Sequence[str]) -> list[str]:
    """Filters joined by `;` (or) into as few texts as fit an address."""
    chunks: list[str] = []
    for text in filters:
        if chunks and len(chunks[-1]) + len(text) < LONGEST:
            chunks[-1] += f";{text}"
        else:
            chunks.append(text)
    return chunks
