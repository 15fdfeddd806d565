"""A catalog's rows by table: found, leased, inserted once, updated.

ERMrest leases a RID under an id of the client's choice (table public:ERMrest_RID_Lease). The same id gives
the same RID until a row has been inserted under it. That ends the lease, in the same transaction, and who
is not the owner of the catalog is then refused (403, "non-leased value"). So a row can be inserted again
without becoming two: its RID is noted before it is used, or it is looked for after its RID was leased.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.client import Client, Row
from deriva_ml_hooks.catalog.errors import CatalogError, not_logged_in, sensible
from deriva_ml_hooks.catalog.schema import Schema, read
from deriva_ml_hooks.catalog.settings import Settings

_LEASES = "public:ERMrest_RID_Lease"
_LONGEST = 6_000
"""Characters of an address that every web server in front of a catalog takes."""
Key = tuple[str, ...]


class Catalog:
    """The tables of a deriva-ml schema, named without it; `user` is the id of who is logged in.

    Methods raise CatalogError.
    """

    def __init__(self, client: Client, schema: Schema, user: str) -> None:
        self.client = client
        self.schema = schema
        self.user = user

    @classmethod
    def reached(cls, settings: Settings, timeout: float) -> Catalog:
        """The catalog, where somebody is logged in; `timeout` is in seconds, for this and what follows."""
        client = Client(settings, timeout)
        host = settings.address.host
        with sensible(host):
            user = client.whoami() if client.has_credential else None
            if user is None:
                raise not_logged_in(host)
            return cls(client, read_schema(client, settings.config.schema), str(user["id"]))

    def has(self, *tables: str) -> bool:
        """Whether the schema has all of these tables."""
        return all(table in self.schema.tables for table in tables)

    def name(self, table: str) -> str:
        """A table as requests name it."""
        return f"{quote(self.schema.name)}:{quote(table)}"

    def find(self, table: str, keys: Iterable[Mapping[str, str]]) -> list[Row]:
        """The rows that have all values of one of `keys`, oldest first."""
        filters = [_filter(key) for key in keys]
        path = f"/entity/{self.name(table)}"
        rows = [row for chunk in _chunks(filters) for row in self.client.get(f"{path}/{chunk}")]
        return sorted(rows, key=lambda row: (len(row["RID"]), row["RID"]))

    def terms(self, vocabulary: str) -> list[str]:
        """The names of a vocabulary's terms."""
        return sorted(row["Name"] for row in self.client.get(f"/attribute/{self.name(vocabulary)}/Name"))

    def insert(self, table: str, rows: Sequence[Row], *, once: bool = True) -> list[Row]:
        """Insert rows, under their RIDs where they have one; those that the server has inserted.

        `once`: rows whose key or RID is there already are passed over, so it can be repeated.
        """
        if not rows:
            return []
        query = "nondefaults=RID" if "RID" in rows[0] else "defaults=RID"
        return self.client.send_rows(
            "POST", f"/entity/{self.name(table)}?{query}{'&onconflict=skip' if once else ''}", rows
        )

    def update(self, table: str, rows: Mapping[str, Row]) -> set[str]:
        """Set the given columns of rows by RID; the RIDs of those that were there to be set."""
        by_columns: dict[tuple[str, ...], list[Row]] = {}
        for rid, row in rows.items():
            by_columns.setdefault(tuple(row), []).append({"RID": rid, **row})
        done: set[str] = set()
        for columns, some in by_columns.items():
            path = f"/attributegroup/{self.name(table)}/RID;{','.join(columns)}"
            try:
                done |= {row["RID"] for row in self.client.send_rows("PUT", path, some)}
            except CatalogError as error:
                error.row = error.row or error.status == 403  # whose row it is decides
                raise
        return done

    def ensure(
        self, table: str, columns: tuple[str, ...], keys: Iterable[Key], make: Callable[[Key], Row]
    ) -> dict[Key, str]:
        """The RIDs of rows by their values of `columns`; a row that is missing is inserted as `make` has it.

        Of several rows, made by others, everybody takes the oldest. Whoever leases after the row was made
        finds it when looking once more, so in the end there is one, however many ask at once.
        """
        rids = self._rids(table, columns, keys)
        rows = {key: make(key) for key in keys if key not in rids}
        if not rows:
            return rids
        names = {key: _lease_name(table, key) for key in rows}
        leased = self.lease([*names.values()])
        for leases in [leased, None] if leased is not None else [None]:
            rids |= self._rids(table, columns, [key for key in rows if key not in rids])
            missing = {key: row for key, row in rows.items() if key not in rids}
            given = [
                row | ({"RID": leases[names[key]]} if leases is not None else {})
                for key, row in missing.items()
            ]
            try:
                made = self.insert(table, given, once=leases is not None)
            except CatalogError as error:
                if leases is None or not (error.row and error.status == 403):
                    raise
                continue  # it was leased to somebody else, whose row is there now, or who has not come back
            rids |= {tuple(row[name] for name in columns): row["RID"] for row in made}
        return rids

    def lease(self, names: Sequence[str]) -> dict[str, str] | None:
        """The RIDs leased under `names`; None where this user may not lease.

        That is so, too, where the schema `public` is hidden from the user: the table is not there then (409).
        """
        if not names:
            return {}
        rows = [{"ID": name} for name in names]
        path = f"/entity/{_LEASES}?defaults=RID&onconflict=skip"
        try:
            made = self.client.send_rows("POST", path, rows)
        except CatalogError as error:
            if error.status in (403, 404) or (error.status == 409 and "does not exist" in str(error)):
                return None
            raise
        filters = [_filter({"ID": name}) for name in names]
        if len(made) < len(names):
            made = [
                row for chunk in _chunks(filters) for row in self.client.get(f"/entity/{_LEASES}/{chunk}")
            ]
        rids = {row["ID"]: row["RID"] for row in made}
        if not rids.keys() >= set(names):
            raise CatalogError(
                f"{self.client.address.host}: a RID was leased, but is not to be seen",
                fix="ask the catalog's owner whether public:ERMrest_RID_Lease can be read",
            )
        return rids

    def _rids(self, table: str, columns: tuple[str, ...], keys: Iterable[Key]) -> dict[Key, str]:
        wanted = [dict(zip(columns, key, strict=True)) for key in keys]
        rids: dict[Key, str] = {}
        for row in self.find(table, wanted):
            rids.setdefault(tuple(row[name] for name in columns), row["RID"])
        return rids


