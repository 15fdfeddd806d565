"""What became of a notebook: at which cell it ended and why, read from the executed one.

papermill keeps a status with each cell, and error outputs where there were errors; those alone do not
tell, since a cell may show an error and go on (the tag `raises-exception`, IPython's `showtraceback`).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.runner.notebook import executing
from deriva_ml_hooks.runner.notebook.parameters import INJECTED

Cells = Sequence[Mapping[str, Any]]


class _End(NamedTuple):
    """The index of a cell in the executed notebook, and what ended it."""

    place: int
    exception: str
    message: str


def told(execution: Execution, executed: bytes, committed: bytes) -> Execution:
    """The ended `execution` with its failed cell and its detail, as far as the executed notebook tells."""
    try:
        document = json.loads(executed)
        cells = document["cells"]
        end = _end(execution, cells)
        if end is None:
            problem = document["metadata"].get(executing.PROBLEM)
            is_told = execution.status == "Failed" and problem
            return replace(execution, detail=redact(str(problem))) if is_told else execution
        index = _index(end.place, cells, json.loads(committed)["cells"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return execution
    number = cells[end.place].get("execution_count")  # papermill's own message names this
    where = f"cell {index}" + (f" (In [{number}])" if number is not None else "")
    if execution.status == "Completed":
        return replace(execution, detail=f"ended by SystemExit at {where}")
    message = redact(end.message)
    failed = {"index": index, "exception": end.exception, "message": message}
    about = dict(execution.notebook or {}) | {"failed_cell": failed}
    return replace(execution, notebook=about, detail=f"{where}: {end.exception}: {message}")


def _end(execution: Execution, cells: Cells) -> _End | None:
    states = [cell.get("metadata", {}).get("papermill", {}) for cell in cells]
    errors = [[out for out in c.get("outputs", []) if out.get("output_type") == "error"] for c in cells]
    exits = {place for place, found in enumerate(errors) if any(map(_is_plain_exit, found))}
    failed = [place for place, state in enumerate(states) if state.get("status") == "failed"]
    if execution.status == "Completed":
        ended = [place for place in failed if place in exits]
        return _End(ended[-1], "SystemExit", "") if ended else None
    if execution.status != "Failed":
        return None
    if execution.signal is not None:
        begun = [place for place, state in enumerate(states) if state.get("start_time")]
        message = "the process that executes the notebook was killed"
        return _End(begun[-1], signal.Signals(execution.signal).name, message) if begun else None
    real = [[error for error in found if not _is_plain_exit(error)] for found in errors]
    # Where it stopped; papermill fails a notebook that has shown an error and went on as well.
    stopped = [place for place in failed if real[place] or place not in exits]
    shown = [place for place, found in enumerate(real) if found]
    if not stopped and not shown:
        return None
    place = stopped[0] if stopped else shown[-1]
    error = real[place][-1] if real[place] else {"ename": "CellExecutionError"}
    return _End(place, str(error.get("ename")), str(error.get("evalue", "")))


def _index(place: int, after: Cells, before: Cells) -> int:
    """The index (from 0) in the committed notebook of the cell at `place` in the executed one."""
    # papermill takes its old marks out, puts new ones in, and adds at most one cell of parameters.
    places = [index for index, cell in enumerate(before) if executing.ERROR_MARK not in _tags(cell)]
    is_new = not any(INJECTED in _tags(cell) for cell in before)
    added = [
        executing.ERROR_MARK in _tags(cell) or (is_new and INJECTED in _tags(cell)) for cell in after[:place]
    ]
    return places[added.count(False)]


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    return cell.get("metadata", {}).get("tags") or []


def _is_plain_exit(error: Mapping[str, Any]) -> bool:
    """Whether papermill takes it for a success."""
    return error.get("ename") == "SystemExit" and error.get("evalue") in ("", "0")
