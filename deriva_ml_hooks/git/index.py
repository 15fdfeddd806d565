"""What the index holds, from one answer of git: its entries with their stamps, and the tree that they make.

The tree is computed from the entries. git itself believes what the index remembers of trees (its cache-tree
extension), which another program may have left as it was. The parser is a pure function of bytes.
"""

from __future__ import annotations

import hashlib
import os
from binascii import unhexlify
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from deriva_ml_hooks.git.content import GITLINK, Entry

LS_FILES = ("ls-files", "-z", "-v", "--stage", "--debug", "--others", "--exclude-standard")


_GITLINK = b"%o" % GITLINK


class Indexed(NamedTuple):
    """An entry of the index: its tag (git-ls-files(1), -v), and what git knows of the file's stat data."""

    tag: bytes
    mode: bytes
    oid: bytes
    path: bytes
    stamps: bytes

    def entry(self) -> Entry:
        """What it says of the file."""
        return Entry(os.fsdecode(self.path), int(self.mode, 8), self.oid.decode("ascii"))


@dataclass(frozen=True, slots=True)
class Listing:
    """`git ls-files`, parsed: what is untracked, the entries that are not in conflict, the tree they make."""

    untracked: tuple[str, ...]
    entries: tuple[Indexed, ...]
    tree: str
    folders: frozenset[bytes]

    @property
    def submodules(self) -> list[Entry]:
        """The entries that are commits of other repositories."""
        return [e.entry() for e in self.entries if e.mode == _GITLINK]

    def flagged(self, tags: bytes) -> list[Entry]:
        """Files with one of these tags: `h` assume-unchanged, `S` skip-worktree, `s` both."""
        return [e.entry() for e in self.entries if e.tag in tags and e.mode != _GITLINK]


def parse_listing(data: bytes) -> Listing:
    """The answer to LS_FILES. Raises ValueError where it has another form."""
    untracked: list[str] = []
    found: list[Sequence[bytes]] = []
    stamps: list[bytes] = []
    for piece in data.split(b"\0"):
        if piece.startswith(b"  ctime: "):  # of the entry before
            end = piece.index(b"\n", piece.index(b"flags: ")) + 1
            stamps.append(piece[:end])
            piece = piece[end:]
        if piece.startswith(b"? "):
            untracked.append(os.fsdecode(piece[2:]))
        elif piece:
            facts, _, path = piece.partition(b"\t")
            found.append((*facts.split(b" "), path))
    stamps += [b""] * (len(found) - len(stamps))
    entries = [
        Indexed(tag, mode, oid, path, stamp)
        for (tag, mode, oid, stage, path), stamp in zip(found, stamps, strict=True)
        if stage == b"0"
    ]
    tree, folders = _tree(entries)
    return Listing(tuple(untracked), tuple(entries), tree, folders)


def _tree(entries: Iterable[Indexed]) -> tuple[str, frozenset[bytes]]:
    """The id of the tree that entries make, in the order of the index; and the folders in it."""
    algorithm = hashlib.sha1
    folders = {b""}
    below: list[tuple[bytes, list[bytes]]] = [(b"", [])]  # the folders above an entry, what is in them so far

    def close() -> bytes:
        folder, items = below.pop()
        content = b"".join(items)
        digest = algorithm(b"tree %d\0%s" % (len(content), content)).digest()
        if below:
            below[-1][1].append(b"40000 %s\0%s" % (folder.rpartition(b"/")[2], digest))
        return digest

    for _, mode, oid, path, _ in entries:
        folder, _, name = path.rpartition(b"/")
        if folder != below[-1][0]:
            while below[-1][0] and not folder.startswith(below[-1][0] + b"/") and folder != below[-1][0]:
                close()
            start = len(below[-1][0])
            while start < len(folder):
                end = folder.find(b"/", start + 1)
                start = len(folder) if end < 0 else end
                below.append((folder[:start], []))
                folders.add(folder[:start])
        if len(oid) == 64:
            algorithm = hashlib.sha256
        below[-1][1].append(b"%s %s\0%s" % (mode, name, unhexlify(oid)))
    while len(below) > 1:
        close()
    return close().hex(), frozenset(folders)
