"""How commands print: data on stdout, words for people on stderr.

What is printed has lost its secrets, and holds nothing that a terminal would obey.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deriva_ml_hooks.redact import redact, redacted
from deriva_ml_hooks.report import printable, shown


def data(document: Any) -> None:
    """One JSON document on stdout."""
    as_is(document_of(document))


def document_of(values: Any) -> str:
    """A JSON document as text, without secrets."""
    return json.dumps(redacted(values), indent=2)


def text(words: str) -> None:
    """Text that is the answer, on stdout."""
    as_is(shown(words))


def line(words: str) -> None:
    """One line of the answer, on stdout, whatever names it holds."""
    as_is(printable(redact(words)))


def as_is(words: str) -> None:
    """What has been made safe to print already, and may be coloured or for another program, on stdout."""
    sys.stdout.write(words + "\n")


def note(words: str) -> None:
    """Text for people beside the answer, on stderr, flushed: a command may write there next."""
    sys.stderr.write(shown(words) + "\n")
    sys.stderr.flush()


def columns(rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None) -> Iterator[str]:
    """Rows as lines in columns of at least `widths` characters (None: of what they need), not cut off."""
    widths = widths or [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def fields(pairs: list[tuple[str, Any]]) -> str:
    """Names and values in two columns; what is None is left out."""
    return "\n".join(columns([(name, printable(str(value))) for name, value in pairs if value is not None]))


@contextmanager
def progress(what: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr where that is a terminal, nothing elsewhere; yields what moves it on."""
    if quiet or not sys.stderr.isatty() or os.environ.get("CI"):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
