"""What the objects, refs and addresses of the repository say against a record."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.rows import Damaged
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import MISSING
from deriva_ml_hooks.provenance.record import NotInCommitError
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.verify.repository_facts import Facts, NotFetchedError, fetching, intact_tag


def against_objects(facts: Facts, execution: Execution) -> Iterator[Finding]:
    """What the repository's own objects and refs say against a record."""
    provenance = execution.provenance
    oid = str(execution.provenance.get("commit"))
    commit = facts.commit(oid)
    if isinstance(commit, GitError):
        yield Finding("missing-commit", None, *_missing(facts, provenance, oid, commit))
        return
    tree = commit.tree.decode("ascii")
    yield from _same(execution, "tree", provenance.get("tree"), tree)
    if provenance.get("committed_at") != commit.committed_at:
        yield mismatch(
            execution, f"committed_at is {provenance.get('committed_at')}, not when it was committed"
        )
    yield from _urls(facts, execution, oid)
    for part in (_entry_point, _pinned):
        try:
            yield from part(facts, execution, commit.tree)
        except NotFetchedError as error:
            yield Finding("unknown", None, str(error), error.fix)
        except GitError as error:
            message = f"a part of commit {oid[:12]} is not here: {error}"
            yield Finding("missing-commit", None, message, error.fix)
    yield from _tag(facts, execution, oid)


def _urls(facts: Facts, execution: Execution, oid: str) -> Iterator[Finding]:
    """Whether the addresses are those that the record's own remote gives its commit.

    Which forge a host runs is configured, and may not have been then; of the well known ones it is certain.
    """
    provenance, entry = execution.provenance, execution.entry_point
    url, path = provenance.get("repository_url"), entry.get("path")
    host = (url or "").partition("://")[2].partition("/")[0].lower()
    sure = remotes.FORGES.get(host)
    forges: Sequence[str | None] = [sure] if sure else [None, *remotes.FORGES_KNOWN]
    at = [Remote("", url, forge) for forge in forges] if url else []
    commits = {remote.commit_url(oid) for remote in at} or {None}
    if provenance.get("commit_url") not in commits:
        yield mismatch(execution, f"commit_url is not that of the commit: {provenance.get('commit_url')}")
    told = entry.get("url")
    links = {remotes.permalink(r, repository="", oid=oid, path=path) for r in at}
    local = f"@{oid}" + (f"#{quote(path, errors='surrogateescape')}" if path is not None else "")
    is_local = not at and str(told).startswith("git+file://") and str(told).endswith(local)
    for address in facts.addresses.values():  # of a remote: then its address is missing in the record
        of_remote = remotes.permalink(Remote("", address, None), repository="", oid=oid, path=path)
        is_local = is_local and (address is None or told != of_remote)
    if told not in links and not is_local:
        yield mismatch(execution, f"url is not that of the entry point at the commit: {told}")


def _missing(facts: Facts, provenance: Mapping[str, Any], oid: str, error: GitError) -> tuple[str, str]:
    if facts.has(oid) or error.detail != MISSING:
        return f"commit {oid[:12]}: {error.detail}", error.fix
    where = provenance.get("remote")
    if facts.repository.shallow():
        return f"commit {oid[:12]} is not in this shallow clone", "git fetch --unshallow --tags"
    fix = fetching(where, facts.addresses, oid)
    recorded = provenance.get("repository_url")
    if recorded is not None and recorded not in facts.addresses.values():  # a ledger can be of several
        return f"commit {oid[:12]} is not here; the record is of {recorded}", fix
    return f"commit {oid[:12]} is not here", fix


def _entry_point(facts: Facts, execution: Execution, tree: bytes) -> Iterator[Finding]:
    recorded = execution.entry_point
    path = recorded.get("path")
    if path is None:
        yield from _same(execution, "entry point's blob", recorded.get("blob"), None)
        yield from _same(execution, "checksum of the tree", recorded.get("checksum"), tree.decode("ascii"))
        return
    commit = execution.provenance["commit"]
    try:
        blob, checksum = facts.file(commit, tree, str(path))
    except NotInCommitError:
        yield mismatch(execution, f"not a file of commit {commit[:12]}", path)
        return
    except NotFetchedError:
        raise
    except HooksError as error:  # in a submodule that is not checked out, or lacks the commit
        fix = "git submodule update --init --recursive"
        yield Finding("missing-commit", path, f"cannot be read: {error}", fix)
        return
    yield from _same(execution, "blob", recorded.get("blob"), blob, path)
    yield from _same(execution, "checksum", recorded.get("checksum"), checksum, path)


def _pinned(facts: Facts, execution: Execution, tree: bytes) -> Iterator[Finding]:
    """Lockfiles and submodules: what the record says they were at, and which of them it does not name."""
    locked, linked = facts.pinned(tree)
    for key, oid, name, actual in (
        ("lockfiles", "blob", "blob of the lockfile", locked),
        ("submodules", "commit", "commit of the submodule", linked),
    ):
        recorded = {each.get("path"): each.get(oid) for each in execution.provenance.get(key) or ()}
        for path in dict.fromkeys((*actual, *recorded)):
            yield from _same(execution, name, recorded.get(path), actual.get(path), path)
        if len(recorded) != len(execution.provenance.get(key) or ()):
            yield mismatch(execution, f"{key} names one of them twice")
    for path, blob in locked.items():
        if not facts.partial and not facts.has(blob):
            message = f"its blob {blob[:12]} is not here"
            yield Finding("missing-commit", path, message, "git fsck, then fetch it again: git fetch --all")
    for path, commit in linked.items():
        if facts.submodule_has(path, commit) is False:
            message = f"commit {commit[:12]} of the submodule is not here"
            fix = f"git -C {shlex.quote(path)} fetch origin {shlex.quote(commit)}"
            yield Finding("missing-commit", path, message, fix)


def _tag(facts: Facts, execution: Execution, oid: str) -> Iterator[Finding]:
    tag, recorded = execution.provenance.get("tag"), execution.provenance.get("tag_object")
    if tag is None:
        yield from _same(execution, "tag object", recorded, None)
        return
    moved = intact_tag(facts, str(tag), recorded, oid, execution.provenance.get("remote"))
    if moved is not None:
        yield Finding("moved-tag", None, *moved)


def _same(
    execution: Execution, name: str, recorded: Any, actual: str | None, path: str | None = None
) -> Iterator[Finding]:
    if recorded != actual:
        yield mismatch(
            execution, f"{name} is {_short(recorded)} in the record, {_short(actual)} in fact", path
        )


def mismatch(row: Execution | Damaged, message: str, path: str | None = None) -> Finding:
    """The finding that a record, or one file that it names, is not true."""
    see = f"deriva-ml-hooks executions show {shlex.quote(row.id)}"
    fix = f"not to be trusted; see the whole record: {see}"
    return Finding("mismatch", path, message, fix)


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]
