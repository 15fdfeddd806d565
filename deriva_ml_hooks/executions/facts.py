"""What the repository says today of what records name: each object read once, however often it is named."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.record import Source

if TYPE_CHECKING:
    from dulwich.objects import Commit


class Facts:
    """Commits, files, tags and remotes of one repository; `hosts`: forges by their hosts, as configured."""

    def __init__(self, repository: Repository, hosts: Mapping[str, str]) -> None:
        self.repository = repository
        self.hosts = hosts
        self.tags = {ref.removeprefix("refs/tags/"): oid for ref, oid in repository.refs_under("refs/tags/")}
        self._commits: dict[str, Commit | GitError] = {}
        self._entries: dict[tuple[bytes, str], tuple[int, bytes] | None] = {}
        self._checksums: dict[tuple[str, bool], str] = {}

    def has(self, oid: str) -> bool:
        """Whether the object `oid` is here and can be read, whatever it is."""
        try:
            self.repository.object(oid.encode("ascii"))
        except (GitError, ValueError):
            return False
        return True

    def commit(self, oid: str) -> Commit | GitError:
        """The commit `oid`, or what is wrong with it."""
        if oid not in self._commits:
            try:
                self._commits[oid] = self.repository.commit(oid.encode("utf-8", "surrogateescape"))
            except GitError as error:
                self._commits[oid] = error
        return self._commits[oid]

    def entry(self, tree: bytes, path: str) -> tuple[int, bytes] | None:
        """Mode and oid of `path` in a tree; raises GitError where the tree cannot be read."""
        if (tree, path) not in self._entries:
            self._entries[tree, path] = self.repository.entry(tree, path)
        return self._entries[tree, path]

    def file(self, commit: str, tree: bytes, path: str) -> tuple[str, str]:
        """Blob and checksum of a file; raises NotInCommitError, and HooksError where it cannot be read."""
        entry = self.entry(tree, path)
        if entry is None or entry[0] & 0o170000 != 0o100000:  # of a submodule, or no file
            found = Source(self.repository, None).file(commit, tree.decode("ascii"), path)
            return found.blob, found.checksum
        blob = entry[1].decode("ascii")
        key = blob, path.endswith(".ipynb")  # only of notebooks the checksum is another
        if key not in self._checksums:
            self.repository.blob(entry[1])  # has to be here, and whole
            found = Source(self.repository, None).file(commit, tree.decode("ascii"), path)
            self._checksums[key] = found.checksum
        return blob, self._checksums[key]

    def tags_since(self, started: int | None) -> frozenset[str]:
        """The annotated tags made at or after a time in seconds; one made in that second may be either."""
        if started is None:
            return frozenset()
        return frozenset(name for name, made in self._dates.items() if made is not None and made >= started)

    def tags_perhaps_since(self, started: int | None) -> frozenset[str]:
        """The same, and the lightweight tags, of which nobody knows when they were made."""
        undated = frozenset(name for name, made in self._dates.items() if made is None)
        return self.tags_since(started) | undated if undated else frozenset()

    @cached_property
    def addresses(self) -> dict[str, str | None]:
        """The remotes by name, with their addresses as records have them."""
        found = {}
        for name in remotes.remote_names(self.repository):
            remote = remotes.chosen(self.repository, configured=name, hosts=self.hosts)
            found[name] = remote.url if remote is not None else None
        return found

    @cached_property
    def _dates(self) -> dict[str, int | None]:
        from dulwich.objects import Tag

        dates: dict[str, int | None] = {}
        for name, oid in self.tags.items():
            try:
                found: Any = self.repository.object(oid)
            except GitError:
                continue
            dates[name] = found.tag_time if isinstance(found, Tag) else None
        return dates


def intact_tag(
    facts: Facts, tag: str, tag_object: str | None, commit: str, remote: str | None
) -> tuple[str, str] | None:
    """None where `tag` still is that tag object on that commit; else what it is, and how to put it back."""
    current = facts.tags.get(tag)
    name, target = shlex.quote(tag), tag_object or commit
    if current is not None and current.decode("ascii") == target:
        leads_to = _peeled(facts, current)
        if leads_to == commit:
            return None
        return (
            f"tag {tag} is the object recorded, which is on {leads_to[:12]}",
            "the record is not to be trusted",
        )
    if facts.has(target):
        fix = f"git tag --force {name} {shlex.quote(target)}"
    else:
        fix = f"git fetch --force {shlex.quote(remote or 'REMOTE')} tag {name}"
    if current is None:
        return f"tag {tag} is not here any more", fix
    leads_to = _peeled(facts, current)
    if leads_to != commit:
        return f"tag {tag} is on {leads_to[:12]} now, it was on {commit[:12]}", fix
    objects = f"{current.decode('ascii')[:12]} now, it was {target[:12]}"
    return f"tag {tag} was made anew on the same commit: it is {objects}", fix


def _peeled(facts: Facts, oid: bytes) -> str:
    try:
        return facts.repository.peel(oid).decode("ascii")
    except GitError:
        return "something that is not here"
