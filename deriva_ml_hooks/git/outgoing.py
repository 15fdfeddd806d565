"""What a push brings: the blobs behind its ref updates that the remote does not have.

Streamed through a few git processes that work side by side, so that a first push of a long history is
weighed about as fast as git can walk it. Must never weigh what the remote has, nor overlook a blob that
was added and removed again: it is sent all the same.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, NamedTuple, cast

from deriva_ml_hooks.errors import GitError, GitMissingError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.blobs import ABSENT, GITLINK, Place, missing, sizes
from deriva_ml_hooks.git.pushes import RefUpdate, is_zero
from deriva_ml_hooks.redact import redact


class Sent(NamedTuple):
    """A blob that a push brings: the commit that adds it (None: a tag leads to it) and its path there."""

    commit: str | None
    path: bytes | None
    oid: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is sent, and what is there: all commits behind `tips` but not behind `known` or `tracking`.

    `tips` and `known` are commits, `tracking` patterns of remote-tracking refs, `loose` the trees and
    blobs that are sent without a commit (type and oid).
    """

    tips: tuple[str, ...]
    loose: tuple[tuple[str, bytes], ...]
    known: tuple[str, ...]
    tracking: tuple[str, ...]

    def arguments(self) -> list[str]:
        """Words for git-rev-list(1), to go with `stdin`."""
        return ["--not", *(f"--remotes={name}" for name in self.tracking), "--not", "--stdin"]

    def stdin(self, *, negated: bool = False) -> bytes:
        """The commits for `git rev-list --stdin`; with `negated` only those that are there."""
        lines = list(self.known) if negated else [*self.tips, *(f"^{oid}" for oid in self.known)]
        return "".join(f"{line}\n" for line in lines).encode("ascii")


@process.answer("cat-file")
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
        tips=tuple(dict.fromkeys(oid for kind, oid in objects[: len(sent)] if kind == "commit")),
        loose=tuple(
            dict.fromkeys(
                (kind, oid.encode("ascii")) for kind, oid in objects[: len(sent)] if kind != "commit"
            )
        ),
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
    place: Place,
    out: Outgoing,
    picked: Callable[[bytes | None, int], bool],
    tick: Callable[[int], None] = lambda commits: None,
) -> Iterator[Sent]:
    """The blobs that `out` brings and that `picked(path, size)` takes, about the newest commit first.

    Every blob that a commit adds is looked at, also those that a later commit removes. Three git
    processes work side by side, and nothing is kept: `git rev-list` names the commits, `git diff-tree`
    their blobs (a merge's only where they differ from all parents), `git cat-file` weighs them. What
    the remote has from further back, and a commit restores, comes too: see `already_there`. `tick` is
    told the number of commits done every now and then.
    """
    for kind, oid in out.loose:
        yield from (sent for sent in _loose(place, kind, oid) if picked(sent.path, sent.size))
    if not out.tips:
        return
    with _Processes(place) as started:
        commits = started.git("rev-list", *out.arguments(), stdin=out.stdin())
        entries = started.git(*_DIFF_TREE, stdin=commits)
        commits.close()
        weighed, to_weigh = started.conversation("cat-file", "--batch-check=%(objectsize)", "--buffer")
        feed = _Feed(entries, to_weigh)
        feed.thread.start()
        for number, line in enumerate(weighed):
            with process.answer("cat-file"):
                added_by, path, blob = feed.waiting.popleft()
            try:
                size = int(line)
            except ValueError:
                raise missing(line) from None
            if picked(path, size):
                yield Sent(added_by.decode("ascii"), path, blob, size)
            if not number & 4095:
                tick(feed.commits)
        feed.thread.join()
        started.check()
        if feed.error is not None:
            raise feed.error
        if feed.waiting:
            raise GitError("git cat-file", "fewer answers than questions")


_DIFF_TREE = (
    *("diff-tree", "--stdin", "-r", "-c", "--root", "--no-renames", "--ignore-submodules=all"),
    *("--raw", "-z", "--no-abbrev"),
)


