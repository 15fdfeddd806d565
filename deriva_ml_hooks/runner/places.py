"""Where a run may write a file that the user names: never over anything that has to stay what it is."""

from __future__ import annotations

import os

from deriva_ml_hooks.errors import BareRepositoryError, GitError, NotARepositoryError, UsageError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance

_ANOTHER = "name another file, or leave it to the execution's own folder"


def require_free(path: str, option: str, *, streams: bool = False) -> None:
    """Raises UsageError where writing `path`, given with `option`, would replace what has to stay.

    That is a folder, a tracked file of whatever repository, and anything in a git directory; a device or
    a pipe too, unless `streams`, which are then written to. Its folder has to exist.
    """
    real = os.path.realpath(path)
    folder, name = os.path.split(real)
    if os.path.isdir(real) or path.endswith(os.sep):
        raise UsageError(f"{option} {path}: a folder", fix=f"name a file in it: {os.path.join(path, 'NAME')}")
    if os.path.exists(real) and not os.path.isfile(real):
        if streams:
            return
        raise UsageError(f"{option} {path}: not a regular file", fix="name a file")
    if not os.path.isdir(folder):
        raise UsageError(f"{option} {path}: no such folder", fix="name a file in a folder that exists")
    try:
        repository = discover(folder)
    except BareRepositoryError:
        raise UsageError(f"{option} {path}: inside a git directory", fix="name a file elsewhere") from None
    except (NotARepositoryError, GitError):
        return
    listed = process.run("--literal-pathspecs", "ls-files", "-z", "--cached", "--", name, cwd=folder)
    if listed.stdout:
        what = f"a tracked file of {repository.worktree}, which has to stay what it is"
        raise UsageError(f"{option} {path}: {what}", fix="name another file, one that git does not track")


def require_uncommitted(path: str, option: str, provenance: Provenance) -> None:
    """Raises UsageError where `path` is a file of the commit; in an image no git can tell."""
    try:
        provenance.file(os.path.abspath(path))
    except NotInCommitError:
        return
    raise UsageError(f"{option} {path}: a file of the commit, which has to stay what it is", fix=_ANOTHER)


def require_apart(path: str, option: str, ledger: str) -> None:
    """Raises UsageError where `path` is the ledger, or in the folder of an earlier execution beside it."""
    real, ledger = os.path.realpath(path), os.path.realpath(ledger)
    folder = os.path.join(os.path.dirname(ledger), "executions") + os.sep
    if real.startswith((folder, f"{ledger}-")) or real == ledger:
        raise UsageError(f"{option} {path}: kept with the ledger of executions", fix=_ANOTHER)
