"""Version tags: which names are versions, and which of two is the higher one.

The order is semver.org's (2.0.0, 11), and PEP 440's for what only that one spells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

_LENIENT = re.compile(
    r"[vV]?(?P<release>\d+(?:\.\d+){1,3})"
    r"(?:[-.]?(?P<pre>(?<=-)[0-9A-Za-z.-]+|(?:a|b|c|rc|alpha|beta|pre|dev|post)[0-9A-Za-z.-]*))?"
    r"(?:\+(?P<build>[0-9A-Za-z.-]+))?",
    re.ASCII,
)
_LONGEST = 255
"""Characters; semver.org's own advice, and what a file name holds."""
_PART = re.compile(r"\d+|[^\d.-]+")
_KINDS = {"a": "alpha", "b": "beta", "c": "rc", "pre": "rc", "preview": "rc"}


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version by its numbers and pre-release identifiers; build metadata does not order.

    `offset` is what PEP 440 adds: -1 puts a development release before the pre-releases, 2 a
    post-release after the release.
    """

    release: tuple[int, ...]
    pre: tuple[str, ...]
    offset: int = 0

    def _key(self) -> tuple[object, ...]:
        # 11.4: numeric identifiers are lower than others and compare as numbers; no identifier is highest.
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre)
        return (self.release, (not self.pre) + self.offset, parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()


def version_of(tag: str) -> Version | None:
    """The version a tag name stands for, `v` or not, two to four numbers; None for any other name."""
    match = _LENIENT.fullmatch(tag) if len(tag) <= _LONGEST else None
    if match is None:
        return None
    numbers = tuple(int(n) for n in match["release"].split("."))
    release = numbers + (0,) * (3 - len(numbers))
    pre = tuple(_KINDS.get(part, part) for part in _PART.findall(match["pre"] or ""))
    return Version(release, pre, {"dev": -1, "post": 2}.get(pre[0], 0) if pre else 0)


_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_STRICT = re.compile(
    r"(?P<release>(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){2})"
    rf"(?:-(?P<pre>{_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
    r"(?:\+(?P<build>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)


def semver(text: str) -> Version | None:
    """The version that `text` spells exactly as SemVer 2.0.0 has it; None for any other text."""
    match = _STRICT.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    release = tuple(int(number) for number in match["release"].split("."))
    return Version(release, tuple(match["pre"].split(".")) if match["pre"] else ())


def version_tag(tag: str, prefix: str) -> Version | None:
    """The version of a tag that is `prefix` and a SemVer 2.0.0 version; None for any other name."""
    return semver(tag[len(prefix) :]) if tag.startswith(prefix) else None


_TAIL = r"(?P<tail>[-._+]?[A-Za-z][0-9A-Za-z.+_-]*|[-+][0-9A-Za-z.+_-]*)?"
_PEP440 = re.compile(
    r"[-._]?(?P<kind>alpha|a|beta|b|preview|pre|rc|c|dev)[-._]?(?P<number>[0-9]*)(?P<rest>.*)", re.IGNORECASE
)


def right_spelling(tag: str, prefix: str) -> str | None:
    """What a tag that only looks like a version should be called, `prefix` and all.

    Read as one: two to four numbers with dots, leading zeros or not, after nothing, `v`, `release`,
    `version` or the words of `prefix` in any case; also `v` or `prefix` before a single number. None for
    names that are versions already, and for all others (`exp-1`, `data-2026`, `2026-11-23`).
    """
    if len(tag) > _LONGEST or version_tag(tag, prefix) is not None:
        return None
    stem = re.escape(prefix.rstrip("vV").rstrip("-_/."))
    word = rf"(?:(?:{stem}|release|rel|version|ver)[-_/.]?)?v?[-_/.]?"
    match = re.fullmatch(rf"(?i:{word})(?P<numbers>[0-9]+(?:\.[0-9]+){{1,3}}){_TAIL}", tag)
    if match is None:
        single = re.fullmatch(rf"(?i:{re.escape(prefix)}|v)([0-9]{{1,3}})", tag) if tag else None
        return f"{prefix}{int(single[1])}.0.0" if single and not tag.isdigit() else None
    numbers = [str(int(number)) for number in match["numbers"].split(".")][:3]
    release = ".".join(numbers + ["0"] * (3 - len(numbers)))
    return f"{prefix}{release}{_right_tail(match['tail'] or '')}"


def same_release(first: str, second: str) -> bool:
    """Whether two spellings of a version mean one: `1.2.0rc1` (PEP 440) and `1.2.0-rc.1` (SemVer)."""
    one, other = version_of(first.strip()), version_of(second.strip())
    return first == second if one is None else one == other


def _right_tail(tail: str) -> str:
    """What follows the numbers, as SemVer spells it; words that it has no place for are left out."""
    before, _, after = tail.partition("+")
    build = ".".join(part for part in re.split(r"[._+]", after) if part)
    python = _PEP440.fullmatch(before)
    if before.startswith("-") and not (python and "_" in before):
        parts = [part for part in re.split(r"[._]", before[1:]) if part]
    elif python:
        kind = python["kind"].lower()
        parts = [_KINDS.get(kind, kind), *([python["number"]] if python["number"] else [])]
    else:
        parts = []
    pre = ".".join(str(int(part)) if part.isdigit() else part for part in parts)
    return (f"-{pre}" if pre else "") + (f"+{build}" if build else "")
