"""How commands print: data on stdout, words for people on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from deriva_ml_hooks.report import printable


def data(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def text(words: str) -> None:
    """Text that is the answer, on stdout."""
    sys.stdout.write(words + "\n")


def note(words: str) -> None:
    """Text for people beside the answer, on stderr, flushed: a command may write there next."""
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def fields(pairs: list[tuple[str, Any]]) -> str:
    """Names and values in two columns; what is None is left out."""
    shown = [(name, printable(str(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in shown)
