"""The version of a commit: the string that `python -m setuptools_scm` prints in a clean, full clone of it.

setuptools-scm itself counts up and formats. What it would ask of the worktree is answered from the commit
instead, since the worktree may be in any state. Where only setuptools-scm itself can follow the settings, it
runs in a scratch clone, once the user has agreed to that.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from deriva_ml_hooks import programs
from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import consent, process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.scm_settings import (
    SEE,
    NoVersionError,
    Project,
    Settings,
    project_of,
    rejecting,
    settings_of,
)

if TYPE_CHECKING:
    from dulwich.objects import Commit

_TIMEOUT = 120.0
"""Seconds that setuptools-scm may take in a scratch clone."""
_BATCH = 500
"""Commits that one git process is asked about: its arguments are limited."""


class Named(NamedTuple):
    """A commit, the branch that it was on (some version schemes look at its name), and the user's folder."""

    commit: bytes
    branch: str | None
    folder: str = ""


class _Nearest(NamedTuple):
    """The nearest tag of a commit, if there is one, and the commits since; without one, all its commits."""

    tag: str | None
    distance: int


def scm_version(repository: Repository, oid: bytes) -> str:
    """The version of the commit `oid`, which HEAD names, for the project that the user is in.

    Raises NoVersionError in a shallow clone whose HEAD carries no version tag, where setuptools-scm rejects
    the project's settings, and where these name code; and GitError.
    """
    name = Named(oid, repository.branch(), repository.here)
    found = _versions(repository, [name])[name]
    if isinstance(found, NoVersionError):
        raise found
    return found


def scm_versions(
    repository: Repository,
    wanted: Iterable[Named],
    *,
    without: Collection[str] = (),
    tick: Callable[[], None] = lambda: None,
) -> dict[Named, str | None]:
    """The version of each commit, as it would be without the tags `without`; None for NoVersionError.

    `tick` is called for each that is known. Raises GitError where a commit is not here.
    """
    found = _versions(repository, [*wanted], frozenset(without), tick)
    return {name: version if isinstance(version, str) else None for name, version in found.items()}


def version_under(repository: Repository, oid: bytes, branch: str | None, tag: str) -> str:
    """The version of the commit `oid` if `tag` were on it. Raises NoVersionError and GitError."""
    commit = repository.commit(oid)
    settings = settings_of(repository, project_of(repository, commit.tree, repository.here))
    return _written(commit, settings, _Nearest(tag, 0), branch)


def _versions(
    repository: Repository,
    names: Sequence[Named],
    without: frozenset[str] = frozenset(),
    tick: Callable[[], None] = lambda: None,
) -> dict[Named, str | NoVersionError]:
    commits = {name: repository.commit(name.commit) for name in names}
    projects = {name: project_of(repository, commit.tree, name.folder) for name, commit in commits.items()}
    settings = {project: _settings_or_why(repository, project) for project in {*projects.values()}}
    wanted: dict[tuple[str, ...], set[bytes]] = {}
    for name, project in projects.items():
        if isinstance(rules := settings[project], Settings):
            wanted.setdefault(rules.describe, set()).add(name.commit)
    nearest = {words: _nearest(repository, oids, without, words) for words, oids in wanted.items()}
    answers: dict[Named, str | NoVersionError] = {}
    for name, project in projects.items():
        rules = settings[project]
        try:
            if isinstance(rules, Settings):
                found = nearest[rules.describe][name.commit]
                if found.distance and repository.shallow():
                    reason = "a shallow clone without a version tag on its commit"
                    raise NoVersionError(reason, fix="git fetch --unshallow --tags")
                answers[name] = _written(commits[name], rules, found, name.branch)
            else:
                # A clone has all tags, so it cannot say what the version was without some.
                may_ask = rules.code and not without and not repository.shallow() and _is_trusted(repository)
                answers[name] = _asked(repository, name, project.folder) if may_ask else rules
        except NoVersionError as error:
            answers[name] = error
        tick()
    return answers


def _settings_or_why(repository: Repository, project: Project) -> Settings | NoVersionError:
    try:
        return settings_of(repository, project)
    except NoVersionError as error:
        return error


def _written(commit: Commit, settings: Settings, nearest: _Nearest, branch: str | None) -> str:
    """The version as setuptools-scm writes it. Raises NoVersionError."""
    settings.require_quick(nearest.tag, branch)
    try:
        date = datetime.fromtimestamp(commit.commit_time, timezone.utc).date()
    except (ValueError, OverflowError, OSError):
        date = None
    node, config = "g" + commit.id.decode("ascii"), settings.config
    with rejecting():
        from setuptools_scm.version import format_version, meta

        first = config.version_cls(config.fallback_version or "0.0")
        facts = meta(
            first if nearest.tag is None else nearest.tag,
            distance=nearest.distance,
            node=node if nearest.tag is None else node[:41],  # git describe --abbrev=40
            dirty=False,
            branch=branch or "HEAD",
            node_date=date,
            config=config,
        )
        return str(format_version(facts))


