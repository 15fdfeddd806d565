"""Blobs by what they weigh: those that are staged, and those in the index.

Sizes are those of the stored blobs; working files are never looked at. git is asked in the environment
that a hook was given, because inside `git commit -a` GIT_INDEX_FILE names the index in question.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from deriva_ml_hooks.errors import BareRepositoryError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.objects import look_up, missing
from deriva_ml_hooks.git.repository import Repository

ABSENT = b"000000"
GITLINK = b"160000"
"""Modes as git writes them: no entry, and a submodule."""

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
    if done.returncode and repository.git("rev-parse", "--verify", "--quiet", "HEAD").returncode:
        return None
    return [entry for entry in parse_raw(done.checked()) if entry.mode not in (ABSENT, GITLINK)]


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


@process.answer("cat-file")
def sizes(repository: Repository, oids: Sequence[bytes]) -> list[int]:
    """The size of each blob in bytes; raises GitError for one that is missing."""
    names = [oid.decode("ascii") for oid in oids]
    found = []
    for name, blob in zip(names, look_up(repository, names), strict=True):
        if blob is None:
            raise missing(name)
        found.append(blob.size)
    return found


def in_trees(repository: Repository, revisions: Sequence[str], oids: Collection[bytes]) -> set[bytes]:
    """Those of `oids` that the tree of one of `revisions` holds, at whatever path."""
    held: set[bytes] = set()
    for revision in revisions:
        listed = repository.git("ls-tree", "-r", "-z", "--full-tree", revision).checked()
        held.update(record.partition(b"\t")[0].rpartition(b" ")[2] for record in listed.split(b"\0"))
    return held.intersection(oids)
