"""Findings: what is wrong, where, and how to mend it, in the one form that every command prints.

Turns findings into text, JSON and CI annotations. Returns strings; printing is the caller's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.redact import redact, redacted

LISTED = 20
"""How many paths of one kind are listed before the rest is counted."""


class Finding(NamedTuple):  # a dataclass would cost every hook the import of inspect
    """One thing that is wrong: `code` for programs, `path` where it is (None: the whole repository)."""

    code: str
    path: str | None
    message: str
    fix: str

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON keys `code`, `path`, `message`, `fix`, without secrets."""
        found: dict[str, Any] = redacted(self._asdict())
        return found


def printable(text: str) -> str:
    """`text` safe to print: no control characters, no bytes outside its encoding, no line breaks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that was not UTF-8 (surrogateescape)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def shown(text: str) -> str:
    """A text of several lines as it may be printed: without secrets, each line safe for a terminal."""
    return "\n".join(map(printable, redact(text).split("\n")))


def _safe(text: str) -> str:
    return printable(redact(text))


def few(names: Sequence[str], most: int = 1) -> str:
    """The first `most` names, printable, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


def as_line(finding: Finding) -> str:
    """`path: what is wrong`, or only what is wrong where no path is concerned."""
    message = _safe(finding.message)
    return f"{_safe(finding.path)}: {message}" if finding.path is not None else message


def as_error(error: HooksError) -> str:
    """An error for people: what and where on one line, the way out on the next; secrets removed."""
    return f"deriva-ml-hooks: {_safe(str(error))}\nfix: {_safe(error.fix)}"


def as_text(findings: Iterable[Finding], *, listed: int = LISTED) -> str:
    """Findings for people: those with the same way out together, then that way out once.

    At most `listed` lines of one group are shown, then how many more there are.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.fix), []).append(finding)
    return "\n\n".join(_group(group, listed) for group in groups.values())


def _group(findings: Sequence[Finding], listed: int) -> str:
    lines = [as_line(finding) for finding in findings[:listed]]
    if len(findings) > listed:
        lines.append(f"... and {len(findings) - listed} more")
    lines.append(f"fix: {_safe(findings[0].fix)}")
    return "\n".join(lines)


def as_annotations(findings: Iterable[Finding], *, level: str = "error") -> str:
    """Findings as GitHub workflow commands (docs.github.com: workflow commands, `::error file=...::`)."""
    return "\n".join(_annotation(finding, level) for finding in findings)


def _annotation(finding: Finding, level: str) -> str:
    where = f"file={_property(_safe(finding.path))}," if finding.path is not None else ""
    body = _data(f"{_safe(finding.message)}\nfix: {_safe(finding.fix)}")
    return f"::{level} {where}title={_property(finding.code)}::{body}"


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def wants_annotations() -> bool:
    """Whether this runs as a GitHub Actions step (GITHUB_ACTIONS is `true` there)."""
    return os.environ.get("GITHUB_ACTIONS") == "true"
