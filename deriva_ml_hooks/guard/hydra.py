"""Holds a Hydra application to the commit: starts it again under `run`, and measures before every job.

Hydra makes an object of each SearchPathPlugin before it reads any configuration, and SystemExit in one ends
the application. An exception in a callback of Hydra's is only a warning, so SystemExit ends the sweep too.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from deriva_ml_hooks.guard import kernel, restart, setting

_DRY = re.compile(r"\+{0,2}dry_run=(?:true|yes|on|1|y)", re.IGNORECASE)
"""DerivaML's own dry run, as a Hydra override."""
_SHOWN = ("help", "hydra_help", "cfg", "info", "shell_completion")
"""Hydra's own options that show something, and run nothing."""


def on_start() -> None:
    """What is done when Hydra starts in this process. Ends the process where it is refused."""
    if restart.is_around():
        return
    if kernel.is_here():
        if setting.of(os.getcwd()).on:
            kernel.require_accepted()
        return
    options = _options()
    if options is None or _runs_nothing(options) or _is_tried():
        return
    if setting.of(_folder()).on:
        restart.under_run()


def before_job(config: Any) -> None:
    """What is done before each job. Ends the process where the tree is not what the run has accepted.

    A launcher of Hydra's may be in a process of its own by now, on another machine.
    """
    folder = config.hydra.runtime.cwd  # Hydra may have changed into a folder for outputs
    if restart.is_around() and setting.of(folder).on:
        from deriva_ml_hooks.guard.sweep import require_unchanged

        require_unchanged(folder, str(config.hydra.job.get("num", 0)))


def _options() -> Any:
    """What Hydra has read of the words of a `hydra.main`; None where a test or a notebook composes."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "_run_hydra" and frame.f_globals["__name__"] == "hydra._internal.utils":
            return frame.f_locals.get("args")
    return None


def _runs_nothing(options: Any) -> bool:
    if "--list-configs" in sys.orig_argv or any(getattr(options, name, None) for name in _SHOWN):
        return True
    return any(_DRY.fullmatch(word) for word in options.overrides)


def _is_tried() -> bool:
    """Whether a test of pytest's, or somebody at IPython's prompt, calls the application as a function."""
    return restart.is_tested() or kernel.shell() is not None


def _folder() -> str:
    """The folder whose repository counts: that of the program's own file, or else the current one.

    An installed command has no repository of its own: it runs the project it is called in.
    """
    file = os.path.realpath(getattr(sys.modules["__main__"], "__file__", None) or os.curdir)
    installed = file.startswith(os.path.realpath(sys.prefix) + os.sep)
    folder = os.path.dirname(file)
    return os.getcwd() if installed or setting.worktree_of(folder) is None else folder
