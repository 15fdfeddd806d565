"""Where a file that the user names may be written: never over anything that has to stay what it is."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile

from deriva_ml_hooks.errors import BareRepositoryError, GitError, HooksError, NotARepositoryError, UsageError
from deriva_ml_hooks.executions.location import is_tracked
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance

_ANOTHER = "name another file, or leave it to the execution's own folder"


def require_free(path: str, option: str, *, streams: bool = False) -> None:
    """Raises UsageError where writing `path`, given with `option`, would replace what has to stay.

    That is a folder, a tracked file of whatever repository, and anything in a git directory, or what a link
    of a commit leads to outside of its repository; a device or a pipe too, unless `streams`, which are then
    written to. Its folder has to exist, and to let a file be made in it.
    """
    real = os.path.realpath(path)
    if is_stream(path):
        if not streams:
            raise UsageError(f"{option} {path}: not a regular file", fix="name a file")
        return
    if os.path.isdir(real) or path.endswith(os.sep):
        raise UsageError(f"{option} {path}: a folder", fix=f"name a file in it: {os.path.join(path, 'NAME')}")
    for place in dict.fromkeys((os.path.abspath(path), real)):  # a link itself, and what it leads to
        _require_untracked(place, f"{option} {path}")
    if (link := leaving_link(path)) is not None:
        what = f"{link} is a link of the repository, and leads out of it"
        raise UsageError(f"{option} {path}: {what}", fix=f"name the file itself: {real}")
    folder = os.path.dirname(os.path.abspath(path))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        problem = f"{option} {path}: cannot be written: {error.strerror}"
        raise UsageError(problem, fix="name a file in a folder where you may write") from None


def is_stream(path: str) -> bool:
    """Whether `path` is written to as it stands: a device, a pipe, a descriptor (`/dev/stdout`)."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode) and os.readlink(path).startswith("/proc/"):
            return True
    except OSError:
        return False
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    other = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
    return not other or folder.startswith("/proc/")


def put(path: str, data: bytes) -> None:
    """Write `data` whole: to a device or pipe, or beside and then in the place of a file. Raises OSError.

    A link is replaced, never followed.
    """
    if is_stream(path):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as stream:
            stream.write(data)
    else:
        write_atomically(path, data)


def _require_untracked(place: str, told: str) -> None:
    folder = os.path.dirname(place)
    if not os.path.isdir(folder):
        raise UsageError(f"{told}: no such folder", fix="name a file in a folder that exists")
    try:
        repository = measured(folder)
    except BareRepositoryError:
        raise UsageError(f"{told}: inside a git directory", fix="name a file elsewhere") from None
    except (NotARepositoryError, GitError):
        return
    if is_tracked(place):
        what = f"a tracked file of {repository.worktree}, which has to stay what it is"
        raise UsageError(f"{told}: {what}", fix="name another file, one that git does not track")


def leaving_link(path: str) -> str | None:
    """The folder on the way to `path` that is a link of a commit, and leads out of its repository."""
    link = os.path.dirname(os.path.abspath(path))
    while (folder := os.path.dirname(link)) != link:
        if os.path.islink(link) and is_tracked(link):
            with contextlib.suppress(HooksError):
                worktree = measured(folder).worktree
                if not os.path.realpath(link).startswith(worktree.rstrip(os.sep) + os.sep):
                    return link
        link = folder
    return None


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
