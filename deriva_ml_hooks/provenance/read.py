"""Reads the record of HEAD's commit from the repository's objects, refs and configuration.

The worktree's files are not looked at, so a record is the same whatever state they are in.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.content import GITLINK
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.versions import version_of
from deriva_ml_hooks.packages import is_lockfile
from deriva_ml_hooks.provenance.record import Provenance, Source
from deriva_ml_hooks.provenance.version import scm_version
from deriva_ml_hooks.redact import redact

if TYPE_CHECKING:
    from dulwich.objects import Commit


def collect(repository: Repository, remote: Remote | None, hosts: Mapping[str, str]) -> Provenance:
    """The record of HEAD's commit, read anew; `hosts` names the forges of self-hosted servers.

    Raises GitError where there is no commit, or it cannot be read.
    """
    head = repository.head()
    if head is None:
        raise GitError(repository.worktree, "no commit yet", fix="git add -A && git commit")
    commit = repository.commit(head)
    oid = head.decode("ascii")
    tag, tag_object = version_tag(repository, head)
    version = no_version = None
    try:
        version = scm_version(repository, head)
    except HooksError as error:  # a commit can be named though its history cannot be read
        no_version = {"reason": str(error), "fix": error.fix}
    return Provenance(
        commit=oid,
        tree=commit.tree.decode("ascii"),
        committed_at=committed_at(commit),
        branch=repository.branch(),
        tag=tag,
        tag_object=tag_object,
        version=version,
        no_version=no_version,
        repository_url=remote.url if remote else None,
        commit_url=remote.commit_url(oid) if remote else None,
        remote=remote.name if remote else None,
        pushed=None,
        submodules=submodules(repository, commit.tree, remote, hosts),
        lockfiles=lockfiles(repository, commit.tree),
        shallow=repository.shallow(),
        source=Source(repository, remote),
    )


def committed_at(commit: Commit) -> str:
    """The committer's time, ISO 8601 in the committer's zone."""
    seconds, offset = commit.commit_time, commit.commit_timezone
    if abs(offset) >= 86400:  # some tools wrote minutes, or nonsense
        offset = 0
    try:
        return datetime.fromtimestamp(seconds, timezone(timedelta(seconds=offset))).isoformat()
    except (ValueError, OverflowError, OSError):  # beyond the year 9999: as git writes it (git-commit(1))
        hours, minutes = divmod(abs(offset) // 60, 60)
        return f"@{seconds} {'-' if offset < 0 else '+'}{hours:02}{minutes:02}"


def version_tag(repository: Repository, head: bytes) -> tuple[str | None, str | None]:
    """The version tag on `head` and its tag object: annotated before lightweight, then the highest."""
    best: tuple[Any, str, str | None] | None = None
    for ref, oid in repository.refs_under("refs/tags/"):
        name = ref.removeprefix("refs/tags/")
        version = version_of(name)
        if version is None or repository.peel(oid) != head:
            continue
        annotated = oid != head
        rank = (annotated, version, name)
        if best is None or rank > best[0]:
            best = (rank, name, oid.decode("ascii") if annotated else None)
    return (best[1], best[2]) if best else (None, None)


def pushed_ref(repository: Repository, remote: Remote | None) -> str | None:
    """A remote-tracking ref of `remote` that contains HEAD, measured now; None where there is none."""
    head = repository.head()
    if head is None or remote is None:
        return None
    prefix = f"refs/remotes/{remote.name}/"
    tips = {name: oid for name, oid in repository.refs_under(prefix) if name != f"{prefix}HEAD"}
    own = f"{prefix}{repository.branch()}"
    for name in (own, *tips):
        if tips.get(name) == head:
            return name
    listed = repository.git("for-each-ref", f"--contains={head.decode()}", "--format=%(refname)", prefix)
    names = [] if listed.returncode else os.fsdecode(listed.stdout).splitlines()
    return own if own in names else next((name for name in names if name in tips), None)


def submodules(
    repository: Repository, tree: bytes, remote: Remote | None, hosts: Mapping[str, str]
) -> tuple[Mapping[str, Any], ...]:
    """The submodules of a tree: path, commit, and where it is had from. Raises GitError."""
    from dulwich.config import ConfigFile

    entry = repository.entry(tree, ".gitmodules")
    if entry is None:
        return ()
    try:
        modules = ConfigFile.from_file(io.BytesIO(repository.blob(entry[1]).data), expand_includes=False)
    except ValueError as error:
        raise GitError(
            ".gitmodules", f"cannot be read: {redact(str(error))}", fix="mend it and commit"
        ) from None
    found = []
    for section in modules.sections():
        values = dict(modules.items(section))
        path = os.fsdecode(values.get(b"path", b""))
        link = repository.entry(tree, path) if path else None
        if link is not None and link[0] == GITLINK:
            url = _submodule_url(os.fsdecode(values.get(b"url", b"")), repository, remote, hosts)
            found.append({"path": path, "commit": link[1].decode("ascii"), "url": url})
    return tuple(sorted(found, key=lambda module: str(module["path"])))


def _submodule_url(
    url: str, repository: Repository, remote: Remote | None, hosts: Mapping[str, str]
) -> str | None:
    if url.startswith(("./", "../")):
        if remote is None or remote.url is None:
            return None
        url = remotes.relative_to(remote.url, url)
    return remotes.public_url(url, base=repository.worktree, hosts=hosts)[0] if url else None


def lockfiles(repository: Repository, tree: bytes) -> tuple[Mapping[str, str], ...]:
    """The lock files at the top of a tree: path and blob. Raises GitError."""
    return tuple(
        {"path": os.fsdecode(entry.path), "blob": entry.sha.decode("ascii")}
        for entry in repository.tree(tree).iteritems()
        if entry.mode & 0o170000 == 0o100000 and is_lockfile(os.fsdecode(entry.path))
    )
