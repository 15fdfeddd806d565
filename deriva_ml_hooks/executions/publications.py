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
from deriva_ml_hooks.executions.ledger import Ledger, mark
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.rows import COLUMNS, without_secrets

State = Literal["pending", "published", "closed", "failed"]
Recorder = Literal["runner", "deriva-ml"]

RID_VARIABLE = "DERIVA_ML_HOOKS_EXECUTION_RID"
"""What tells a command the RID of its execution."""
_AT_ONCE = 500
"""Executions that are asked for in one statement: SQLite limits its marks."""
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
_OPEN = """
    FROM executions e LEFT JOIN publications p ON p.execution = e.id AND p.catalog = ?
    WHERE e.id > ? AND e.status != 'Submitted' AND coalesce(p.state, '') != 'closed'
"""
"""The executions that are still to be published."""


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
        with self.ledger.writing() as connection:
            for publication in publications:
                _write(connection, **{name: getattr(publication, name) for name in _FIELDS})

    def note(self, works: Sequence[Work]) -> list[Work]:
        """Write down the RIDs that rows are about to be inserted under; another's that is noted wins."""
        noted = []
        with self.ledger.writing() as connection:
            for work in works:
                known = self._row(connection, work.execution.id)
                rid = (known and known[0].rid) or work.publication.rid
                noted.append(replace(work, publication=replace(work.publication, rid=rid)))
                self._set(connection, work.execution.id, rid=rid, workflow=work.publication.workflow)
        return noted

    def take(self, after: str, limit: int) -> list[Work]:
        """Claim the next executions that are not closed in the catalog, oldest first, ids above `after`."""
        names = [*(f"e.{name}" for name in COLUMNS), *(f"p.{name}" for name in _FIELDS), "p.claim"]
        with self.ledger.writing() as connection:
            found = connection.execute(
                f"SELECT {', '.join(names)} {_OPEN} ORDER BY e.id",
                (self.catalog, after),
            )
            free = (row for row in found if self._is_free(row[-1]))
            taken = [self._work(row) for row in itertools.islice(free, limit)]
            for work in taken:
                self._set(connection, work.execution.id, claim=self._claim())
        return taken

    def begin(self, work: Work) -> Work | None:
        """Claim an execution for its own run; None where a sync is at work on it already.

        What a sync may have found out, or left behind, stays; `fresh` is kept only where none was here.
        """
        publication, name = work.publication, work.execution.id
        recorder = publication.recorded_by
        with self.ledger.writing() as connection:
            known = self._row(connection, name)
            if known is not None:
                if not self._is_free(known[1]):
                    return None
                publication = replace(known[0], recorded_by=recorder, error=None)
            self._set(connection, name, claim=self._claim(), recorded_by=recorder)
        return replace(work, publication=publication, fresh=work.fresh and known is None)

    def release(self, ids: Sequence[str]) -> None:
        """Give up the claims on these executions."""
        with self.ledger.writing() as connection:
            for name in ids:
                self._set(connection, name, claim=None)

    def failed(self, why: str, ids: Sequence[str] | None = None) -> None:
        """Keep why these executions (None: all) are not closed; the next one that tries begins without it."""
        with self.ledger.writing() as connection:
            found = connection.execute(f"SELECT e.id {_OPEN}", (self.catalog, "")).fetchall()
            for (name,) in found:
                if ids is None or name in ids:
                    self._set(connection, name, error=why)

    def rids(self) -> set[str]:
        """The RIDs in this catalog that executions of the ledger have already."""
        with self.ledger.writing() as connection:
            query = "SELECT rid FROM publications WHERE catalog = ? AND rid IS NOT NULL"
            return {row[0] for row in connection.execute(query, (self.catalog,))}

    def waiting(self, after: str = "") -> int:
        """How many executions with ids above `after` are not closed in the catalog."""
        with self.ledger.writing() as connection:
            query = f"SELECT count(*) {_OPEN}"
            return int(connection.execute(query, (self.catalog, after)).fetchone()[0])

    def _row(
        self, connection: sqlite3.Connection, execution_id: str
    ) -> tuple[Publication, str | None] | None:
        """What is known of an execution, and the claim on it."""
        found = connection.execute(
            f"SELECT {', '.join(_FIELDS)}, claim FROM publications"  # noqa: S608
            " WHERE execution = ? AND catalog = ?",
            (execution_id, self.catalog),
        ).fetchone()
        return (Publication(*found[:-1]), found[-1]) if found is not None else None

    def _set(self, connection: sqlite3.Connection, execution_id: str, **values: str | None) -> None:
        _write(connection, execution=execution_id, catalog=self.catalog, **values)

    def _claim(self) -> str:
        return f"{self._me}\t{time.time() + CLAIM:.0f}"

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
        known = Publication(*values) if values[0] is not None else Publication(execution.id, self.catalog)
        return Work(execution, replace(known, error=None))


def _write(connection: sqlite3.Connection, **values: str | None) -> None:
    """Write these columns of a row, a new one or the one that is there."""
    stored = without_secrets(values)
    row = {"state": "pending", "recorded_by": "runner"} | stored
    names, marks = ", ".join(row), ", ".join(map(mark, row.values()))
    updates = ", ".join(f"{name} = excluded.{name}" for name in stored)
    connection.execute(
        f"INSERT INTO publications ({names}) VALUES ({marks})"  # noqa: S608
        f" ON CONFLICT (execution, catalog) DO UPDATE SET {updates}",
        (*row.values(),),
    )


def everywhere(ledger: Ledger, ids: Sequence[str]) -> dict[str, list[Publication]]:
    """The publications of these executions in all catalogs, by the execution's id; nothing is written."""
    found: dict[str, list[Publication]] = {}
    if not os.path.exists(ledger.path):
        return found
    with ledger.transaction("BEGIN") as (connection, schema):
        for start in range(0, len(ids) if schema > 1 else 0, _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            query = f"SELECT {', '.join(_FIELDS)} FROM publications WHERE execution IN ({marks})"  # noqa: S608
            for row in connection.execute(f"{query} ORDER BY catalog", some):
                found.setdefault(row[0], []).append(Publication(*row))
    return found
