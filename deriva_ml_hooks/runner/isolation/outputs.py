"""What a command has made in a temporary worktree, copied back into the user's own."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.report import few, printable
from deriva_ml_hooks.runner.recorded import Say


def below_top(path: str) -> str:
    """A path of `--output`, relative to the repository; raises UsageError for any other."""
    plain = os.path.normpath(path)
    parts = plain.split(os.sep)
    if os.path.isabs(plain) or plain == os.curdir or os.pardir in parts or ".git" in parts:
        raise UsageError(
            f"--output {path}: not a folder or file below the top of the repository",
            fix="name it relative to the top of the repository, such as --output results",
        )
    return plain


def bring_back(path: str, inside: Repository, home: Repository, say: Say, complain: Say) -> bool:
    """Copy what the command has made at `path` into the user's own worktree, say how much, and whether all.

    What is tracked stays as it is there. Other files are replaced, each at once.
    """
    source = os.path.join(inside.worktree, path)
    if not os.path.lexists(source):
        complain(f"{printable(path)}: not there after the run, so nothing was copied")
        return True
    tracked = _listed(inside, "ls-files", path) | _listed(home, "ls-files", path)
    untouched = _listed(inside, "ls-files", path) - _listed(inside, "diff", path)
    copied, left, failed = 0, [], 0
    for file in _files(source):
        name = os.path.relpath(file, inside.worktree)
        if name in tracked:
            if name not in untouched and not _same_bytes(file, os.path.join(home.worktree, name)):
                left.append(name)
            continue
        try:
            _copy(file, os.path.join(home.worktree, name))
            copied += 1
        except OSError as error:
            complain(f"{printable(name)}: not copied: {error.strerror or error}")
            failed += 1
    say(f"{printable(path)}: {copied} file{'' if copied == 1 else 's'} copied back")
    if left:
        complain(f"{few(left)}: not copied, since tracked files are not overwritten")
    return not left and not failed


def _listed(repository: Repository, command: str, path: str) -> set[str]:
    """The tracked files below `path`: all of them (ls-files), or those that were changed (diff)."""
    words = (
        ("ls-files", "-z")
        if command == "ls-files"
        else ("diff", "--name-only", "--no-ext-diff", "-z", "HEAD")
    )
    done = process.run("--literal-pathspecs", *words, "--", path, cwd=repository.worktree, strict=True)
    return set(os.fsdecode(done.checked()).split("\0")) - {""}


def _files(path: str) -> Iterator[str]:
    """The files and symbolic links at `path`; repositories that a command has made there stay behind."""
    if os.path.islink(path) or not os.path.isdir(path):
        yield path
        return
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name != ".git":
            yield from _files(entry.path)


def _same_bytes(one: str, other: str) -> bool:
    try:
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False


def _copy(source: str, target: str) -> None:
    """Copy a file, or a symbolic link as such: written beside the old one, then in its place."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    beside = os.path.join(os.path.dirname(target), f".{new_id()}")
    try:
        if not os.path.islink(source) and not os.path.isfile(source):
            raise OSError(0, "neither a file nor a symbolic link")
        shutil.copy2(source, beside, follow_symlinks=False)
        os.replace(beside, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
