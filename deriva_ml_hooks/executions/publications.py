"""What is known of executions in a catalog: a table of the ledger, a row for each execution and catalog.

A row is written before the catalog is asked for anything that cannot be asked for twice, so that a kill
between the two leaves something to go on from. A claim keeps two processes from working on one execution.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.ledger import Ledger, migrate
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.rows import COLUMNS

State = Literal["pending", "published", "closed", "failed"]
Recorder = Literal["runner", "deriva-ml"]

RID_VARIABLE = "DERIVA_ML_HOOKS_EXECUTION_RID"
"""What tells a command the RID of its execution."""
CLAIM = 600.0
"""Seconds after which the claim of a process on another host is void; one on this host ends with it."""


@dataclass(frozen=True, slots=True)
class Publication:
    """An execution in a catalog. `closed`: there is nothing left to be done.

    `rid` is its row there (or what is leased for it), `own_rid` the row of ours that was folded into
    `rid` because the command recorded itself; `asset` names the stored provenance.
    """

    execution: str
    catalog: str
    state: State = "pending"
    recorded_by: Recorder = "runner"
    rid: str | None = None
    workflow: str | None = None
    own_rid: str | None = None
    asset: str | None = None
    error: str | None = None


_FIELDS = tuple(f.name for f in fields(Publication))


@dataclass(frozen=True, slots=True)
class Work:
    """An execution that is still to be published, and what is known of it in the catalog."""

    execution: Execution
    publication: Publication
    fresh: bool = False
    """Whether nobody can have published it before: its run has just begun."""


class Publications:
    """The publications of one ledger in one catalog; methods raise LedgerError."""

    def __init__(self, ledger: Ledger, catalog: str) -> None:
        self.ledger = ledger
        self.catalog = catalog
        self._me = f"{processes.host()}\t{os.getpid()}\t{processes.identity(os.getpid()) or ''}"

    def put(self, publications: Iterable[Publication]) -> None:
        """Write rows, new ones or over those that are there; on the disk when this returns."""
        marks = ", ".join("?" * len(_FIELDS))
        kept = ", ".join(f"{name} = excluded.{name}" for name in _FIELDS[2:])
        with self.ledger.transaction("BEGIN IMMEDIATE") as (connection, schema):
            migrate(connection, schema)
            connection.executemany(
                f"INSERT INTO publications ({', '.join(_FIELDS)}) VALUES ({marks})"  # noqa: S608
                f" ON CONFLICT (execution, catalog) DO UPDATE SET {kept}",
                [tuple(getattr(p, name) for name in _FIELDS) for p in publications],
            )

    def note(self, works: Sequence[Work]) -> list[Work]:
        """Write down the RIDs that rows are about to be inserted under; another's that is noted wins."""
        with self.ledger.transaction("BEGIN IMMEDIATE") as (connection, schema):
            migrate(connection, schema)
            connection.executemany(
                "INSERT INTO publications (execution, catalog, state, recorded_by, rid, workflow)"
                " VALUES (?, ?, 'pending', 'runner', ?, ?) ON CONFLICT (execution, catalog)"
                " DO UPDATE SET rid = coalesce(rid, excluded.rid), workflow = excluded.workflow",
                [(w.execution.id, self.catalog, w.publication.rid, w.publication.workflow) for w in works],
            )
            query = "SELECT rid FROM publications WHERE execution = ? AND catalog = ?"
            rids = [connection.execute(query, (w.execution.id, self.catalog)).fetchone()[0] for w in works]
        return [
            replace(w, publication=replace(w.publication, rid=r)) for w, r in zip(works, rids, strict=True)
        ]

    def of(self, execution_id: str) -> Publication | None:
        """What is known of one execution."""
        found = everywhere(self.ledger, [execution_id]).get(execution_id, ())
        return next((p for p in found if p.catalog == self.catalog), None)

    def take(self, after: str, limit: int) -> list[Work]:
        """Claim the next executions that are not closed in the catalog, oldest first, ids above `after`."""
        if not os.path.exists(self.ledger.path):
            return []
        with self.ledger.transaction("BEGIN IMMEDIATE") as (connection, schema):
            if not schema:
                return []
            migrate(connection, schema)
            names = [*(f"e.{name}" for name in COLUMNS), *(f"p.{name}" for name in _FIELDS), "p.claim"]
            found = connection.execute(
                f"SELECT {', '.join(names)} FROM executions e"  # noqa: S608
                " LEFT JOIN publications p ON p.execution = e.id AND p.catalog = ?"
                " WHERE e.id > ? AND (p.state IS NULL OR p.state != 'closed')"
                " AND e.status != 'Submitted' ORDER BY e.id",
                (self.catalog, after),
            )
            free = (row for row in found if self._is_free(row[-1]))
            taken = [self._work(row) for row in itertools.islice(free, limit)]
            self._claim(connection, [work.execution.id for work in taken])
        return taken

    def begin(self, work: Work) -> Work | None:
        """Claim an execution for its own run; None where a sync is at work on it already.

        What a sync may have found out, or left behind, stays; `fresh` is kept only where none was here.
        """
        publication, name = work.publication, work.execution.id
        with self.ledger.transaction("BEGIN IMMEDIATE") as (connection, schema):
            migrate(connection, schema)
            found = connection.execute(
                f"SELECT {', '.join(_FIELDS)}, claim FROM publications"  # noqa: S608
                " WHERE execution = ? AND catalog = ?",
                (name, self.catalog),
            ).fetchone()
            if found is not None and not self._is_free(found[-1]):
                return None
            if found is not None:
                publication = replace(
                    Publication(*found[:-1]), recorded_by=publication.recorded_by, error=None
                )
            self._claim(connection, [name])
            connection.execute(
                "UPDATE publications SET recorded_by = ? WHERE execution = ? AND catalog = ?",
                (publication.recorded_by, name, self.catalog),
            )
        return replace(work, publication=publication, fresh=work.fresh and found is None)

    def release(self, ids: Sequence[str]) -> None:
        """Give up the claims on these executions."""
        with self.ledger.transaction("BEGIN IMMEDIATE") as (connection, _):
            connection.executemany(
                "UPDATE publications SET claim = NULL WHERE execution = ? AND catalog = ?",
                [(name, self.catalog) for name in ids],
            )

    def failed(self, why: str, ids: Sequence[str] | None = None) -> None:
        """Keep why these executions (None: all) are not closed; the next one that tries begins without it."""
        if not os.path.exists(self.ledger.path):
            return
        with self.ledger.transaction("BEGIN IMMEDIATE") as (connection, schema):
            if not schema:
                return
            migrate(connection, schema)
            some = "true" if ids is None else f"id IN ({', '.join('?' * len(ids))})"
            connection.execute(
                "INSERT INTO publications (execution, catalog, state, recorded_by, error)"  # noqa: S608
                f" SELECT id, ?, 'pending', 'runner', ? FROM executions WHERE {some}"
                " ON CONFLICT (execution, catalog) DO UPDATE SET error = excluded.error"
                " WHERE state != 'closed'",
                (self.catalog, why, *(ids or ())),
            )

    def rids(self) -> set[str]:
        """The RIDs in this catalog that executions of the ledger have already."""
        with self.ledger.transaction("BEGIN") as (connection, schema):
            if schema < 2:
                return set()
            query = "SELECT rid FROM publications WHERE catalog = ? AND rid IS NOT NULL"
            return {row[0] for row in connection.execute(query, (self.catalog,))}

    def waiting(self, after: str = "") -> int:
        """How many executions with ids above `after` are not closed in the catalog."""
        if not os.path.exists(self.ledger.path):
            return 0
        with self.ledger.transaction("BEGIN") as (connection, schema):
            if not schema:
                return 0
            query = "SELECT count(*) FROM executions WHERE id > ? AND status != 'Submitted'"
            total = int(connection.execute(query, (after,)).fetchone()[0])
            if schema < 2:
                return total
            query = (
                "SELECT count(*) FROM publications WHERE catalog = ? AND state = 'closed' AND execution > ?"
            )
            return total - int(connection.execute(query, (self.catalog, after)).fetchone()[0])

    def _claim(self, connection: sqlite3.Connection, ids: Sequence[str]) -> None:
        until = f"{self._me}\t{time.time() + CLAIM:.0f}"
        connection.executemany(
            "INSERT INTO publications (execution, catalog, state, recorded_by, claim)"
            " VALUES (?, ?, 'pending', 'runner', ?)"
            " ON CONFLICT (execution, catalog) DO UPDATE SET claim = excluded.claim",
            [(name, self.catalog, until) for name in ids],
        )

    def _is_free(self, claim: str | None) -> bool:
        if claim is None or claim.startswith(self._me + "\t"):
            return True
        host, pid, identity, until = claim.split("\t")
        if not processes.is_elsewhere(host, identity or None):
            return processes.is_gone(int(pid), identity or None)
        return time.time() > float(until)

    def _work(self, row: Sequence[Any]) -> Work:
        execution = self.ledger.sound(self.ledger.now(row[: len(COLUMNS)]))
        values = row[len(COLUMNS) : -1]
        if values[0] is None:
            return Work(execution, Publication(execution.id, self.catalog))
        return Work(execution, replace(Publication(*values), error=None))


def everywhere(ledger: Ledger, ids: Sequence[str]) -> dict[str, list[Publication]]:
    """The publications of these executions in all catalogs, by the execution's id."""
    found: dict[str, list[Publication]] = {}
    if not os.path.exists(ledger.path):
        return found
    with ledger.transaction("BEGIN") as (connection, schema):
        if schema < 2:
            return found
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            rows = connection.execute(
                f"SELECT {', '.join(_FIELDS)} FROM publications"  # noqa: S608
                f" WHERE execution IN ({', '.join('?' * len(some))}) ORDER BY catalog",
                some,
            ).fetchall()
            for row in rows:
                publication = Publication(*row)
                found.setdefault(publication.execution, []).append(publication)
    return found