def read_schema(client: Client, name: str) -> Schema:
    """The deriva-ml schema called `name`. Raises CatalogError where it is none, too."""
    try:
        document: Any = client.get(f"/schema/{quote(name)}")
    except CatalogError as error:
        if error.status != 404 or "schema" not in str(error):
            raise
        raise CatalogError(
            f"{client.address}: no schema {name}",
            fix='name it: schema = "...", or make it: deriva-ml-create-schema',
        ) from None
    with sensible(client.address.host):
        return read(document, name, str(client.address))


def _filter(key: Mapping[str, str]) -> str:
    text = "&".join(f"{column}={quote(value, safe='')}" for column, value in key.items())
    return f"({text})" if len(key) > 1 else text


def _chunks(filters: Sequence[str]) -> list[str]:
    """Filters joined by `;` (or) into as few texts as fit an address."""
    chunks: list[str] = []
    for text in filters:
        if chunks and len(chunks[-1]) + len(text) < _LONGEST:
            chunks[-1] += f";{text}"
        else:
            chunks.append(text)
    return chunks


def _lease_name(table: str, key: Key) -> str:
    text = "\n".join(key).encode("utf-8", "surrogateescape")
    return f"deriva-ml-hooks/{table}/{hashlib.sha256(text).hexdigest()}"
