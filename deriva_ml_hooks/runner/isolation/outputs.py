"""What a command has made in a temporary worktree: copied back into the user's own where it was asked for.

Nothing that is tracked is overwritten, in whichever repository it lies: a submodule answers for itself, and
a folder that is a link for what it leads to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from deriva_ml_hooks.errors import BareRepositoryError, GitError, HooksError, NotARepositoryError, UsageError
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.globs import matcher
from deriva_ml_hooks.report import few, printable
from deriva_ml_hooks.runner.places import leaving_link
from deriva_ml_hooks.runner.recorded import Say

_NAMED = 5
_BYTECODE = "__pycache__"
"""Python makes it anew; nobody has worked for it."""

Ask = Callable[[str], bool]
"""Tells the user of what would go, and gives whether it is to be kept."""


class _Made(NamedTuple):
    """A file in the temporary worktree that the commit does not hold so. `path` is from the top."""

    path: str
    tracked: bool


def below_top(path: str) -> str:
    """A path or glob of `--output`, relative to the repository; raises UsageError for any other."""
    plain = os.path.normpath(path)
    parts = plain.split(os.sep)
    if os.path.isabs(plain) or plain == os.curdir or os.pardir in parts or ".git" in parts:
        raise UsageError(
            f"--output {path}: not a folder or file below the top of the repository",
            fix="name it relative to the top of the repository, such as --output results",
        )
    return plain


def bring_back(
    outputs: Sequence[str],
    inside: Repository,
    home: Repository,
    commit: str,
    *,
    say: Say,
    complain: Say,
    keeps: Ask,
) -> bool:
    """Copy what the command has made at `outputs` into the user's own worktree; whether the rest may go.

    It may not where something that was asked for is missing or could not be copied, nor where `keeps`, which
    is told of what nobody asked for, says so. `commit` is the one that ran. Other files that are not tracked
    are replaced, each at once.
    """
    try:
        made = [*_made(inside, commit)]
    except HooksError as error:  # the command may have broken its repository
        complain(f"what was made cannot be told: {error}")
        return False
    wanted = {output: _named(output) for output in outputs}
    whole = True
    for output, is_named in wanted.items():
        found = [one for one in made if is_named(os.fsencode(one.path))]
        there = _is_there(inside, output, is_named)
        if found or (there and not made):
            whole &= _copied(output, found, inside, home, say, complain)
        else:
            why = "nothing of it was made by the run" if there else "not there after the run"
            complain(f"{printable(output)}: {why}, so nothing was copied")
            whole &= not made
    left = [one.path for one in made if not any(named(os.fsencode(one.path)) for named in wanted.values())]
    if left and whole:
        told = f"not asked for by --output: {_counted(left, inside)}"
        if keeps(told):
            return False
        complain(f"{told}; removed with the temporary worktree")
    return whole


def _named(output: str) -> Callable[[bytes], bool]:
    """Whether a path is the one that is named, below it, or matched by it as a glob."""
    plain = os.fsencode(output)
    literal = b"".join(b"\\" + bytes([c]) if c in b"\\*?[ " else bytes([c]) for c in plain)
    exact = matcher([b"/" + literal])
    try:
        by_glob = matcher([b"/" + plain])
    except ValueError:  # no glob: a name with a bracket in it
        return exact
    return lambda path: exact(path) or by_glob(path)


def _is_there(inside: Repository, output: str, is_named: Callable[[bytes], bool]) -> bool:
    """Whether something is at `output`, though the command has made nothing of it."""
    if os.path.lexists(os.path.join(inside.worktree, output)):
        return True
    return any(is_named(os.fsencode(path)) for path in _listed(inside.worktree, "ls-files"))


def _made(inside: Repository, commit: str) -> Iterator[_Made]:
    """The files that a command has made or changed, in submodules too, bytecode left out."""
    for top, prefix, since in _repositories(inside.worktree, "", commit):
        found = {path: False for name in _listed(top, "ls-files", "--others") for path in _whole(top, name)}
        words = ("--name-status", "--no-renames", "--no-ext-diff", "--ignore-submodules=all", since)
        changes = iter(_listed(top, "diff", *words))
        found |= {path: status != "A" for status, path in zip(changes, changes, strict=True)}
        for path, tracked in found.items():
            if _BYTECODE not in path.split("/") and os.path.lexists(os.path.join(top, path)):
                yield _Made(prefix + path, tracked)


def _repositories(top: str, prefix: str, since: str) -> Iterator[tuple[str, str, str]]:
    """A worktree and those of its submodules: where, with which prefix to a path, and at which commit."""
    yield top, prefix, since
    for record in _listed(top, "ls-files", "--stage"):
        facts, _, path = record.partition("\t")
        folder = os.path.join(top, path)
        if facts.startswith("160000 ") and os.path.lexists(os.path.join(folder, ".git")):
            yield from _repositories(folder, f"{prefix}{path}/", facts.split(" ")[1])


def _listed(top: str, command: str, *words: str) -> list[str]:
    done = process.run(command, "-z", *words, cwd=top, strict=True)
    return os.fsdecode(done.checked()).split("\0")[:-1]


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


def _copied(
    output: str, found: Iterable[_Made], inside: Repository, home: Repository, say: Say, complain: Say
) -> bool:
    copied, left, failed = 0, [], 0
    tracked_at = lru_cache(maxsize=None)(_tracked_at)
    for path, tracked in found:
        source, target = (os.path.join(top.worktree, path) for top in (inside, home))
        try:
            folder, name = os.path.split(target)
            if (link := leaving_link(target)) is not None:
                raise GitError(
                    link, "a link of the repository that leads out of it", fix="name another folder"
                )
            folder = os.path.realpath(folder)
            theirs = tracked_at(folder)
            if tracked or name in theirs:
                left += [] if _same_bytes(source, target) else [path]
                continue
            _copy(source, os.path.join(folder, name), inside.worktree, home.worktree)
            copied += 1
        except (OSError, HooksError) as error:
            reason = (error.strerror or error) if isinstance(error, OSError) else error
            complain(f"{printable(path)}: not copied: {reason}")
            failed += 1
    say(f"{printable(output)}: {copied} file{'' if copied == 1 else 's'} copied back")
    if left:
        complain(f"{few(left)}: not copied, since tracked files are not overwritten")
    return not left and not failed


def _tracked_at(folder: str) -> frozenset[str]:
    """The names in a folder (without links on the way) that its repository tracks. Raises HooksError.

    A folder that is not there yet has none. In one of a submodule that is not checked out nothing may be put.
    """
    above = folder
    while not os.path.isdir(above) and os.path.dirname(above) != above:
        above = os.path.dirname(above)
    try:
        repository = discover(above)
    except NotARepositoryError:
        return frozenset()
    except BareRepositoryError:
        raise GitError(folder, "inside a git directory", fix="name another folder") from None
    below = os.path.relpath(folder, repository.worktree).replace(os.sep, "/")
    parts = [] if below == os.curdir else below.split("/")
    places = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    words = ("--literal-pathspecs", "ls-files", "-z", "--stage", "--", *places[:1])
    done = process.run(*words, cwd=repository.worktree, strict=True).checked()
    names = set()
    for record in os.fsdecode(done).split("\0")[:-1]:
        facts, _, path = record.partition("\t")
        if facts.startswith("160000 ") and path in places:
            raise GitError(path, "a submodule that is not checked out", fix="git submodule update --init")
        where, _, name = path.rpartition("/")
        if where == "/".join(parts):
            names.add(name)
    return frozenset(names)


def _counted(paths: Sequence[str], inside: Repository) -> str:
    """How many files there are, by the folders that hold nothing but such: `3 ...: results/ (2), a.csv`."""
    known = {""}
    for name in _listed(inside.worktree, "ls-files"):
        while (name := name.rpartition("/")[0]) not in known:
            known.add(name)
    groups: dict[str, int] = {}
    for path in paths:
        ends = (at for at, character in enumerate(path) if character == "/")
        folder = next((path[:end] for end in ends if path[:end] not in known), None)
        shown = f"{folder}/" if folder is not None else path
        groups[shown] = groups.get(shown, 0) + 1
    names = [f"{name} ({count})" if name.endswith("/") else name for name, count in groups.items()]
    return f"{len(paths)} new or changed file{'' if len(paths) == 1 else 's'}: {few(names, most=_NAMED)}"


def _same_bytes(one: str, other: str) -> bool:
    try:
        if os.path.islink(one) or os.path.islink(other):
            return os.readlink(one) == os.readlink(other)
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False


def _copy(source: str, target: str, inside: str, home: str) -> None:
    """Copy a file, or a symbolic link as such: written beside the old one, then in its place.

    A link that leads into the temporary worktree is made to lead to the same place in the user's own.
    """
    os.makedirs(os.path.dirname(target), exist_ok=True)
    beside = os.path.join(os.path.dirname(target), f".{new_id()}")
    try:
        if os.path.islink(source) and (leads := os.readlink(source)).startswith(inside + os.sep):
            os.symlink(home + leads[len(inside) :], beside)
        elif os.path.islink(source) or os.path.isfile(source):
            shutil.copy2(source, beside, follow_symlinks=False)
        else:
            raise OSError(0, "neither a file nor a symbolic link")
        os.replace(beside, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
