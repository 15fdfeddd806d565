"""Code that stands in the worktree and in no commit, though git finds nothing untracked.

Ignored files are nobody's business as long as the commit says that they are ignored. What only this machine
says hides them from whoever reads the record, and so does a link that leads out of the commit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.git import beside, process
from deriva_ml_hooks.git.content import GITLINK, SYMLINK
from deriva_ml_hooks.git.index import Listing
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.untracked import has_code_suffix

HIDDEN, EXCLUDED, OUTSIDE = "hidden-code", "excluded-code", "link-outside"

_LINK, _GITLINK = b"%o" % SYMLINK, b"%o" % GITLINK
_MOST_READ = 1 << 20
_LOOKED_AT = 1000
"""Entries of a folder that are looked at."""

Found = tuple[str, str, str]
"""Code, path and what is to be said of it."""


def unseen(repository: Repository, listing: Listing, settings: Sequence[str]) -> Iterator[Found]:
    """Code that git ignores though no commit tells it to, and links to code that no commit holds.

    Raises GitError.
    """
    tracked = {path for *_, path, _ in listing.entries}
    yield from _links(repository.worktree, listing, tracked)
    code, own = _beside(repository.worktree, listing, tracked)
    if own or any(map(_says_something, beside.excludes(repository))):
        yield from _ignored(repository, code, own, settings)


def _beside(worktree: str, listing: Listing, tracked: set[bytes]) -> tuple[list[bytes], set[bytes]]:
    """The code, and the .gitignore files, that stand in the commit's folders without being in the commit.

    A package counts as a whole, and its .gitignore may hide itself. Other folders that hold nothing of the
    commit are environments, caches, results.
    """
    top = os.fsencode(worktree)
    known = tracked.union(map(os.fsencode, listing.untracked), listing.folders)
    code: list[bytes] = []
    own: set[bytes] = set()
    for folder in sorted(listing.folders):
        with suppress(OSError), os.scandir(_join(top, folder)) as entries:
            for entry in entries:
                path = _join(folder, entry.name)
                if entry.name == b".gitignore":
                    own |= {path} - tracked
                elif path in known:
                    continue
                elif entry.is_dir(follow_symlinks=False):
                    package, ignoring = path + b"/__init__.py", path + b"/.gitignore"
                    if os.path.isfile(_join(top, package)):
                        code += [] if package in known else [package]
                        own |= {ignoring} if os.path.lexists(_join(top, ignoring)) else set()
                elif has_code_suffix(os.fsdecode(path)) and entry.is_file() and not _is_idle(path, top):
                    code.append(path)
    return code, own


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder and name else folder or name


def _says_something(path: str) -> bool:
    """Whether a file has a pattern; the one that git makes has comments only."""
    try:
        lines = read_regular(path, at_most=_MOST_READ).splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return any(line.strip() and not line.startswith(b"#") for line in lines)


def _is_idle(path: bytes, top: bytes) -> bool:
    """Whether this is bytecode beside its source, of which Python takes the source."""
    return path.endswith((b".pyc", b".pyo")) and os.path.isfile(_join(top, path[:-1]))


def _ignored(
    repository: Repository, paths: Sequence[bytes], own: set[bytes], settings: Sequence[str]
) -> Iterator[Found]:
    """Those that no file of the commit has ignored, by the file that has: one is told, the others counted."""
    if not paths:
        return
    words = (*settings, "check-ignore", "--verbose", "-z", "--stdin")
    done = repository.git(*words, stdin=b"".join(path + b"\0" for path in paths), strict=True)
    if done.returncode != 1:  # none of them is ignored
        done.checked()
    with process.answer("check-ignore"):
        fields = done.stdout.split(b"\0")
        told = [*zip(fields[::4], fields[2::4], fields[3::4], strict=False)]
    by: dict[bytes, list[bytes]] = {}
    for source, pattern, path in told:
        # From the top git names only files of the worktree, and info/exclude.
        is_file_of_worktree = os.path.basename(source) == b".gitignore" and not os.path.isabs(source)
        if (source in own or not is_file_of_worktree) and not pattern.startswith(b"!"):
            by.setdefault(source, []).append(path)
    for source, hidden in by.items():
        more = f", and {len(hidden) - 1} more" if len(hidden) > 1 else ""
        what = f"code that {os.fsdecode(source)} hides from git, which is not in the commit{more}"
        yield HIDDEN if source in own else EXCLUDED, os.fsdecode(hidden[0]), what


def _links(worktree: str, listing: Listing, tracked: set[bytes]) -> Iterator[Found]:
    links = [path for _, mode, _, path, _ in listing.entries if mode == _LINK]
    if not links:
        return
    top = os.path.realpath(os.fsencode(worktree))
    modules = tuple(path + b"/" for _, mode, _, path, _ in listing.entries if mode == _GITLINK)
    for path in links:
        real = os.path.realpath(os.path.join(top, path))
        inside = b"" if real == top else os.path.relpath(real, top)
        if inside in tracked or inside in listing.folders or (inside + b"/").startswith(modules or (b"//",)):
            continue
        if _is_code(os.fsdecode(path), os.fsdecode(real)):
            yield OUTSIDE, os.fsdecode(path), f"a link to code that is not in the commit: {os.fsdecode(real)}"


def _is_code(path: str, real: str) -> bool:
    """Whether a file has the name of code, or a folder has modules in it; other folders are data."""
    if os.path.isfile(real):
        return has_code_suffix(path) or has_code_suffix(real)
    with suppress(OSError), os.scandir(real) as entries:
        return any(entry.name.endswith(".py") for entry in islice(entries, _LOOKED_AT))
    return False
