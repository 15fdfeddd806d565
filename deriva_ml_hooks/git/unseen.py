"""Code that stands in the worktree and in no commit, though git finds nothing untracked.

Ignored files are nobody's business as long as the commit says that they are ignored. What only this machine
says hides them from whoever reads the record, and so does a link that leads out of the commit.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice

from deriva_ml_hooks.errors import GitError
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
    own = {
        name
        for folder in listing.folders
        if (name := _join(folder, b".gitignore")) not in tracked
        and os.path.lexists(_join(os.fsencode(repository.worktree), name))
    }
    own.update(_of_packages(os.fsencode(repository.worktree), listing, tracked))
    if own or beside.only_git_can_tell(repository) or any(map(_says_something, beside.excludes(repository))):
        known = tracked.union(map(os.fsencode, listing.untracked))
        yield from _ignored(repository, [*_code_beside(repository.worktree, listing, known)], own, settings)


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _of_packages(top: bytes, listing: Listing, tracked: set[bytes]) -> Iterator[bytes]:
    """The .gitignore of each package beside the commit's files: one that says `*` hides itself, too."""
    for folder in listing.folders:
        with suppress(OSError), os.scandir(_join(top, folder) if folder else top) as entries:
            for entry in entries:
                path = _join(folder, entry.name)
                if path in listing.folders or not entry.is_dir(follow_symlinks=False):
                    continue
                name, package = _join(path, b".gitignore"), _join(path, b"__init__.py")
                places = [_join(top, each) for each in (name, package)]
                if name not in tracked and all(map(os.path.lexists, places)):
                    yield name


def _says_something(path: str) -> bool:
    """Whether a file has a pattern; the one that git makes has comments only."""
    try:
        lines = read_regular(path, at_most=_MOST_READ).splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return any(line.strip() and not line.startswith(b"#") for line in lines)


def _code_beside(worktree: str, listing: Listing, known: set[bytes]) -> Iterator[bytes]:
    """The code in the folders of the commit that is not `known`: files, and packages as a whole.

    Other folders that hold nothing of the commit are environments, caches, results.
    """
    top = os.fsencode(worktree)
    for folder in sorted(listing.folders):
        where = os.path.join(top, folder) if folder else top
        if os.path.realpath(where) != where:
            continue
        with suppress(OSError), os.scandir(where) as entries:
            for entry in entries:
                path = _join(folder, entry.name)
                if path in known or path in listing.folders:
                    continue
                if entry.is_dir():
                    path = path + b"/__init__.py"
                    if path not in known and not entry.is_symlink() and os.path.isfile(_join(top, path)):
                        yield path
                elif has_code_suffix(os.fsdecode(path)) and entry.is_file() and not _is_idle(path, top):
                    yield path


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
    done = process.run(
        *words, cwd=repository.worktree, stdin=b"".join(path + b"\0" for path in paths), strict=True
    )
    if done.returncode not in (0, 1):
        raise GitError(shlex.join(words[-4:]), done.said)
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
