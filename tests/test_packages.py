"""Which files are lock files, and how a package is brought into a project that is uv's or is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml_hooks import packages
from deriva_ml_hooks.catalog.errors import NoDerivaError


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("uv.lock", True),
        ("sub/folder/uv.lock", True),
        ("requirements.txt", True),
        ("requirements-gpu.txt", True),
        ("uv.lock/data", False),
        ("my-uv.lock", False),
        ("notes.txt", False),
    ],
)
def test_lock_files_are_known_by_their_names(path: str, is_one: bool) -> None:
    assert packages.is_lockfile(path) == is_one


@pytest.mark.parametrize(
    ("lock", "command"),
    [
        (None, "pip install 'deriva-ml-hooks[catalog]'"),
        ("uv.lock", "uv add 'deriva-ml-hooks[catalog]'"),
        ("src/uv.lock", "uv add 'deriva-ml-hooks[catalog]'"),
        ("../uv.lock", "pip install 'deriva-ml-hooks[catalog]'"),  # of another repository
    ],
)
def test_a_package_is_brought_by_uv_where_the_project_is_uvs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str | None, command: str
) -> None:
    top = tmp_path / "top"
    (top / "src" / "models").mkdir(parents=True)
    (top / ".git").mkdir()
    if lock is not None:
        (top / lock).touch()
    monkeypatch.chdir(top / "src" / "models")
    assert NoDerivaError().fix == command


def test_a_newer_one_is_asked_for_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert packages.installing("one[all]", newer=True) == "pip install --upgrade 'one[all]'"
    assert packages.installing("one", python="/a b/python") == "'/a b/python' -m pip install one"
    (tmp_path / "uv.lock").touch()
    assert packages.installing("one[all]", newer=True) == "uv add --upgrade-package one 'one[all]'"
    assert packages.installing("one", python="/a b/python") == "uv add one"
