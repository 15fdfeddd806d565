"""Gives a command that runs again the standard input of its first run, or tells that nobody can."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.circumstances import FILE, NOTHING, TERMINAL, standard_input
from deriva_ml_hooks.files import sha256_of
from deriva_ml_hooks.report import Finding

_STDIN = 0


class StandardInputError(HooksError):
    """What the first run has read from a file is not to be had."""


@contextlib.contextmanager
def given_again(first: Mapping[str, Any] | None, rerun_of: str, worktree: str) -> Iterator[Finding | None]:
    """Give again what `first`, of the record `rerun_of`, says of standard input; yields what cannot be so.

    A file counts by its hash: it is our own standard input, or what has its path in `worktree`, which is of
    the same commit. Raises StandardInputError where it is neither.
    """
    kind = first["kind"] if first else None
    warning = None
    if first is None or kind == TERMINAL == standard_input(())["kind"]:
        descriptor = None
    elif kind == NOTHING:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    elif kind == FILE and first["sha256"]:
        descriptor = _opened(first, rerun_of, worktree)
    else:
        descriptor = None
        message = f"standard input was a {kind} in the first run: what came from it is in no record"
        warning = Finding("stdin", None, message, "put it into a file, commit that, and run it anew: < FILE")
    with _redirected(descriptor) if descriptor is not None else contextlib.nullcontext():
        yield warning


def _opened(first: Mapping[str, Any], rerun_of: str, worktree: str) -> int | None:
    """The file of `first`, opened where its reading began; None where that is our own standard input."""
    ours = standard_input(())
    if all(ours.get(name) == first[name] for name in ("sha256", "offset")):
        return None
    path = first["path"]
    place = os.path.join(worktree, path or ".")
    if os.path.isfile(place):
        descriptor = os.open(place, os.O_RDONLY)
        if sha256_of(descriptor) == first["sha256"]:  # of what is read, whatever is at the path by now
            os.lseek(descriptor, first["offset"], os.SEEK_SET)
            return descriptor
        os.close(descriptor)
    raise StandardInputError(
        f"standard input was {path or 'a file without a name'}, which the commit does not hold as it was"
        f" (SHA-256 {first['sha256']})",
        fix=f"give it that file: deriva-ml-hooks rerun {shlex.quote(rerun_of)} < FILE",
    )


@contextlib.contextmanager
def _redirected(descriptor: int) -> Iterator[None]:
    """Have `descriptor`, which is closed, for standard input, and then what was there before."""
    before = os.dup(_STDIN) if descriptor != _STDIN else None  # that number is free only where it was closed
    os.dup2(descriptor, _STDIN)
    try:
        if before is not None:
            os.close(descriptor)
        yield
    finally:
        if before is None:
            os.close(_STDIN)
        else:
            os.dup2(before, _STDIN)
            os.close(before)
