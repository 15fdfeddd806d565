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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import process, sparse
from deriva_ml_hooks.git.content import GITLINK, SYMLINK, Entry, candid_settings, differing
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.repository import Repository

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
_LS_FILES = ("ls-files", "-z", "-v", "--stage", "--others", "--exclude-standard")

_PLAIN = (b"H 100644 ", b"H 100755 ", b"H 120000 ")
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
    """What a worktree was found to be: the commit HEAD named meanwhile, and the differences from it."""

    head: str | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """`git status --porcelain=v2`, parsed: settled changes, and files to be hashed before they count."""

    head: str | None
    changes: tuple[Change, ...]
    suspects: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """`git ls-files -v --stage --others`, parsed: what `git status` is not asked, or would not say."""

    untracked: tuple[str, ...]
    assumed: tuple[Entry, ...]
    skipped: tuple[Entry, ...]
    submodules: tuple[Entry, ...]


def measure(repository: Repository, *, paranoid: bool = False) -> Measurement:
    """Everything in which the worktree of `repository` differs from HEAD's commit.

    `paranoid` rehashes every tracked file instead of trusting size and time stamps. Raises GitError
    where git, or what it reads, cannot answer in full, and GitMissingError without a git program.
    """
    settings = candid_settings(repository)
    where = repository.worktree
    with (
        process.start(*settings, *_LS_FILES, cwd=where, strict=True) as listing_process,
        process.start(*settings, *_STATUS, cwd=where, strict=True) as status_process,
    ):
        status = parse_status(_answer(status_process, where))
        listing = parse_listing(_answer(listing_process, where))

    changes = list(status.changes)
    changed, complaint = differing(repository, status.suspects, settings)
    changes += [Change("unstaged", entry.path, "changed since the commit, not staged") for entry in changed]
    changes += [Change("git-error", None, complaint)] if complaint else []
    changes += [Change("untracked", path, "not tracked by git, not ignored") for path in listing.untracked]
    changes += _hidden(repository, listing, settings)
    if paranoid and status.head is not None:
        known = {change.path for change in changes}
        absent = {entry.path for entry in listing.skipped}
        changes += [c for c in _rehashed(repository, settings, absent) if c.path not in known]
    for entry in listing.submodules:
        inside = list(_submodule(repository, entry, paranoid))
        if inside:  # says more than git's summary of the same submodule
            changes = [c for c in changes if (c.code, c.path) != ("submodule", entry.path)] + inside
    operation = repository.operation()
    if operation is not None:
        changes.append(Change("operation-in-progress", None, operation))
    return Measurement(status.head, tuple(changes))


def _answer(running: process.Running, folder: str) -> bytes:
    done = running.finish()
    if "dubious ownership" in done.said or "unsafe repository" in done.said:
        raise ForeignOwnerError(folder)
    complaints = [line for line in done.said.splitlines() if not _HARMLESS.match(line)]
    if done.returncode or any(line.startswith(("error:", "fatal:", "warning:")) for line in complaints):
        raise GitError(folder, "; ".join(complaints) or f"git ended with {done.returncode} and said nothing")
    return done.stdout


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


def parse_listing(data: bytes) -> Listing:
    """`git ls-files -z -v --stage --others` (git-ls-files(1)): the tag tells flags, the mode tells kind."""
    untracked: list[str] = []
    assumed: list[Entry] = []
    skipped: list[Entry] = []
    submodules: list[Entry] = []
    for record in data.split(b"\0"):
        if not record or record.startswith(_PLAIN):
            continue
        tag, rest = record[:1], record[2:]
        if tag == b"?":
            untracked.append(os.fsdecode(rest))
            continue
        facts, _, path = rest.partition(b"\t")
        mode, oid, stage = facts.split(b" ")
        entry = Entry(os.fsdecode(path), int(mode, 8), oid.decode("ascii"))
        if stage != b"0":
            continue
        if entry.mode == GITLINK:
            submodules.append(entry)
        elif tag in b"Ss":
            skipped.append(entry)
        elif tag == b"h":
            assumed.append(entry)
    return Listing(tuple(untracked), tuple(assumed), tuple(skipped), tuple(submodules))


def _hidden(repository: Repository, listing: Listing, settings: Sequence[str]) -> Iterator[Change]:
    """Files that the index tells git not to look at, where there is something to see.

    A skip-worktree file outside the sparse patterns is just absent (git-sparse-checkout(1)).
    """
    wanted = sparse.wanted(repository) if listing.skipped else None
    expected = [
        entry
        for entry in listing.skipped
        if os.path.lexists(os.path.join(repository.worktree, entry.path)) or (wanted and wanted(entry.path))
    ]
    changed, complaint = differing(repository, [*listing.assumed, *expected], settings)
    skipped = set(expected)
    for entry in changed:
        flag = "skip-worktree" if entry in skipped else "assume-unchanged"
        yield Change("hidden-change", entry.path, f"changed or gone, and hidden by the index flag {flag}")
    if complaint:
        yield Change("git-error", None, complaint)


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


def _submodule(repository: Repository, entry: Entry, paranoid: bool) -> Iterator[Change]:
    """What a submodule hides: its own settings and flags are its own, so it is measured by itself."""
    folder = os.path.join(repository.worktree, entry.path)
    if os.path.islink(folder) or os.path.isfile(folder):
        yield Change("submodule", entry.path, "something else stands in the place of the submodule")
        return
    if not os.path.lexists(os.path.join(folder, ".git")):
        if os.path.isdir(folder) and os.listdir(folder):
            yield Change(
                "submodule", entry.path, "submodule not checked out, yet there are files in its folder"
            )
        return
    try:
        found = discover(folder)
        if found.worktree != os.path.realpath(folder):
            raise GitError(folder, "its .git is not a git directory", fix="git submodule update --init")
        inside = measure(found, paranoid=paranoid)
    except ForeignOwnerError:
        raise
    except HooksError as error:
        yield Change("git-error", entry.path, f"the submodule cannot be measured: {error}")
        return
    if inside.head != entry.oid:
        yield Change("submodule", entry.path, "submodule at another commit than the one recorded")
    for change in inside.changes:
        path = entry.path if change.path is None else f"{entry.path}/{change.path}"
        yield replace(change, code="submodule", path=path)
