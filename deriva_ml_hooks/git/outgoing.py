"""What a push brings: the blobs behind its ref updates that the remote does not have.

git weighs them as it walks, so a first push of a long history takes about as long as git needs to walk it.
Must never weigh what the remote has, nor overlook a blob that was added and removed again: it is sent all
the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, NamedTuple

from deriva_ml_hooks.git.blobs import ABSENT, GITLINK, Place, missing, sizes
from deriva_ml_hooks.git.process import answer, piped
from deriva_ml_hooks.git.pushes import RefUpdate, is_zero


class Sent(NamedTuple):
    """A blob that a push brings: the commit that adds it (None: a tag leads to it) and its path there."""

    commit: str | None
    path: bytes | None
    oid: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent, and what is there: all commits behind `tips` but not behind `known` or `tracking`.

    `tips` and `known` are commits (a tip may be a tree or a blob that a tag leads to), `tracking` patterns
    of remote-tracking refs.
    """

    tips: tuple[str, ...]
    known: tuple[str, ...]
    tracking: tuple[str, ...]

    def arguments(self) -> list[str]:
        """Words for git-rev-list(1), to go with `stdin`."""
        return ["--not", *(f"--remotes={name}" for name in self.tracking), "--not", "--stdin"]

    def stdin(self, *, negated: bool = False) -> bytes:
        """The commits for `git rev-list --stdin`; with `negated` only those that are there."""
        lines = list(self.known) if negated else [*self.tips, *(f"^{oid}" for oid in self.known)]
        return "".join(f"{line}\n" for line in lines).encode("ascii")


@answer("cat-file")
def outgoing(place: Place, updates: Sequence[RefUpdate], remote: str | None, url: str = "") -> Outgoing:
    """What `updates` send to the remote named `remote` (None: only the old oids say what is there).

    A push to a URL counts for the remotes that are configured with it. An old oid that is not here (a
    force push over work never fetched) tells nothing. Raises GitError where what is sent is missing.
    """
    sent = [update for update in updates if not update.is_deletion]
    old = [update.remote_oid for update in sent if not is_zero(update.remote_oid)]
    names = [update.local_oid for update in sent] + old
    stdin = "".join(f"{name}^{{}}\n" for name in names).encode("ascii")
    answer = place.git("cat-file", "--batch-check=%(objecttype) %(objectname)", stdin=stdin).checked()
    objects = [(kind, oid) for kind, _, oid in (line.partition(" ") for line in answer.decode().splitlines())]
    if len(objects) != len(names):
        raise ValueError("not one answer for each question")
    for name, (kind, _) in zip(names, objects[: len(sent)], strict=False):
        if kind not in _KINDS:
            raise missing(name.encode("ascii"))
    return Outgoing(
        tips=tuple(dict.fromkeys(oid for _, oid in objects[: len(sent)])),
        known=tuple(dict.fromkeys(oid for kind, oid in objects[len(sent) :] if kind == "commit")),
        tracking=_tracking(place, remote, url) if remote else (),
    )


_KINDS = ("commit", "tree", "blob")


def _tracking(place: Place, remote: str, url: str) -> tuple[str, ...]:
    if remote != url:
        return (remote,)
    done = place.git("config", "--null", "--get-regexp", r"^remote\..*\.(push)?url$")
    pairs = [os.fsdecode(entry).partition("\n") for entry in done.stdout.split(b"\0")]
    return tuple({key[len("remote.") :].rpartition(".")[0]: None for key, _, value in pairs if value == url})


