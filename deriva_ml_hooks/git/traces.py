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

Stamp = tuple[int, int, int]
"""What a change of a file alters, also one that is undone: ctime and mtime (nanoseconds), and the inode."""


class Traces(NamedTuple):
    """What a worktree showed: the stamps of the tracked files, and the newest line of HEAD's reflog."""

    stamps: dict[bytes, Stamp]
    reflog: bytes

    def moved(self, before: Traces) -> bool:
        """Whether HEAD was moved since, to wherever."""
        return self.reflog != before.reflog

    def touched(self, before: Traces) -> Iterator[str]:
        """The files that were there before, and were written or replaced since."""
        for path, stamp in self.stamps.items():
            if before.stamps.get(path, stamp) != stamp:
                yield os.fsdecode(path)


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


def newest_move(repository: Repository) -> bytes:
    """The newest line of HEAD's reflog, if one is kept (git-reflog(1)); a gc takes away old ones only."""
    with suppress(OSError), open(os.path.join(repository.git_dir, "logs", "HEAD"), "rb") as file:
        file.seek(-min(file.seek(0, os.SEEK_END), _LONGEST_LINE), os.SEEK_END)
        return (file.read().splitlines() or [b""])[-1]
    return b""
