"""The version tags of one prefix: which there are, here and on the remote, and which HEAD contains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.versions import Version, right_spelling, version_tag
from deriva_ml_hooks.release.numbers import with_number

_TAGS = "refs/tags/"


class Tagged(NamedTuple):
    """A version, the name of its tag, and the commit it leads to."""

    version: Version
    name: str
    commit: str


class Series:
    """The version tags that begin with `prefix`; `there` is what the remote has (`published.remote_refs`)."""

    def __init__(self, repository: Repository, prefix: str, there: Mapping[str, str]) -> None:
        self.repository = repository
        self.prefix = prefix
        self.there = there

    def version(self, ref: str) -> Version | None:
        """The version of a tag, also where it is not spelled right: `1.2` counts as the version it means.

        Beside a prefix of its own, though, a plain `v1.2` belongs to another series.
        """
        tag = ref.removeprefix(_TAGS)
        if not ref.startswith(_TAGS) or (self.prefix != "v" and not tag.startswith(self.prefix)):
            return None
        found = version_tag(tag, self.prefix) or version_tag(
            right_spelling(tag, self.prefix) or "", self.prefix
        )
        return with_number(found) if found is not None else None

    @cached_property
    def here(self) -> dict[str, str]:
        """The tags of this clone, by full name, with their oids."""
        refs = self.repository.refs_under(_TAGS)
        return {ref: oid.decode("ascii") for ref, oid in refs if self.version(ref)}

    def is_here(self, name: str) -> bool:
        """Whether this clone has the tag."""
        return _TAGS + name in self.here

    def is_there(self, name: str) -> bool:
        """Whether the remote has the tag."""
        return _TAGS + name in self.there

    def other_object(self) -> str | None:
        """The name of a tag that is another object on the remote than here."""
        return next((ref for ref, oid in self.here.items() if self.there.get(ref, oid) != oid), None)

    def news(self) -> list[str]:
        """The full names of those that only the remote has."""
        tags = (ref for ref in self.there if not ref.endswith("^{}"))
        return [ref for ref in tags if ref not in self.here and self.version(ref)]

    @cached_property
    def all(self) -> list[Tagged]:
        """Every one, here and on the remote, the highest version first."""
        commits = {ref: self.repository.peel(oid.encode()).decode("ascii") for ref, oid in self.here.items()}
        commits.update({ref: self.there.get(f"{ref}^{{}}", self.there[ref]) for ref in self.news()})
        versions = ((self.version(ref), ref, commit) for ref, commit in commits.items())
        tagged = (Tagged(found, ref.removeprefix(_TAGS), commit) for found, ref, commit in versions if found)
        return sorted(tagged, reverse=True)

    def highest_contained(self) -> Tagged | None:
        """The highest one in the history of HEAD."""
        words = ("for-each-ref", "--merged=HEAD", "--format=%(refname)", _TAGS)
        merged = (
            process.run(*words, cwd=self.repository.worktree).checked().decode("utf-8", "surrogateescape")
        )
        names = {ref.removeprefix(_TAGS) for ref in merged.splitlines()}
        for tagged in self.all:
            if tagged.name in names or (
                not self.is_here(tagged.name) and is_contained(self.repository, tagged.commit)
            ):
                return tagged
        return None


def is_contained(repository: Repository, commit: str) -> bool:
    """Whether HEAD contains `commit`; what is not here at all, it does not."""
    words = ("merge-base", "--is-ancestor", commit, "HEAD")
    return process.run(*words, cwd=repository.worktree).returncode == 0
