"""Which deriva-ml schema a catalog has: read from the columns and references it has, never from a version.

Up to 1.17.10 a workflow's type is a column and an execution's status is free text; later types are in an
association and the status is a term of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deriva_ml_hooks.catalog.errors import CatalogError

_NEEDED = {
    "Workflow": {"Name", "URL", "Checksum", "Version", "Description"},
    "Execution": {"Workflow", "Description", "Status", "Status_Detail"},
}
_OPEN = frozenset({None, "Created", "Initializing", "Pending", "Running"})


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns, and what the user may do: True, False, or None where it depends on the row."""

    columns: frozenset[str]
    rights: Mapping[str, bool | None]

    def may(self, right: str) -> bool:
        """Whether the right is there, at least for some rows (one's own)."""
        return self.rights.get(right, True) is not False


@dataclass(frozen=True, slots=True)
class Schema:
    """A deriva-ml schema as it is: the `tables`, and whether a status is a term of a vocabulary."""

    name: str
    tables: Mapping[str, Table]
    status_terms: bool

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
        """A status in this catalog's words: a finished run of ours has nothing left to upload."""
        return "Uploaded" if self.status_terms and ours == "Completed" else ours

    def left_as(self, ours: str) -> str:
        """The status for a row whose process has ended, and of whose uploads nothing is known."""
        return "Stopped" if self.status_terms and ours == "Completed" else ours

    @staticmethod
    def is_open(status: str | None) -> bool:
        """Whether a row with this status, of whatever program, waits for its process."""
        return status in _OPEN


def read(document: Any, name: str, catalog: str) -> Schema:
    """The schema that ERMrest's `document` describes. Raises CatalogError where it is not DerivaML's.

    A document of another form raises what Python raises of it: see `errors.sensible`.
    """
    found = document.get("tables", {}) if isinstance(document, dict) else {}
    tables = {
        table: Table(
            frozenset(column["name"] for column in one.get("column_definitions", ())), one.get("rights") or {}
        )
        for table, one in found.items()
    }
    for table, columns in _NEEDED.items():
        missing = columns - tables[table].columns if table in tables else {table}
        if missing:
            lacking = ", ".join(sorted(missing))
            raise CatalogError(
                f"{catalog}: schema {name} is not DerivaML's: no {lacking} in {table}",
                fix='name the schema that DerivaML made: schema = "deriva-ml"',
            )
    status_terms = any(
        [c["column_name"] for c in key["foreign_key_columns"]] == ["Status"]
        and key["referenced_columns"][0]["table_name"] == "Execution_Status"
        for key in found["Execution"].get("foreign_keys", ())
    )
    return Schema(name, tables, status_terms)