def new_blobs(
    place: Place, out: Outgoing, limit: int, named: Callable[[bytes], bool] | None = None
) -> list[Sent]:
    """The blobs over `limit` bytes that `out` brings, and all at a path that `named` takes, newest first.

    A blob comes once for each commit and path that adds it, also where a later commit takes it away again.
    """
    is_named = named or (lambda path: False)
    weighed = {
        oid: (size, path) for oid, size, path in _weighed(place, out) if size > limit or is_named(path)
    }
    if not weighed and named is None:
        return []
    added = [one for one in _added(place, out) if one[2] in weighed or is_named(one[1])]
    there = already_there(place, out, {*weighed, *(oid for _, _, oid in added)})
    added = [one for one in added if one[2] not in there]
    more = [*{oid: None for _, _, oid in added if oid not in weighed}]
    size_of = dict(zip(more, sizes(place, more), strict=True)) | {oid: one[0] for oid, one in weighed.items()}
    sent = [Sent(commit.decode("ascii"), path, oid, size_of[oid]) for commit, path, oid in added]
    loose = weighed.keys() - {one.oid for one in sent} - there
    return sent + [Sent(None, weighed[oid][1] or None, oid, size_of[oid]) for oid in sorted(loose)]


# What a partial clone has left with the remote is there, and must not be fetched to find out.
_OBJECTS = ("rev-list", "--objects", "--missing=allow-promisor")


def _weighed(place: Place, out: Outgoing) -> Iterator[tuple[bytes, int, bytes]]:
    """Oid, size and one path of every blob, but for what the remote has at its own tips."""
    form = "--batch-check=%(objecttype) %(objectsize) %(objectname) %(rest)"
    commands = ([*_OBJECTS, *out.arguments()], ["cat-file", form, "--buffer"])
    with piped(*commands, cwd=place.folder, env=place.env, stdin=out.stdin()) as lines:
        for line in lines:
            kind, _, facts = line.partition(b" ")
            if facts == b"missing\n":
                raise missing(line)
            if kind == b"blob":
                with answer("cat-file"):
                    size, oid, path = facts[:-1].split(b" ", 2)
                    weight = int(size)
                yield oid, weight, path


def _added(place: Place, out: Outgoing) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Commit, path and oid of all blobs that commits add; of a merge what differs from all its parents."""
    commands = (["rev-list", "--topo-order", *out.arguments()], _DIFF_TREE)
    with piped(*commands, cwd=place.folder, env=place.env, stdin=out.stdin()) as output:
        yield from parse_added(output)


def parse_added(output: IO[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """`git diff-tree --stdin -z`: `<commit> NUL`, then `:<modes> <oids> <status> NUL <path> NUL` each.

    A merge has as many colons, old modes and old oids as it has parents (git-diff-tree(1), DIFF FORMAT FOR
    MERGES).
    """
    records = _records(output)
    commit = b""
    for record in records:
        if not record.startswith(b":"):
            commit = record
            continue
        with answer("diff-tree"):
            path = next(records)
            fields = record.split(b" ")
            mode, blob = fields[len(fields) // 2 - 1], fields[-2]
            commit.decode("ascii")
        if mode not in (ABSENT, GITLINK):
            yield commit, path, blob


_DIFF_TREE = (
    *("diff-tree", "--stdin", "-r", "-c", "--root", "--no-renames", "--ignore-submodules=all"),
    *("--raw", "-z", "--no-abbrev"),
)


def _records(source: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := source.read1(1 << 16):  # type: ignore[attr-defined]  # of BufferedReader, which a pipe is
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole


@answer("rev-list")
def oldest(place: Place, out: Outgoing, commits: Collection[str]) -> str:
    """The one of `commits` that no other of them is behind, whatever their dates say."""
    listed = place.git("rev-list", "--topo-order", *out.arguments(), stdin=out.stdin()).checked()
    return next(oid for oid in reversed(listed.decode("ascii").split()) if oid in commits)


def already_there(place: Place, out: Outgoing, oids: Collection[bytes]) -> set[bytes]:
    """Those of `oids` that the remote has, whatever commit or path it has them by."""
    held: set[bytes] = set()
    if not oids or not (out.known or out.tracking):
        return held
    command = [*_OBJECTS, *(f"--remotes={name}" for name in out.tracking), "--stdin"]
    with piped(command, cwd=place.folder, env=place.env, stdin=out.stdin(negated=True)) as lines:
        for line in lines:
            oid = line.rstrip(b"\n").partition(b" ")[0]
            if oid in oids:
                held.add(oid)
                if len(held) == len(oids):
                    break
    return held
