"""Waiting for a catalog no longer than is meant, whatever it does.

The waiting is done beside a thread, since nothing else bounds the look-up of a host's name, or an answer
that comes a byte at a time. The thread heeds no signal: those are for whoever waits.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from deriva_ml_hooks.catalog.errors import LateError

T = TypeVar("T")


def within(seconds: float, host: str, action: Callable[[], T]) -> T:
    """What `action` returns or raises; raises LateError when that takes longer than `seconds`.

    It goes on in the background then, until the process ends.
    """
    results: list[T] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(action())
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    _start_deaf(threading.Thread(target=work, name="catalog", daemon=True))
    if not done.wait(seconds):
        raise LateError(host, seconds)
    if failures:
        raise failures[0]
    return results[0]


def _start_deaf(thread: threading.Thread) -> None:
    """Start a thread to which the system never gives a signal that is meant for the run."""
    mask: Any = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        thread.start()
        return
    before = mask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        mask(signal.SIG_SETMASK, before)
