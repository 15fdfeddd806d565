"""Version tags: which names are versions, and which of two is the higher one (semver.org 2.0.0, 11)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

_LENIENT = re.compile(
    r"[vV]?(?P<release>\d+(?:\.\d+){1,3})"
    r"(?:[-.]?(?P<pre>(?<=-)[0-9A-Za-z.-]+|(?:a|b|c|rc|alpha|beta|pre|dev|post)[0-9A-Za-z.-]*))?"
    r"(?:\+(?P<build>[0-9A-Za-z.-]+))?"
)


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version by its numbers and pre-release identifiers; build metadata does not order."""

    release: tuple[int, ...]
    pre: tuple[str, ...]

    def _key(self) -> tuple[object, ...]:
        # 11.4: numeric identifiers are lower than others and compare as numbers; no identifier is highest.
        parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre)
        return (self.release, not self.pre, parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()


def version_of(tag: str) -> Version | None:
    """The version a tag name stands for, `v` or not, two to four numbers; None for any other name."""
    match = _LENIENT.fullmatch(tag)
    if match is None:
        return None
    numbers = tuple(int(n) for n in match["release"].split("."))
    release = numbers + (0,) * (3 - len(numbers))
    return Version(release, tuple(match["pre"].split(".")) if match["pre"] else ())
