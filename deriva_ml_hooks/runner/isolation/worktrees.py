"""Temporary linked worktrees: made at a commit, and gone afterwards, whatever ends the process.

Each has a mark in the common git directory, written before anything else exists and removed last. It
names the process, so that a later call takes away what a killed one has left. Nothing of the user's is
pruned: a worktree on a disk that is not mounted just now looks like one that is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import posixpath
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.files import inside, make_folder
from deriva_ml_hooks.git import lfs, own, process, remotes
from deriva_ml_hooks.git.content import GITLINK
from deriva_ml_hooks.git.discovery import linked_worktrees, measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner import child

_PREFIX = "deriva-ml-hooks-"
_BLOCK = 4096
_LEAST = 1 << 20
"""Bytes without which a disk is full to us."""


class WorktreeError(HooksError):
    """A temporary worktree cannot be made."""


@dataclass
class Temporary:
    """A temporary worktree. `keep`: leave it behind; `removal`: the command that then takes it away.

    `folder` is its own, and the worktree in it. `handed_over`: a job uses it later (`reopened`).
    """

    repository: Repository
    removal: str
    folder: str
    keep: bool = False
    handed_over: bool = False


@dataclass
class _Mark:
    """What has to be taken away, and whose it is. `repositories`: common git directories that know of it.

    `holds_results`: whether somebody has asked for what is made in it, so that no other call takes it away.
    `execution`: for a job, the one whose end is the worktree's, whatever becomes of the process.
    """

    home: Repository
    path: str
    folder: str
    repositories: list[str] = field(default_factory=list)
    holds_results: bool = False
    execution: str | None = None

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
        own.write(self.home, self.path, json.dumps(document).encode("ascii") + b"\n")

    def remove(self, *, keep: bool = False) -> bool:
        """Take everything away, or the mark alone; whether that could be done. Where not, the mark stays."""
        if not keep:
            _remove_tree(self.folder)
        gone = keep or not os.path.lexists(self.folder)
        with _alone(self.home):
            for common in () if keep else self.repositories:
                for admin in _known(common, self.folder):
                    _remove_tree(admin)
                with contextlib.suppress(OSError):  # there are others
                    os.rmdir(os.path.join(common, "worktrees"))
            if gone:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(self.path))
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
    mark = _Mark(home, os.path.join(_marks(home), f"{token}.json"), folder, [], holds_results, execution)
    temporary = None
    try:
        try:
            with _alone(home):
                mark.write()
            os.mkdir(folder, 0o700)
        except OSError as error:
            raise WorktreeError(
                f"{error.filename}: {error.strerror}",
                fix="see its owner, and the space on its disk; TMPDIR says where worktrees are made",
            ) from None
        path = os.path.join(folder, os.path.basename(home.worktree) or "worktree")
        _add(home.git_dir, home.common_dir, path, commit, mark)
        _add_submodules(path, home.worktree, home.common_dir, mark)
        temporary = Temporary(measured(path), mark.removal, folder)
        yield temporary
    finally:
        _end(mark, temporary, complain)


@contextlib.contextmanager
def reopened(
    home: Repository, execution: str, complain: Callable[[str], None], *, holds_results: bool
) -> Iterator[Temporary]:
    """The worktree that was handed over to the job of `execution`; removed when this ends, as any other.

    Raises WorktreeError where there is none.
    """
    mark = next((mark for mark, _ in _told(home) if mark.execution == execution), None)
    if mark is None or not os.path.isdir(mark.folder):
        where = mark.folder if mark is not None else "the worktree of the job"
        fix = "submit it again, with --worktree-root FOLDER where this machine sees another disk"
        raise WorktreeError(f"{where}: not here", fix=fix)
    mark.holds_results = holds_results
    mark.write()
    inside = next(entry.path for entry in os.scandir(mark.folder) if entry.is_dir())
    temporary = Temporary(measured(inside), mark.removal, mark.folder)
    try:
        yield temporary
    finally:
        _end(mark, temporary, complain)


def _end(mark: _Mark, temporary: Temporary | None, complain: Callable[[str], None]) -> None:
    if temporary is not None and temporary.handed_over:
        return
    with child.held_signals():
        if not mark.remove(keep=temporary is not None and temporary.keep):
            complain(f"files that cannot be deleted stay there: sudo rm -rf {shlex.quote(mark.folder)}")


def executions_of(home: Repository) -> list[str]:
    """The executions whose jobs have a worktree."""
    return [mark.execution for mark, _ in _told(home) if mark.execution is not None]


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
    for mark, is_gone in _told(home):
        over = is_over(mark.execution) if mark.execution is not None else None
        if not (is_gone if over is None else over) or _in_use(mark.folder):
            continue
        if mark.holds_results and os.path.isdir(mark.folder):
            say(f"a run that was killed has left what it made in {mark.folder}")
            say(f"to remove it: {mark.removal}")
        elif mark.remove():
            removed.append(mark.folder)
    return removed


def _told(home: Repository) -> Iterator[tuple[_Mark, bool]]:
    """The marks, and for each whether its process is gone from this host."""
    marks = _marks(home)
    for name in sorted(os.listdir(marks)) if os.path.isdir(marks) else ():
        path = os.path.join(marks, name)
        try:
            with open(path, encoding="ascii") as file:
                told = json.load(file)
            wanted, execution = told.get("holds_results") is True, told.get("execution")
            mark = _Mark(home, path, told["folder"], [*told["repositories"]], wanted, execution)
            is_gone = told["host"] == processes.host() and processes.is_gone(told["pid"], told["process"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        # A mark that somebody has edited must not have anything else removed.
        if os.path.basename(mark.folder) == _PREFIX + name.removesuffix(".json"):
            yield mark, is_gone


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


def _quietly(cwd: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Environment and first words of git: filters and transports as the user has set them up.

    Replaced objects are left out. git-lfs puts the data there, whatever the user has told it to skip.
    """
    env, words = lfs.whole(process.hook_environment(process.command_environment()), cwd)
    return env, (*process.QUIETLY, *words)


