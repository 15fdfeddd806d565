"""Whether a recorded version is the commit's. Tags that were made after the run are not held against it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property, lru_cache

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.git.versions import version_of
from deriva_ml_hooks.provenance.version import Named, scm_versions
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.verify.consistency import seconds
from deriva_ml_hooks.verify.repository_facts import RepositoryFacts
from deriva_ml_hooks.verify.verdicts import Verdict, mismatch

_FETCH = "if a tag is missing or was moved here: git fetch --tags --force; else the record is wrong"


def named(execution: Execution) -> Named:
    """What the version of an execution depends on."""
    branch = execution.provenance.get("branch")
    folder = "" if execution.cwd == "." else execution.cwd
    commit = str(execution.provenance.get("commit")).encode("ascii")
    return Named(commit, branch if isinstance(branch, str) else None, folder)


class Versions:
    """The versions of commits as setuptools-scm has them today, and as it had them at a time."""

    def __init__(self, facts: RepositoryFacts, names: Collection[Named]) -> None:
        self._facts = facts
        self._today = self._all(sorted(names, key=str))
        self._without = lru_cache(10_000)(self._version_without)

    def check(self, execution: Execution) -> Iterator[Finding | str]:
        """What is wrong with the recorded version."""
        provenance, name = execution.provenance, named(execution)
        version, today = provenance.get("version"), self._today[name]
        started = seconds(execution.started_at)
        if today == version:
            if version is not None and provenance.get("tag") is None:
                for tag in self._version_tags_before(str(provenance["commit"]), started)[:1]:
                    yield mismatch(execution.id, f"the tag {tag} of the commit is not in the record")
        elif version is None and (provenance.get("no_version") or provenance.get("shallow")):
            message = f"it says that there was no version; here it is {today}"
            yield Verdict.UNKNOWN.finding(message, "see no_version in the record for the reason")
        elif today is None:
            yield "the version cannot be told here, so it is not compared"
        else:
            for tags, made in self._tags_since(started):
                if tags and self._without(name, tags) == version:
                    yield f"the version would be {today} today, by a tag {made}"
                    return
            message = f"version is {version or 'none'}, setuptools-scm says {today}"
            yield Verdict.MISMATCH.finding(message, _FETCH)

    def _all(self, names: list[Named]) -> dict[Named, str | None]:
        """Today's version of each; None also where a partial clone would have to fetch something first."""
        repository = self._facts.repository
        try:
            return scm_versions(repository, names)
        except GitError:
            if not self._facts.partial:
                raise
        found: dict[Named, str | None] = {}
        for name in names:
            try:
                found |= scm_versions(repository, [name])
            except GitError:
                found[name] = None
        return found

    def _version_without(self, name: Named, tags: frozenset[str]) -> str | None:
        return scm_versions(self._facts.repository, [name], without=tags)[name]

    def _tags_since(self, started: int | None) -> Iterator[tuple[frozenset[str], str]]:
        """The tags made at or after a time in seconds; then also those of which nobody knows when."""
        if started is None:
            return
        since = frozenset(name for name, made in self._made.items() if made is not None and made >= started)
        yield since, "made since"
        undated = frozenset(name for name, made in self._made.items() if made is None)
        if undated:
            yield since | undated, "that has no date"

    def _version_tags_before(self, commit: str, started: int | None) -> list[str]:
        """The annotated version tags on a commit that were there when something was started."""
        made = ((name, self._made.get(name)) for name in self._version_tags.get(commit, ()))
        return [name for name, date in made if date is not None and started is not None and date < started]

    @cached_property
    def _version_tags(self) -> dict[str | None, list[str]]:
        """The version tags by their commits."""
        found: dict[str | None, list[str]] = {}
        for name, oid in self._facts.tags.items():
            if version_of(name) is not None:
                found.setdefault(self._facts.peeled(oid), []).append(name)
        return found

    @cached_property
    def _made(self) -> dict[str, int | None]:
        """When each tag was made, in seconds since 1970; a lightweight one has no date."""
        from dulwich.objects import Tag

        dates: dict[str, int | None] = {}
        for name, oid in self._facts.tags.items():
            try:
                found = self._facts.repository.object(oid)
            except GitError:
                continue
            dates[name] = found.tag_time if isinstance(found, Tag) else None
        return dates