def _nearest(
    repository: Repository, wanted: Collection[bytes], without: frozenset[str], words: tuple[str, ...]
) -> dict[bytes, _Nearest]:
    lines = {oid: (oid, 0) for oid in wanted}
    if len(wanted) > 1:
        lines = _straight_lines(repository, wanted, without)
    starts = sorted({start for start, _ in lines.values()})
    known = _described(repository, starts, without, words)
    for oid in starts:
        if oid not in known:
            counted = repository.git("rev-list", "--count", oid.decode("ascii")).checked()
            with process.answer("rev-list"):
                known[oid] = _Nearest(None, int(counted))
    return {
        oid: _Nearest(known[start].tag, known[start].distance + steps)
        for oid, (start, steps) in lines.items()
    }


def _straight_lines(
    repository: Repository, wanted: Iterable[bytes], without: frozenset[str]
) -> dict[bytes, tuple[bytes, int]]:
    """Where the straight line of history behind each commit starts, and how many commits behind that is.

    A commit with one parent and no tag of its own is one further from the tag that its parent is nearest to,
    since whatever git-describe(1) looks at behind it is what it looks at behind the parent.
    """
    tagged = set()
    for ref, oid in repository.refs_under("refs/tags/"):
        if ref.removeprefix("refs/tags/") not in without:
            with suppress(GitError):  # of something that is not here: git passes it over too
                tagged.add(repository.peel(oid))
    lines: dict[bytes, tuple[bytes, int]] = {}
    for oid in wanted:
        later = []
        while oid not in lines:
            parents = repository.commit(oid).parents
            if oid in tagged or len(parents) != 1 or parents[0] not in repository.objects:
                lines[oid] = oid, 0
            else:
                later.append(oid)
                oid = parents[0]
        start, steps = lines[oid]
        for further, one in enumerate(reversed(later), steps + 1):
            lines[one] = start, further
    return {oid: lines[oid] for oid in wanted}


_DESCRIBED = re.compile(r"(?P<tag>.+)-(?P<distance>\d{1,18})-g[0-9a-f]+")
_GLOB, _ESCAPED = re.compile(r"[*?[\\]"), r"\\\g<0>"


def _described(
    repository: Repository, oids: Sequence[bytes], without: Collection[str], words: Sequence[str]
) -> dict[bytes, _Nearest]:
    """What git describes each commit with that has a tag behind it. Raises GitError."""
    if next(repository.refs_under("refs/tags/"), None) is None:
        return {}
    passed_over = [f"--exclude={_GLOB.sub(_ESCAPED, name)}" for name in sorted(without)]
    found: dict[bytes, _Nearest] = {}
    for start in range(0, len(oids), _BATCH):
        some = oids[start : start + _BATCH]
        names = [oid.decode("ascii") for oid in some]
        # --always: else the first commit without a tag ends it.
        lines = repository.git(*words, "--always", *passed_over, *names).checked().splitlines()
        if len(lines) != len(some):
            raise GitError("git describe", f"{len(lines)} answers to {len(some)} questions")
        for oid, line in zip(some, lines, strict=True):
            match = _DESCRIBED.fullmatch(os.fsdecode(line))
            if match is not None:
                found[oid] = _Nearest(match["tag"], int(match["distance"]))
    return found


def _is_trusted(repository: Repository) -> bool:
    return os.path.realpath(repository.common_dir) in consent.agreed("code")


# Nothing of the repository comes before what is installed: its modules are found by the names in its settings
# only. What this Python has been led to by its user (PYTHONPATH) is in the words.
_MAIN = """
import os, sys
sys.path += sys.argv[1:]
from setuptools_scm.__main__ import main
sys.path.append(os.getcwd())
del sys.argv[1:]
sys.exit(main())
"""


def _asked(repository: Repository, name: Named, folder: str) -> str:
    """What setuptools-scm itself says, in a clone that is clean by construction.

    Raises NoVersionError and GitError.
    """
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as top:
        clone = ("clone", "--quiet", "--shared", "--no-checkout", repository.common_dir, top)
        repository.git(*process.QUIETLY, *clone).checked()
        branch = ["-B", name.branch] if name.branch else []
        checkout = ("checkout", "--quiet", *branch, name.commit.decode("ascii"))
        process.run(*process.QUIETLY, *checkout, cwd=top).checked()
        overrides = ("SETUPTOOLS_SCM", "VCS_VERSIONING")
        env = {k: v for k, v in process.environment().items() if not k.startswith(overrides)}
        inside = os.path.join(repository.worktree, "")
        led = [path for path in sys.path if os.path.isabs(path) and not f"{path}/".startswith(inside)]
        words = [sys.executable, "-I", "-c", _MAIN, *led]
        try:
            done = programs.run(words, cwd=os.path.join(top, folder), env=env, timeout=_TIMEOUT)
        except OSError as error:
            raise GitError("setuptools-scm", str(error), fix=SEE) from None
    version = os.fsdecode(done.stdout).strip()
    if done.returncode or not version:
        raise NoVersionError("setuptools-scm gives none")
    return version
