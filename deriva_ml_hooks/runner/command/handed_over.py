"""Commands that hand another one over and end: a record of them would be closed before that has run.

Only the words are read, those of a shell's `-c` too, not the scripts that they name.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from deriva_ml_hooks.redact import redact_command
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner.command.launchers import SCHEDULERS, steps
from deriva_ml_hooks.runner.command.options import Kind
from deriva_ml_hooks.runner.command.shell_words import shell_commands

CODE = "handed-over"
_DEEPEST = 4
"""Shells in shells that are looked into."""


def handed_over(argv: Sequence[str]) -> Finding | None:
    """Why a record of the command `argv` would say nothing of what runs; None where it is the run itself."""
    name = _hands_over(argv, 0)
    if name is None:
        return None
    if name == "&":
        message = "the shell puts a command into the background, and ends without waiting for it"
        return Finding(CODE, None, message, "leave the & out, or let the shell end with: wait")
    message = f"{name} hands the command over and ends, so the record would be closed before it has run"
    fix = f"put the runner inside: {name} ... deriva-ml-hooks run -- COMMAND"
    if name in SCHEDULERS:
        words = redact_command(argv) if os.path.basename(argv[0]) == name else [name, "JOB.sh"]
        fix = f"deriva-ml-hooks submit -- {shlex.join(words)}"
    return Finding(CODE, None, message, fix)


def script_at(argv: Sequence[str]) -> int | None:
    """Where the words of a submitter name the script of the job; None where they do not."""
    _, runs = [*steps(argv, "")][:2]
    return len(argv) - len(runs.words) if runs.words else None


def _hands_over(argv: Sequence[str], depth: int) -> str | None:
    """The program that hands over, or `&`."""
    for step in steps(argv, ""):
        if step.kind is Kind.SHELL and depth < _DEEPEST:
            return _in_shell(step.words[0], depth + 1)
        if step.launcher is not None:
            waits, said = step.launcher.waits, {*step.options}
            leaves = waits is not None and said.isdisjoint(waits.split())
            if leaves or not said.isdisjoint(step.launcher.leaves.split()):
                return os.path.basename(step.words[0])
    return None


def _in_shell(text: str, depth: int) -> str | None:
    commands = [*shell_commands(text)]
    for command in commands:
        name = _hands_over(command.words, depth)
        if name is not None:
            return name
    waits = any(command.words[0] == "wait" for command in commands)
    return "&" if not waits and any(command.background for command in commands) else None
