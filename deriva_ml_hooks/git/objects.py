"""Objects by name, many with one process: what they are, and what they hold (git-cat-file(1))."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository

_KINDS = ("blob", "commit", "tag", "tree")
_NOT_HERE = (b" missing", b" ambiguous", b" submodule")


class Object(NamedTuple):
    """An object, its size in bytes, and for `contents` what it holds."""

    oid: str
    kind: str
    size: int
    data: bytes = b""


def look_up(repository: Repository, names: Iterable[str]) -> list[Object | None]:
    """What each of `names` (oids, or any revisions) is; None for what is not here."""
    return _asked(repository, [*names], "--batch-check", "--buffer")


def contents(repository: Repository, names: Iterable[str]) -> list[Object | None]:
    """The same, with what they hold."""
    return _asked(repository, [*names], "--batch")


def missing(name: str) -> GitError:
    """The error for an object that has to be here."""
    return GitError(f"object {name}", "missing", fix="git fsck, then fetch it again: git fetch --all")


@process.answer("cat-file")
def _asked(repository: Repository, names: list[str], *words: str) -> list[Object | None]:
    if not names:
        return []
    stdin = b"".join(os.fsencode(name) + b"\n" for name in names)
    found = parse(repository.git("cat-file", *words, stdin=stdin).checked(), with_data="--batch" in words)
    if len(found) != len(names):
        raise ValueError("not one answer for each question")
    return found


@process.answer("cat-file")
def parse(answer: bytes, *, with_data: bool) -> list[Object | None]:
    """`<oid> SP <kind> SP <size> LF`, then `<data> LF` if `with_data`; `<name> missing LF` and the like."""
    found: list[Object | None] = []
    start = 0
    while start < len(answer):
        end = answer.index(b"\n", start)
        header = answer[start:end]
        start = end + 1
        if header.endswith(_NOT_HERE):
            found.append(None)
            continue
        oid, kind, length = header.decode("ascii").split(" ")
        size = int(length)
        if kind not in _KINDS or size < 0:
            raise ValueError(header)
        data = answer[start : start + size] if with_data else b""
        start += size + 1 if with_data else 0
        found.append(Object(oid, kind, size, data))
    return found
