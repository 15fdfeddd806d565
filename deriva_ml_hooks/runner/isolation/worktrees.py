"""Temporary linked worktrees: made at a commit, and gone afterwards, whatever ends the process.

Each has a mark in the common git directory, written before anything else exists and removed last. It
names the process, so that a later call takes away what a killed one has left. Nothing of the user's is
pruned: a worktree on a disk that is not mounted just now looks like one that is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.files import inside, make_folder
from deriva_ml_hooks.git import own
from deriva_ml_hooks.git.discovery import linked_worktrees, measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner import child
from deriva_ml_hooks.runner.isolation.checkout import WorktreeError, check_out

_PREFIX = "deriva-ml-hooks-"


@dataclass
class Temporary:
    """A temporary worktree, in a `folder` of its own. Its `mark` is what a later call removes it by.

    `repositories`: common git directories that know of it. `holds_results`: somebody has asked for what is
    made in it, so that no other call takes it away. `execution`: for a job, the one whose end is the
    worktree's, whatever becomes of the process. `keep`: leave it behind. `handed_over`: a job uses it later
    (`reopened`).
    """

    home: Repository
    mark: str
    folder: str
    repositories: list[str] = field(default_factory=list)
    holds_results: bool = False
    execution: str | None = None
    keep: bool = False
    handed_over: bool = False
    repository: Repository = field(init=False)

    def write(self) -> None:
        pid = os.getpid()
        document = {
            "folder": self.folder,
            "repositories": self.repositories,
            "holds_results": self.holds_results,
            "execution": self.execution,
            "host": processes.host(),
            "pid": pid,
            "process": processes.identity(pid),
        }
        own.write(self.home, self.mark, json.dumps(document).encode("ascii") + b"\n")

    @contextlib.contextmanager
    def adding(self, common: str) -> Iterator[None]:
        """Write down, before it is so, that the repository `common` knows of the worktree."""
        self.repositories.append(common)
        with _alone(self.home):
            self.write()
            yield

    def remove(self) -> bool:
        """Take it all away, or with `keep` the mark alone; False, and the mark stays, where it cannot be."""
        if not self.keep:
            _remove_tree(self.folder)
        gone = self.keep or not os.path.lexists(self.folder)
        with _alone(self.home):
            for common in () if self.keep else self.repositories:
                for admin in _known(common, self.folder):
                    _remove_tree(admin)
                with contextlib.suppress(OSError):  # there are others
                    os.rmdir(os.path.join(common, "worktrees"))
            if gone:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.mark)
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(self.mark))
        return gone

    @property
    def removal(self) -> str:
        """The command that does so from anywhere, whatever the run has left of it."""
        known = [admin for common in self.repositories for admin in _known(common, self.folder)]
        # The folder of an unplugged worktree is none of ours: what git's own gc takes for gone is old.
        prune = ("git", "-C", self.home.worktree, "worktree", "prune", "--expire=3.months.ago")
        return f"{shlex.join(['rm', '-rf', self.folder, *known])} && {shlex.join(prune)}"


@contextlib.contextmanager
def temporary_worktree(
    home: Repository,
    commit: str,
    complain: Callable[[str], None],
    *,
    holds_results: bool = False,
    place: str | None = None,
    execution: str | None = None,
) -> Iterator[Temporary]:
    """A worktree of `home` at `commit`, HEAD detached, submodules checked out; removed when this ends.

    `complain` is told where that cannot be done. With `holds_results` no later call removes it, should this
    process be killed. `place` is the folder that it is made in (None: TMPDIR), `execution` the one whose job
    it may be handed over to. Raises WorktreeError and GitError where it cannot be made;
    nothing is left then.
    """
    token = new_id()
    folder = os.path.join(os.path.realpath(place or tempfile.gettempdir()), _PREFIX + token)
    mark = os.path.join(_marks(home), f"{token}.json")
    temporary = Temporary(home, mark, folder, [], holds_results, execution)
    with _removed_at_the_end(temporary, complain):
        try:
            with _alone(home):
                temporary.write()
            os.mkdir(folder, 0o700)
        except OSError as error:
            raise WorktreeError(
                f"{error.filename}: {error.strerror}",
                fix="see its owner, and the space on its disk; TMPDIR says where worktrees are made",
            ) from None
        path = os.path.join(folder, os.path.basename(home.worktree) or "worktree")
        check_out(home, commit, path, temporary.adding)
        temporary.repository = measured(path)
        yield temporary


@contextlib.contextmanager
def reopened(
    home: Repository, execution: str, complain: Callable[[str], None], *, holds_results: bool
) -> Iterator[Temporary]:
    """The worktree that was handed over to the job of `execution`; removed when this ends, as any other.

    Raises WorktreeError where there is none.
    """
    temporary = next((found for found, _ in _marked(home) if found.execution == execution), None)
    if temporary is None or not os.path.isdir(temporary.folder):
        where = temporary.folder if temporary is not None else "the worktree of the job"
        fix = "submit it again, with --worktree-root FOLDER where this machine sees another disk"
        raise WorktreeError(f"{where}: not here", fix=fix)
    temporary.holds_results = holds_results
    temporary.write()
    path = next(entry.path for entry in os.scandir(temporary.folder) if entry.is_dir())
    temporary.repository = measured(path)
    with _removed_at_the_end(temporary, complain):
        yield temporary


@contextlib.contextmanager
def _removed_at_the_end(temporary: Temporary, complain: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    finally:
        if not temporary.handed_over:
            with child.held_signals():
                if not temporary.remove():
                    folder = shlex.quote(temporary.folder)
                    complain(f"files that cannot be deleted stay there: sudo rm -rf {folder}")


def executions_of(home: Repository) -> list[str]:
    """The executions whose jobs have a worktree."""
    return [found.execution for found, _ in _marked(home) if found.execution is not None]


def clear_left_over(
    home: Repository,
    say: Callable[[str], None] = lambda _: None,
    is_over: Callable[[str], bool | None] = lambda _: False,
) -> list[str]:
    """Remove the temporary worktrees of processes that are gone from this host; the folders removed.

    One in which something still runs is left for later: a command survives the kill of its runner. One with
    results that somebody has asked for stays, and `say` is told of it. `is_over`: whether an execution is,
    whose job may have run anywhere; None: nobody knows it, so that the process decides.
    """
    removed = []
    marks = _marks(home)
    if os.path.isdir(marks):
        with _alone(home), contextlib.suppress(FileNotFoundError):
            for name in os.listdir(marks):
                if not name.endswith(".json"):  # half written, by somebody who is no more
                    os.unlink(os.path.join(marks, name))
            with contextlib.suppress(OSError):
                os.rmdir(marks)
    for left, is_gone in _marked(home):
        over = is_over(left.execution) if left.execution is not None else None
        if not (is_gone if over is None else over) or _in_use(left.folder):
            continue
        if left.holds_results and os.path.isdir(left.folder):
            say(f"a run that was killed has left what it made in {left.folder}")
            say(f"to remove it: {left.removal}")
        elif left.remove():
            removed.append(left.folder)
    return removed


def _marked(home: Repository) -> Iterator[tuple[Temporary, bool]]:
    """What the marks name, and for each whether its process is gone from this host."""
    marks = _marks(home)
    for name in sorted(os.listdir(marks)) if os.path.isdir(marks) else ():
        path = os.path.join(marks, name)
        try:
            with open(path, encoding="ascii") as file:
                mark = json.load(file)
            wanted, execution = mark.get("holds_results") is True, mark.get("execution")
            found = Temporary(home, path, mark["folder"], [*mark["repositories"]], wanted, execution)
            is_gone = mark["host"] == processes.host() and processes.is_gone(mark["pid"], mark["process"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        # A mark that somebody has edited must not have anything else removed.
        if os.path.basename(found.folder) == _PREFIX + name.removesuffix(".json"):
            yield found, is_gone


def _marks(home: Repository) -> str:
    return os.path.join(own.folder(home.common_dir), "worktrees")


@contextlib.contextmanager
def _alone(home: Repository) -> Iterator[None]:
    """Have no other of our processes add or remove worktrees of `home` meanwhile.

    git reads what another git has written half (commondir), and removes a folder that another adds to.
    """
    folder, mode = own.folder(home.common_dir), own.mode(home)
    make_folder(folder, mode=mode)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(os.path.join(folder, "worktrees-in-change"), flags, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _in_use(folder: str) -> bool:
    """Whether a process works in `folder`, where the system tells (proc(5))."""
    with contextlib.suppress(OSError):
        for pid in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if pid.isdigit() and (os.readlink(f"/proc/{pid}/cwd") + os.sep).startswith(folder + os.sep):
                    return True
    return False


def _known(common: str, folder: str) -> list[str]:
    """What the repository `common` keeps of its worktrees in `folder` (gitrepository-layout(5)).

    A killed git leaves one of which the name is all there is.
    """
    return [
        admin
        for admin, place in linked_worktrees(common)
        if os.path.basename(admin).startswith(os.path.basename(folder))
        or (place is not None and inside(place, folder) is not None)
    ]


def _remove_tree(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):  # a command may have left folders that nobody may write in
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)
                for entry in os.scandir(folder):
                    if entry.is_dir(follow_symlinks=False):
                        os.chmod(entry.path, 0o700)
        shutil.rmtree(path, ignore_errors=True)
