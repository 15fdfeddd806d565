"""Starts programs that are not git, and waits for them: bytes in, bytes out, never through a shell.

`git/process.py` starts git, and `runner/child.py` the command of a run; nothing else starts a process.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Ended(NamedTuple):
    """A program that has ended, and what it wrote where that was kept."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(
    words: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = b"",
    executable: str | None = None,
    timeout: float | None = None,
    shown: Sequence[str] = (),
) -> Ended:
    """Run a program to its end. Raises OSError, of which TimeoutError after `timeout` seconds is one.

    `stdin`: None for ours. `shown`: which of `stdout` and `stderr` go where ours go.
    """
    out, err = (None if name in shown else subprocess.PIPE for name in ("stdout", "stderr"))
    try:
        done = subprocess.run(
            [*words],
            cwd=cwd,
            env=None if env is None else dict(env),
            executable=executable,
            input=stdin,
            stdout=out,
            stderr=err,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{words[0]}: no answer in {timeout:.0f} s") from None
    return Ended(done.returncode, done.stdout or b"", done.stderr or b"")
