"""What a command has made in a temporary worktree: copied back into the user's own where it was asked for.

Nothing that is there is overwritten, tracked or not: what differs stays in the temporary worktree.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Sequence

from deriva_ml_hooks.errors import BareRepositoryError, GitError, HooksError, NotARepositoryError, UsageError
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.report import few, printable
from deriva_ml_hooks.runner.output_paths import leaving_link
from deriva_ml_hooks.runner.recording import Say
from deriva_ml_hooks.runner.results import listed, made, named, submodules
from deriva_ml_hooks.untracked import folders_above, is_left_by_tools

_NAMED = 5
_PASTED = 20
"""Files that a command spells out."""

Ask = Callable[[str], bool]
"""Tells the user of what would go, and gives whether it is to be kept."""


def below_top(path: str, top: str) -> str:
    """A path or glob of `--output`, as it is named from the current folder, from the `top` of the repository.

    Raises UsageError for one that is not below it.
    """
    inside = os.path.relpath(os.path.join(os.path.realpath(os.curdir), path), top)
    if {os.curdir, os.pardir, ".git"} & {*inside.split(os.sep)}:
        raise UsageError(
            f"--output {path}: not a folder or file below the top of the repository",
            fix="name it relative to the folder that you are in, such as --output results",
        )
    return inside.replace(os.sep, "/")


def make_folders(
    words: Sequence[str], cwd: str, outputs: Sequence[str], inside: Repository, home: Repository
) -> None:
    """Make the folders that the command may write into, empty, as the user's own worktree has them.

    That is what a relative path in `words` is in, as seen from the folder `cwd`, and those of `outputs`.
    """
    parts = [part for word in words for part in (word, word.partition("=")[2]) if part]
    above = [os.path.dirname(os.path.join(cwd, part)) for part in parts if not os.path.isabs(part)]
    for path in map(os.path.normpath, (*outputs, *above)):
        double = os.path.join(inside.worktree, path)
        if os.path.lexists(double) or not os.path.isdir(os.path.join(home.worktree, path)):
            continue
        if os.path.realpath(double).startswith(inside.worktree + os.sep):  # not by a link of the commit
            os.makedirs(double, exist_ok=True)


def tell_of_ignored(
    outputs: Sequence[str], inside: Repository, home: Repository, fix: str, complain: Say
) -> None:
    """Name what git ignores in the user's own worktree, so that a command that failed may have missed it."""
    with contextlib.suppress(HooksError):
        words = ("--others", "--ignored", "--exclude-standard", "--directory")
        absent = [
            path
            for path in listed(home.worktree, "ls-files", *words)
            if not is_left_by_tools(path)
            and not any(named(output)(path.rstrip("/")) for output in outputs)
            and not _has_files(os.path.join(inside.worktree, path))
        ]
        if absent:
            absent.sort(key=lambda path: not path.endswith("/"))
            complain(f"ignored by git, so not in the temporary worktree: {few(absent, most=_NAMED)}")
            complain(f"fix: {fix}")


def _has_files(path: str) -> bool:
    return any(os.scandir(path)) if os.path.isdir(path) else os.path.lexists(path)


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
    is told of what nobody asked for, says so. `commit` is the one that ran.
    """
    try:
        found = [*made(inside.worktree, commit)]
        closed = [os.path.join(home.worktree, path) for path, _ in submodules(home.worktree)]
    except HooksError as error:  # the command may have broken its repository
        complain(f"what was made cannot be told: {error}")
        return False
    closed = [folder for folder in closed if not os.path.lexists(os.path.join(folder, ".git"))]
    left = {path for path in found if not is_left_by_tools(path)}
    whole, nothing = True, not left
    for output in outputs:
        paths = [*filter(named(output), found)]
        left.difference_update(paths)
        if paths:
            whole &= _copied(output, paths, closed, inside.worktree, home.worktree, say, complain)
        else:
            complain(f"{printable(output)}: the run has made nothing of it, so nothing was copied")
            whole &= nothing
    if left and whole:
        told = f"not asked for by --output: {_counted(sorted(left), inside)}"
        if keeps(told):
            return False
        complain(f"{told}; removed with the temporary worktree")
    return whole


def _copied(
    output: str, paths: Sequence[str], closed: Sequence[str], inside: str, home: str, say: Say, complain: Say
) -> bool:
    there, failed = [], 0
    for path in paths:
        try:
            target = _allowed(os.path.join(home, path), closed)
            if not _copy(os.path.join(inside, path), target, inside, home):
                there.append(path)
        except (OSError, HooksError) as error:
            reason = (error.strerror or error) if isinstance(error, OSError) else error
            complain(f"{printable(path)}: not copied: {reason}")
            failed += 1
    copied = len(paths) - len(there) - failed
    say(f"{printable(output)}: {copied} file{'' if copied == 1 else 's'} copied back")
    if there:
        yours = "yours is another" if len(there) == 1 else "yours are others"
        complain(f"{few(there)}: not copied, since {yours}, and would be lost")
    if 0 < len(there) <= _PASTED:
        packed = shlex.join(["tar", "-C", inside, "-cf", "-", "--", *there])
        complain(f"fix: {packed} | tar -C {shlex.quote(home)} -xf -")
    return not there and not failed


def _allowed(target: str, closed: Sequence[str]) -> str:
    """Where `target` is without links on the way. Raises GitError where nothing may be put."""
    if (link := leaving_link(target)) is not None:
        raise GitError(link, "a link of the repository that leads out of it", fix="name another folder")
    folder, name = os.path.split(target)
    folder = above = os.path.realpath(folder)
    for submodule in closed:
        if f"{folder}/".startswith(f"{submodule}/"):
            raise GitError(
                submodule, "a submodule that is not checked out", fix="git submodule update --init"
            )
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    try:
        measured(above)
    except BareRepositoryError:
        raise GitError(folder, "inside a git directory", fix="name another folder") from None
    except NotARepositoryError:
        pass
    return os.path.join(folder, name)


def _copy(source: str, target: str, inside: str, home: str) -> bool:
    """Copy a file, or a symbolic link as such; whether it is there now: another one is never replaced.

    A link that leads into the temporary worktree is made to lead to the same place in the user's own.
    """
    leads = os.readlink(source) if os.path.islink(source) else None
    if leads is not None and leads.startswith(inside + os.sep):
        leads = home + leads[len(inside) :]
    if leads is None and not os.path.isfile(source):
        raise OSError(0, "neither a file nor a symbolic link")
    if os.path.islink(target):
        return os.readlink(target) == leads
    if os.path.lexists(target):
        return leads is None and os.path.isfile(target) and filecmp.cmp(source, target, shallow=False)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    beside = os.path.join(os.path.dirname(target), f".{new_id()}")
    try:
        if leads is None:
            shutil.copy2(source, beside)
        else:
            os.symlink(leads, beside)
        if os.path.lexists(target):  # made meanwhile
            return False
        os.replace(beside, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
    return True


def _counted(paths: Sequence[str], inside: Repository) -> str:
    """How many files there are, by the folders that hold nothing but such: `3 ...: results/ (2), a.csv`."""
    known = {folder for name in listed(inside.worktree, "ls-files") for folder in folders_above(name)}
    groups = Counter(
        next((f"{folder}/" for folder in folders_above(path) if folder not in known), path) for path in paths
    )
    names = [f"{name} ({count})" if name.endswith("/") else name for name, count in groups.items()]
    return f"{len(paths)} new or changed file{'' if len(paths) == 1 else 's'}: {few(names, most=_NAMED)}"