def _add(git_dir: str, common: str, path: str, commit: str, mark: _Mark) -> None:
    """Add a worktree at `path`. git calls it by the name of its first place, which tells that it is ours."""
    _require_space(git_dir, common, commit, mark.folder)
    mark.repositories.append(common)
    env, quietly = _quietly(git_dir)
    beside = os.path.join(mark.folder, os.path.basename(mark.folder))
    with _alone(mark.home):
        mark.write()
        for is_last in (False, True):  # a git of the user's own minds no lock of ours
            done = process.run(
                *(*quietly, "-c", "worktree.useRelativePaths=false"),
                *(f"--git-dir={git_dir}", f"--work-tree={mark.folder}"),
                *("worktree", "add", "--quiet", "--force", "--detach", "--no-checkout", "--", beside, commit),
                cwd=mark.folder,
                env=env,
            )
            if done.returncode and is_last:
                raise _not_added(done, commit, mark.folder)
            if not done.returncode:
                break
    with open(os.path.join(beside, ".git"), "rb") as file:
        admin = os.fsdecode(file.read().strip().removeprefix(b"gitdir: "))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)  # of a submodule
    os.rename(beside, path)
    with open(os.path.join(admin, "gitdir"), "wb") as file:
        file.write(os.fsencode(os.path.join(path, ".git")) + b"\n")
    done = process.run(
        *(*quietly, f"--git-dir={admin}", f"--work-tree={path}"),
        *("reset", "--quiet", "--hard", "--no-recurse-submodules"),  # as git itself does then
        cwd=path,
        env=env,
    )
    if done.returncode:
        raise _not_added(done, commit, mark.folder)


def _not_added(done: process.Completed, commit: str, folder: str) -> WorktreeError:
    free = shutil.disk_usage(folder).free
    if free < _LEAST:  # git has said so for every file
        return _no_space(folder, None, free)
    said = done.said.partition("\n")[0]
    return WorktreeError(
        f"no temporary worktree of commit {commit[:12]}: {said}",
        fix="see what git says: git worktree add --detach ../try " + commit,
    )


