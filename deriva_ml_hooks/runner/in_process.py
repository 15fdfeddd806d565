"""Records what this very process does: begun once the gate accepts, closed at whatever end it comes to.

For scripts and notebooks, where nothing can be put around the process. What it does to variables and signals
is undone at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

from deriva_ml_hooks.errors import HooksError, UsageError
from deriva_ml_hooks.executions.processes import started_at
from deriva_ml_hooks.executions.record import NOT_STARTED, Execution, Status, now
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.gate import RefusedError
from deriva_ml_hooks.gate.reasons import Reason
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner import child, recording
from deriva_ml_hooks.runner.publication import prepared
from deriva_ml_hooks.runner.recording import EXECUTION_VARIABLE, PROVENANCE_VARIABLE, Say
from deriva_ml_hooks.runner.request import Accepted, Request, accept

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_CLOCKS = 0.1
"""Seconds by which the start of a process, counted in ticks, may seem to be before a file was written."""


def accept_here(request: Request) -> Accepted:
    """What `accept` does, and code that was loaded before it changed is a reason too. Raises as `accept`."""
    accepted = accept(request)
    reasons = tuple(_loaded_too_early(accepted.repository.worktree))
    if reasons:
        raise RefusedError(replace(accepted.verdict, reasons=reasons))
    return accepted


def _loaded_too_early(worktree: str) -> Iterator[Finding]:
    """The loaded modules of a worktree whose files were written after this process began.

    What it has loaded of them may be what stood there before.
    """
    begun = started_at(os.getpid())
    for module in [*sys.modules.values()]:
        file = getattr(module, "__file__", None)
        name = inside(os.path.realpath(file), worktree) if isinstance(file, str) else None
        if name is None or begun is None:
            continue
        with suppress(OSError):
            if os.stat(os.path.join(worktree, name)).st_mtime > begun + _CLOCKS:
                yield Reason.LOADED.finding(path=name)


class EndedError(BaseException):
    """A signal asked for the end; of this family, since it is nothing that a program should handle."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Recording:
    """An execution of this process. `id` is its id in the ledger."""

    def __init__(self, accepted: Accepted, *, say: Say, complain: Say) -> None:
        """Begin it: the row is on the disk when this returns. Raises HooksError; then nothing is recorded."""
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("a record is begun in another thread", fix="begin it in the main thread")
        self._accepted = accepted
        self._say, self._complain = say, complain
        self._ledger = recording.ledger_for(accepted)
        self._variables = dict(os.environ)
        env = dict(os.environ)
        recording.clear(env)
        self._execution = recording.begun_for(accepted, env, reads=False)
        self.id = self._execution.id
        env[EXECUTION_VARIABLE] = self.id
        env[PROVENANCE_VARIABLE] = recording.provenance_file(self._ledger, self._execution)
        config, repository = accepted.verdict.config, accepted.repository
        try:
            self._published = prepared(
                accepted.request.catalog, config, repository, self._ledger, self._execution, complain
            )
            with _held() as mask:
                self._ledger.add(self._execution)
                env |= self._begin_publication(mask)
        except BaseException:
            recording.forget(env)
            raise
        os.environ.clear()
        os.environ.update(env)
        self._started = time.monotonic()
        say(recording.opening_line(accepted, self._execution))

    def _begin_publication(self, mask: frozenset[int]) -> dict[str, str]:
        if self._published is None:
            return {}
        try:
            return self._published.begin(mask)
        except HooksError as error:
            ended = replace(
                self._execution,
                status="Aborted",
                detail=f"{NOT_STARTED}{error}",
                ended_at=now(),
                duration=0.0,
            )
            recording.close(self._ledger, ended, self._complain)
            self._published.finish(ended, mask)
            raise

    def close(self, status: Status, *, exit_code: int, detail: str | None = None) -> Execution:
        """Close the record: the tree is measured again, ledger and catalog are brought to the end.

        A fork of this process that comes to its end leaves it open.
        """
        if os.getpid() != self._execution.pid:
            return self._execution
        ended = replace(
            self._execution,
            status=status,
            exit_code=exit_code,
            detail=redact(detail) if detail is not None else None,
            ended_at=now(),
            duration=round(time.monotonic() - self._started, 3),
        )
        with _held() as mask:
            changes = child.interruptible(lambda: recording.changed_since(self._accepted), mask)
            if changes is None:
                changes = [recording.unmeasured("interrupted before the worktree was measured again")]
            results = child.interruptible(lambda: recording.results_of(self._accepted, changes), mask) or []
            ended = replace(ended, changed_during_run=changes, results=results)
            recording.close(self._ledger, ended, self._complain)
            if self._published is not None:
                self._published.finish(ended, mask)
        os.environ.clear()
        os.environ.update(self._variables)
        self._say(recording.closing_line(ended))
        return ended


@contextmanager
def closed_at_any_end(record: Recording) -> Iterator[None]:
    """Close `record` as what is done inside ends: Completed, Failed with the exception, or Aborted."""
    with _endings_raised():
        try:
            yield
        except EndedError as ended:
            record.close("Aborted", exit_code=128 + ended.number, detail=f"signal {ended.number}")
            _end_by(ended.number)
        except KeyboardInterrupt:
            record.close("Aborted", exit_code=128 + signal.SIGINT, detail=f"signal {int(signal.SIGINT)}")
            raise
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            record.close("Failed" if code else "Completed", exit_code=code)
            raise
        except BaseException as error:
            record.close("Failed", exit_code=1, detail=described(error))
            raise
        else:
            record.close("Completed", exit_code=0)


def described(error: BaseException) -> str:
    """An exception on one line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _endings_raised() -> Iterator[None]:
    """Have the signals that would end this process raise EndedError; those that are handled stay so."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        for other in ours:  # once is enough
            signal.signal(other, signal.SIG_IGN)
        raise EndedError(number)

    ours = [number for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end_by(number: int) -> NoReturn:
    """End as the signal would have ended it, so that whoever waits for this process is told of it."""
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)


@contextmanager
def _held() -> Iterator[frozenset[int]]:
    """`held_signals`, with the process's own answer to the end of a child put back."""
    before: Any = signal.getsignal(signal.SIGCHLD)
    try:
        with child.held_signals() as mask:
            yield mask
    finally:
        signal.signal(signal.SIGCHLD, before)
