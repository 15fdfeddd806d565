"""Starts the command and waits for it: terminal, standard streams and signals are the command's own.

The runner stays in the command's process group, so what the terminal sends reaches both; what is sent
to the runner alone is passed on. Signals are held back around the writing of records, never lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deriva_ml_hooks.errors import HooksError

ABORTING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals by which somebody ends a run."""

_POSIX = hasattr(os, "posix_spawn") and hasattr(signal, "pthread_sigmask")


class CommandNotFoundError(HooksError):
    """There is no such program (127, as a shell has it)."""

    exit_code = 127

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: command not found", fix="see how it is spelled, and whether it is on PATH")


class NotExecutableError(HooksError):
    """There is a file of that name, but it cannot be executed (126, as a shell has it)."""

    exit_code = 126

    def __init__(self, name: str, why: str = "not executable") -> None:
        super().__init__(f"{name}: {why}", fix=f"chmod +x {name}, or name its interpreter before it")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended: its exit code, or the signal that killed it; `asked` is a signal we were sent."""

    returncode: int
    killed_by: int | None
    asked: int | None

    @property
    def exit_code(self) -> int:
        """What a shell would report: 128 and the signal's number for a command that a signal killed."""
        return self.returncode if self.killed_by is None else 128 + self.killed_by

    @property
    def aborted(self) -> bool:
        """Whether somebody ended it rather than it itself."""
        return self.asked is not None or self.killed_by in ABORTING


def located(name: str, *, path: str | None = None) -> str:
    """The file that `name` executes; raises CommandNotFoundError and NotExecutableError."""
    found = shutil.which(name, path=path)
    if found is not None:
        return os.path.abspath(found)
    places = [""] if os.path.dirname(name) else (path or os.environ.get("PATH", os.defpath)).split(os.pathsep)
    if any(os.path.exists(os.path.join(folder, name)) for folder in places):
        raise NotExecutableError(name, "is a folder" if os.path.isdir(name) else "not executable")
    raise CommandNotFoundError(name)


@contextlib.contextmanager
def held_signals() -> Iterator[frozenset[int]]:
    """Hold back the signals that end a run while a record is written; yields the mask from before.

    Ignored signals stay ignored (nohup(1), jobs in the background). What arrives meanwhile is handled
    by `run` or, where that is over, when this ends.
    """
    if not _POSIX:
        yield frozenset()
        return
    # Held back only if it may be sent to us while ignored otherwise (signal(7)).
    signal.signal(signal.SIGCHLD, lambda *_: None)
    before = frozenset(int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, _heeded()))
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heeded() -> set[signal.Signals]:
    wanted = {*ABORTING, signal.SIGQUIT}
    return {s for s in wanted if signal.getsignal(s) != signal.SIG_IGN} | {signal.SIGCHLD}


def run(executable: str, argv: Sequence[str], env: Mapping[str, str], mask: frozenset[int]) -> Ending:
    """Run `argv` as the program `executable` under the signal mask `mask`, and wait for its end.

    Has to be called within `held_signals`. Raises NotExecutableError when it cannot be started.
    """
    if not _POSIX:
        return _run_plainly(executable, argv, env)
    try:
        child = _spawn(executable, argv, env, mask)
    except OSError as error:
        raise NotExecutableError(executable, error.strerror or str(error)) from error
    asked: int | None = None
    while True:
        number, from_terminal = _next_signal()
        if number == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return Ending(max(code, 0), -code if code < 0 else None, asked)
            continue
        if number in ABORTING:
            asked = number
        if not from_terminal:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _spawn(executable: str, argv: Sequence[str], env: Mapping[str, str], mask: frozenset[int]) -> int:
    # Python ignores these two; the command should find them as it would from a shell.
    restored = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name)]
    sys.stdout.flush()
    try:
        return os.posix_spawn(executable, [*argv], env, setsigmask=mask, setsigdef=restored)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # A script without a first line that names its interpreter: exec(3) has the shell run it.
        words = ["/bin/sh", executable, *argv[1:]]
        return os.posix_spawn(words[0], words, env, setsigmask=mask, setsigdef=restored)


def _next_signal() -> tuple[int, bool]:
    """The next signal, and whether the terminal sent it, so that the command has it already."""
    heeded = _heeded()
    if hasattr(signal, "sigwaitinfo"):
        info = signal.sigwaitinfo(heeded)
        return info.si_signo, info.si_code > 0  # sigaction(2): positive codes are the kernel's
    number = signal.sigwait(heeded)
    return number, number in (signal.SIGINT, signal.SIGQUIT) and _in_foreground()


def _in_foreground() -> bool:
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False


def _run_plainly(executable: str, argv: Sequence[str], env: Mapping[str, str]) -> Ending:
    try:
        with subprocess.Popen([*argv], executable=executable, env=dict(env)) as child:
            asked: int | None = None
            while True:
                try:
                    return Ending(child.wait(), None, asked)
                except KeyboardInterrupt:  # the console sent it to the command too
                    asked = signal.SIGINT
    except OSError as error:
        raise NotExecutableError(executable, error.strerror or str(error)) from error
