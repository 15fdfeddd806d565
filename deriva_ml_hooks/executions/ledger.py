"""The ledger: a SQLite table of executions, safe to be written by many processes on a network disk.

A row is on the disk before its command starts, and each write is one short transaction. There is no
write-ahead log, which needs memory shared between the writers (sqlite.org/wal.html, 9), so a ledger on
NFS works as far as that locks at all. A kill at any moment leaves the old state or the new one.
"""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from typing import Any

from deriva_ml_hooks.errors import LedgerError, NoSuchExecutionError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.record import LOST, Execution
from deriva_ml_hooks.files import make_folder
from deriva_ml_hooks.redact import redact_command, redacted

SCHEMA = 5
BUSY_TIMEOUT = 120.0
"""Seconds to wait for other writers before giving up."""

_JSON: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("command", "warnings", "changed_during_run", "results"), (list,)),
    **dict.fromkeys(("entry_point", "provenance"), (dict,)),
    **dict.fromkeys(("notebook", "agent", "stdin"), (dict, type(None))),
    "environment": (list, type(None)),
    "isolated": (bool,),
}
"""Columns that hold JSON, and what each of them can be."""
_LATER = frozenset({"environment", "isolated", "notebook", "agent", "stdin", "results"})
"""Columns that a ledger of an older schema lacks while it is only read."""
COLUMNS = tuple(f.name for f in fields(Execution))
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
_PUBLICATIONS = """
CREATE TABLE IF NOT EXISTS publications (
    execution TEXT NOT NULL,
    catalog TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'published', 'closed', 'failed')),
    recorded_by TEXT NOT NULL CHECK (recorded_by IN ('runner', 'deriva-ml')),
    rid TEXT,
    workflow TEXT,
    own_rid TEXT,
    asset TEXT,
    error TEXT,
    claim TEXT,
    PRIMARY KEY (execution, catalog)
) WITHOUT ROWID
"""
_ISOLATION = """
ALTER TABLE executions ADD COLUMN environment TEXT NOT NULL DEFAULT 'null';
ALTER TABLE executions ADD COLUMN isolated TEXT NOT NULL DEFAULT 'false';
ALTER TABLE executions ADD COLUMN rerun_of TEXT
"""
_NOTEBOOK = "ALTER TABLE executions ADD COLUMN notebook TEXT NOT NULL DEFAULT 'null'"
_CIRCUMSTANCES = """
ALTER TABLE executions ADD COLUMN agent TEXT NOT NULL DEFAULT 'null';
ALTER TABLE executions ADD COLUMN stdin TEXT NOT NULL DEFAULT 'null';
ALTER TABLE executions ADD COLUMN results TEXT NOT NULL DEFAULT '[]'
"""
_MIGRATIONS = (_TABLE, _PUBLICATIONS, _ISOLATION, _NOTEBOOK, _CIRCUMSTANCES)
"""What makes schema n+1 of schema n: an older ledger stays as it is until something is written to it."""


