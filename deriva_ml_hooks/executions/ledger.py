"""The ledger: a SQLite table of executions, safe to be written by many processes on a network disk.

A row is on the disk before its command starts, and each write is one short transaction. There is no
write-ahead log, which needs memory shared between the writers (sqlite.org/wal.html, 9), so a ledger on
NFS works as far as that locks at all. A kill at any moment leaves the old state or the new one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

from deriva_ml_hooks.config import Config
from deriva_ml_hooks.errors import LedgerError, NoSuchExecutionError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.record import LOST, Execution
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.cache import FOLDER

SCHEMA = 1
BUSY_TIMEOUT = 120.0
"""Seconds to wait for other writers before giving up."""

_JSON = ("command", "entry_point", "provenance", "warnings", "changed_during_run")
_COLUMNS = tuple(f.name for f in fields(Execution))
_TABLE = """
CREATE TABLE IF NOT EXISTS executions (
    id TEXT PRIMARY KEY NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('Running', 'Completed', 'Failed', 'Aborted')),
    exit_code INTEGER,
    signal INTEGER,
    detail TEXT,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    duration REAL,
    description TEXT,
    command TEXT NOT NULL,
    cwd TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process TEXT,
    entry_point TEXT NOT NULL,
    provenance TEXT NOT NULL,
    warnings TEXT NOT NULL,
    changed_during_run TEXT NOT NULL
) WITHOUT ROWID
"""
T = TypeVar("T")


def ledger_path(repository: Repository, config: Config) -> str:
    """Where a repository's ledger is: shared by its worktrees, or where `ledger` says (from the worktree)."""
    if config.ledger is not None:
        return os.path.join(repository.worktree, os.path.expanduser(config.ledger))
    return os.path.join(repository.common_dir, FOLDER, "executions.sqlite3")


class Ledger:
    """The executions in the file `path`, which is made when the first one is added.

    Every method raises LedgerError where the file cannot be read or written.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def folder_of(self, execution_id: str) -> str:
        """The folder for files of one execution, beside the ledger; made when asked for."""
        folder = os.path.join(os.path.dirname(self.path), "executions", execution_id)
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        return folder

    def add(self, execution: Execution) -> None:
        """Add a row; it is on the disk when this returns."""
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        names, marks = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
        with self._transaction(create=True) as connection:
            connection.execute(f"INSERT INTO executions ({names}) VALUES ({marks})", _row(execution))  # noqa: S608

    def close(self, execution: Execution) -> None:
        """Replace the row with the id of `execution` by it."""
        assignments = ", ".join(f"{name} = ?" for name in _COLUMNS)
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE executions SET {assignments} WHERE id = ?",  # noqa: S608
                (*_row(execution), execution.id),
            )

    def newest(self, limit: int | None = None) -> list[Execution]:
        """The executions, newest first, at most `limit`."""
        return self._select("ORDER BY id DESC LIMIT ?", -1 if limit is None else limit)

    def find(self, prefix: str) -> Execution:
        """The one execution whose id is or begins with `prefix`; raises NoSuchExecutionError."""
        low = prefix.lower()
        found = self._select("WHERE id >= ? AND id < ? ORDER BY id LIMIT 3", low, low + "g") if low else []
        if len(found) == 1 or (found and found[0].id == low):
            return found[0]
        if not found:
            raise NoSuchExecutionError(
                f"{prefix}: no execution has an id that begins so", fix="deriva-ml-hooks executions list"
            )
        raise NoSuchExecutionError(
            f"{prefix}: several executions have ids that begin so ({found[0].id}, {found[1].id}, ...)",
            fix="give more of the id",
        )

    def _select(self, rest: str, *values: Any) -> list[Execution]:
        if not os.path.exists(self.path):
            return []
        with self._connected() as connection:
            rows = self._guarded(
                lambda: connection.execute(
                    f"SELECT {', '.join(_COLUMNS)} FROM executions {rest}",  # noqa: S608
                    values,
                ).fetchall()
            )
        return [_shown(self._read(row)) for row in rows]

    def _read(self, row: tuple[Any, ...]) -> Execution:
        values = dict(zip(_COLUMNS, row, strict=True))
        try:
            values |= {name: json.loads(values[name]) for name in _JSON}
        except (TypeError, ValueError) as error:
            raise self._unusable(error) from error
        return Execution(**values)

    @contextmanager
    def _transaction(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            # IMMEDIATE: the wait for other writers is at the start, where SQLite can wait at all.
            self._guarded(lambda: connection.execute("BEGIN IMMEDIATE"))
            try:
                if create:
                    self._migrate(connection)
                yield connection
                self._guarded(lambda: connection.execute("COMMIT"))
            except sqlite3.Error as error:
                raise self._unusable(error) from error
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = self._guarded(
            lambda: sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
        )
        try:
            # EXTRA also syncs the folder after a commit: a row survives a power cut the moment it is told.
            self._guarded(lambda: connection.execute("PRAGMA synchronous = EXTRA"))
            self._checked_schema(connection)
            yield connection
        finally:
            connection.close()

    def _checked_schema(self, connection: sqlite3.Connection) -> None:
        version = self._guarded(lambda: connection.execute("PRAGMA user_version").fetchone())[0]
        if version > SCHEMA:
            raise LedgerError(
                f"{self.path}: of schema {version}, written by a newer deriva-ml-hooks than this one",
                fix="pip install --upgrade deriva-ml-hooks",
            )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA:
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _guarded(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> LedgerError:
        return LedgerError(
            f"{self.path}: the ledger cannot be used: {error}",
            fix="see its owner, its mode and the space on its disk; a broken one can be moved away",
        )


def _row(execution: Execution) -> tuple[Any, ...]:
    return tuple(
        json.dumps(value) if name in _JSON else value
        for name in _COLUMNS
        for value in (getattr(execution, name),)
    )


def _shown(execution: Execution) -> Execution:
    """The execution as it is by now: one whose process is gone from this host was aborted."""
    running_here = execution.status == "Running" and execution.host == processes.host()
    if running_here and processes.is_gone(execution.pid, execution.process):
        return replace(execution, status="Aborted", detail=LOST)
    return execution
