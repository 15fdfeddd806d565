"""Writes files so that a reader, a kill or a power cut sees the old content or the new one, never half."""

from __future__ import annotations

import contextlib
import os
from itertools import count


def write_atomically(path: str, data: bytes, *, mode: int | None = None) -> None:
    """Put `data` at `path`: written beside it, flushed to the disk, renamed over it.

    A symbolic link is followed, so it stays one. `mode` is the permission bits of a new file (default:
    what the umask gives); a file that is there keeps its own. Raises OSError.
    """
    sync_folder(replace_whole(path, data, mode=mode))


def replace_whole(path: str, data: bytes, *, mode: int | None = None) -> str:
    """`write_atomically`, but for flushing the folder, which it returns: many files want that once."""
    target = os.path.realpath(path)
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
    try:
        return os.stat(target).st_mode & 0o7777
    except FileNotFoundError:
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
