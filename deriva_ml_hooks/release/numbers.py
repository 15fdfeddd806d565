"""Which version comes next (semver.org 2.0.0, 7 to 9 and 11)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from deriva_ml_hooks.git.versions import Version

Part = Literal["major", "minor", "patch"]
PARTS: tuple[Part, ...] = ("major", "minor", "patch")

PRE_RELEASES = ("alpha", "beta", "rc")
"""Names of pre-releases that SemVer and PEP 440 order alike, so that setuptools-scm can write them."""


def following(version: Version, part: Part, pre: str | None = None) -> Version:
    """The version after `version`, always a higher one: `part` counted up, or a pre-release `pre` of that.

    A pre-release leads to its own release before it leads to another: after 1.3.0-rc.2 come 1.3.0-rc.3
    with `pre` "rc", and 1.3.0 without. A beta after 1.3.0-rc.2 is one of the release after 1.3.0.
    """
    if version.pre and not any(version.release[PARTS.index(part) + 1 :]):
        candidate = _of(version.release, pre, version)
        if candidate > version:
            return candidate
    return _of(_counted_up(version.release, part), pre, version)


def with_number(version: Version) -> Version:
    """The version with the number of its pre-release apart: `rc1` is the first `rc`, and rc10 follows rc9."""
    joined = re.fullmatch(r"([A-Za-z]+)([0-9]+)", version.pre[0]) if len(version.pre) == 1 else None
    return replace(version, pre=joined.groups()) if joined else version


def _of(release: tuple[int, ...], pre: str | None, after: Version) -> Version:
    """`release`, or its pre-release `pre` with the number that follows `after`'s."""
    if pre is None:
        return Version(release, ())
    number = after.pre[1] if after.release == release and after.pre[:1] == (pre,) and after.pre[1:] else ""
    return Version(release, (pre, str(int(number) + 1 if number.isdigit() else 1)))


def _counted_up(release: tuple[int, ...], part: Part) -> tuple[int, ...]:
    index = PARTS.index(part)
    return (*release[:index], release[index] + 1, *([0] * (2 - index)))


def spelled(version: Version) -> str:
    """The version as SemVer writes it."""
    release = ".".join(str(number) for number in version.release)
    return f"{release}-{'.'.join(version.pre)}" if version.pre else release
