"""What each hook and each command of every day may load, so that no start grows slower unnoticed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.hooks import hook_ids

if TYPE_CHECKING:
    from tests.conftest import Repo

SLOW = {
    *("asyncio", "concurrent.futures", "ctypes", "decimal", "difflib", "email", "hashlib", "http"),
    *("importlib.metadata", "inspect", "logging", "multiprocessing", "socket", "sqlite3", "ssl", "tempfile"),
    *("unittest", "urllib.request", "uuid", "xml", "zipfile"),
}
"""Modules of the standard library that take a millisecond or more."""

_CLICK = "click rich shellingham annotated_doc typing_extensions markdown_it pygments mdurl"
_TYPER = f"typer {_CLICK} inspect uuid difflib"
_GATE = f"{_TYPER} dulwich hashlib tempfile logging"
MAY_LOAD = {
    "hook cache-provenance": "dulwich hashlib inspect tempfile logging difflib",
    "hook check-branch-name": "inspect difflib",
    "hook check-clean-tree": "dulwich hashlib inspect tempfile logging difflib",
    "hook check-large-files": "inspect difflib",
    "hook check-notebooks": "inspect",
    "hook check-version-tags": "inspect difflib",
    "hook strip-notebook-outputs": "inspect hashlib tempfile difflib",
    "check": _GATE,
    "provenance": _GATE,
    "executions list": f"{_TYPER} hashlib tempfile socket sqlite3",
    "executions show last": f"{_TYPER} hashlib tempfile socket sqlite3",
    "run -- true": f"{_GATE} socket sqlite3",
}
"""Packages, and modules that are slow; `tomli` is Python 3.10's tomllib."""

_SCRIPT = """\
import json, sys
before = set(sys.modules)
from deriva_ml_hooks.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("LOADED", json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(repo: Repo, *words: str) -> set[str]:
    """Packages from elsewhere, and slow modules, that are loaded for `words`."""
    done = repo.run(sys.executable, "-c", _SCRIPT, *words)
    names = set(json.loads(done.stdout.rpartition(b"LOADED ")[2]))
    packages = {name.partition(".")[0] for name in names} - {*sys.stdlib_module_names, "deriva_ml_hooks"}
    return {name for name in packages if not name.startswith("__")} | (names & SLOW)


@pytest.mark.parametrize("words", MAY_LOAD)
def test_nothing_slow_is_loaded_that_is_not_needed(repo: Repo, words: str) -> None:
    subprocess.run([sys.executable, "-m", "deriva_ml_hooks", "run", "--quiet", "--", "true"], cwd=repo.path)
    assert loaded(repo, *words.split()) <= {*MAY_LOAD[words].split(), "tomli"}


@pytest.mark.parametrize("hook", hook_ids())
def test_the_help_of_a_hook_loads_no_more(repo: Repo, hook: str) -> None:
    allowed = MAY_LOAD.get(f"hook {hook}", "inspect")  # a new hook needs a line above only for more
    assert loaded(repo, "hook", hook, "--help") <= {*allowed.split(), "tomli"}
