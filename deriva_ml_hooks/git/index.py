"""What the index holds, from one answer of git: its entries with their stamps, and the tree that they make.

The tree is computed from the entries. git itself believes what the index remembers of trees (its cache-tree
extension), which another program may have left as it was. The parser is a pure function of bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
from binascii import unhexlify
from collections.abc import Iterable
from dataclasses import dataclass

from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.content import GITLINK, Entry

LS_FILES = ("ls-files", "-z", "-v", "--stage", "--debug", "--others", "--exclude-standard")

_RECORD = re.compile(
    rb"(\w) (\d{6}) ([0-9a-f]+) ([0-3])\t([^\0]*)\0"
    rb"(?:(  ctime: \d+:\d+\n  mtime: \d+:\d+\n)  dev: [^\n]*\n  uid: [^\n]*\n  size: [^\n]*\n)?"
    rb"|\? ([^\0]*)\0|([^\0]+|\0)"
)
_GITLINK = b"%o" % GITLINK

Indexed = tuple[bytes, bytes, bytes, bytes, bytes]
"""An entry: its tag (git-ls-files(1), -v), mode, oid, path, and what is remembered of the file's stat data.

Plain tuples, as there can be a hundred thousand of them."""


def entry_of(indexed: Indexed) -> Entry:
    """What an entry says of its file."""
    _, mode, oid, path, _ = indexed
    return Entry(os.fsdecode(path), int(mode, 8), oid.decode("ascii"))


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
        return [entry_of(indexed) for indexed in self.entries if indexed[1] == _GITLINK]

    def flagged(self, tags: bytes) -> list[Entry]:
        """Files with one of these tags: `h` assume-unchanged, `S` skip-worktree, `s` both."""
        return [entry_of(e) for e in self.entries if e[0] in tags and e[1] != _GITLINK]


@process.answer("ls-files")
def parse_listing(data: bytes) -> Listing:
    """The answer to LS_FILES. Raises GitError where it has another form."""
    untracked: list[str] = []
    entries: list[Indexed] = []
    for tag, mode, oid, stage, path, stamps, other, unknown in _RECORD.findall(data):
        if stage == b"0":
            entries.append((tag, mode, oid, path, stamps))
        elif other:
            untracked.append(os.fsdecode(other))
        elif unknown.strip(b"\0"):
            raise ValueError(repr(unknown[:40]))
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
