"""What a project is missing: said by install and doctor, done on request, and undone."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks import gate
from deriva_ml_hooks.cli import main
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.install import files
from deriva_ml_hooks.untracked import ANYWHERE, FOLDERS

if TYPE_CHECKING:
    from tests.conftest import Repo


@pytest.fixture(autouse=True)
def here(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.chdir(repo.path)
    return repo


def lines(repo: Repo) -> list[str]:
    return files.missing_lines(measured(str(repo.path)))


def test_lines_are_missing_for_what_is_not_ignored_and_not_tracked(repo: Repo) -> None:
    assert lines(repo) == [f"/{folder}/" for folder in FOLDERS] + [f"{name}/" for name in ANYWHERE]
    repo.write(".gitignore", "runs\noutputs/\n.*/\n")
    repo.write("findings/a.md")
    repo.commit("Tracked findings")
    repo.write("new.py")
    repo.write("out.csv")
    assert lines(repo) == [
        "/checkpoints/",
        "/lightning_logs/",
        "/mlruns/",
        "/multirun/",
        "/wandb/",
        "__pycache__/",
        "/out.csv",
    ]


def test_lines_are_named_previewed_written_and_taken_back(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (repo.path / ".gitignore").read_bytes()
    repo.write("result.csv")
    assert not gate.judge().accepted
    assert main(["install"]) == 0
    assert "/runs/ " in capsys.readouterr().out
    main(["doctor"])
    out = capsys.readouterr().out
    assert "what runs leave is not ignored: /checkpoints/ " in out
    assert "(to have it: deriva-ml-hooks install --gitignore)" in out
    assert main(["install", "--gitignore", "--dry-run"]) == 0
    assert "/result.csv; commit it)" in capsys.readouterr().out
    assert (repo.path / ".gitignore").read_bytes() == before
    assert main(["install", "--gitignore"]) == 0
    assert "what runs leave" not in capsys.readouterr().out
    assert lines(repo) == []
    assert [reason.path for reason in gate.judge().reasons] == [".gitignore"]
    assert main(["uninstall"]) == 0
    assert (repo.path / ".gitignore").read_bytes() == before


@pytest.mark.parametrize("before", [None, b"*.log", b"*.log\r\n*.tmp"])
def test_what_is_in_the_file_stays_as_it_is(repo: Repo, before: bytes | None) -> None:
    (repo.path / ".gitignore").unlink()
    if before is not None:
        repo.write(".gitignore", before)
    for extra in ("a.csv", "b.csv"):  # again, where there is more
        repo.write(extra)
        assert main(["install", "--gitignore"]) == 0
        assert lines(repo) == []
    assert (repo.path / ".gitignore").read_bytes().startswith(before or b"")
    assert main(["uninstall"]) == 0
    assert (repo.path / ".gitignore").exists() == (before is not None)


def test_a_filter_is_offered_to_who_has_notebooks_and_none(
    repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["doctor"])
    assert "nbstripout" not in capsys.readouterr().out
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    repo.write("a.ipynb", json.dumps(notebook))
    repo.commit("Notebook")
    main(["doctor"])
    how = capsys.readouterr().out.partition("outputs of notebooks (to have it: ")[2].partition(")\n")[0]
    assert "nbstripout --install" in how
    assert subprocess.run(["sh", "-c", how], check=False).returncode == 0
    main(["doctor"])
    assert "nbstripout" not in capsys.readouterr().out