class Ledger:
    """The executions in the file `path`, which is made, with the bits `mode`, when the first one is added.

    Everything raises LedgerError where the file cannot be read or written, or is no file at all.
    """

    def __init__(self, path: str, mode: int = 0o600) -> None:
        if path.endswith("/") or (os.path.exists(path) and not os.path.isfile(path)):
            inside = os.path.join(path, "executions.sqlite3")
            raise LedgerError(f"{path}: the ledger is to be a file", fix=f"name one, such as {inside}")
        self.path = path
        self.mode = mode

    def folder_of(self, execution_id: str) -> str:
        """The folder for files of one execution, beside the ledger; made when asked for."""
        folder = os.path.join(os.path.dirname(self.path), "executions", execution_id)
        try:
            make_folder(folder, mode=self.mode)
        except OSError as error:
            raise self._unusable(error) from error
        return folder

    def add(self, execution: Execution) -> None:
        """Add a row; it is on the disk when this returns."""
        self._make()
        row = _row(execution)
        names, marks = ", ".join(row), ", ".join(map(_mark, row.values()))
        with self.transaction("BEGIN IMMEDIATE") as (connection, schema):
            migrate(connection, schema)
            connection.execute(
                f"INSERT INTO executions ({names}) VALUES ({marks})",  # noqa: S608
                (*row.values(),),
            )

    def _make(self) -> None:
        """Make the file, empty, where there is none: what SQLite puts beside it gets the same mode."""
        try:
            make_folder(os.path.dirname(self.path), mode=self.mode)
            with suppress(FileExistsError):
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
                try:
                    os.chmod(self.path, self.mode)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise self._unusable(error) from error

    def close(self, execution: Execution) -> None:
        """Replace the row with the id of `execution` by it."""
        row = _row(execution)
        assignments = ", ".join(f"{name} = {_mark(value)}" for name, value in row.items())
        with self.transaction("BEGIN IMMEDIATE") as (connection, schema):
            migrate(connection, schema)
            connection.execute(
                f"UPDATE executions SET {assignments} WHERE id = ?",  # noqa: S608
                (*row.values(), execution.id),
            )

    def newest(self, limit: int | None = None) -> list[Execution]:
        """The executions, newest first, at most `limit`."""
        return self._select("ORDER BY id DESC LIMIT ?", -1 if limit is None else limit)

    def find(self, prefix: str) -> Execution:
        """The one execution whose id is or begins with `prefix`; raises NoSuchExecutionError."""
        low = prefix.lower()
        usable = low.isascii() and low != ""
        found = self._select("WHERE id >= ? AND id < ? ORDER BY id LIMIT 3", low, low + "g") if usable else []
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
        rows = []
        with self.transaction("BEGIN") as (connection, schema):
            if schema:  # a kill before the first commit leaves an empty file
                there = {column[1] for column in connection.execute("PRAGMA table_info(executions)")}
                names = [name if name in there else f"NULL AS {name}" for name in COLUMNS]
                query = f"SELECT {', '.join(names)} FROM executions {rest}"  # noqa: S608
                rows = connection.execute(query, values).fetchall()
        return [self.execution_of(row) for row in rows]

    def execution_of(self, row: Sequence[Any]) -> Execution:
        """The execution of a row of COLUMNS, as it is by now."""
        values = dict(zip(COLUMNS, row, strict=True))
        values = {name: value for name, value in values.items() if value is not None or name not in _LATER}
        for name in values.keys() & _JSON.keys():
            values[name] = self._value(values["id"], name, values[name])
        return _shown(Execution(**values))

    def _value(self, execution_id: str, name: str, stored: Any) -> Any:
        try:
            value = json.loads(stored)
        except (TypeError, ValueError, RecursionError):
            value = stored
        if not isinstance(value, _JSON[name]) or value is stored:
            row = f"SELECT * FROM executions WHERE id = '{execution_id}'"  # noqa: S608
            raise LedgerError(
                f"{self.path}: execution {execution_id}: {name} is not as it was written",
                fix=f"put that row right, or take it away; see it: {shlex.join(['sqlite3', self.path, row])}",
            )
        return value

    @contextmanager
    def transaction(self, begin: str) -> Iterator[tuple[sqlite3.Connection, int]]:
        """A connection within a transaction, and the schema of the file; writers begin IMMEDIATE.

        Their wait for other writers is at the start then, where SQLite can wait at all.
        """
        self._require_ours()
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            # EXTRA also syncs the folder after a commit: a row survives a power cut the moment it is told.
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.text_factory = _text
            connection.execute(begin)
            yield connection, self._schema(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        finally:
            connection.close()  # what is not committed is rolled back

    def _require_ours(self) -> None:
        """Raises LedgerError for somebody else's file, before SQLite puts anything beside it.

        A header says nothing while a journal waits to be rolled back (sqlite.org/fileformat2.html, 3).
        """
        try:
            with open(self.path, "rb") as file:
                header = file.read(100)
        except OSError:  # told by SQLite, or none is there
            return
        ours = header.startswith(b"SQLite format 3\0") and any(header[60:64])
        if header and not ours and not os.path.exists(f"{self.path}-journal"):
            raise self._foreign()

    def _foreign(self) -> LedgerError:
        return LedgerError(
            f"{self.path}: not a ledger, but somebody else's file",
            fix="set ledger (configuration) to a file of its own",
        )

    def _schema(self, connection: sqlite3.Connection) -> int:
        """The schema of the file, 0 for an empty one; raises LedgerError for what is no ledger of ours."""
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise LedgerError(
                f"{self.path}: of schema {version}, written by a newer deriva-ml-hooks than this one",
                fix="pip install --upgrade deriva-ml-hooks",
            )
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if tables and (version == 0 or ("executions",) not in tables):
            raise self._foreign()
        if not tables:
            return 0
        # SQLite takes what is missing of the last page for zeros.
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        if os.path.getsize(self.path) < pages * size:
            raise self._unusable(ValueError("a part of it is missing"))
        return version

    def _unusable(self, error: Exception) -> LedgerError:
        return LedgerError(
            f"{self.path}: the ledger cannot be used: {error}",
            fix="see its owner, its mode and the space on its disk; a broken one can be moved away",
        )


def migrate(connection: sqlite3.Connection, schema: int) -> None:
    """Bring a ledger of `schema` to SCHEMA, within a transaction; its rows stay."""
    for step in _MIGRATIONS[schema:]:
        for statement in step.split(";"):
            connection.execute(statement)
    if schema < SCHEMA:
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _row(execution: Execution) -> dict[str, Any]:
    """The columns of a row, secrets removed; text as bytes, since a name need not be UTF-8 (see `_text`)."""
    values = {name: redacted(getattr(execution, name)) for name in COLUMNS}
    values |= {name: json.dumps(values[name]) for name in _JSON}
    values["command"] = json.dumps(redact_command(execution.command))
    return {
        name: value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        for name, value in values.items()
    }


def _mark(value: Any) -> str:
    return "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def _shown(execution: Execution) -> Execution:
    """The execution as it is by now: one whose process is gone from this host was aborted."""
    running_here = execution.status == "Running" and execution.host == processes.host()
    if running_here and processes.is_gone(execution.pid, execution.process):
        return replace(execution, status="Aborted", detail=LOST)
    return execution
