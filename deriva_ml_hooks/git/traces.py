"""What an edit or a move of HEAD leaves behind, also when it is undone: time stamps, inodes, the reflog."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from deriva_ml_hooks.git.content import GITLINK, Entry
from deriva_ml_hooks.git.index import Indexed, entry_of
from deriva_ml_hooks.git.repository import Repository

_STAMPS = re.compile(rb"  ctime: (\d+):\d+\n  mtime: (\d+):\d+\n")
_FORM = b"  ctime: %d:%d\n  mtime: %d:%d\n"
_SECOND = 10**9
_BITS = 0xFFFFFFFF  # what the index keeps of a second
_GITLINK = b"%o" % GITLINK
_LONGEST_LINE = 65536
_TICK = 20_000_000  # nanoseconds: the clock of a file system, coarse, between two stamps of one rename


Stamp = tuple[int, int, int]
"""What a change of a file alters, also one that is undone: ctime and mtime (nanoseconds), and the inode."""


class Traces(NamedTuple):
    """What a worktree showed: the stamps of the tracked files that are there, and where HEAD has been.

    `folders`: the ctime of those of the commit, and whether a rename may have set it. `reflog`: the newest
    line of HEAD's. `refs`: the stamps of the files of HEAD and its branch.
    """

    stamps: dict[bytes, Stamp]
    folders: dict[bytes, tuple[int, bool]]
    reflog: bytes
    refs: tuple[Stamp | None, Stamp | None]

    def moved(self, before: Traces) -> bool:
        """Whether HEAD was moved since, to wherever."""
        if self.reflog:
            return self.reflog != before.reflog
        return any(old != new for old, new in zip(before.refs, self.refs, strict=True) if old and new)

    def touched(self, before: Traces) -> Iterator[str]:
        """What was there before, and was written since, or replaced, or flagged: files, and folders that
        were away for a while and hold none of these files.
        """
        found = [path for path, stamp in self.stamps.items() if before.stamps.get(path, stamp) != stamp]
        yield from map(os.fsdecode, found)
        for folder, (changed, renamed) in self.folders.items():
            inside = folder + b"/" if folder else b""
            is_new = before.folders.get(folder, (changed, True))[0] != changed
            if is_new and renamed and not any(path.startswith(inside) for path in found):
                yield os.fsdecode(folder or b".")


def stamped(worktree: str, entries: Iterable[Indexed]) -> tuple[dict[bytes, Stamp], list[Entry]]:
    """The stamps of the files as they are, and the files that git cannot know to be unchanged.

    git compares seconds (unless it was built with USE_NSEC), and looks closer at a file that was changed in
    the second in which the index was written. So a file changed right after it was added looks unchanged
    once another program writes the index again, or touches it.
    """
    stamps: dict[bytes, Stamp] = {}
    unsure: list[Entry] = []
    top = os.fsencode(worktree) + b"/"
    for indexed in entries:
        tag, mode, _, path, remembered = indexed
        if mode == _GITLINK:  # the stamps of a folder say nothing
            continue
        try:
            found = os.lstat(top + path)
        except OSError:  # gone: status says so
            continue
        changed, modified = found.st_ctime_ns, found.st_mtime_ns
        stamps[path] = (changed, modified, found.st_ino)
        seconds, rest = divmod(changed, _SECOND)
        if tag == b"H" and remembered != _FORM % (seconds, rest, modified // _SECOND, modified % _SECOND):
            known = _STAMPS.match(remembered)
            now = (seconds & _BITS, modified // _SECOND & _BITS)
            if known is None or (int(known[1]), int(known[2])) == now:
                unsure.append(entry_of(indexed))
    return stamps, unsure


def renamed(worktree: str, folders: Iterable[bytes]) -> dict[bytes, tuple[int, bool]]:
    """The ctime of each folder, in nanoseconds, and whether it looks like that of a rename.

    A new entry in a folder sets its ctime and its mtime to the same moment, a rename of the folder its ctime
    alone, and at that moment the mtime of the folder above it. An entry that is made later hides that.
    """
    if _is_layered(worktree):
        return {}
    top = os.fsencode(worktree)
    times: dict[bytes, tuple[int, int]] = {}

    def of(path: bytes) -> tuple[int, int]:
        if path not in times:
            stat = os.lstat(path)
            times[path] = stat.st_ctime_ns, stat.st_mtime_ns
        return times[path]

    found: dict[bytes, tuple[int, bool]] = {}
    for folder in folders:
        path = top + b"/" + folder if folder else top
        with suppress(OSError):
            (changed, modified), (_, above) = of(path), of(os.path.dirname(path))
            found[folder] = changed, changed != modified and above >= changed - _TICK
    return found


def _is_layered(path: str) -> bool:
    """Whether a folder is on an overlay: there a file that is made alters the folders above, all the way."""
    kinds: dict[bytes, bytes] = {}
    with suppress(OSError, ValueError), open("/proc/self/mounts", "rb") as file:
        for line in file:
            _, where, kind, _ = line.split(b" ", 3)
            top = where.replace(b"\\040", b" ").rstrip(b"/") + b"/"
            if os.fsencode(path + "/").startswith(top):
                kinds[top] = kind
    return bool(kinds) and kinds[max(kinds, key=len)] == b"overlay"


def newest_move(repository: Repository) -> bytes:
    """The newest line of HEAD's reflog, if one is kept (git-reflog(1)); a gc takes away old ones only."""
    with suppress(OSError), open(os.path.join(repository.git_dir, "logs", "HEAD"), "rb") as file:
        file.seek(-min(file.seek(0, os.SEEK_END), _LONGEST_LINE), os.SEEK_END)
        return (file.read().splitlines() or [b""])[-1]
    return b""


def ref_stamps(repository: Repository) -> tuple[Stamp | None, Stamp | None]:
    """The stamps of the files of HEAD and of its branch; None where there is none: refs get packed."""
    branch = os.path.join(repository.common_dir, f"refs/heads/{repository.branch()}")
    return _stamp(os.path.join(repository.git_dir, "HEAD")), _stamp(branch)


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_ino
