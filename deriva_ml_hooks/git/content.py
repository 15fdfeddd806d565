"""Whether a file still holds what a blob holds, in git's own terms: through the repository's filters.

Asked only about files that git reports as changed or is told not to look at; one process answers for
all of them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deriva_ml_hooks.git.repository import Repository

SYMLINK = 0o120000
GITLINK = 0o160000
EXECUTABLE = 0o100755


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index says of a file: its path (relative to the worktree), mode and oid."""

    path: str
    mode: int
    oid: str


def object_id(kind: str, data: bytes, *, like: str) -> str:
    """The id git gives `data` as an object of `kind`, by the hash function that made the id `like`."""
    algorithm = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return algorithm(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def differing(
    repository: Repository, entries: Iterable[Entry], settings: Sequence[str] = (), *, raw: bool = False
) -> tuple[list[Entry], str]:
    """The entries whose file is gone, or differs in kind, mode or content; and what git complained of.

    Content is what is in the file, or but for `raw` what `git add` would store (git-hash-object(1) applies
    the path's filters): an older commit may hold what a newer filter takes away. What cannot be hashed counts
    as different.
    """
    changed: list[Entry] = []
    to_hash: list[Entry] = []
    for entry in entries:
        file = os.path.join(repository.worktree, entry.path)
        try:
            if entry.mode == SYMLINK:
                target = os.fsencode(os.readlink(file))
                changed += [] if object_id("blob", target, like=entry.oid) == entry.oid else [entry]
            elif _same_kind(entry.mode, os.lstat(file).st_mode, repository):
                to_hash.append(entry)
            else:
                changed.append(entry)
        except OSError:
            changed.append(entry)
    complaint = ""
    for options in (["--no-filters"],) if raw else ([], ["--no-filters"]):
        oids, complained = _hashed(repository, [entry.path for entry in to_hash], settings, options)
        to_hash = [entry for entry, oid in zip(to_hash, oids, strict=True) if oid != entry.oid]
        if complaint := complained:
            break
    return changed + to_hash, complaint


def _same_kind(recorded: int, actual: int, repository: Repository) -> bool:
    same = not modes_are_kept(repository) or (recorded == EXECUTABLE) == bool(actual & stat.S_IXUSR)
    return same and stat.S_ISREG(actual)


def _hashed(
    repository: Repository, paths: Sequence[str], settings: Sequence[str], options: Sequence[str]
) -> tuple[list[str | None], str]:
    if not paths:
        return [], ""
    stdin = b"".join(_quoted(os.fsencode(path)) + b"\n" for path in paths)
    done = repository.git(*settings, "hash-object", "--stdin-paths", *options, stdin=stdin)
    oids: list[str | None] = [*done.stdout.decode("ascii").split()]
    return oids + [None] * (len(paths) - len(oids)), done.said if done.returncode else ""


def _quoted(path: bytes) -> bytes:
    """A path as one line of stdin: git drops a last CR, and unquotes what begins with `"` as a C string."""
    if not (path.startswith(b'"') or b"\n" in path or b"\r" in path):
        return path
    escapes = {b"\\": b"\\\\", b'"': b'\\"', b"\n": b"\\n", b"\r": b"\\r"}
    for character, escape in escapes.items():  # the backslash first: the others bring some in
        path = path.replace(character, escape)
    return b'"%s"' % path


def modes_are_kept(repository: Repository) -> bool:
    """Whether this file system keeps the executable bit, whatever core.fileMode says of it."""
    if repository.is_set("core", "fileMode", default=True):
        return True
    try:
        with tempfile.NamedTemporaryFile(dir=repository.git_dir, prefix="probe-") as probe:
            os.chmod(probe.name, 0o700)
            executable = os.stat(probe.name).st_mode & stat.S_IXUSR
            os.chmod(probe.name, 0o600)
            return bool(executable) and not os.stat(probe.name).st_mode & stat.S_IXUSR
    except OSError:
        return False


def candid_settings(repository: Repository) -> list[str]:
    """`-c` words that undo settings by which git would overlook a change that this file system can show.

    core.fileMode, core.symlinks and core.ignoreCase are for file systems that lack something
    (git-config(1)); where the file system does have it, they only hide changes. They are set whatever
    the configuration is seen to say: includes and system files may say more.
    """
    words = ["-c", "core.symlinks=true"]
    if modes_are_kept(repository):
        words += ["-c", "core.fileMode=true"]
    if not os.path.exists(os.path.join(repository.git_dir, "hEaD")):
        words += ["-c", "core.ignoreCase=false"]
    return words
