"""Which file of a commit a checksum stands for, on real repositories."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.catalog.commit_files import CommitFiles
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.record import Execution, begun
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.cache import provenance_of

if TYPE_CHECKING:
    from tests.conftest import Repo

ORIGIN = "git@github.com:lab/model.git"


@pytest.fixture
def ran(repo: Repo) -> Callable[[], Execution]:
    """An execution of what is checked out, whose entry point nobody knows."""
    repo.git("remote", "add", "origin", ORIGIN)

    def run() -> Execution:
        provenance = provenance_of(measured(str(repo.path)), Config())
        return begun(command=["deriva-ml-run"], entry_point={"path": None}, provenance=provenance.as_json())

    return run


def found(repo: Repo, execution: Execution, checksum: str, path: str | None) -> tuple[str, str] | None:
    files = CommitFiles(measured(str(repo.path)), {})
    file = files.find(execution, checksum, [path] if path is not None else [])
    return (file.path, file.url) if file is not None else None


def address(execution: Execution, path: str) -> tuple[str, str]:
    return path, f"https://github.com/lab/model/blob/{execution.provenance['commit']}/{path}"


def test_the_file_is_where_it_was_or_where_it_has_gone(repo: Repo, ran: Callable[[], Execution]) -> None:
    blob = repo.git("rev-parse", "HEAD:src/train.py")
    first = ran()
    assert found(repo, first, blob, "src/train.py") == address(first, "src/train.py")
    assert found(repo, first, blob, None) == address(first, "src/train.py")
    repo.git("mv", "src/train.py", "src/fit.py")
    repo.commit("Rename")
    second = ran()
    assert found(repo, second, blob, "src/train.py") == address(second, "src/fit.py")
    assert found(repo, first, blob, "src/train.py") == address(first, "src/train.py")  # its own commit counts


def test_of_several_alike_it_is_the_one_that_was_named(repo: Repo, ran: Callable[[], Execution]) -> None:
    repo.commit("A twin", twin=(repo.path / "src/train.py").read_text())
    blob = repo.git("rev-parse", "HEAD:twin")
    execution = ran()
    assert found(repo, execution, blob, "twin") == address(execution, "twin")
    assert found(repo, execution, blob, "elsewhere.py") == address(execution, "src/train.py")


def test_content_that_the_commit_does_not_have_is_no_file_of_it(
    repo: Repo, ran: Callable[[], Execution]
) -> None:
    execution = ran()
    assert found(repo, execution, "0" * 40, "src/train.py") is None
    assert found(repo, execution, "", None) is None
    gone = replace(execution, provenance={**execution.provenance, "commit": "1" * 40, "tree": "1" * 40})
    assert found(repo, gone, repo.git("rev-parse", "HEAD:src/train.py"), "src/train.py") is None


def test_a_notebook_is_known_by_what_is_left_of_it_when_it_is_stripped(
    repo: Repo, ran: Callable[[], Execution]
) -> None:
    cell = {
        "cell_type": "code",
        "execution_count": 3,
        "metadata": {"collapsed": True},
        "outputs": [],
        "source": ["1"],
    }
    notebook: dict[str, Any] = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    repo.write("nb/a.ipynb", json.dumps(notebook))
    repo.commit()
    execution = ran()
    checksum = provenance_of(measured(str(repo.path)), Config()).file("nb/a.ipynb").checksum
    blob = repo.git("rev-parse", "HEAD:nb/a.ipynb")
    assert checksum != blob, "else this test shows nothing"
    for known in (checksum, blob):  # DerivaML computes the one or the other
        assert found(repo, execution, known, None) == address(execution, "nb/a.ipynb")
