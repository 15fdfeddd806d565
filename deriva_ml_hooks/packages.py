"""Lock files, and the command that brings one more package: uv's where the project is uv's."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from fnmatch import fnmatchcase

LOCKFILES = ("environment.yml", "pixi.lock", "poetry.lock", "requirements*.txt", "uv.lock")
"""Names of the files that fix what was installed."""


def is_lockfile(path: str) -> bool:
    """Whether the file at `path` has the name of one that fixes what was installed."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) for pattern in LOCKFILES)


def installing(package: str, *, newer: bool = False, python: str = "") -> str:
    """The command that brings `package`, a requirement, or one that is `newer` than what is there.

    It is for who works in the current folder. `python`: the interpreter that lacks the package, which uv
    knows by itself.
    """
    word = shlex.quote(package)
    if is_of_uv():
        upgrade = f"--upgrade-package {shlex.quote(package.partition('[')[0])} " if newer else ""
        return f"uv add {upgrade}{word}"
    pip = f"{shlex.quote(python)} -m pip" if python else "pip"
    return f"{pip} install {'--upgrade ' if newer else ''}{word}"


def running(program: str) -> str:
    """The command that starts `program`, which comes along with this package, also where PATH has it not."""
    if shutil.which(program):
        return shlex.quote(program)
    if is_of_uv():
        return f"uv run {shlex.quote(program)}"
    return shlex.join([sys.executable, "-m", program])


def is_of_uv(start: str = ".") -> bool:
    """Whether uv keeps the project around the folder `start`: its lock file is there, or above it."""
    folder = os.path.abspath(start)
    while not os.path.isfile(os.path.join(folder, "uv.lock")):
        above = os.path.dirname(folder)
        if above == folder or os.path.lexists(os.path.join(folder, ".git")):
            return False
        folder = above
    return True
