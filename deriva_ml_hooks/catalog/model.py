"""Which deriva-ml schema a catalog has: read from the columns and references it has, never from a version.

Up to 1.17.10 a workflow's type is a column and an execution's status is free text; later types are in an
association and the status is a term of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.errors import MissingError, SchemaError, sensible
from deriva_ml_hooks.catalog.session import Connection

_NEEDED = {
    "Workflow": {"Name", "URL", "Checksum", "Version", "Description"},
    "Execution": {"Workflow", "Description", "Status", "Status_Detail"},
}
# A finished run of ours has nothing left to upload.
_TERMS = {"Running": "Running", "Completed": "Uploaded", "Failed": "Failed", "Aborted": "Aborted"}

_OPEN = frozenset({"Created", "Initializing", "Pending", "Running"})


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns, and what the user may do: True, False, or None where it depends on the row."""

    columns: frozenset[str]
    rights: Mapping[str, bool | None]

    def may(self, right: str) -> bool:
        """Whether the right is there, at least for some rows (one's own)."""
        return self.rights.get(right, True) is not False


@dataclass(frozen=True, slots=True)
class Model:
    """A deriva-ml schema as it is: the `tables`, and how they are to be filled."""

    schema: str
    tables: Mapping[str, Table]
    status_terms: bool

    def name(self, table: str) -> str:
        """A table as requests name it."""
        return f"{quote(self.schema)}:{quote(table)}"

    @property
    def type_column(self) -> bool:
        """Whether a workflow has its one type in a column, which must be filled."""
        return "Workflow_Type" in self.tables["Workflow"].columns

    @property
    def duration_column(self) -> str | None:
        """Where an execution's duration is."""
        columns = self.tables["Execution"].columns
        return next((c for c in ("Execution_Duration", "Duration") if c in columns), None)

    @property
    def form(self) -> str:
        """Which of the known forms it is, in words."""
        return "as after 1.17.10" if self.status_terms else "as of 1.17.10"

    def status(self, ours: str) -> str:
        """A status in this catalog's words."""
        return _TERMS[ours] if self.status_terms else ours

    def is_open(self, status: str | None) -> bool:
        """Whether a row with this status, of whatever program, waits for its process."""
        return status is None or status in _OPEN

    def left_as(self, ours: str) -> str:
        """The status for a row whose process has ended, and of whose uploads nothing is known."""
        return "Stopped" if self.status_terms and ours == "Completed" else self.status(ours)


def read(connection: Connection, schema: str) -> Model:
    """The deriva-ml schema called `schema`. Raises SchemaError where it is none, and CatalogError."""
    try:
        document = connection.get(f"/schema/{quote(schema)}")
    except MissingError as error:
        if "schema" not in str(error):
            raise
        raise SchemaError(
            f"{connection.address}: no schema {schema}",
            fix='name it: schema = "...", or make it: deriva-ml-create-schema',
        ) from None
    with sensible(connection.address.host):
        return _model(connection, schema, document)


def _model(connection: Connection, schema: str, document: Any) -> Model:
    found = document.get("tables", {}) if isinstance(document, dict) else {}
    tables = {name: _table(table) for name, table in found.items()}
    for name, columns in _NEEDED.items():
        missing = columns - tables[name].columns if name in tables else {name}
        if missing:
            lacking = ", ".join(sorted(missing))
            raise SchemaError(
                f"{connection.address}: schema {schema} is not DerivaML's: no {lacking} in {name}",
                fix='name the schema that DerivaML made: schema = "deriva-ml"',
            )
    return Model(schema, tables, _refers(found["Execution"], "Status", "Execution_Status"))


def _table(document: Mapping[str, Any]) -> Table:
    columns = frozenset(column["name"] for column in document.get("column_definitions", ()))
    return Table(columns, document.get("rights") or {})


def _refers(table: Mapping[str, Any], column: str, vocabulary: str) -> bool:
    return any(
        [c["column_name"] for c in key["foreign_key_columns"]] == [column]
        and key["referenced_columns"][0]["table_name"] == vocabulary
        for key in table.get("foreign_keys", ())
    )
