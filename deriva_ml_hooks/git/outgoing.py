"""What a push brings: the blobs behind its ref updates that the remote does not have.

git weighs them as it walks, so a first push of a long history takes about as long as git needs to walk it.
Must never weigh what the remote has, nor overlook a blob that was added and removed again: it is sent all
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from deriva_ml_hooks.git.objects import Object, look_up, missing
from deriva_ml_hooks.git.process import answer, piped
from deriva_ml_hooks.git.pushes import RefUpdate, is_zero
from deriva_ml_hooks.git.repository import Repository


class Sent(NamedTuple):
    """A blob that a push brings: the first commit that has it (None: a tag leads to it), and its path there.

    A path is as rev-list has it, up to a line break. None where a tag itself leads to the blob.
    """

    commit: str | None
    path: bytes | None
    oid: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent, and what is there: all commits behind `tips` but not behind `known` or `tracking`.

    `tips` and `known` are commits, `loose` the trees and blobs that a tag leads to, `tracking` patterns of
    remote-tracking refs.
    """

    tips: tuple[str, ...]
    known: tuple[str, ...]
    tracking: tuple[str, ...]
    loose: tuple[str, ...] = ()


def outgoing(
    repository: Repository, updates: Sequence[RefUpdate], remote: str | None, url: str = ""
) -> Outgoing:
    """What `updates` send to the remote named `remote` (None: only the old oids say what is there).

    A push to a URL counts for the remotes that are configured with it. An old oid that is not here (a
    force push over work never fetched) tells nothing. Raises GitError where what is sent is missing.
    """
    sent = [update for update in updates if not update.is_deletion]
    old = [update.remote_oid for update in sent if not is_zero(update.remote_oid)]
    found = look_up(repository, [f"{oid}^{{}}" for oid in (*(update.local_oid for update in sent), *old)])
    tips: dict[Object, None] = {}
    for update, tip in zip(sent, found, strict=False):
        if tip is None:
            raise missing(update.local_oid)
        tips[tip] = None
    known = [each.oid for each in found[len(sent) :] if each is not None and each.kind == "commit"]
    return Outgoing(
        tips=tuple(tip.oid for tip in tips if tip.kind == "commit"),
        loose=tuple(tip.oid for tip in tips if tip.kind != "commit"),
        known=tuple(dict.fromkeys(known)),
        tracking=_tracking(repository, remote, url) if remote else (),
    )


def _tracking(repository: Repository, remote: str, url: str) -> tuple[str, ...]:
    if remote != url:
        return (remote,)
    urls = repository.values("remote", "url") + repository.values("remote", "pushUrl")
    return tuple(dict.fromkeys(name for name, value in urls if value == url))


def new_blobs(
    repository: Repository, out: Outgoing, limit: int, named: Callable[[bytes], bool] | None = None
) -> list[Sent]:
    """The blobs over `limit` bytes that `out` brings, and those at a path that `named` takes, oldest first.

    Each comes once, also where a later commit takes it away again.
    """
    found: dict[bytes, Sent] = {}
    for tips in (out.tips, out.loose):
        for one in _weighed(repository, out, tips, limit, named or (lambda path: False)) if tips else ():
            found.setdefault(one.oid, one)
    there = already_there(repository, out, found)
    return [one for oid, one in found.items() if oid not in there]


# What a partial clone has left with the remote is there, and must not be fetched to find out.
_OBJECTS = ("rev-list", "--objects", "--missing=allow-promisor")


def _weighed(
    repository: Repository, out: Outgoing, tips: Sequence[str], limit: int, named: Callable[[bytes], bool]
) -> Iterator[Sent]:
    """As `new_blobs`, from `tips` on, and with what the remote has elsewhere than at its own tips."""
    there = ("--not", *(f"--remotes={name}" for name in out.tracking), "--not", "--stdin")
    walk = (*_OBJECTS, "--in-commit-order", "--topo-order", "--reverse", *there)
    form = "--batch-check=%(objecttype) %(objectsize) %(objectname) %(rest)"
    stdin = "".join(f"{line}\n" for line in (*tips, *(f"^{oid}" for oid in out.known))).encode("ascii")
    commit = None
    with (
        piped(
            walk, ("cat-file", form, "--buffer"), cwd=repository.worktree, env=repository.env, stdin=stdin
        ) as lines,
        answer("cat-file"),
    ):
        for line in lines:
            kind, size, oid, path = line[:-1].split(b" ", 3)
            if kind == b"commit":
                commit = oid.decode("ascii")
            elif kind == b"blob" and (int(size) > limit or named(path)):
                yield Sent(commit, path or None, oid, int(size))


def already_there(repository: Repository, out: Outgoing, oids: Collection[bytes]) -> set[bytes]:
    """Those of `oids` that the remote has, whatever commit or path it has them by."""
    held: set[bytes] = set()
    if not oids or not (out.known or out.tracking):
        return held
    command = [*_OBJECTS, *(f"--remotes={name}" for name in out.tracking), "--stdin"]
    known = "".join(f"{oid}\n" for oid in out.known).encode("ascii")
    with piped(command, cwd=repository.worktree, env=repository.env, stdin=known) as lines:
        for line in lines:
            oid = line.rstrip(b"\n").partition(b" ")[0]
            if oid in oids:
                held.add(oid)
                if len(held) == len(oids):
                    break
    return held
