"""What a command has made in a worktree: the files that the commit does not hold so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from deriva_ml_hooks.git import process
from deriva_ml_hooks.globs import matcher


def named(output: str) -> Callable[[str], bool]:
    """Whether a path is the one that `output` (from the top) names, below it, or matched by it as a glob."""
    plain = os.fsencode(output)
    literal = b"".join(b"\\" + bytes([c]) if c in b"\\*?[ " else bytes([c]) for c in plain)
    exact = matcher([b"/" + literal])
    try:
        by_glob = matcher([b"/" + plain])
    except ValueError:  # no glob: a name with a bracket in it
        by_glob = exact
    return lambda path: exact(os.fsencode(path)) or by_glob(os.fsencode(path))


def made(top: str, commit: str) -> Iterator[str]:
    """The files below `top`, and from there, that `commit` does not hold so, in submodules too.

    Raises GitError where git cannot answer.
    """
    yield from _made_in(top, "", commit)
    for path, oid in submodules(top):
        if os.path.lexists(os.path.join(top, path, ".git")):
            yield from _made_in(os.path.join(top, path), f"{path}/", oid)


def submodules(top: str) -> Iterator[tuple[str, str]]:
    """Path from `top` and commit of each submodule, of those in submodules too, checked out or not."""
    for record in listed(top, "ls-files", "--stage"):
        facts, _, path = record.partition("\t")
        if facts.startswith("160000 "):
            yield path, facts.split(" ")[1]
            if os.path.lexists(os.path.join(top, path, ".git")):
                yield from ((f"{path}/{below}", oid) for below, oid in submodules(os.path.join(top, path)))


def listed(top: str, command: str, *words: str) -> list[str]:
    """What a command of git answers with `-z`. Raises GitError."""
    done = process.run(command, "-z", *words, cwd=top, strict=True)
    return os.fsdecode(done.checked()).split("\0")[:-1]


def _made_in(top: str, prefix: str, since: str) -> Iterator[str]:
    words = ("--name-only", "--no-renames", "--no-ext-diff", "--ignore-submodules=all", since)
    others = (path for name in listed(top, "ls-files", "--others") for path in _whole(top, name))
    for path in dict.fromkeys([*others, *listed(top, "diff", *words)]):
        if os.path.lexists(os.path.join(top, path)):
            yield prefix + path


def _whole(top: str, name: str) -> Iterator[str]:
    """What git names: a file; or with `/` at its end a repository that a command has made, file by file."""
    if not name.endswith("/"):
        yield name
        return
    for above, folders, files in os.walk(os.path.join(top, name)):
        links = {folder for folder in folders if os.path.islink(os.path.join(above, folder))}
        folders[:] = sorted({*folders} - links - {".git"})
        for file in sorted({*files, *links} - {".git"}):
            yield os.path.relpath(os.path.join(above, file), top)
