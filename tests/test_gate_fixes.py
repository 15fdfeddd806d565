"""The ways out that depend on what a file is: pasted, they lead to a tree that the gate accepts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks import gate
from deriva_ml_hooks.notebooks.strip import strip

if TYPE_CHECKING:
    from tests.conftest import Repo


@pytest.fixture(autouse=True)
def paste(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs a command as a user would paste it, in the current folder."""
    monkeypatch.setenv("GIT_EDITOR", "echo Changed >")
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)

    def run(command: str) -> None:
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        assert done.returncode in (0, 1), (command, done)
        assert b"rror" not in done.stderr, (command, done)

    return run


Paste = Callable[[str], None]


def reasons() -> list[tuple[str | None, str]]:
    """Path and fix of each reason of the gate, here."""
    return [(reason.path, reason.fix) for reason in gate.judge().reasons]


@pytest.mark.parametrize("way", ["set it aside", "or commit it"])
@pytest.mark.parametrize("place", ["it's/inner", "it's"])
def test_what_is_changed_in_a_submodule_is_set_aside_or_recorded(
    repo: Repo,
    make_repo: Callable[..., Repo],
    paste: Paste,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    way: str,
) -> None:
    inner, outer = make_repo("inner"), make_repo("outer")
    inner.commit("Inner", file="x\n")
    outer.commit("Outer", file="x\n")
    outer.git("submodule", "--quiet", "add", str(inner.path), "inner")
    outer.git("commit", "--quiet", "-m", "Inner")
    repo.git("submodule", "--quiet", "add", str(outer.path), "it's")
    repo.git("-C", "it's", "submodule", "--quiet", "update", "--init")
    repo.commit("Outer")
    monkeypatch.chdir(repo.path / "src")
    repo.write(f"{place}/file", "edited\n")
    repo.write(f"{place}/new", "new\n")
    (fix,) = {fix for _, fix in reasons()}
    paste(next(part for part in fix.split("; ") if part.startswith(way)).partition(": ")[2])
    assert reasons() == []


@pytest.mark.parametrize("folder", [".", "src"])
@pytest.mark.parametrize("ends", ["", "\n"])
def test_outputs_and_code_are_each_led_out_of_the_way_once(
    repo: Repo, paste: Paste, monkeypatch: pytest.MonkeyPatch, folder: str, ends: str
) -> None:
    repo.write(".gitignore", f"*.log{ends}")
    repo.commit("No end")
    monkeypatch.chdir(repo.path / folder)
    outputs = ["checkpoints/1.pt", "lightning_logs/v/hparams.yaml", "out.csv", ".vscode/settings.json"]
    outputs += [".snakemake/log/x", "src/it's/a.npy"]
    code = ["src/new model.py", "configs/a.yaml"]
    for name in outputs + code:
        repo.write(name)
    told = reasons()
    assert {path for path, fix in told if "git add" in fix and ".gitignore" not in fix} == {*code}
    assert len({fix for _, fix in told}) == 2
    for fix in {fix: None for _, fix in told}:
        paste(fix)
    assert reasons() == []
    assert set(repo.git("ls-files").splitlines()) >= {*code}
    repo.write("checkpoints/2.pt")
    assert reasons() == []


def test_many_files_of_code_are_added_without_the_outputs(
    repo: Repo, paste: Paste, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.path)
    for number in range(30):
        repo.write(f"new/m{number}.py")
    repo.write("runs/a.pt")
    paste(dict(reasons())["new/m0.py"])
    assert reasons() == []
    assert repo.git("ls-files", "runs") == ""


def executed(source: str = "print(1)", *, count: int | None = 1, identifier: str = "0") -> str:
    """A notebook of one cell, with its output where it has a count."""
    output = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}
    cell: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": count,
        "id": identifier,
        "metadata": {},
        "outputs": [] if count is None else [output],
        "source": [source],
    }
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1) + "\n"


NOTEBOOK = "notebooks/roc it's.ipynb"


