"""The versions of many commits at once, each the string that `version.scm_version` gives for one of them.

git is asked only where history is not a straight line: a commit with one parent and no tag of its own is
one further from the tag that its parent is nearest to, since whatever git-describe(1) looks at behind it
is what it looks at behind the parent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

from deriva_ml_hooks.errors import ConfigError, GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.version import (
    configuration,
    describe_words,
    in_scratch_clone,
    scm_table,
    written,
)

Named = tuple[bytes, "str | None"]
"""A commit, and the branch that it was on: some version schemes look at its name."""

_DESCRIBED = re.compile(rb"(.+)-(\d+)-g[0-9a-f]+")
_GLOB, _ESCAPED = re.compile(r"[*?[\\]"), r"\\\g<0>"
_AT_ONCE = 500
"""Commits that one git process is asked about: its arguments are limited."""


def scm_versions(
    repository: Repository,
    wanted: Iterable[Named],
    *,
    without: Collection[str] = (),
    tick: Callable[[], None] = lambda: None,
) -> dict[Named, str | None]:
    """The version of each commit, as it would be without the tags `without`; None as in `scm_version`.

    `tick` is called for each that is known. Raises GitError where a commit is not here.
    """
    names = list(dict.fromkeys(wanted))
    found = _nearest(repository, [oid for oid, _ in names], frozenset(without))
    tables: dict[bytes | None, Any] = {}
    answers: dict[Named, str | None] = {}
    for oid, branch in names:
        commit = repository.commit(oid)
        entry = repository.entry(commit.tree, "pyproject.toml")
        blob = entry[1] if entry is not None else None
        if blob not in tables:
            tables[blob] = _settings(repository, oid)
        answers[oid, branch] = _version(repository, oid, branch, tables[blob], found[oid], without)
        tick()
    return answers


_REJECTED = object()


def _settings(repository: Repository, oid: bytes) -> Any:
    """The configuration; None where only the real program knows, _REJECTED where it will not either."""
    try:
        table = scm_table(repository, repository.commit(oid))
        return None if table is None else _loaded(configuration(repository, table))
    except ConfigError:
        return _REJECTED
    except (ValueError, TypeError, LookupError, re.error):
        return None


def _loaded(config: Any) -> Any:
    """The configuration with its schemes in place of their names, which are looked up at every use else."""
    for part in ("version_scheme", "local_scheme"):
        group = f"setuptools_scm.{part}"
        for scheme in entry_points(group=group, name=str(getattr(config, part))):
            with suppress(AttributeError):  # frozen, one day
                setattr(config, part, scheme.load())
    return config


def _version(
    repository: Repository,
    oid: bytes,
    branch: str | None,
    config: Any,
    described: tuple[str | None, int],
    without: Collection[str],
) -> str | None:
    if config is _REJECTED:
        return None
    tag, distance = described
    if repository.shallow() and (tag is None or distance):
        return None
    if config is not None:
        node = "g" + oid.decode("ascii")
        try:
            first = config.version_cls(config.fallback_version or "0.0") if tag is None else None
            nearest = (first, distance, node) if tag is None else (tag, distance, node[:41])
            return written(repository.commit(oid), config, nearest, branch)
        except (ValueError, TypeError, LookupError, re.error):
            pass
    # A clone has all tags, so it cannot say what the version was without some.
    return None if repository.shallow() or without else in_scratch_clone(repository, oid, branch)


def _nearest(
    repository: Repository, wanted: Collection[bytes], without: frozenset[str]
) -> dict[bytes, tuple[str | None, int]]:
    """For each commit the nearest tag and the commits since; without a tag, None and all its commits."""
    tagged = set()
    for ref, oid in repository.refs_under("refs/tags/"):
        if ref.removeprefix("refs/tags/") not in without:
            with suppress(GitError):  # of something that is not here: git passes it over too
                tagged.add(repository.peel(oid))
    lines: dict[bytes, tuple[bytes, int]] = {}
    for oid in wanted:
        _follow(repository, oid, tagged, lines)
    starts = {lines[oid][0] for oid in wanted}
    known = _described(repository, sorted(starts), without) if tagged else {}
    for oid in starts - known.keys():
        alone = not repository.commit(oid).parents
        counted = b"1" if alone else _git(repository, "rev-list", "--count", oid.decode("ascii"))
        known[oid] = None, int(counted)
    nearest = {}
    for oid in wanted:
        start, steps = lines[oid]
        tag, distance = known[start]
        nearest[oid] = tag, distance + steps
    return nearest


def _follow(
    repository: Repository, oid: bytes, tagged: Collection[bytes], lines: dict[bytes, tuple[bytes, int]]
) -> None:
    """Put into `lines`, for `oid` and what it follows, where the straight line starts, and how far back."""
    way = []
    while oid not in lines:
        way.append(oid)
        parents = repository.commit(oid).parents
        if oid in tagged or len(parents) != 1 or parents[0] not in repository.objects:
            lines[oid] = oid, 0
            way.pop()
        else:
            oid = parents[0]
    for later in reversed(way):
        start, steps = lines[oid]
        lines[later] = start, steps + 1
        oid = later


def _described(
    repository: Repository, oids: Sequence[bytes], without: Collection[str]
) -> dict[bytes, tuple[str | None, int]]:
    """The nearest tag of each commit that has one, and the commits since, as git describes it."""
    words = [*describe_words(), "--always"]  # else the first one without a tag ends it
    words += [f"--exclude={_GLOB.sub(_ESCAPED, name)}" for name in sorted(without)]
    found: dict[bytes, tuple[str | None, int]] = {}
    for start in range(0, len(oids), _AT_ONCE):
        some = oids[start : start + _AT_ONCE]
        lines = _git(repository, *words, *(oid.decode("ascii") for oid in some)).splitlines()
        for oid, line in zip(some, lines, strict=True):
            match = _DESCRIBED.fullmatch(line)
            if match is not None:
                found[oid] = os.fsdecode(match[1]), int(match[2])
    return found


def _git(repository: Repository, *words: str) -> bytes:
    return process.run(*words, cwd=repository.worktree).checked()
