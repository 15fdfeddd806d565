"""Keeps the record of a commit in the git directory of its worktree, for as long as it holds.

The file is only ever an answer to a question that was measured again: its key names everything the
record depends on, and where the key does not fit, or the file is not wholly what it should be, the
record is rebuilt and nobody hears of it. Whether the commit was pushed is never taken from here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deriva_ml_hooks.config import Config
from deriva_ml_hooks.git import own, remotes
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.read import collect, pushed_ref
from deriva_ml_hooks.provenance.record import Provenance, Source, from_json
from deriva_ml_hooks.provenance.scm_settings import project_of

SCHEMA = 1


def cache_path(repository: Repository) -> str:
    """The cache file of a worktree, in its own git directory."""
    return os.path.join(own.folder(repository.git_dir), "provenance.json")


def provenance_of(repository: Repository, config: Config, *, refresh: bool = False) -> Provenance:
    """The record of HEAD's commit: from the cache where it fits, else read anew and cached.

    `refresh` reads anew in any case. Raises GitError where the record cannot be read; that it cannot
    be cached is no error, since it can be rebuilt.
    """
    remote = remotes.chosen(repository, configured=config.remote, hosts=config.hosts)
    key = _key(repository, remote, config)
    record = None if refresh else _cached(repository, key, Source(repository, remote))
    if record is None:
        record = collect(repository, remote, config.hosts)
        # A version that is not known may be known a moment later.
        if record.version is not None and record.commit == key["commit"]:
            _store(repository, key, record)
    return replace(record, pushed=pushed_ref(repository, remote))


def _cached(repository: Repository, key: Mapping[str, Any], source: Source) -> Provenance | None:
    try:
        with open(cache_path(repository), "rb") as file:
            document = json.loads(file.read())
        if document["schema"] != SCHEMA or document["key"] != key:
            return None
        if document["digest"] != _digest(document["record"]):
            return None
        record = from_json(document["record"], source)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if record.commit == key["commit"] else None


def _store(repository: Repository, key: Mapping[str, Any], record: Provenance) -> None:
    values = record.as_json()
    document = {"schema": SCHEMA, "key": key, "digest": _digest(values), "record": values}
    try:
        own.write(repository, cache_path(repository), json.dumps(document, indent=1).encode("ascii") + b"\n")
    except OSError:  # a read-only repository works, only slower
        return


def _digest(record: Mapping[str, Any]) -> str:
    """Tells a record that was stored whole from one that a disk or an editor has changed since."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode("ascii")).hexdigest()


def _key(repository: Repository, remote: Remote | None, config: Config) -> dict[str, Any]:
    """Everything a record depends on. The setuptools-scm table is the commit's own, so `commit` covers it."""
    head = repository.head()
    tags = hashlib.sha256()
    for name, oid in repository.refs_under("refs/tags/"):
        tags.update(os.fsencode(name) + b" " + oid + b"\n")
    return {
        "commit": head.decode("ascii") if head else None,
        "branch": repository.branch(),
        "tags": tags.hexdigest(),
        "remote": [remote.name, remote.url, remote.forge] if remote else None,
        "hosts": dict(config.hosts),
        "project": _project(repository, head),
        "shallow": _digest_of(os.path.join(repository.common_dir, "shallow")),
        "setuptools-scm": [_installation("setuptools_scm"), _installation("vcs_versioning")],
    }


def _project(repository: Repository, head: bytes | None) -> str:
    """The folder whose settings say what the version is: the same commit has several in a monorepo."""
    if head is None or not repository.here:
        return ""
    return project_of(repository, repository.commit(head).tree, repository.here).folder


def _digest_of(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None


def _installation(package: str) -> str | None:
    """What changes when a package is upgraded, without the cost of importing it."""
    spec = importlib.util.find_spec(package)
    return f"{spec.origin}@{os.stat(spec.origin).st_mtime_ns}" if spec and spec.origin else None
