"""What the repository says today of what records name: each object read once, however often it is named."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import MISSING, Repository
from deriva_ml_hooks.git.versions import version_of
from deriva_ml_hooks.provenance.read import committed_at, lockfiles, submodules
from deriva_ml_hooks.provenance.record import Source
from deriva_ml_hooks.verify.consistency import OID

_KEPT = 50_000
"""Answers of each kind that are remembered: a ledger can name more commits than memory should hold."""


class NotFetchedError(GitError):
    """An object that a partial clone has left on its remote (git-clone(1), --filter)."""


class Known(NamedTuple):
    """What is compared of a commit."""

    tree: bytes
    committed_at: str


class Facts:
    """Commits, files, tags and remotes of one repository; `hosts`: forges by their hosts, as configured."""

    def __init__(self, repository: Repository, hosts: Mapping[str, str]) -> None:
        self.repository = repository
        self.hosts = hosts
        self.tags = {ref.removeprefix("refs/tags/"): oid for ref, oid in repository.refs_under("refs/tags/")}
        self.commit = lru_cache(_KEPT)(self._commit)
        self.entry = lru_cache(_KEPT)(self._entry)
        self.pinned = lru_cache(_KEPT)(self._pinned)
        self.submodule_has = lru_cache(_KEPT)(self._submodule_has)
        self._checksums: dict[tuple[bytes, bool], str] = {}

    def has(self, oid: str) -> bool:
        """Whether the object `oid` is here and can be read, whatever it is."""
        try:
            self.repository.object(oid.encode("ascii"))
        except (GitError, ValueError):
            return False
        return True

    @cached_property
    def partial(self) -> bool:
        """Whether some objects may be on a remote only, and git would fetch them when they are needed."""
        remotes = self.repository.values("remote", "promisor")
        return any(value.lower() in ("true", "yes", "on", "1") for _, value in remotes)

    def _commit(self, oid: str) -> Known | GitError:
        """The commit `oid`, or what is wrong with it."""
        if not OID.fullmatch(oid):
            return GitError(f"commit {oid}", "not the whole id of a commit", fix="git log --no-abbrev")
        try:
            found = self.repository.commit(oid.encode("utf-8", "surrogateescape"))
        except GitError as error:
            return error
        return Known(found.tree, committed_at(found))

    def _entry(self, tree: bytes, path: str) -> tuple[int, bytes] | None:
        """Mode and oid of `path` in a tree; raises GitError where the tree cannot be read."""
        with self._here(tree):
            return self.repository.entry(tree, path)

    def is_linked(self, tree: bytes, path: str) -> bool:
        """Whether a tree has a symbolic link on the way to `path`. Raises GitError."""
        with self._here(tree):
            return any(stat.S_ISLNK(mode) for mode, _ in self.repository.way(tree, path))

    def _pinned(self, tree: bytes) -> tuple[dict[str, str], dict[str, str]]:
        """Blobs of the lock files, and commits of the submodules, of a tree by path. Raises GitError."""
        with self._here(tree):
            locked = {str(f["path"]): str(f["blob"]) for f in lockfiles(self.repository, tree)}
            linked = submodules(self.repository, tree, None, self.hosts)
        return locked, {str(m["path"]): str(m["commit"]) for m in linked}

    def _submodule_has(self, path: str, commit: str) -> bool | None:
        """Whether a submodule has a commit; None where neither a checkout nor a clone of it is here."""
        worktree = os.path.join(self.repository.worktree, path)
        try:
            found = measured(worktree)
            if found.worktree != os.path.realpath(worktree):
                return None
            found.commit(commit.encode("ascii"))
        except GitError:
            return False
        except (HooksError, OSError):
            return None
        return True

    def file(self, commit: str, tree: bytes, path: str) -> tuple[str, str]:
        """Blob and checksum of a file; raises NotInCommitError, and HooksError where it cannot be read."""
        entry = self.entry(tree, path)
        if entry is None or entry[0] & 0o170000 != 0o100000:  # of a submodule, or no file
            with self._here(tree):
                found = Source(self.repository, None).file(commit, tree.decode("ascii"), path)
            return found.blob, found.checksum
        # Only of notebooks the checksum is another, and depends on nothing but the blob.
        key = entry[1], path.endswith(".ipynb")
        if key not in self._checksums:
            if len(self._checksums) > _KEPT:
                self._checksums.clear()
            self._checksums[key] = self._checksum(*key, tree, path)
        return entry[1].decode("ascii"), self._checksums[key]

    def _checksum(self, blob: bytes, is_notebook: bool, tree: bytes, path: str) -> str:
        if self.partial and not is_notebook:  # the tree proves which blob it is, whether it is here or not
            return blob.decode("ascii")
        with self._here(blob, tree=False):
            self.repository.blob(blob)  # has to be here, and whole
            return Source(self.repository, None).file("", tree.decode("ascii"), path).checksum

    @contextmanager
    def _here(self, oid: bytes, *, tree: bool = True) -> Iterator[None]:
        try:
            yield
        except GitError as error:
            if not self.partial or error.detail != MISSING:
                raise
            what = oid.decode("ascii")  # git fetches what it has to read
            command = "git archive" if tree else "git cat-file -p"
            fix = f"{command} {shlex.quote(what)} > /dev/null"
            raise NotFetchedError(
                f"a part of {what[:12]} is not in this partial clone yet", fix=fix
            ) from None

    def tags_since(self, started: int | None) -> frozenset[str]:
        """The annotated tags made at or after a time in seconds; one made in that second may be either."""
        if started is None:
            return frozenset()
        return frozenset(name for name, made in self._dates.items() if made is not None and made >= started)

    def tags_perhaps_since(self, started: int | None) -> frozenset[str]:
        """The same, and the lightweight tags, of which nobody knows when they were made."""
        undated = frozenset(name for name, made in self._dates.items() if made is None)
        return self.tags_since(started) | undated if undated else frozenset()

    def version_tags_before(self, commit: str, started: int | None) -> list[str]:
        """The annotated version tags on a commit that were there when something was started."""
        names = self._tagged.get(commit, ())
        made = ((name, self._dates.get(name)) for name in names)
        return [name for name, date in made if date is not None and started is not None and date < started]

    @cached_property
    def _tagged(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, oid in self.tags.items():
            if version_of(name) is not None:
                found.setdefault(_peeled(self, oid), []).append(name)
        return found

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


def fetching(remote: Any, known: Collection[str], *words: str, force: bool = False) -> str:
    """The command that fetches `words` from a record's remote, or all where that is not `known` here."""
    forced = ["--force"] if force else []
    if remote not in known:
        return shlex.join(["git", "fetch", "--all", "--tags", *forced])
    return shlex.join(["git", "fetch", *forced, remote, *words])


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
        fix = fetching(remote, facts.addresses, "tag", tag, force=True)
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
