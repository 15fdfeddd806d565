"""Writes files so that a reader, a kill or a power cut sees the old content or the new one, never half."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from itertools import count


def inside(path: str, folder: str) -> str | None:
    """The way from `folder` to `path`, `.` for itself; None where it is outside. Links are not followed."""
    way = os.path.relpath(path, folder)
    return None if way.split(os.sep, 1)[0] == os.pardir else way


def read_regular(path: str, *, at_most: int) -> bytes:
    """What is in the file at `path`; a link is followed. Raises OSError, also where it is no regular file
    (a pipe would be waited for, a device has no end) or larger than `at_most` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = file.read(at_most + 1)
    if len(data) > at_most:
        raise OSError(errno.EFBIG, f"larger than {at_most} bytes", path)
    return data


def write_atomically(path: str, data: bytes, *, mode: int | None = None) -> None:
    """Put `data` at `path`: written beside it, flushed to the disk, renamed over it.

    A symbolic link that stands there is replaced, never followed: whoever planted it must not choose what
    is written. `mode` is the permission bits of a new file (default: what the umask gives); a file that is
    there keeps its own. Raises OSError.
    """
    sync_folder(_replace(os.path.abspath(path), data, mode))


def replace_whole(path: str, data: bytes, *, mode: int | None = None) -> str:
    """`write_atomically` for a user's own file: a link stays one, and the caller has seen where it leads.

    The folder is not flushed but returned: many files want that once.
    """
    return _replace(os.path.realpath(path), data, mode)


def make_folder(path: str, *, mode: int) -> None:
    """Make `path` and what is missing above it, for files of `mode`: who may read those may look inside.

    Others' writing into them is kept in the folder's group (mkdir(2), S_ISGID). Raises OSError.
    """
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above != path:
        make_folder(above, mode=mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        os.chmod(path, mode | (mode & 0o444) >> 2 | (stat.S_ISGID if mode & 0o066 else 0))


def _replace(target: str, data: bytes, mode: int | None) -> str:
    folder = os.path.dirname(target)
    descriptor, beside = _beside(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, _mode(target, mode))
        os.replace(beside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    return folder


def sha256_of(descriptor: int) -> str:
    """The SHA-256 of a whole regular file; where its reading stands is left as it is. Raises OSError."""
    import hashlib

    digest, stood = hashlib.sha256(), os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        while block := os.read(descriptor, 1 << 20):
            digest.update(block)
    finally:
        os.lseek(descriptor, stood, os.SEEK_SET)
    return digest.hexdigest()


def _beside(target: str) -> tuple[int, str]:
    """A new file beside `target`, open for writing, and its path."""
    # tempfile would do, and cost every hook its import (random, shutil). The name is short: one may have
    # 255 bytes, and a character four of them.
    stem = os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:32]}.{os.getpid():x}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for number in count():
        with contextlib.suppress(FileExistsError):
            return os.open(f"{stem}-{number:x}", flags, 0o600), f"{stem}-{number:x}"
    raise AssertionError("there is always another number")


def _mode(target: str, wanted: int | None) -> int:
    with contextlib.suppress(FileNotFoundError):
        there = os.lstat(target).st_mode
        if not stat.S_ISLNK(there):
            return there & 0o7777
    if wanted is not None:
        return wanted
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def sync_folder(folder: str) -> None:
    """Flush a folder's entries to the disk, where the system can: a rename lasts only after that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
