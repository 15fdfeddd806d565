"""Measures a worktree: everything in which it differs from its commit, whatever git is told to overlook.

Two git processes side by side answer for a worktree: `status` for what is tracked, `ls-files` for
what is untracked, flagged or a submodule. Nothing is taken from an earlier measurement, the index is
not written and no lock is taken. The parsers are pure functions of bytes.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import process, sparse
from deriva_ml_hooks.git.content import SYMLINK, Entry, candid_settings, differing
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.filters import hiding
from deriva_ml_hooks.git.index import LS_FILES, Listing, parse_listing
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.traces import Traces, newest_move, stamped
from deriva_ml_hooks.git.unseen import EXCLUDED, OUTSIDE, unseen

_STATUS = (
    "status",
    "--porcelain=v2",
    "-z",
    "--branch",
    "--no-ahead-behind",
    "--no-renames",
    "--untracked-files=no",  # ls-files lists them, meanwhile
    "--ignore-submodules=none",
)
# A filter that is not required may fail: git then compares the unfiltered bytes, which can only refuse.
_HARMLESS = re.compile(
    r"warning: (?!could not open)|error: (external filter|cannot (run|spawn|fork|exec))|hint: "
)


class ForeignOwnerError(GitError):
    """git refuses a repository that another user owns (git-config(1), safe.directory)."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"{folder}: owned by another user, so git does not read it",
            fix=f"if you trust it: git config --global --add safe.directory {shlex.quote(folder)}",
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between a worktree and its commit; `code` as in the gate's reasons."""

    code: str
    path: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a worktree was found to be: the commit HEAD named meanwhile, and the differences from it.

    `traces`: what an edit of a tracked file, or a move of HEAD, alters for good.
    """

    head: str | None
    changes: tuple[Change, ...]
    traces: Traces | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """`git status --porcelain=v2`, parsed: settled changes, and files to be hashed before they count."""

    head: str | None
    changes: tuple[Change, ...]
    suspects: tuple[Entry, ...]


def measure(repository: Repository, *, paranoid: bool = False) -> Measurement:
    """Everything in which the worktree of `repository` differs from HEAD's commit.

    `paranoid` rehashes every tracked file instead of trusting size and time stamps. Raises GitError
    where git, or what it reads, cannot answer in full, and GitMissingError without a git program.
    """
    settings = candid_settings(repository)
    where = repository.worktree
    newest = newest_move(repository)
    with (
        process.start(*settings, *LS_FILES, cwd=where, strict=True) as listing_process,
        process.start(*settings, *_STATUS, cwd=where, strict=True) as status_process,
    ):
        listing = parse_listing(_answer(listing_process, where))
        stamps, unsure = stamped(where, listing.entries)
        status = parse_status(_answer(status_process, where))

    changes = list(status.changes)
    changed, complaint = differing(repository, dict.fromkeys([*status.suspects, *unsure]), settings)
    known = {change.path for change in changes if change.code == "unstaged"}
    changes += [
        Change("unstaged", entry.path, "changed since the commit, not staged")
        for entry in changed
        if entry.path not in known
    ]
    changes += [Change("git-error", None, complaint)] if complaint else []
    changes += [Change("untracked", path, "not tracked by git, not ignored") for path in listing.untracked]
    changes += _hidden(repository, listing, settings)
    if status.head is not None:
        changes = _with_new(changes, _staged(repository, status.head, listing))
        if paranoid:
            absent = {entry.path for entry in listing.flagged(b"Ss")}
            changes = _with_new(changes, _rehashed(repository, settings, absent))
        changes = _with_new(changes, _filtered(repository, listing, settings))
        changes += [Change(*found) for found in unseen(repository, listing, settings)]
    for entry in listing.submodules:
        inside, within = _submodule(repository, entry, paranoid)
        if inside:  # says more than git's summary of the same submodule
            changes = [c for c in changes if (c.code, c.path) != ("submodule", entry.path)] + inside
        if within is not None:
            top = os.fsencode(entry.path) + b"/"
            stamps |= {top + path: stamp for path, stamp in within.stamps.items()}
    operation = repository.operation()
    if operation is not None:
        changes.append(Change("operation-in-progress", None, operation))
    return Measurement(status.head, tuple(changes), Traces(stamps, newest))


def _with_new(changes: list[Change], more: Iterable[Change]) -> list[Change]:
    """`changes`, and those of `more` that are of other paths."""
    known = {change.path for change in changes if change.path is not None}
    return changes + [change for change in more if change.path not in known]


def _answer(running: process.Running, folder: str) -> bytes:
    done = running.finish()
    if "dubious ownership" in done.said or "unsafe repository" in done.said:
        raise ForeignOwnerError(folder)
    complaints = [line for line in done.said.splitlines() if not _HARMLESS.match(line)]
    if done.returncode or any(line.startswith(("error:", "fatal:", "warning:")) for line in complaints):
        raise GitError(folder, "; ".join(complaints) or f"exit {done.returncode}, and not a word")
    return done.stdout


@process.answer("status")
def parse_status(data: bytes) -> Status:
    """`git status --porcelain=v2 -z --branch` (git-status(1), Porcelain Format Version 2)."""
    head = None
    changes: list[Change] = []
    suspects: list[Entry] = []
    records = iter(data.split(b"\0"))
    for record in records:
        kind, _, rest = record.partition(b" ")
        if kind == b"#":
            name, _, value = rest.partition(b" ")
            if name == b"branch.oid" and value != b"(initial)":
                head = value.decode("ascii")
        elif kind in (b"1", b"2"):
            fields = rest.split(b" ", 7 if kind == b"1" else 8)
            if kind == b"2":
                next(records, None)  # the path it was renamed from
            path = os.fsdecode(fields[-1])
            staged, unstaged = chr(fields[0][0]), chr(fields[0][1])
            if staged != ".":
                changes.append(
                    Change("staged", path, f"{_VERBS.get(staged, 'changed')} and staged, not committed")
                )
            if fields[1][:1] == b"S" and unstaged != ".":
                changes.append(Change("submodule", path, _submodule_detail(fields[1])))
            elif unstaged == "M" and fields[3] == fields[4] and int(fields[3], 8) != SYMLINK:
                suspects.append(Entry(path, int(fields[3], 8), fields[6].decode("ascii")))
            elif unstaged != ".":
                verb = "made executable or not" if unstaged == "M" else _VERBS.get(unstaged, "changed")
                changes.append(Change("unstaged", path, f"{verb} since the commit, not staged"))
        elif kind == b"u":
            path = os.fsdecode(rest.split(b" ", 9)[-1])
            changes.append(Change("unmerged", path, "in conflict"))
        elif record and kind not in (b"?", b"!"):
            raise GitError("git status", f"answered in a form that is not known: {record[:40]!r}")
    return Status(head, tuple(changes), tuple(suspects))


_VERBS = {"A": "added", "D": "deleted", "M": "changed", "T": "changed in type", "R": "renamed", "C": "copied"}


def _submodule_detail(field: bytes) -> str:
    words = [
        (b"C", "at another commit than the one recorded"),
        (b"M", "changed inside"),
        (b"U", "with untracked files inside"),
    ]
    return "submodule " + (" and ".join(w for letter, w in words if letter in field[1:]) or "changed")


def _hidden(repository: Repository, listing: Listing, settings: Sequence[str]) -> Iterator[Change]:
    """Files that the index tells git not to look at, where there is something to see.

    A skip-worktree file outside the sparse patterns is just absent (git-sparse-checkout(1)).
    """
    skipped = listing.flagged(b"Ss")
    wanted = sparse.wanted(repository) if skipped else None
    expected = [
        entry
        for entry in skipped
        if os.path.lexists(os.path.join(repository.worktree, entry.path)) or (wanted and wanted(entry.path))
    ]
    changed, complaint = differing(repository, [*listing.flagged(b"h"), *expected], settings)
    for entry in changed:
        flag = "skip-worktree" if entry in expected else "assume-unchanged"
        yield Change("hidden-change", entry.path, f"changed or gone, and hidden by the index flag {flag}")
    if complaint:
        yield Change("git-error", None, complaint)


def _staged(repository: Repository, head: str, listing: Listing) -> Iterator[Change]:
    """Where the index differs from HEAD's tree, whatever it remembers of trees: git believes that."""
    if listing.tree == repository.commit(head.encode("ascii")).tree.decode("ascii"):
        return
    done = repository.git("ls-tree", "-r", "-z", "--full-tree", head)
    with process.answer("ls-tree"):
        lines = [line.partition(b"\t") for line in done.checked().split(b"\0") if line]
        committed = {path: tuple(facts.split(b" ")[::2]) for facts, _, path in lines}
    staged = {path: (mode, oid) for _, mode, oid, path, _ in listing.entries}
    for path in sorted(committed.keys() | staged.keys()):
        if committed.get(path) != staged.get(path):
            yield Change("staged", os.fsdecode(path), "changed and staged, not committed")


