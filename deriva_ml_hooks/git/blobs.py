"""Blobs by what they weigh: those that are staged, those in the index, and what git-lfs has to do with them.

Sizes are those of the stored blobs; working files are never looked at. git is asked in the environment
that a hook was given, because inside `git commit -a` GIT_INDEX_FILE names the index in question.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from deriva_ml_hooks.errors import BareRepositoryError, GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository

ABSENT = b"000000"
GITLINK = b"160000"
"""Modes as git writes them: no entry, and a submodule."""
POINTER_SIZE = 1024
"""Bytes that a git-lfs pointer stays below (git-lfs specification, "The Pointer")."""

_POINTER = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\n(?:ext-[0-9]-\w+ sha256:[0-9a-f]{64}\n)*"
    rb"oid sha256:[0-9a-f]{64}\nsize [0-9]+\n?"
)
_RAW = re.compile(rb":(\d+) (\d+) (\w+) (\w+) ([A-Z])\d*\0([^\0]*)\0")


class Staged(NamedTuple):
    """A path whose index entry differs from HEAD's; `old_*` is what HEAD has (ABSENT: nothing)."""

    old_mode: bytes
    mode: bytes
    old_oid: bytes
    oid: bytes
    status: bytes
    path: bytes


class Indexed(NamedTuple):
    """A blob in the index."""

    path: bytes
    oid: bytes


def require_worktree(repository: Repository) -> None:
    """Raises BareRepositoryError where there is no index to look at."""
    inside = repository.git("rev-parse", "--is-inside-work-tree").stdout
    if inside.strip() != b"true":
        raise BareRepositoryError(repository.worktree)


def staged(repository: Repository) -> list[Staged] | None:
    """What the index would add to HEAD or change, submodules left out; None before the first commit."""
    done = repository.git(
        *("diff-index", "--cached", "-z", "--raw", "--no-abbrev", "--no-renames"),
        *("--ignore-submodules=all", "HEAD", "--"),
    )
    if done.returncode:
        if repository.git("rev-parse", "--verify", "--quiet", "HEAD").returncode:
            return None
        done.checked()
    return [entry for entry in parse_raw(done.stdout) if entry.mode not in (ABSENT, GITLINK)]


def parse_raw(data: bytes) -> list[Staged]:
    """`git diff-index -z --raw --no-abbrev` (git-diff-index(1), Raw output format), without unmerged."""
    entries = map(Staged._make, _RAW.findall(data))
    return [entry for entry in entries if entry.status != b"U"]


def indexed(repository: Repository) -> list[Indexed]:
    """Every blob in the index (not in conflict, not a submodule)."""
    entries = []
    for record in repository.git("ls-files", "-z", "--stage", "--full-name").checked().split(b"\0"):
        facts, _, path = record.partition(b"\t")
        mode, _, rest = facts.partition(b" ")
        if rest.endswith(b" 0") and mode != GITLINK:
            entries.append(Indexed(path, rest[:-2]))
    return entries


def sizes(repository: Repository, oids: Sequence[bytes]) -> list[int]:
    """The size of each blob in bytes; raises GitError for one that is missing."""
    if not oids:
        return []
    stdin = b"\n".join(oids) + b"\n"
    answer = repository.git("cat-file", "--batch-check=%(objectsize)", "--buffer", stdin=stdin).checked()
    lines = answer.split(b"\n")[:-1]
    if len(lines) != len(oids):
        raise GitError("git cat-file", "not one answer for each question")
    try:
        return [int(line) for line in lines]
    except ValueError:
        raise missing(next(line for line in lines if not line.isdigit())) from None


def missing(line: bytes) -> GitError:
    """The error for what `git cat-file --batch-check` says of an object that is not there."""
    name = line.split(b" ")[0].decode("ascii", "replace")
    return GitError(f"object {name}", "missing", fix="git fsck, then fetch it again: git fetch --all")


def in_trees(repository: Repository, revisions: Sequence[str], oids: Collection[bytes]) -> set[bytes]:
    """Those of `oids` that the tree of one of `revisions` holds, at whatever path."""
    held: set[bytes] = set()
    for revision in revisions:
        listed = repository.git("ls-tree", "-r", "-z", "--full-tree", revision).checked()
        for record in listed.split(b"\0"):
            held.add(record.partition(b"\t")[0].rpartition(b" ")[2])
    return held.intersection(oids)


def pointers(repository: Repository, oids: Collection[bytes]) -> set[bytes]:
    """Those of `oids`, all below POINTER_SIZE, that are git-lfs pointers."""
    stdin = b"".join(oid + b"\n" for oid in oids)
    data = repository.git("cat-file", "--batch", stdin=stdin).checked() if oids else b""
    found = set()
    for oid, content in _contents(data):
        if is_pointer(content):
            found.add(oid)
    return found


def is_pointer(content: bytes) -> bool:
    """Whether this is a git-lfs pointer (git-lfs specification)."""
    return _POINTER.fullmatch(content) is not None


@process.answer("cat-file")
def _contents(data: bytes) -> list[tuple[bytes, bytes]]:
    """`git cat-file --batch`: `<oid> SP <type> SP <size> LF <contents> LF` for each."""
    start, found = 0, []
    while start < len(data):
        end = data.index(b"\n", start)
        header = data[start:end]
        if header.endswith(b" missing"):
            raise missing(header)
        oid, _, size = header.split(b" ")
        start = end + 1 + int(size) + 1
        if start <= end:
            raise ValueError(header)
        found.append((oid, data[end + 1 : start - 1]))
    return found


def lfs_tracked(repository: Repository, paths: Collection[bytes]) -> set[bytes]:
    """Those of `paths` that .gitattributes (the staged ones, and those of the worktree) give to git-lfs."""
    if not paths:
        return set()
    stdin = b"".join(path + b"\0" for path in paths)
    done = repository.git("check-attr", "--stdin", "-z", "filter", stdin=stdin)
    words = done.stdout.split(b"\0") if not done.returncode else []
    return {path for path, value in zip(words[::3], words[2::3], strict=False) if value == b"lfs"}
