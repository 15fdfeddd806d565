"""Starts `deriva-ml-run-notebook` again under `run`, as soon as it imports papermill.

papermill loads what is registered as an engine of it when it is imported (entry points, papermill.engine);
this is none, and changes nothing in any other program.
"""

from __future__ import annotations

import os
import sys

from deriva_ml_hooks.guard import restart, setting

_PROGRAM, _MODULE = "deriva-ml-run-notebook", "deriva_ml.run_notebook"
_SHOWN = ("-h", "--help", "--inspect", "--version")


def engine() -> None:
    """Nothing: the name that the entry point wants."""


def _is_it() -> bool:
    words = sys.orig_argv
    named = any(os.path.basename(word) == _PROGRAM for word in words[:2]) or words[1:3] == ["-m", _MODULE]
    return named and not any(word in _SHOWN for word in words)


if _is_it() and not restart.is_around() and setting.of(os.getcwd()).on:
    restart.under_run()