def _filtered(repository: Repository, listing: Listing, settings: Sequence[str]) -> Iterator[Change]:
    for path, attributes in hiding(repository, listing, settings):
        hidden = f"differs from the commit, hidden by what the commit does not name: {attributes}"
        yield Change("foreign-filter", path, hidden)


def _rehashed(repository: Repository, settings: Sequence[str], absent: set[str]) -> Iterator[Change]:
    """What differs from HEAD by content alone: `status` on an index that remembers no time stamps."""
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as folder:
        env = process.environment() | {"GIT_INDEX_FILE": os.path.join(folder, "index")}
        fresh = (*settings, "-c", "core.splitIndex=false", "-c", "index.sparse=false")
        where = repository.worktree
        process.run(*fresh, "read-tree", "HEAD", cwd=where, env=env).checked()
        running = process.start(*fresh, *_STATUS, cwd=where, env=env, strict=True)
        status = parse_status(_answer(running, where))
    for change in status.changes:
        if change.path not in absent:
            yield change
    for entry in status.suspects:
        yield Change("unstaged", entry.path, "changed since the commit, though size and time look the same")


def _submodule(repository: Repository, entry: Entry, paranoid: bool) -> tuple[list[Change], Traces | None]:
    """What a submodule hides: its own settings and flags are its own, so it is measured by itself."""
    folder = os.path.join(repository.worktree, entry.path)
    if os.path.islink(folder) or os.path.isfile(folder):
        return _told("submodule", entry.path, "something else stands in the place of the submodule")
    if not os.path.lexists(os.path.join(folder, ".git")):
        if os.path.isdir(folder) and os.listdir(folder):
            problem = "submodule not checked out, yet there are files in its folder"
            return _told("submodule", entry.path, problem)
        return [], None
    try:
        found = measured(folder)
        if found.worktree != os.path.realpath(folder):
            raise GitError(folder, "its .git is not a git directory", fix="git submodule update --init")
        inside = measure(found, paranoid=paranoid)
    except ForeignOwnerError:
        raise
    except HooksError as error:
        return _told("git-error", entry.path, f"the submodule cannot be measured: {error}")
    changes: list[Change] = []
    if inside.head != entry.oid:
        changes.append(Change("submodule", entry.path, "submodule at another commit than the one recorded"))
    for change in inside.changes:
        path = entry.path if change.path is None else f"{entry.path}/{change.path}"
        code = change.code if change.code in (EXCLUDED, OUTSIDE) else "submodule"
        changes.append(replace(change, code=code, path=path))
    return changes, inside.traces


def _told(code: str, path: str, detail: str) -> tuple[list[Change], None]:
    return [Change(code, path, detail)], None
