"""At which cell a notebook ended, told from what papermill really leaves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from papermill.execute import execute_notebook

from deriva_ml_hooks.executions.record import Execution, begun
from deriva_ml_hooks.runner.notebook.failed_cell import told

SHOWN = "try:\n    {}['first']\nexcept KeyError:\n    get_ipython().showtraceback()"


def executed(tmp_path: Path, data: bytes, parameters: dict[str, Any] | None = None) -> tuple[str, bytes]:
    """How papermill says that it ended, and the notebook that it leaves."""
    source, out = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    source.write_bytes(data)
    status = "Completed"
    try:
        execute_notebook(
            str(source), str(out), parameters=parameters, kernel_name="python3", progress_bar=False
        )
    except Exception:
        status = "Failed"
    return status, out.read_bytes()


def ended(status: str, data: bytes, committed: bytes, signal: int | None = None) -> Execution:
    execution = begun(
        command=["x"],
        entry_point={},
        provenance={"commit": "0" * 40},
        status=status,
        signal=signal,
        notebook={"failed_cell": None},
    )
    return told(execution, data, committed)


def made(*cells: str) -> bytes:
    """A notebook of code cells."""
    nodes = [
        {"cell_type": "code", "execution_count": None, "id": f"cell-{number}", "metadata": {}, "outputs": []}
        | {"source": source}
        for number, source in enumerate(cells)
    ]
    nodes[0]["metadata"] = {"tags": ["parameters"]}
    spec = {"name": "python3", "language": "python", "display_name": "python3"}
    metadata = {"kernelspec": spec, "language_info": {"name": "python"}}
    return json.dumps({"cells": nodes, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


@pytest.mark.parametrize("parameters", [{}, {"seed": 0}])
@pytest.mark.parametrize("injected_before", [False, True])
def test_a_failed_cell_is_counted_as_in_the_committed_notebook(
    tmp_path: Path, parameters: dict[str, int], injected_before: bool
) -> None:
    data = made("seed = 0", "print('fine')", "import sys; sys.path", "1 / seed", "print('never')")
    if injected_before:  # what papermill left in a notebook that somebody committed after a run
        document = json.loads(data)
        document["cells"].insert(
            1, document["cells"][0] | {"id": "i", "metadata": {"tags": ["injected-parameters"]}}
        )
        data = json.dumps(document).encode()
    status, out = executed(tmp_path, data, parameters)
    index = 4 if injected_before else 3
    execution = ended(status, out, data)
    assert execution.notebook is not None
    assert execution.notebook["failed_cell"] == {
        "index": index,
        "exception": "ZeroDivisionError",
        "message": "division by zero",
    }
    assert execution.detail is not None
    assert re.fullmatch(rf"cell {index} \(In \[\d\]\): ZeroDivisionError: division by zero", execution.detail)
    for nothing in (data, b"half"):
        assert ended("Failed", nothing, data).notebook == {"failed_cell": None}


def test_a_cell_that_shows_an_error_and_goes_on_is_not_the_one_that_failed(tmp_path: Path) -> None:
    document = json.loads(made("seed = 0", "{}['expected']", SHOWN, SHOWN + "\n1 / seed", "print('never')"))
    document["cells"][1]["metadata"]["tags"] = ["raises-exception"]
    data = json.dumps(document).encode()
    execution = ended(*executed(tmp_path, data), data)
    assert execution.detail == "cell 3 (In [4]): ZeroDivisionError: division by zero"


def test_an_exit_that_says_zero_is_told_and_one_that_says_more_has_failed(tmp_path: Path) -> None:
    data = made("import sys", "sys.exit(0)", "print('never')")
    status, out = executed(tmp_path, data)
    execution = ended(status, out, data)
    assert (execution.status, execution.detail) == ("Completed", "ended by SystemExit at cell 1 (In [2])")
    data = made("import sys", "sys.exit(3)", "print('never')")
    assert ended(*executed(tmp_path, data), data).detail == "cell 1 (In [2]): SystemExit: 3"
    data = made("1", "2")
    assert ended(*executed(tmp_path, data), data).detail is None


def test_where_the_process_was_killed_the_cell_that_began_last_is_told(tmp_path: Path) -> None:
    data = made("1", "2", "3")
    document = json.loads(executed(tmp_path, data)[1])
    for cell in document["cells"][2:]:
        cell["metadata"]["papermill"] |= {"start_time": None, "status": "pending"}
    execution = ended("Failed", json.dumps(document).encode(), data, signal=9)
    assert execution.detail is not None
    assert execution.detail.startswith("cell 1 (In [2]): SIGKILL: ")