@pytest.fixture
def notebook(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository with a stripped notebook, worked in from the notebook's folder."""
    repo.write(NOTEBOOK, strip(executed(count=None).encode()))
    repo.commit("Notebook")
    monkeypatch.chdir(repo.path / "notebooks")
    return repo


@pytest.mark.parametrize("staged", [False, True])
def test_a_notebook_that_ran_is_said_to_have_run_and_is_stripped(
    notebook: Repo, paste: Paste, staged: bool
) -> None:
    notebook.write(NOTEBOOK, executed())
    if staged:
        notebook.git("add", "--all")
    (reason,) = gate.judge().reasons
    assert reason.path == NOTEBOOK
    assert reason.message.startswith("executed; only its outputs differ from the commit (")
    assert "deriva-ml-hooks hook strip-notebook-outputs -- " in reason.fix
    paste(reason.fix)
    assert reasons() == []


def test_the_filter_that_is_named_lets_the_outputs_stay(notebook: Repo, paste: Paste) -> None:
    notebook.write(NOTEBOOK, executed())
    (reason,) = gate.judge().reasons
    paste(reason.message.partition("look past outputs: ")[2].removesuffix(")"))
    assert reasons() == []
    assert (notebook.path / NOTEBOOK).read_text() == executed()


def test_where_the_commit_holds_outputs_they_are_kept_or_thrown_away(notebook: Repo, paste: Paste) -> None:
    notebook.write(NOTEBOOK, executed(count=2, identifier="abc"))
    notebook.commit("With outputs")
    for part, kept in ((0, executed(count=2, identifier="abc")), (1, executed(count=3, identifier="abc"))):
        notebook.write(NOTEBOOK, executed(count=3, identifier="abc"))
        (reason,) = gate.judge().reasons
        said, _, keep = reason.message.removesuffix(")").partition(" (to keep the new ones: ")
        assert said == "executed; only its outputs differ from the commit"
        paste((reason.fix, keep)[part])
        assert reasons() == []
        assert (notebook.path / NOTEBOOK).read_text() == kept


@pytest.mark.parametrize("content", [executed("print(2)"), executed("print(2)", count=None), "{", ""])
def test_a_notebook_whose_cells_changed_is_changed(notebook: Repo, content: str) -> None:
    notebook.write(NOTEBOOK, content)
    (reason,) = gate.judge().reasons
    assert reason.message == "changed since the commit, not staged"


def test_what_the_settings_keep_is_part_of_the_notebook(notebook: Repo) -> None:
    table = '[tool.deriva-ml-hooks]\nno-remote = "ignore"\n'
    table += "[tool.deriva-ml-hooks.strip-notebook-outputs]\nkeep-output = true\n"
    notebook.write("pyproject.toml", table)
    notebook.commit("Keep outputs")
    notebook.write(NOTEBOOK, executed())
    (reason,) = gate.judge().reasons
    assert reason.message == "changed since the commit, not staged"


def test_a_link_to_a_notebook_is_no_notebook_that_ran(notebook: Repo, tmp_path: Path) -> None:
    (tmp_path / "other.ipynb").write_text(executed())
    (notebook.path / NOTEBOOK).unlink()
    (notebook.path / NOTEBOOK).symlink_to(tmp_path / "other.ipynb")
    (reason,) = gate.judge().reasons
    assert "executed" not in reason.message


def test_a_repository_within_is_never_ignored_but_moved_out(
    repo: Repo, paste: Paste, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo.path)
    repo.git("init", "--quiet", "nested")
    repo.write("nested/__init__.py")
    repo.git("-C", "nested", "add", "--all")
    repo.git("-C", "nested", "commit", "--quiet", "--message", "Nested")
    (reason,) = gate.judge().reasons
    assert (reason.path, "a repository of its own" in reason.message) == ("nested/", True)
    paste(reason.fix)
    assert reasons() == []
    assert (repo.path.parent / "nested" / "__init__.py").is_file()
