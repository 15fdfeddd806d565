"""The tables of a ledger. An older one stays as it is until something is written to it."""

from __future__ import annotations

import sqlite3

_TABLE = """
CREATE TABLE IF NOT EXISTS executions (
    id TEXT PRIMARY KEY NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('Submitted', 'Running', 'Completed', 'Failed', 'Aborted')),
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
# A check of SQLite's cannot be altered, so the table is made anew.
_JOBS = ";".join(
    (
        "ALTER TABLE executions RENAME TO before",
        *(_TABLE, _ISOLATION, _NOTEBOOK, _CIRCUMSTANCES),
        "INSERT INTO executions SELECT * FROM before",
        "DROP TABLE before",
        "ALTER TABLE executions ADD COLUMN job TEXT NOT NULL DEFAULT 'null'",
    )
)
_PARENT = "ALTER TABLE executions ADD COLUMN parent TEXT"
_INTERPRETER = "ALTER TABLE executions ADD COLUMN interpreter TEXT NOT NULL DEFAULT 'null'"
MIGRATIONS = (
    _TABLE,
    _PUBLICATIONS,
    _ISOLATION,
    _NOTEBOOK,
    _CIRCUMSTANCES,
    _JOBS,
    _PARENT,
    _INTERPRETER,
)
"""What makes schema n+1 of schema n."""
SCHEMA = len(MIGRATIONS)


def upgrade(connection: sqlite3.Connection, schema: int) -> None:
    """Bring a ledger of `schema` to SCHEMA, within a transaction; its rows stay."""
    for step in MIGRATIONS[schema:]:
        for statement in step.split(";"):
            connection.execute(statement)
    if schema < SCHEMA:
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
