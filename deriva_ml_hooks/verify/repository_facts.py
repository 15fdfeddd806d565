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


class RepositoryFacts:
    """Commits, files, tags and remotes of one repository; `hosts`: forges by their hosts, as configured."""

    def __init__(self, repository: Repository, hosts: Mapping[str, str]) -> None:
        self.repository = repository
        self.hosts = hosts
        self.tags = {ref.removeprefix("refs/tags/"): oid for ref, oid in repository.refs_under("refs/tags/")}
        self.commit = lru_cache(_KEPT)(self._commit)
        self.file = lru_cache(_KEPT)(self._file)
        self.pinned = lru_cache(_KEPT)(self._pinned)
        self.submodule_has = lru_cache(_KEPT)(self._submodule_has)

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
        promisors = self.repository.values("remote", "promisor")
        return any(value.lower() in ("true", "yes", "on", "1") for _, value in promisors)

    @cached_property
    def addresses(self) -> dict[str, str | None]:
        """The remotes by name, with their addresses as records have them."""
        found = {}
        for name in remotes.remote_names(self.repository):
            remote = remotes.chosen(self.repository, configured=name, hosts=self.hosts)
            found[name] = remote.url if remote is not None else None
        return found

    def _commit(self, oid: str) -> Known | GitError:
        """The commit `oid`, or what is wrong with it."""
        if not OID.fullmatch(oid):
            return GitError(f"commit {oid}", "not the whole id of a commit", fix="git log --no-abbrev")
        try:
            found = self.repository.commit(oid.encode("ascii"))
        except GitError as error:
            return error
        return Known(found.tree, committed_at(found))

    def is_linked(self, tree: bytes, path: str) -> bool:
        """Whether a tree has a symbolic link on the way to `path`. Raises GitError."""
        with self._fetched(tree):
            return any(stat.S_ISLNK(mode) for mode, _ in self.repository.way(tree, path))

    def _pinned(self, tree: bytes) -> tuple[dict[str, str], dict[str, str]]:
        """Blobs of the lock files, and commits of the submodules, of a tree by path. Raises GitError."""
        with self._fetched(tree):
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

    def _file(self, commit: str, tree: bytes, path: str) -> tuple[str, str]:
        """Blob and checksum of a file; raises NotInCommitError, and HooksError where it cannot be read."""
        with self._fetched(tree):
            mode, oid = self.repository.entry(tree, path) or (0, b"")
        if not stat.S_ISREG(mode):  # of a submodule, or no file
            with self._fetched(tree):
                found = Source(self.repository, None).file(commit, tree.decode("ascii"), path)
            return found.blob, found.checksum
        blob = oid.decode("ascii")
        if self.partial and not path.endswith(".ipynb"):
            return blob, blob  # the tree proves which blob it is, whether it is here or not
        with self._fetched(oid, "git cat-file -p"):
            self.repository.blob(oid)  # has to be here, and whole
            return blob, Source(self.repository, None).file(commit, tree.decode("ascii"), path).checksum

    @contextmanager
    def _fetched(self, oid: bytes, reading: str = "git archive") -> Iterator[None]:
        try:
            yield
        except GitError as error:
            if not self.partial or error.detail != MISSING:
                raise
            what = oid.decode("ascii")
            fix = f"{reading} {what} > /dev/null"  # git fetches what it has to read
            message = f"a part of {what[:12]} is not in this partial clone yet"
            raise NotFetchedError(message, fix=fix) from None

    def moved_tag(
        self, tag: str, tag_object: str | None, commit: str, remote: str | None
    ) -> tuple[str, str] | None:
        """What `tag` is now, if not that object on that commit any more, and how to put it back."""
        current = self.tags.get(tag)
        name, target = shlex.quote(tag), tag_object or commit
        leads_to = self.peeled(current) if current is not None else None
        if current is not None and current.decode("ascii") == target:
            if leads_to == commit:
                return None
            message = f"tag {tag} is the object recorded, which is on {(leads_to or '')[:12]}"
            return message, "the record is not to be trusted"
        if self.has(target):
            fix = f"git tag --force {name} {shlex.quote(target)}"
        else:
            fix = fetching(remote, self.addresses, "tag", tag, force=True)
        if current is None:
            return f"tag {tag} is not here any more", fix
        if leads_to is None or leads_to != commit:
            return f"tag {tag} is on {(leads_to or 'nothing')[:12]} now, it was on {commit[:12]}", fix
        objects = f"{current.decode('ascii')[:12]} now, it was {target[:12]}"
        return f"tag {tag} was made anew on the same commit: it is {objects}", fix

    def peeled(self, oid: bytes) -> str | None:
        """What a tag leads to; None where that is not here."""
        try:
            return self.repository.peel(oid).decode("ascii")
        except GitError:
            return None


def fetching(remote: Any, known: Collection[str], *words: str, force: bool = False) -> str:
    """The command that fetches `words` from a record's remote, or all where that is not `known` here."""
    forced = ["--force"] if force else []
    if remote not in known:
        return shlex.join(["git", "fetch", "--all", "--tags", *forced])
    return shlex.join(["git", "fetch", *forced, remote, *words])
