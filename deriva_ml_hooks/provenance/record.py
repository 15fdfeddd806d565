"""The record: what is known of a commit, and of one file in it, as a value with a fixed JSON form."""

from __future__ import annotations

import os
import posixpath
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.content import GITLINK, object_id
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.filters import nbstripout_keys
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import Repository

SCHEMA = 1


class NotInCommitError(HooksError):
    """`path` is not a file of the commit; `fix`: how it becomes one."""

    def __init__(self, path: str, commit: str, *, fix: str) -> None:
        super().__init__(f"{path}: not a file of commit {commit[:12]}", fix=fix)
        self.path = path


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One file of a commit: `blob` as stored, `checksum` as DerivaML computes it, `url` its permalink."""

    path: str
    blob: str
    checksum: str
    url: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of a commit. Every field is documented in the README; None where there is none.

    `no_version`: the `reason` why `version` is None, and the `fix`.
    """

    commit: str
    tree: str
    committed_at: str
    branch: str | None
    tag: str | None
    tag_object: str | None
    version: str | None
    repository_url: str | None
    commit_url: str | None
    remote: str | None
    pushed: str | None
    submodules: tuple[Mapping[str, Any], ...]
    lockfiles: tuple[Mapping[str, str], ...]
    shallow: bool
    no_version: Mapping[str, str] | None
    source: Source = field(compare=False, repr=False)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON, schema 1."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "source"}
        return {"schema": SCHEMA, **values, "submodules": [*self.submodules], "lockfiles": [*self.lockfiles]}

    def file(self, path: str) -> RecordedFile:
        """What is known of `path`, relative to the repository or absolute; raises NotInCommitError."""
        worktree = self.source.repository.worktree
        if os.path.isabs(path):
            path = os.path.relpath(os.path.realpath(path), worktree).replace(os.sep, "/")
        return self.source.file(self.commit, self.tree, path)

    def tree_url(self) -> str:
        """The permalink of the commit's whole tree."""
        return remotes.permalink(
            self.source.remote, repository=self.source.repository.worktree, oid=self.commit, path=None
        )

    def workflow_fields(self, path: str | None = None) -> dict[str, str | None]:
        """`name`, `url`, `checksum` and `version`, as deriva-ml's `create_workflow` and `Workflow` take them.

        `path` is the entry point, relative to the repository or absolute; without one the tree stands for the
        code. Raises NotInCommitError.
        """
        where = self.repository_url or self.source.repository.worktree
        name = posixpath.basename(where.rstrip("/")).removesuffix(".git")
        if path is None:
            return {"name": name, "url": self.tree_url(), "checksum": self.tree, "version": self.version}
        found = self.file(path)
        name = f"{name}/{found.path}"
        return {"name": name, "url": found.url, "checksum": found.checksum, "version": self.version}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record was read: the repository, and the remote that counts."""

    repository: Repository
    remote: Remote | None

    def file(self, commit: str, tree: str, path: str) -> RecordedFile:
        """What is known of `path` in the commit `commit` with the tree `tree`."""
        repository, oid = _owner_of(self.repository, tree.encode(), path)
        if oid is None:
            raise NotInCommitError(path, commit, fix=self.adding(path))
        url = remotes.permalink(self.remote, repository=self.repository.worktree, oid=commit, path=path)
        blob = oid.decode("ascii")
        return RecordedFile(path, blob, _checksum(repository, oid, path), url)

    def holds(self, tree: str, path: str) -> bool:
        """Whether the tree has anything at `path`, be it a folder."""
        return path in ("", ".") or self.repository.entry(tree.encode(), path) is not None

    def adding(self, path: str) -> str:
        """How a user makes `path` a file of the commit, ignored or not."""
        return f"git add --force -- {shlex.quote(path)} && git commit"


def _owner_of(repository: Repository, tree: bytes, path: str) -> tuple[Repository, bytes | None]:
    """The blob of `path`, and the repository that holds it: a submodule's files are in its own."""
    names, way = path.split("/"), repository.way(tree, path)
    mode, oid = way[-1] if way else (0, b"")
    if mode == GITLINK and len(way) < len(names):
        inside = measured(os.path.join(repository.worktree, *names[: len(way)]))
        return _owner_of(inside, inside.commit(oid).tree, "/".join(names[len(way) :]))
    return repository, oid if stat.S_ISREG(mode) and len(way) == len(names) else None


def _checksum(repository: Repository, blob: bytes, path: str) -> str:
    """`git hash-object` of the file; of what `nbstripout -t` prints of a notebook (deriva-ml, Workflow)."""
    if not path.endswith(".ipynb"):
        return blob.decode("ascii")
    from deriva_ml_hooks.notebooks.strip import NotebookError, StripOptions, textconv

    extra, keep = nbstripout_keys(repository)
    options = StripOptions(extra_keys=tuple(extra), keep_metadata_keys=tuple(keep))
    try:
        stripped = textconv(repository.blob(blob).data, options, path=path)
    except NotebookError:  # stripping says nothing of it, so its own bytes do
        return blob.decode("ascii")
    return object_id("blob", stripped, like=blob.decode("ascii"))


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("commit", "tree", "committed_at"), str),
    **dict.fromkeys(("submodules", "lockfiles"), list),
    "shallow": bool,
    "no_version": (dict, type(None)),
}


def from_json(document: Mapping[str, Any], source: Source) -> Provenance:
    """The record that `as_json` gave; raises ValueError where `document` is not one of schema 1."""
    names = [f.name for f in fields(Provenance) if f.name != "source"]
    values = {"no_version": None, **document}  # not in what earlier releases wrote
    if values.pop("schema", None) != SCHEMA or any(name not in values for name in names):
        raise ValueError("not a provenance record of schema 1")
    for name in names:
        if not isinstance(values[name], _KINDS.get(name, (str, type(None)))):
            raise ValueError(f"{name} is of the wrong type")
    none = values["no_version"]
    if none is not None and not all(isinstance(none.get(name), str) for name in ("reason", "fix")):
        raise ValueError("no_version is of the wrong type")
    values |= {name: tuple(values[name]) for name in ("submodules", "lockfiles")}
    return Provenance(**{name: values[name] for name in names}, source=source)
