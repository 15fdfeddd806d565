"""A progress bar for scans of long histories: on a terminal only, and only once they take a while."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE = 1.0
"""Seconds before the bar appears."""


class CommitBar:
    """Shows how many commits are done; `total` is asked only when the bar appears.

    Not under pre-commit: it gives hooks a terminal of their own and shows what they wrote afterwards.
    """

    def __init__(self, title: str, total: Callable[[], int | None]) -> None:
        self._title = title
        self._total = total
        self._wanted = sys.stderr.isatty() and not os.environ.get("PRE_COMMIT") and not os.environ.get("CI")
        self._due = time.monotonic() + PATIENCE
        self._bar: Progress | None = None

    def tick(self, commits: int) -> None:
        """So many commits are done."""
        if self._bar is None:
            if not self._wanted or time.monotonic() < self._due:
                return
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.add_task(self._title, total=self._total())
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=commits)

    def __enter__(self) -> CommitBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
