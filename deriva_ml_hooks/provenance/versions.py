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
from dataclasses import replace
from typing import NamedTuple

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.version import (
    Project,
    Settings,
    excluding,
    first_version,
    project_of,
    require_quick,
    settings_of,
    told,
    written,
)


class Named(NamedTuple):
    """A commit, the branch that it was on (some version schemes look at its name), and the user's folder."""

    commit: bytes
    branch: str | None
    folder: str = ""


_DESCRIBED = re.compile(rb"(.+)-(\d{1,18})-g[0-9a-f]+")
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
    settings: dict[Project, Settings] = {}
    places: dict[Named, Project] = {}
    usual: dict[tuple[str, ...], set[bytes]] = {}
    for name in names:
        here = replace(repository, here=name.folder)
        places[name] = project = project_of(here, repository.commit(name.commit).tree)
        if project not in settings:
            settings[project] = settings_of(repository, project)
        if settings[project].config is not None and settings[project].usual:
            usual.setdefault(settings[project].describe, set()).add(name.commit)
    nearest = {words: _nearest(repository, oids, frozenset(without), words) for words, oids in usual.items()}
    for found in nearest.values():
        _try(settings.values(), {tag for tag, _ in found.values() if tag}, {name.branch for name in names})
    answers: dict[Named, str | None] = {}
    for name in names:
        rules = settings[places[name]]
        found = nearest.get(rules.describe, {})
        if rules.usual and name.commit in found:
            answers[name] = _version(repository, name, rules, found[name.commit])
        else:
            commit = repository.commit(name.commit)
            answers[name] = told(repository, commit, rules, places[name], name.branch, without).version
        tick()
    return answers


def _try(settings: Iterable[Settings], tags: Collection[str], branches: Collection[str | None]) -> None:
    """Try each project's own pattern on everything at once: one process does, as long as it is quick."""
    for rules in settings:
        if rules.config is not None:
            with suppress(HooksError):  # the one that takes too long is found again, by itself
                require_quick(rules, tags, branches)


def _version(
    repository: Repository, name: Named, settings: Settings, described: tuple[str | None, int]
) -> str | None:
    tag, distance = described
    if repository.shallow() and (tag is None or distance):
        return None
    node = "g" + name.commit.decode("ascii")
    try:
        first = first_version(settings) if tag is None else None
        nearest = (first, distance, node) if tag is None else (tag, distance, node[:41])
        return written(repository.commit(name.commit), settings, nearest, name.branch)
    except GitError:
        raise
    except HooksError:
        return None


def _nearest(
    repository: Repository, wanted: Collection[bytes], without: frozenset[str], words: Sequence[str]
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
    known = _described(repository, sorted(starts), without, words) if tagged else {}
    for oid in starts - known.keys():
        alone = not repository.commit(oid).parents
        counted = b"1" if alone else _git(repository, "rev-list", "--count", oid.decode("ascii"))
        with process.answer("rev-list"):
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
    repository: Repository, oids: Sequence[bytes], without: Collection[str], words: Sequence[str]
) -> dict[bytes, tuple[str | None, int]]:
    """The nearest tag of each commit that has one, and the commits since, as git describes it."""
    words = [*words, "--always", *excluding(without)]  # else the first one without a tag ends it
    found: dict[bytes, tuple[str | None, int]] = {}
    for start in range(0, len(oids), _AT_ONCE):
        some = oids[start : start + _AT_ONCE]
        lines = _git(repository, *words, *(oid.decode("ascii") for oid in some)).splitlines()
        if len(lines) != len(some):
            raise GitError("git describe", f"{len(lines)} answers to {len(some)} questions")
        for oid, line in zip(some, lines, strict=True):
            match = _DESCRIBED.fullmatch(line)
            if match is not None:
                found[oid] = os.fsdecode(match[1]), int(match[2])
    return found


def _git(repository: Repository, *words: str) -> bytes:
    return process.run(*words, cwd=repository.worktree).checked()
