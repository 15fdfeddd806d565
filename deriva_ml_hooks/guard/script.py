"""The gate and the record from inside a script: no wrapper to type."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ContextDecorator, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.gate import RefusedError
from deriva_ml_hooks.guard import restart
from deriva_ml_hooks.report import as_text
from deriva_ml_hooks.runner.in_process import Recording, accept_here, closed_at_any_end
from deriva_ml_hooks.runner.recording import EXECUTION_VARIABLE
from deriva_ml_hooks.runner.request import Request

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is being recorded: the execution's `id`; None in a dry run."""

    id: str | None


def guard() -> None:
    """Start this script again under `run`; nothing inside a run or a test. Else gate in place.

    Raises RefusedError in an interactive session whose tree is not the commit.
    """
    if restart.is_around() or restart.is_tested():
        return
    if getattr(sys.modules["__main__"], "__file__", None) is not None:
        restart.under_run()
    from deriva_ml_hooks import gate

    gate.require_accepted(gate.judge(ignore_outputs=True))


class Recorder(ContextDecorator):
    """A record each time this is entered, or the function is called that it decorates."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Recorded]]) -> None:
        self._begin = begin
        self._open: AbstractContextManager[Recorded] | None = None

    def __enter__(self) -> Recorded:
        self._open = self._begin()
        return self._open.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._open.__exit__(*error) if self._open is not None else None

    def __call__(self, function: F) -> F:
        """Decorate a function. Raises UsageError for one whose body runs after it has returned."""
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            what = f"{function.__name__}: what it does comes after the call, when the record is closed"
            raise UsageError(what, fix="inside it: with deriva_ml_hooks.recorded():")
        return super().__call__(function)

    def _recreate_cm(self) -> Recorder:
        return Recorder(self._begin)


def recorded(description: str | None, *, catalog: str | None, tag_required: bool, paranoid: bool) -> Recorder:
    """What `deriva_ml_hooks.recorded` does."""
    return Recorder(
        lambda: _recorded(description, catalog=catalog, tag_required=tag_required, paranoid=paranoid)
    )


@contextmanager
def _recorded(
    description: str | None, *, catalog: str | None, tag_required: bool, paranoid: bool
) -> Iterator[Recorded]:
    if restart.is_around():
        yield Recorded(os.environ.get(EXECUTION_VARIABLE))
        return
    words = [sys.executable, *sys.orig_argv[1:]]
    request = Request(words, description, None, tag_required, catalog, sys.executable, paranoid=paranoid)
    try:
        accepted = accept_here(request)
    except RefusedError as refused:
        if sys.version_info >= (3, 11):  # what Python shows below its traceback
            refused.add_note(as_text(refused.reasons))
        raise
    record = Recording(accepted, say=_say, complain=_say)
    with closed_at_any_end(record):
        yield Recorded(record.id)


def _say(line: str) -> None:
    sys.stderr.write(f"deriva-ml-hooks: {line}\n")
