"""What the tests of an installation share: hooks that tell how they were called, photographs of folders."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.install import setup
from deriva_ml_hooks.install.doctor import examine

if TYPE_CHECKING:
    from tests.conftest import Repo

TELLS = """\
#!/bin/sh
# A hook of the user's own: tells its arguments and its standard input, and how it ends is its own business.
{ echo "args: $*"; echo "stdin: $(cat)"; } >> "$TELLS_TO"
exit "${TELLS_EXIT:-0}"
"""

Photograph = dict[str, tuple[int, bytes]]


def photograph(*folders: Path, without: str = "\0") -> Photograph:
    """Every file below `folders`: its mode, and its bytes or where it leads."""
    seen: Photograph = {}
    for folder in folders:
        for path in [folder, *sorted(folder.rglob("*"))]:
            if path.is_symlink():
                seen[str(path)] = (0, os.fsencode(os.readlink(path)))
            elif path.is_file() and without not in str(path):
                seen[str(path)] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return seen


def _install(repo: Repo, *, pre_commit: bool = False, dry_run: bool = False) -> list[str]:
    said: list[str] = []
    setup.install(str(repo.path), pre_commit=pre_commit, dry_run=dry_run, say=said.append)
    return said


def _uninstall(repo: Repo, *, dry_run: bool = False) -> list[str]:
    said: list[str] = []
    setup.uninstall(str(repo.path), dry_run=dry_run, say=said.append)
    return said


def _doctor(repo: Repo) -> tuple[list[str], dict[str, str]]:
    said: list[str] = []
    missing = examine(str(repo.path), say=said.append)
    return said, {found.message: found.fix for found in missing}


@pytest.fixture
def install() -> Callable[..., list[str]]:
    """Installs in a repository; what was said."""
    return _install


@pytest.fixture
def uninstall() -> Callable[..., list[str]]:
    """Uninstalls from a repository; what was said."""
    return _uninstall


@pytest.fixture
def doctor() -> Callable[[Repo], tuple[list[str], dict[str, str]]]:
    """Examines a repository: what was said, and the fix of each thing that is missing."""
    return _doctor


@pytest.fixture(name="photograph")
def photograph_fixture() -> Callable[..., Photograph]:
    """Every file of some folders, with mode and content."""
    return photograph


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that hooks made by `tells` write to."""
    path = tmp_path / "told"
    monkeypatch.setenv("TELLS_TO", str(path))
    return path


@pytest.fixture
def tells(told: Path) -> Callable[..., Path]:
    """Puts a hook of the user's own in place."""

    def put(path: Path, *, mode: int = 0o755, content: str | bytes = TELLS) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    return put


@pytest.fixture(params=["pre-commit", "prek"])
def framework(request: pytest.FixtureRequest) -> str:
    """The program of pre-commit, then that of prek."""
    name = str(request.param)
    found = shutil.which(name, path=os.path.dirname(sys.executable)) or shutil.which(name)
    assert found, f"{name} is not installed"
    return found
