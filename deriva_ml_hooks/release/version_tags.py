"""The version tags of one prefix: which there are, here and on the remote, and which HEAD contains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.versions import Version, right_spelling, version_tag
from deriva_ml_hooks.release.numbers import with_number

TAGS = "refs/tags/"


class Tagged(NamedTuple):
    """A version, the name of its tag, and the commit it leads to."""

    version: Version
    name: str
    commit: str


class VersionTags:
    """The version tags that begin with `prefix`; `there`: the refs of the remote (`push.remote_refs`)."""

    def __init__(self, repository: Repository, prefix: str, there: Mapping[str, str]) -> None:
        self.repository = repository
        self.prefix = prefix
        self.there = there
        tags = repository.refs_under(TAGS)
        self.here = {ref: oid.decode("ascii") for ref, oid in tags if self._version(ref)}

    def _version(self, ref: str) -> Version | None:
        """The version of a tag, also where it is not spelled right: `1.2` counts as the version it means.

        Beside a prefix of its own, though, a plain `v1.2` is another project's.
        """
        tag = ref.removeprefix(TAGS)
        if not ref.startswith(TAGS) or (self.prefix != "v" and not tag.startswith(self.prefix)):
            return None
        found = version_tag(right_spelling(tag, self.prefix) or tag, self.prefix)
        return with_number(found) if found is not None else None

    def is_here(self, name: str) -> bool:
        """Whether this clone has the tag."""
        return TAGS + name in self.here

    def is_there(self, name: str) -> bool:
        """Whether the remote has the tag."""
        return TAGS + name in self.there

    def other_object(self) -> str | None:
        """The full name of a tag that is another object on the remote than here."""
        return next((ref for ref, oid in self.here.items() if self.there.get(ref, oid) != oid), None)

    def only_there(self) -> list[str]:
        """The full names of those that only the remote has."""
        tags = (ref for ref in self.there if not ref.endswith("^{}"))
        return [ref for ref in tags if ref not in self.here and self._version(ref)]

    def all(self) -> list[Tagged]:
        """Every one, here and on the remote, the highest version first."""
        commits = {ref: self.repository.peel(oid.encode()).decode("ascii") for ref, oid in self.here.items()}
        commits |= {ref: self.there.get(f"{ref}^{{}}", self.there[ref]) for ref in self.only_there()}
        tagged = []
        for ref, commit in commits.items():
            version = self._version(ref)
            if version is not None:
                tagged.append(Tagged(version, ref.removeprefix(TAGS), commit))
        return sorted(tagged, reverse=True)

    def highest_contained(self) -> Tagged | None:
        """The highest one in the history of HEAD."""
        return next((tag for tag in self.all() if is_contained(self.repository, tag.commit)), None)


def is_contained(repository: Repository, commit: str) -> bool:
    """Whether HEAD contains `commit`; what is not here at all, it does not."""
    return repository.git("merge-base", "--is-ancestor", commit, "HEAD").returncode == 0
