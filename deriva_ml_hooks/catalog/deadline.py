"""A deadline that holds whatever the catalog does.

The work is done in a thread, since nothing else limits the look-up of a host's name, or an answer that
comes a byte at a time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TypeVar

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

    # The thread gets no signals: those are for whoever waits.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=work, name="catalog", daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not done.wait(seconds):
        raise LateError(host, seconds)
    if failures:
        raise failures[0]
    return results[0]