class _Feed:
    """Hands the blobs that `git diff-tree` names on to `git cat-file`, and keeps who waits for an answer."""

    def __init__(self, source: IO[bytes], target: IO[bytes]) -> None:
        self.waiting: deque[tuple[bytes, bytes, bytes]] = deque()
        self.commits = 0
        self.error: GitError | None = None
        self.thread = threading.Thread(target=self._run, args=(source, target), daemon=True)

    def _run(self, source: IO[bytes], target: IO[bytes]) -> None:
        try:
            with target:
                for entry in self._entries(source):
                    self.waiting.append(entry)
                    target.write(entry[2] + b"\n")
        except (BrokenPipeError, ValueError):
            pass  # cat-file has ended early: its exit code says why
        except GitError as error:
            self.error = error

    def _entries(self, source: IO[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
        """`git diff-tree --stdin -z`: `<commit> NUL`, then `:<modes> <oids> <status> NUL <path> NUL` each.

        A merge has as many colons, old modes and old oids as it has parents (git-diff-tree(1), DIFF
        FORMAT FOR MERGES).
        """
        records = _records(source)
        commit = b""
        for record in records:
            if not record.startswith(b":"):
                commit = record
                self.commits += 1
                continue
            with process.answer("diff-tree"):
                path = next(records)
                fields = record.split(b" ")
                mode, blob = fields[len(fields) // 2 - 1], fields[-2]
                commit.decode("ascii")
            if mode not in _NO_BLOB:
                yield commit, path, blob


_NO_BLOB = (ABSENT, GITLINK)


def _records(source: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := source.read1(1 << 16):  # type: ignore[attr-defined]  # of BufferedReader, which a pipe is
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole


def _loose(place: Place, kind: str, oid: bytes) -> Iterator[Sent]:
    if kind == "blob":
        yield Sent(None, None, oid, sizes(place, [oid])[0])
        return
    for record in (
        place.git("ls-tree", "-r", "-z", "-l", "--full-tree", oid.decode("ascii")).checked().split(b"\0")
    ):
        facts, _, path = record.partition(b"\t")
        fields = facts.split()
        if fields[1:2] == [b"blob"]:
            with process.answer("ls-tree"):
                found = Sent(None, path, fields[2], int(fields[3]))
            yield found


@process.answer("rev-list")
def commit_count(place: Place, out: Outgoing) -> int | None:
    """How many commits `out` brings; None where git cannot tell."""
    done = place.git("rev-list", "--count", *out.arguments(), stdin=out.stdin())
    return int(done.stdout) if not done.returncode else None


@process.answer("rev-list")
def oldest(place: Place, out: Outgoing, commits: Collection[str]) -> str:
    """The one of `commits` that no other of them is behind, whatever their dates say."""
    listed = place.git("rev-list", "--topo-order", *out.arguments(), stdin=out.stdin()).checked()
    return next(oid for oid in reversed(listed.decode("ascii").split()) if oid in commits)


def already_there(place: Place, out: Outgoing, oids: Collection[bytes]) -> set[bytes]:
    """Those of `oids` that the remote has, whatever commit or path it has them by."""
    if not oids or not (out.known or out.tracking):
        return set()
    wanted = frozenset(oids)
    width = len(next(iter(wanted)))
    held: set[bytes] = set()
    with _Processes(place) as started:
        words = (f"--remotes={name}" for name in out.tracking)
        known = out.stdin(negated=True)
        # What a partial clone has left with the remote is there, and must not be fetched to find out.
        partial = "--missing=allow-promisor"
        for line in started.git("rev-list", "--objects", partial, *words, "--stdin", stdin=known):
            if line[:width] in wanted:
                held.add(line[:width])
                if len(held) == len(wanted):
                    return held
        started.check()
    return held


class _Processes:
    """git processes that read from each other; ended when left early, and what they complain of is kept."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._started: list[subprocess.Popen[bytes]] = []
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__

    def git(self, *args: str, stdin: IO[bytes] | bytes) -> IO[bytes]:
        """Start one that reads `stdin`, bytes or another one's output; its output."""
        if not isinstance(stdin, bytes):
            return cast("IO[bytes]", self._start(args, stdin).stdout)
        with tempfile.TemporaryFile() as file:  # a pipe could fill up while nobody reads the answer
            file.write(stdin)
            file.seek(0)
            return cast("IO[bytes]", self._start(args, file).stdout)

    def conversation(self, *args: str) -> tuple[IO[bytes], IO[bytes]]:
        """Start one that is told what to do meanwhile; its output, and its input."""
        running = self._start(args, subprocess.PIPE)
        return cast("IO[bytes]", running.stdout), cast("IO[bytes]", running.stdin)

    def _start(self, args: Sequence[str], stdin: IO[bytes] | int) -> subprocess.Popen[bytes]:
        try:
            running = subprocess.Popen(
                ("git", *args),
                cwd=self._place.folder,
                env=dict(self._place.env),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
            )
        except FileNotFoundError:
            raise GitMissingError from None
        self._started.append(running)
        return running

    def check(self) -> None:
        """Wait for all of them; raises GitError when one has failed."""
        for running in self._started:
            if running.wait():
                self._complaints.seek(0)
                said = redact(os.fsdecode(self._complaints.read()).strip())
                raise GitError("git", said or f"a process ended with {running.returncode} and said nothing")

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *exc: object) -> None:
        for running in self._started:
            if running.poll() is None:
                running.kill()
            running.wait()
        for running in self._started:
            for stream in (running.stdin, running.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        self._complaints.close()
