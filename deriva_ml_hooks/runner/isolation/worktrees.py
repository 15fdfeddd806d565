"""Temporary linked worktrees: made at a commit, and gone afterwards, whatever ends the process.

Each has a mark in the common git directory, written before anything else exists and removed last. It
names the process, so that a later call takes away what a killed one has left. Nothing of the user's is
pruned: a worktree on a disk that is not mounted just now looks like one that is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.git import lfs, own, process, remotes
from deriva_ml_hooks.git.content import GITLINK
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner import child

_PREFIX = "deriva-ml-hooks-"


class WorktreeError(HooksError):
    """A temporary worktree cannot be made."""


@dataclass
class Temporary:
    """A temporary worktree. `keep`: leave it behind."""

    repository: Repository
    keep: bool = False


@dataclass
class _Mark:
    """What has to be taken away, and whose it is. `repositories`: common git directories that know of it."""

    home: Repository
    path: str
    folder: str
    repositories: list[str] = field(default_factory=list)

    def write(self) -> None:
        pid = os.getpid()
        document = {
            "folder": self.folder,
            "repositories": self.repositories,
            "host": processes.host(),
            "pid": pid,
            "process": processes.identity(pid),
        }
        own.write(self.home, self.path, json.dumps(document).encode("ascii") + b"\n")

    def remove(self, *, keep: bool = False) -> None:
        """Take everything away, or the mark alone; what is gone already is no error."""
        if not keep:
            for common in self.repositories:
                _forget(common, self.folder)
            _remove_tree(self.folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        with contextlib.suppress(OSError):  # others are there
            os.rmdir(os.path.dirname(self.path))


@contextlib.contextmanager
def temporary_worktree(home: Repository, commit: str) -> Iterator[Temporary]:
    """A worktree of `home` at `commit`, HEAD detached, submodules checked out; removed when this ends.

    Raises WorktreeError and GitError where it cannot be made; nothing is left then.
    """
    token = new_id()
    folder = os.path.join(os.path.realpath(tempfile.gettempdir()), _PREFIX + token)
    mark = _Mark(home, os.path.join(_marks(home), f"{token}.json"), folder)
    temporary = None
    try:
        try:
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
        temporary = Temporary(discover(path))
        yield temporary
    finally:
        with child.held_signals():
            mark.remove(keep=temporary is not None and temporary.keep)


def clear_left_over(home: Repository) -> list[str]:
    """Remove the temporary worktrees of processes that are gone from this host; the folders removed.

    One in which something still runs is left for later: a command survives the kill of its runner.
    """
    removed = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(_marks(home))):
            path = os.path.join(_marks(home), name)
            try:
                with open(path, encoding="ascii") as file:
                    told = json.load(file)
                mark = _Mark(home, path, told["folder"], [*told["repositories"]])
                abandoned = told["host"] == processes.host() and processes.is_gone(
                    told["pid"], told["process"]
                )
            except (OSError, ValueError, KeyError, TypeError):
                continue
            # A mark that somebody has edited must not have anything else removed.
            ours = os.path.basename(mark.folder) == _PREFIX + name.removesuffix(".json")
            if ours and abandoned and not _in_use(mark.folder):
                mark.remove()
                removed.append(mark.folder)
    return removed


def _marks(home: Repository) -> str:
    return os.path.join(own.folder(home.common_dir), "worktrees")


def _in_use(folder: str) -> bool:
    """Whether a process works in `folder`, where the system tells (proc(5))."""
    with contextlib.suppress(OSError):
        for pid in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if pid.isdigit() and (os.readlink(f"/proc/{pid}/cwd") + os.sep).startswith(folder + os.sep):
                    return True
    return False


def _forget(common: str, folder: str) -> None:
    """Remove what the repository `common` keeps of its worktrees in `folder` (gitrepository-layout(5))."""
    worktrees = os.path.join(common, "worktrees")
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(worktrees):
            own = os.path.join(worktrees, name)
            with contextlib.suppress(OSError):
                with open(os.path.join(own, "gitdir"), "rb") as file:
                    where = os.path.join(own, os.fsdecode(file.read().strip()))
                if os.path.normpath(where).startswith(folder + os.sep):
                    _remove_tree(own)
        with contextlib.suppress(OSError):  # there are others
            os.rmdir(worktrees)


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
    mark.repositories.append(common)
    mark.write()
    env, quietly = _quietly(git_dir)
    done = process.run(
        *(*quietly, f"--git-dir={git_dir}", f"--work-tree={mark.folder}"),
        *("worktree", "add", "--quiet", "--force", "--detach", "--", path, commit),
        cwd=mark.folder,
        env=env,
    )
    if done.returncode:
        raise WorktreeError(
            f"no temporary worktree of commit {commit[:12]}: {done.said}",
            fix="see what git says: git worktree add --detach ../try " + commit,
        )


def _add_submodules(path: str, home: str | None, common: str, mark: _Mark) -> None:
    """Check out the submodules of the worktree `path`, theirs too, from what is here wherever that will do.

    `home` and `common`: where the user's own checkout of the same repository is, and its git directory.
    """
    repository = discover(path)
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
            _fetch_submodule(repository, name, where)
            module = discover(target).common_dir
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
            found = discover(folder)
            is_git_s = _is_below(found.common_dir, common) or found.common_dir == os.path.join(folder, ".git")
            if found.worktree == os.path.realpath(folder) and is_git_s:
                return found.worktree, found.common_dir
    modules = os.path.join(common, "modules")
    *above, module = (os.path.join(modules, part) for part in _ways(name))
    inside_of_another = any(os.path.lexists(os.path.join(folder, "HEAD")) for folder in above)
    there = os.path.isfile(os.path.join(module, "HEAD")) and _is_below(module, modules)
    return None, module if there and not inside_of_another else None


def _ways(name: str) -> list[str]:
    """`a`, `a/b` and `a/b/c` for `a/b/c`."""
    parts = name.split("/")
    return ["/".join(parts[: length + 1]) for length in range(len(parts))]


def _is_below(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def _has(common: str, commit: str) -> bool:
    words = (f"--git-dir={common}", "--work-tree=.", "cat-file", "-e", f"{commit}^{{commit}}")
    return process.run(*words, cwd=common).returncode == 0


def _fetch_submodule(repository: Repository, name: str, where: str) -> None:
    """Clone a submodule that is not here. As settings of this one process: git writes none down then.

    Only from where the user has told git to, or from a server that one of the remotes is on already.
    """
    told = process.run("config", "--file", ".gitmodules", f"submodule.{name}.url", cwd=repository.worktree)
    url = repository.setting("submodule", "url", name) or os.fsdecode(told.stdout).strip()
    if url.startswith(("./", "../")):  # relative to the superproject's own (gitmodules(5))
        base = repository.setting("remote", "url", "origin") or repository.worktree
        scheme, mark, rest = base.rpartition("://")
        url = scheme + mark + posixpath.normpath(posixpath.join(rest, url))
    elif repository.setting("submodule", "url", name) is None and not remotes.is_known_host(repository, url):
        raise WorktreeError(
            f"the submodule {where} is not here, and no remote of this repository is on its server",
            fix="git submodule update --init --recursive",
        )
    if _is_below(url.removeprefix("file://"), repository.worktree):
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
