"""Starts this very process again under `run`: the same interpreter, words, folder, streams and exit code."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

REFUSED = 125
"""The exit code of what the gate refuses, as `run` has it."""

_AROUND = ("DERIVA_ML_HOOKS_EXECUTION", "DERIVA_ML_HOOKS_DRY_RUN")
_TESTED = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")
_ALLOW_DIRTY = "DERIVA_ML_ALLOW_DIRTY"
_FALSE = ("", "0", "false", "no", "off")


def is_around() -> bool:
    """Whether a run of ours is around this process, with a record or as a dry run."""
    return any(os.environ.get(name) for name in _AROUND)


def is_tested() -> bool:
    """Whether pytest runs this process, or has started it: it calls programs on whatever tree."""
    return any(name in os.environ for name in _TESTED)


def under_run() -> NoReturn:
    """Start this process again under `run`; nothing comes back. Refuses what lets a dirty tree pass."""
    asked = _allows_dirty()
    if asked is not None:
        refuse(
            f"{asked} lets a dirty tree pass, and this repository is guarded",
            "leave it out and commit; to try something without a record: dry_run=true",
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "deriva_ml_hooks", "guarded", "--", *_words()])  # noqa: S606


def refuse(what: str, fix: str) -> NoReturn:
    """End this process as refused, and say why."""
    from deriva_ml_hooks.errors import HooksError
    from deriva_ml_hooks.report import as_error

    sys.stderr.write(as_error(HooksError(what, fix=fix)) + "\n")
    raise SystemExit(REFUSED)


def _allows_dirty() -> str | None:
    if "--allow-dirty" in sys.orig_argv:
        return "--allow-dirty"
    return _ALLOW_DIRTY if os.environ.get(_ALLOW_DIRTY, "").lower() not in _FALSE else None


def _words() -> list[str]:
    """What started this process: an installed command by its own name, so that the record names that."""
    words = sys.orig_argv[1:]
    if words and not words[0].startswith("-"):
        folder = os.path.realpath(os.path.dirname(words[0]) or os.curdir)
        if folder == os.path.realpath(os.path.dirname(sys.executable)) and os.access(words[0], os.X_OK):
            return words
    return [sys.executable, *words]
