"""What a call of bump-version that is killed leaves behind: a tag that may not be pushed, and a note of it.

The note is there before the tag and until the push has ended; the next call finishes or removes the tag.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from typing import NamedTuple

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.git import own, remotes
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.release.push import remote_refs

_LONGEST = 65536


class Note(NamedTuple):
    """The tag that is being made on `commit`, and the remote that it is pushed to."""

    tag: str
    commit: str
    remote: str


@contextlib.contextmanager
def noted(repository: Repository, note: Note) -> Iterator[None]:
    """Keep `note` while the tag is made and pushed; where that fails, take the tag away. Raises GitError."""
    with _alone(repository):
        if not repository.git("rev-parse", "--verify", "--quiet", f"refs/tags/{note.tag}").returncode:
            raise GitError("git tag", f"{note.tag} was made meanwhile", fix="call again")
        try:
            own.write(repository, _path(repository), json.dumps(note._asdict()).encode("ascii"))
        except OSError as error:
            fix = "see who may write there: ls -ld .git"
            raise GitError(repository.common_dir, f"not written: {error.strerror}", fix=fix) from None
        try:
            yield
        except BaseException:
            _remove(repository, note)
            raise
        _forget(repository)


def left_behind(repository: Repository) -> Note | None:
    """The note of a call that was killed, or that is at work; one that cannot be read has made no tag."""
    try:
        values = json.loads(read_regular(_path(repository), at_most=_LONGEST))
        return Note(*(str(values[name]) for name in Note._fields))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def settle(repository: Repository, note: Note) -> None:
    """Keep the tag that a killed call has left where the remote has taken it, else take it away.

    Raises GitError where the remote does not answer, or another call is at work.
    """
    with _alone(repository):
        there = {}
        if note.remote in remotes.remote_names(repository):
            there = remote_refs(repository, note.remote)
        here = repository.git("rev-parse", "--verify", "--quiet", f"refs/tags/{note.tag}")
        if there.get(f"refs/tags/{note.tag}") == here.stdout.decode("ascii").strip():
            _forget(repository)
        else:
            _remove(repository, note)


def _remove(repository: Repository, note: Note) -> None:
    """Take the tag away, if it is the one of the note; then the note."""
    ref = f"refs/tags/{note.tag}"
    found = repository.git("for-each-ref", "--format=%(objectname) %(*objectname)", ref)
    oid, commit = (*found.stdout.decode("ascii").split(), "", "")[:2]
    if commit != note.commit or not repository.git("update-ref", "-d", ref, oid).returncode:
        _forget(repository)


def _path(repository: Repository) -> str:
    return os.path.join(own.folder(repository.common_dir), "bump-version.json")


def _forget(repository: Repository) -> None:
    with contextlib.suppress(OSError):
        os.unlink(_path(repository))


@contextlib.contextmanager
def _alone(repository: Repository) -> Iterator[None]:
    """Keep other calls out, in all worktrees; the lock ends with the process. Raises GitError."""
    descriptor = os.open(repository.common_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = "another call of bump-version is at work in this repository"
            raise GitError(what, fix="wait until it has ended, and call again") from None
        yield
    finally:
        os.close(descriptor)
