"""A notebook that is run by hand, in a real kernel: gated in place, recorded until the kernel ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.guard.conftest import ROOT, rows

if TYPE_CHECKING:
    from tests.conftest import Repo

NAME = "notebooks/analysis.ipynb"
LOAD = "%load_ext deriva_ml_hooks"
FACTS = """\
import os
print(os.environ["DERIVA_ML_WORKFLOW_URL"], os.environ["DERIVA_ML_WORKFLOW_CHECKSUM"])
print(os.environ["DERIVA_ML_HOOKS_EXECUTION"])
"""

Run = Callable[..., Any]


@pytest.fixture
def run(project: Repo, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commits a notebook of these cells, and runs it from top to bottom as Jupyter would."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(project.path / NAME))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where Hydra finds the plugin of an editable installation

    def run_all(*cells: str, between: Callable[[], object] = lambda: None) -> Any:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        project.write(NAME, nbformat.writes(notebook))
        project.commit("Notebook")
        between()
        client = NotebookClient(notebook, kernel_name="python3", timeout=60)
        client.execute(cwd=str(project.path / "notebooks"))
        return notebook

    return run_all


def text(notebook: Any) -> str:
    """What the cells printed and showed."""
    return "".join(
        output.get("text", "") or str(output.get("data", {}).get("text/plain", ""))
        for cell in notebook.cells
        for output in cell.outputs
    )


def test_a_clean_tree_is_shown_and_recorded(project: Repo, run: Run) -> None:
    said = text(run(LOAD, FACTS))
    (row,) = rows(project)
    head = project.git("rev-parse", "HEAD")
    assert row["status"] == "Completed"
    assert row["provenance"]["commit"] == head
    assert row["entry_point"]["path"] == NAME
    assert head in said
    assert f"{head}" in said.splitlines()[-2] or "git+file" in said
    assert row["entry_point"]["checksum"] in said
    assert row["id"] in said


def test_outputs_are_no_change(project: Repo, run: Run) -> None:
    executed = nbformat.v4.new_output("stream", text="1\n")

    def save() -> None:
        notebook = nbformat.read(project.path / NAME, 4)
        notebook.cells[1].outputs, notebook.cells[1].execution_count = [executed], 1
        nbformat.write(notebook, project.path / NAME)

    run(LOAD, "print(1)", between=save)
    (row,) = rows(project)
    assert (row["status"], row["changed_during_run"]) == ("Completed", [])


@pytest.mark.parametrize("name", ["src/models/helper.py", "src/new.py", NAME])
def test_a_tree_that_is_not_the_commit_is_refused_with_every_reason(
    project: Repo, run: Run, name: str
) -> None:
    with pytest.raises(CellExecutionError) as caught:
        run(LOAD, "print('ran')", between=lambda: project.write(name, "{}\n"))
    assert name in str(caught.value)
    assert "fix: git" in str(caught.value)
    assert "Traceback" not in str(caught.value).partition("fix: ")[0].rpartition("---")[2]
    assert rows(project) == []


def test_a_failing_cell(project: Repo, run: Run) -> None:
    with pytest.raises(CellExecutionError):
        run(LOAD, "1 / 0")
    (row,) = rows(project)
    assert (row["status"], row["detail"]) == ("Failed", "ZeroDivisionError: division by zero")


def test_a_kernel_that_is_ended_by_a_signal(project: Repo, run: Run) -> None:
    with pytest.raises(Exception, match="Kernel died"):
        run(LOAD, f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})")
    (row,) = rows(project)
    assert row["status"] == "Aborted"


def test_gate_measures_again(project: Repo, run: Run) -> None:
    edit = f"open({str(project.path / 'src/models/helper.py')!r}, 'a').write('#')"
    with pytest.raises(CellExecutionError) as caught:
        run(LOAD, "%gate", edit, "%gate")
    assert "src/models/helper.py" in str(caught.value)
    (row,) = rows(project)
    assert [change["path"] for change in row["changed_during_run"]] == ["src/models/helper.py"]


def test_loading_it_again_changes_nothing(project: Repo, run: Run) -> None:
    said = text(run(LOAD, LOAD, "%reload_ext deriva_ml_hooks"))
    (row,) = rows(project)
    assert said.count(f"recorded as {row['id']}") == 2


def test_another_commit_needs_another_kernel(project: Repo, run: Run) -> None:
    with pytest.raises(CellExecutionError) as caught:
        run(LOAD, "!git commit --quiet --allow-empty -m Later", "%gate")
    assert "restart the kernel" in str(caught.value)


def test_code_that_was_loaded_before_it_changed_is_refused(project: Repo, run: Run) -> None:
    helper = str(project.path / "src/models/helper.py")
    write = f"open({helper!r}, 'a').write('#')"
    loaded = "import sys; sys.path.insert(0, '../src'); import models.helper"
    with pytest.raises(CellExecutionError) as caught:
        run(f"{write}; {loaded}", f"!git checkout --quiet {helper}", LOAD)
    assert "restart the kernel" in str(caught.value)
    assert rows(project) == []


def test_a_notebook_that_nobody_names(project: Repo, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME")
    with pytest.raises(CellExecutionError) as caught:
        run(LOAD)
    assert "%env DERIVA_ML_NOTEBOOK_PATH=" in str(caught.value)
    run("%env DERIVA_ML_NOTEBOOK_PATH=analysis.ipynb", LOAD)
    assert len(rows(project)) == 1


COMPOSE = """\
from hydra import compose, initialize
with initialize(version_base=None):
    print("composed", compose())
"""


def test_hydra_in_a_kernel_is_gated_in_place(project: Repo, run: Run) -> None:
    assert "composed" in text(run(COMPOSE))
    with pytest.raises(CellExecutionError) as caught:
        run(COMPOSE, between=lambda: project.write("src/new.py"))
    assert "src/new.py" in str(caught.value)


def test_inside_a_run_there_is_one_record(project: Repo, run: Run) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LOAD)])
    project.write(NAME, nbformat.writes(notebook))
    project.commit("Notebook")
    done = project.run(sys.executable, "-m", "deriva_ml_hooks", "run-notebook", NAME)
    assert done.returncode == 0, done.stderr
    assert len(rows(project)) == 1
