"""What became of a notebook: at which cell it ended and why, read from the executed one.

papermill keeps a status with each cell, and error outputs where there were errors; those alone do not
tell, since a cell may show an error and go on (the tag `raises-exception`, IPython's `showtraceback`).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.runner.notebook import executing


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of an executed notebook; `status` as papermill has it, `errors` without exits that say 0."""

    tags: Sequence[str]
    status: str | None
    began: bool
    errors: Sequence[Mapping[str, Any]]
    exited: bool
    number: int | None
    """What stands in `In [ ]`, which is what papermill's own message names."""

    @property
    def failed(self) -> bool:
        return bool(self.errors) or (self.status == "failed" and not self.exited)


def told(execution: Execution, executed: bytes, committed: bytes) -> Execution:
    """The ended `execution` with its failed cell and its detail, as far as the executed notebook tells."""
    try:
        document = json.loads(executed)
        after = [_cell(cell) for cell in document["cells"]]
        before = [_tags(cell) for cell in json.loads(committed)["cells"]]
        problem = document["metadata"].get(executing.PROBLEM)
        return _told(execution, after, before, str(problem) if problem else None)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return execution


def _told(
    execution: Execution, after: Sequence[_Cell], before: Sequence[Sequence[str]], problem: str | None
) -> Execution:
    if execution.status == "Completed":
        exits = [place for place, cell in enumerate(after) if cell.status == "failed" and cell.exited]
        if not exits:
            return execution
        where = f"{_index(exits[-1], after, before)}{_number(after[exits[-1]])}"
        return replace(execution, detail=f"ended by SystemExit at cell {where}")
    if execution.status != "Failed":
        return execution
    if execution.signal is not None:
        begun = [place for place, cell in enumerate(after) if cell.began]
        if not begun:
            return execution
        name = signal.Signals(execution.signal).name
        place = begun[-1]
        failed = _failure(place, name, "the process that executes the notebook was killed", after, before)
    else:
        places = [place for place, cell in enumerate(after) if cell.failed]
        if not places:
            return replace(execution, detail=redact(problem)) if problem else execution
        # Where it stopped; papermill fails a notebook that has shown an error and went on as well.
        place = next((place for place in places if after[place].status == "failed"), places[-1])
        error = after[place].errors[-1] if after[place].errors else {"ename": "CellExecutionError"}
        failed = _failure(place, str(error.get("ename")), str(error.get("evalue", "")), after, before)
    detail = f"cell {failed['index']}{_number(after[place])}: {failed['exception']}: {failed['message']}"
    about = dict(execution.notebook or {}) | {"failed_cell": failed}
    return replace(execution, notebook=about, detail=detail)


def _failure(
    place: int, exception: str, message: str, after: Sequence[_Cell], before: Sequence[Sequence[str]]
) -> dict[str, Any]:
    index = _index(place, after, before)
    return {"index": index, "exception": exception, "message": redact(message)}


def _number(cell: _Cell) -> str:
    return "" if cell.number is None else f" (In [{cell.number}])"


def _index(place: int, after: Sequence[_Cell], before: Sequence[Sequence[str]]) -> int:
    """The index (from 0) in the committed notebook of the cell at `place` in the executed one."""
    # papermill takes its old marks out, puts new ones in, and adds at most one cell of parameters.
    places = [index for index, tags in enumerate(before) if executing.ERROR_MARK not in tags]
    is_new = not any(executing.INJECTED in tags for tags in before)
    added = [
        executing.ERROR_MARK in cell.tags or (is_new and executing.INJECTED in cell.tags)
        for cell in after[:place]
    ]
    return places[added.count(False)]


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    return cell.get("metadata", {}).get("tags") or []


def _cell(cell: Mapping[str, Any]) -> _Cell:
    errors = [output for output in cell.get("outputs", []) if output.get("output_type") == "error"]
    real = [error for error in errors if not _is_plain_exit(error)]
    about = cell.get("metadata", {}).get("papermill", {})
    number = cell.get("execution_count")
    began, exited = bool(about.get("start_time")), len(real) < len(errors)
    return _Cell(_tags(cell), about.get("status"), began, real, exited, number)


def _is_plain_exit(error: Mapping[str, Any]) -> bool:
    """Whether papermill takes it for a success."""
    return error.get("ename") == "SystemExit" and error.get("evalue") in ("", "0")
