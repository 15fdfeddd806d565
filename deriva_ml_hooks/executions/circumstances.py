"""What belongs to a run besides its code: who began it, what it reads from standard input, what it makes."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterable
from typing import Any

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.files import sha256_of
from deriva_ml_hooks.git.repository import Repository

TERMINAL, NOTHING, PIPE, FILE, DEVICE = "terminal", "nothing", "pipe", "file", "device"
_STDIN = 0


def agent(repository: Repository) -> dict[str, str | None] | None:
    """Who runs things here: git's identity, and the account; None where nobody is known."""
    known: dict[str, str | None] = {"name": None, "email": None, "account": processes.account()}
    with contextlib.suppress(GitError):  # no git here
        # By git itself, which alone follows the includes that tell work from leisure.
        done = repository.git("config", "-z", "--get-regexp", r"^user\.(name|email)$")
        for entry in os.fsdecode(done.stdout).split("\0")[:-1]:
            key, _, value = entry.partition("\n")
            known[key.removeprefix("user.")] = value or None
    return known if any(known.values()) else None


def standard_input(tops: Iterable[str]) -> dict[str, Any]:
    """What standard input is, of a file which one; its path is from the one of `tops` that it is below."""
    try:
        status, is_passed_on = os.fstat(_STDIN), os.get_inheritable(_STDIN)
    except OSError:
        return {"kind": NOTHING}
    if not is_passed_on:  # it was closed, and by now is perhaps a file of our own
        return {"kind": NOTHING}
    if os.isatty(_STDIN):
        return {"kind": TERMINAL}
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        return {"kind": PIPE}
    if not stat.S_ISREG(status.st_mode):
        return {"kind": NOTHING if status.st_rdev == os.stat(os.devnull).st_rdev else DEVICE}
    about: dict[str, Any] = {"kind": FILE, "path": _name(tops), "sha256": None, "offset": None}
    with contextlib.suppress(OSError):  # open for writing only
        about |= {"sha256": sha256_of(_STDIN), "offset": os.lseek(_STDIN, 0, os.SEEK_CUR)}
    return about


def _name(tops: Iterable[str]) -> str | None:
    """The path of the file that is standard input, where the system tells; None for one without a name."""
    try:
        if sys.platform == "darwin":
            import fcntl

            path = os.fsdecode(fcntl.fcntl(_STDIN, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0"))
        else:
            path = os.readlink(f"/proc/self/fd/{_STDIN}")
        if not os.path.samestat(os.stat(path), os.fstat(_STDIN)):
            return None
    except OSError:
        return None
    inside = (os.path.relpath(path, top) for top in tops if path.startswith(top + os.sep))
    return next(inside, path)


def hashed(top: str, paths: Iterable[str]) -> list[dict[str, str]]:
    """The files among `paths`, which are relative to the folder `top`, each with its SHA-256."""
    found = []
    for path in dict.fromkeys(paths):
        place = os.path.join(top, path)
        if os.path.isfile(place) and not os.path.islink(place):
            with contextlib.suppress(OSError), open(place, "rb") as file:
                found.append({"path": path, "sha256": sha256_of(file.fileno())})
    return found