def _require_space(git_dir: str, common: str, commit: str, folder: str) -> None:
    """Raise WorktreeError where the files of a commit do not fit on the disk of `folder`.

    Left out where git would have to fetch to know them (partial clones) or does not check out all.
    """
    if glob.glob(os.path.join(glob.escape(common), "objects", "pack", "*.promisor")):
        return
    if os.path.exists(os.path.join(git_dir, "info", "sparse-checkout")):
        return
    words = (f"--git-dir={git_dir}", f"--work-tree={folder}", "ls-tree", "-r", "-l", "-z", commit)
    listed = process.run(*words, cwd=folder)
    sizes = (entry.split(None, 4)[3] for entry in listed.stdout.split(b"\0") if entry)
    needed = sum(-(-int(size) // _BLOCK) * _BLOCK for size in sizes if size.isdigit())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _no_space(folder, needed, free)


def _no_space(folder: str, needed: int | None, free: int) -> WorktreeError:
    of = f" of {needed / 1e6:,.1f} MB that the commit needs" if needed is not None else ""
    where = os.path.dirname(folder)
    return WorktreeError(
        f"no space for a temporary worktree in TMPDIR ({where}): {free / 1e6:,.1f} MB free{of}",
        fix="make space there, or name a folder on a larger disk: export TMPDIR=FOLDER"
        " (for `submit`: --worktree-root FOLDER)",
    )


def _add_submodules(path: str, home: str | None, common: str, mark: _Mark) -> None:
    """Check out the submodules of the worktree `path`, theirs too, from what is here wherever that will do.

    `home` and `common`: where the user's own checkout of the same repository is, and its git directory.
    """
    repository = measured(path)
    head = repository.head()
    file = os.path.join(path, ".gitmodules")
    if head is None or not os.path.isfile(file) or os.path.islink(file):  # git follows no such link either
        return
    listed = process.run(
        "config", "--file", file, "--null", "--get-regexp", r"^submodule\..*\.path$", cwd=path
    )
    tree = repository.commit(head).tree
    for pair in os.fsdecode(listed.stdout).split("\0")[:-1]:
        key, _, where = pair.partition("\n")
        entry = repository.entry(tree, where)
        target = os.path.join(path, where)
        # Left out by a sparse checkout: there is no folder of it.
        if entry is None or entry[0] != GITLINK or not os.path.isdir(target):
            continue
        name, commit = key[len("submodule.") : -len(".path")], entry[1].decode("ascii")
        if ".." in re.split(r"[/\\\\]", name):
            continue  # git ignores it (submodule-config.c, check_submodule_name): it leads out of modules/
        own, module = _module(home, common, name, where)
        if module is None or not _has(module, commit):
            _fetch_submodule(repository, home or path, name, where)
            module = measured(target).common_dir
        else:
            _add(module, module, target, commit, mark)
        _add_submodules(target, own, module, mark)


def _module(home: str | None, common: str, name: str, where: str) -> tuple[str | None, str | None]:
    """The user's own checkout of a submodule, and its git directory; None for what is not there.

    Only git itself puts a git directory below that of the superproject, or names it `.git`: no commit holds
    such a thing. So no other is taken at its word.
    """
    if home is not None:
        folder = os.path.join(home, where)
        with contextlib.suppress(HooksError):
            found = measured(folder)
            is_git_s = _is_below(found.common_dir, common) or found.common_dir == os.path.join(folder, ".git")
            if found.worktree == os.path.realpath(folder) and is_git_s:
                return found.worktree, found.common_dir
    modules = os.path.join(common, "modules")
    parts = name.split("/")
    *above, module = (os.path.join(modules, *parts[: length + 1]) for length in range(len(parts)))
    inside_of_another = any(os.path.lexists(os.path.join(folder, "HEAD")) for folder in above)
    there = os.path.isfile(os.path.join(module, "HEAD")) and _is_below(module, modules)
    return None, module if there and not inside_of_another else None


def _is_below(path: str, folder: str) -> bool:
    return inside(os.path.realpath(path), os.path.realpath(folder)) not in (None, ".")


def _has(common: str, commit: str) -> bool:
    words = (f"--git-dir={common}", "--work-tree=.", "cat-file", "-e", f"{commit}^{{commit}}")
    return process.run(*words, cwd=common).returncode == 0


def _fetch_submodule(repository: Repository, home: str, name: str, where: str) -> None:
    """Clone a submodule that is not here. As settings of this one process: git writes none down then.

    Only from where the user has told git to, or from a server that one of the remotes is on already.
    """
    told = process.run("config", "--file", ".gitmodules", f"submodule.{name}.url", cwd=repository.worktree)
    url = repository.setting("submodule", "url", name) or os.fsdecode(told.stdout).strip()
    if url.startswith(("./", "../")):  # relative to the superproject's own (gitmodules(5))
        base = repository.setting("remote", "url", "origin") or home
        if base.startswith(("./", "../")):  # seen from where the user is
            base = posixpath.normpath(posixpath.join(home, base))
        url = remotes.relative_to(base, url)
    elif repository.setting("submodule", "url", name) is None and not remotes.is_known_host(repository, url):
        raise WorktreeError(
            f"the submodule {where} is not here, and no remote of this repository is on its server",
            fix="git submodule update --init --recursive",
        )
    if any(_is_below(url.removeprefix("file://"), top) for top in (repository.worktree, home)):
        raise WorktreeError(
            f"the submodule {where} is not here, and its address is a folder of the commit itself",
            fix="git submodule update --init --recursive",
        )
    settings = (f"{name}.url={url}", f"{name}.active=true", f"{name}.update=checkout")
    words = [word for setting in settings for word in ("-c", f"submodule.{setting}")]
    env, quietly = _quietly(repository.worktree)
    try:
        process.run(
            *(*quietly, *words),
            *("submodule", "--quiet", "update", "--init", "--checkout", "--", where),
            cwd=repository.worktree,
            env=env,
        ).checked()
    except GitError as error:
        first = error.detail.partition("\n")[0]  # git tries several times, and tells of each
        raise WorktreeError(
            f"the submodule {where} is not here, and cannot be fetched: {first}",
            fix="git submodule update --init --recursive",
        ) from None
