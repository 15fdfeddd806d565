"""The ledger: a SQLite table of executions, safe to be written by many processes on a network disk.

A row is on the disk before its command starts, and each write is one short transaction. There is no
write-ahead log, which needs memory shared between the writers (sqlite.org/wal.html, 9), so a ledger on
NFS works as far as that locks at all. A kill at any moment leaves the old state or the new one.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks import packages
from deriva_ml_hooks.errors import LedgerError, NoSuchExecutionError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.record import LOST, Execution
from deriva_ml_hooks.executions.rows import COLUMNS, Damaged, as_bytes, read, without_secrets
from deriva_ml_hooks.executions.schema import SCHEMA, upgrade
from deriva_ml_hooks.files import make_folder
from deriva_ml_hooks.report import printable

BUSY_TIMEOUT = 120.0
"""Seconds to wait for other writers before giving up."""

_MAKING = threading.Lock()
LAST = "last"
"""What stands for the id of the newest execution; no id begins so."""
_PAGE = 1000
"""Rows that are read at once."""


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
        with self.writing() as connection:
            _insert(connection, execution)

    def _make(self) -> None:
        """Make the file, empty, where there is none: what SQLite puts beside it gets the same mode."""
        try:
            make_folder(os.path.dirname(self.path), mode=self.mode)
            with _MAKING, suppress(FileExistsError):  # no thread locks what is closed here
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
                try:
                    os.chmod(self.path, self.mode)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise self._unusable(error) from error

    def close(self, execution: Execution) -> bool:
        """Replace the row with the id of `execution` by it; False where it was gone, and is written again.

        What happened to the ledger during a run must not lose its record.
        """
        with self.writing() as connection:
            was_there = _update(connection, execution)
            if not was_there:
                _insert(connection, execution)
        return was_there

    def change(self, execution_id: str, to: Callable[[Execution], Execution | None]) -> bool:
        """Replace a row by what `to` makes of it, no other writer coming in between; whether it was.

        It stays where it is gone, or `to` has None for it.
        """
        with self.writing() as connection:
            query = f"SELECT {', '.join(COLUMNS)} FROM executions WHERE id = ?"  # noqa: S608
            found = connection.execute(query, (execution_id,)).fetchone()
            changed = to(self.sound(read(found))) if found is not None else None
            return changed is not None and _update(connection, changed)

    def newest(self, limit: int | None = None) -> list[Execution]:
        """The executions, newest first, at most `limit`; raises LedgerError for a row that is damaged."""
        return [self.sound(row) for row in self.rows(limit)]

    def rows(self, limit: int | None = None) -> Iterator[Execution | Damaged]:
        """Every row, newest first, at most `limit`."""
        return (row for page in self.pages(limit) for row in page)

    def pages(self, limit: int | None = None) -> Iterator[list[Execution | Damaged]]:
        """The same a page at a time: a reader that is slow keeps no writer out."""
        left, where = limit, ""
        values: list[Any] = []
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = self._select(f"{where} ORDER BY id DESC LIMIT {size}", *values)
            if page:
                yield [self.now(row) for row in page]
            if len(page) < size:
                return
            left = None if left is None else left - size
            last = page[-1][0]
            values = [as_bytes(last) if isinstance(last, str) else last]
            where = f"WHERE id < {mark(*values)}"

    def count(self) -> int:
        """How many rows there are."""
        if not os.path.exists(self.path):
            return 0
        with self.transaction("BEGIN") as (connection, schema):
            return int(connection.execute("SELECT count(*) FROM executions").fetchone()[0]) if schema else 0

    def find(self, prefix: str) -> Execution:
        """The one execution whose id is or begins with `prefix`; raises as `row_of`, or as `sound`."""
        return self.sound(self.row_of(prefix))

    def row_of(self, prefix: str) -> Execution | Damaged:
        """The one row whose id is or begins with `prefix`, or the `last` one. NoSuchExecutionError."""
        low = prefix.lower()
        if low == LAST and (newest := next(self.rows(1), None)) is not None:
            return newest
        usable = low.isascii() and low != ""
        rows = self._select("WHERE id >= ? AND id < ? ORDER BY id LIMIT 3", low, low + "g") if usable else []
        if len(rows) == 1 or (rows and rows[0][0] == low):
            return self.now(rows[0])
        if not rows:
            problem, fix = "no execution has an id that begins so", "deriva-ml-hooks executions list"
        else:
            some = f"{rows[0][0]}, {rows[1][0]}, ..."
            problem, fix = f"several executions have ids that begin so ({some})", "give more of the id"
        raise NoSuchExecutionError(f"{prefix}: {problem}", fix=fix)

    def _select(self, rest: str, *values: Any) -> list[Sequence[Any]]:
        if not os.path.exists(self.path):
            return []
        with self.transaction("BEGIN") as (connection, schema):
            if not schema:  # a kill before the first commit leaves an empty file
                return []
            there = {column[1] for column in connection.execute("PRAGMA table_info(executions)")}
            names = [name if name in there else f"NULL AS {name}" for name in COLUMNS]
            query = f"SELECT {', '.join(names)} FROM executions {rest}"  # noqa: S608
            return connection.execute(query, values).fetchall()

    @staticmethod
    def now(stored: Sequence[Any]) -> Execution | Damaged:
        """The execution of a row of COLUMNS as it is by now: one whose process is gone was aborted."""
        row = read(stored)
        if not isinstance(row, Execution) or row.status != "Running":
            return row
        if processes.is_elsewhere(row.host, row.process) or not processes.is_gone(row.pid, row.process):
            return row
        return replace(row, status="Aborted", detail=LOST)

    def sound(self, row: Execution | Damaged) -> Execution:
        """The execution; raises LedgerError for a row that is damaged."""
        if isinstance(row, Damaged):
            raise self.damage(row)
        return row

    def damage(self, row: Damaged) -> LedgerError:
        """What is wrong with a row, and how to see it."""
        query = f"SELECT * FROM executions WHERE id = {_quoted(row.id)}"  # noqa: S608
        return LedgerError(
            f"{self.path}: execution {printable(row.id)}: {row.problem}",
            fix=f"put that row right, or take it away; see it: {shlex.join(['sqlite3', self.path, query])}",
        )

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection within a transaction that writes; the file is made, and of today's schema."""
        self._make()
        with self.transaction("BEGIN IMMEDIATE") as (connection, schema):
            upgrade(connection, schema)
            yield connection

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

        A header says nothing while a journal waits to be rolled back (sqlite.org/fileformat2.html, 3). SQLite
        reads it: a process that closes a file loses every lock that it holds on it, those of other threads'
        transactions too, whose journal is then taken for a dead one's (sqlite.org/howtocorrupt.html, 2.2).
        """
        try:
            if not os.path.getsize(self.path) or os.path.exists(f"{self.path}-journal"):
                return
            address = f"file:{quote(os.path.abspath(self.path), errors='surrogateescape')}?immutable=1"
            with closing(sqlite3.connect(address, uri=True)) as connection:
                ours = connection.execute("PRAGMA user_version").fetchone()[0] != 0
        except (OSError, sqlite3.OperationalError):  # told later, or none is there
            return
        except sqlite3.DatabaseError as error:
            ours = "not a database" not in str(error)  # one that grows just now can look malformed
        if not ours:
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
                fix=packages.installing("deriva-ml-hooks", newer=True),
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


def _insert(connection: sqlite3.Connection, execution: Execution) -> None:
    row = _row(execution)
    names, marks = ", ".join(row), ", ".join(map(mark, row.values()))
    connection.execute(f"INSERT INTO executions ({names}) VALUES ({marks})", (*row.values(),))  # noqa: S608


def _update(connection: sqlite3.Connection, execution: Execution) -> bool:
    row = _row(execution)
    assignments = ", ".join(f"{name} = {mark(value)}" for name, value in row.items())
    query = f"UPDATE executions SET {assignments} WHERE id = {mark(row['id'])}"  # noqa: S608
    return bool(connection.execute(query, (*row.values(), row["id"])).rowcount)


def _row(execution: Execution) -> dict[str, Any]:
    return without_secrets({name: getattr(execution, name) for name in COLUMNS})


def mark(value: Any) -> str:
    """What stands in a statement for a value that is stored."""
    return "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
