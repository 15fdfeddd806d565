"""Starts the command and waits for it: terminal, standard streams and signals are the command's own.

The runner stays in the command's process group, so what the terminal sends reaches both; what is sent
to the runner alone is passed on. Signals are held back around the writing of records, never lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from deriva_ml_hooks.errors import HooksError

ABORTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which somebody ends a run."""

_PASSED_ON = (signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_LOOK_ANYWAY = 1.0
"""Seconds after which the child is asked for: another thread of this process may have had its SIGCHLD."""
T = TypeVar("T")


class CommandNotFoundError(HooksError):
    """There is no such program (127, as a shell has it)."""

    exit_code = 127

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: command not found", fix="see how it is spelled, and whether it is on PATH")


class NotExecutableError(HooksError):
    """There is a file of that name, but it cannot be executed (126, as a shell has it)."""

    exit_code = 126

    def __init__(self, name: str, why: str = "not executable") -> None:
        executable = f"chmod +x {shlex.quote(name)}, or name its interpreter before it"
        fix = "name a program in it" if os.path.isdir(name) else executable
        super().__init__(f"{name}: {why}", fix=fix)


class EndedBySignalError(BaseException):
    """A signal asked for the end outside the command; `exit_code` as a shell has it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


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
    if name and any(os.path.exists(os.path.join(folder, name)) for folder in places):
        raise NotExecutableError(name, "is a folder" if os.path.isdir(name) else "not executable")
    raise CommandNotFoundError(name)


@contextlib.contextmanager
def held_signals() -> Iterator[frozenset[int]]:
    """Hold back the signals that end a run while a record is written; yields the mask from before.

    Ignored signals stay ignored (nohup(1), jobs in the background). What arrives meanwhile is handled
    by `run`, `interruptible` or, where those are over, when this ends.
    """
    # Held back only if it may be sent to us while ignored otherwise (signal(7)).
    signal.signal(signal.SIGCHLD, lambda *_: None)
    before = frozenset(int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, _heeded()))
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interruptible(action: Callable[[], T], mask: frozenset[int]) -> T | None:
    """`action()` with signals let through (under `mask`) again, None when one has ended it early.

    Has to be called within `held_signals`, which goes on afterwards.
    """
    ending = _ending_signals()

    def interrupt(*_: Any) -> None:
        for number in ending:  # once is enough, and a second would end what comes after this
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ending}
    try:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return action()
        finally:
            _hold()
    except KeyboardInterrupt:
        _hold()  # it may have come just before
        return None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _heeded())


def _heeded() -> set[signal.Signals]:
    return {*_ending_signals(), signal.SIGCHLD}


def _ending_signals() -> set[signal.Signals]:
    return {s for s in (*ABORTING, *_PASSED_ON) if signal.getsignal(s) != signal.SIG_IGN}


def run(
    executable: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    mask: frozenset[int],
    stdin: bytes | None = None,
) -> Ending:
    """Run `argv` as the program `executable` under the signal mask `mask`, and wait for its end.

    `stdin` is what it reads there, where that is not our own standard input. Has to be called within
    `held_signals`. Raises NotExecutableError when it cannot be started.
    """
    try:
        child = _spawn_fed(executable, argv, env, mask, stdin)
    except OSError as error:
        raise NotExecutableError(executable, error.strerror or str(error)) from error
    early = signal.sigpending()  # what the terminal sent before there was a command to get it
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
        if not from_terminal or number in early:
            # Not permitted where the command has another user's rights (sudo); it passes on its own.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, number)


def _spawn_fed(
    executable: str, argv: Sequence[str], env: Mapping[str, str], mask: frozenset[int], stdin: bytes | None
) -> int:
    if stdin is None:
        return _spawn(executable, argv, env, mask)
    reading, writing = os.pipe()
    try:
        child = _spawn(executable, argv, env, mask, [(os.POSIX_SPAWN_DUP2, reading, 0)])
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    # A pipe holds some 64 KB; signals stay held back there as here.
    threading.Thread(target=_feed, args=(writing, stdin), daemon=True).start()
    return child


def _feed(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    try:
        with contextlib.suppress(BrokenPipeError):  # it ended before it had read all
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _spawn(
    executable: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    mask: frozenset[int],
    actions: Sequence[tuple[int, int, int]] = (),
) -> int:
    # Python ignores these two; the command should find them as it would from a shell.
    restored = [signal.SIGPIPE, signal.SIGXFSZ]
    try:
        return os.posix_spawn(
            executable, [*argv], env, file_actions=actions, setsigmask=mask, setsigdef=restored
        )
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # A script without a first line that names its interpreter: exec(3) has the shell run it.
        words = ["/bin/sh", executable, *argv[1:]]
        return os.posix_spawn(words[0], words, env, file_actions=actions, setsigmask=mask, setsigdef=restored)


def _next_signal() -> tuple[int, bool]:
    """The next signal, and whether the terminal sent it, so that the command has it already.

    Keys reach the whole process group, but the end of a terminal only the leader of its session.
    """
    heeded, keys = _heeded(), (signal.SIGINT, signal.SIGQUIT)
    if hasattr(signal, "sigtimedwait"):
        info = signal.sigtimedwait(heeded, _LOOK_ANYWAY)
        if info is None:
            return signal.SIGCHLD, False
        # sigaction(2): positive codes are the kernel's
        return info.si_signo, info.si_signo in keys and info.si_code > 0
    number = signal.sigwait(heeded)
    return number, number in keys and _in_foreground()


def _in_foreground() -> bool:
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Have the signals that end a run raise EndedBySignalError, so that what was begun is taken back.

    Ignored ones stay ignored. While a command runs it gets them itself.
    """

    def ended(number: int, _: Any) -> None:
        for other in before:  # once is enough: the worktree has to be taken away yet
            signal.signal(other, signal.SIG_IGN)
        raise EndedBySignalError(number)

    before = {s: signal.getsignal(s) for s in ABORTING if signal.getsignal(s) != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, ended)
        yield
    finally:
        with held_signals():  # one that came in between would leave the others as they are here
            for number, handler in before.items():
                signal.signal(number, handler)
