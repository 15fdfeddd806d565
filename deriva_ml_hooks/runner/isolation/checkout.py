"""Checks out a commit, with its submodules, as a linked worktree that git calls by our name."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.git import lfs, process, remotes
from deriva_ml_hooks.git.content import GITLINK
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository

_LEAST = 1 << 20
"""Free bytes below which a disk is full to us."""
_INIT = "git submodule update --init --recursive"

Adding = Callable[[str], AbstractContextManager[None]]
"""Held while a worktree is added to the repository with this common git directory."""


class WorktreeError(HooksError):
    """A temporary worktree cannot be made."""


def check_out(home: Repository, commit: str, path: str, adding: Adding) -> None:
    """Check out `commit` of `home` at `path`, HEAD detached, with its submodules.

    The folder of `path` is ours; its name is what git calls the worktrees by. Raises WorktreeError.
    """
    _add(home.git_dir, home.common_dir, path, commit, os.path.dirname(path), adding)
    _add_submodules(path, home.worktree, home.common_dir, os.path.dirname(path), adding)


def _add(git_dir: str, common: str, path: str, commit: str, folder: str, adding: Adding) -> None:
    env, quietly = _quietly(git_dir)
    beside = os.path.join(folder, os.path.basename(folder))  # git names a worktree after its first place
    words = ("worktree", "add", "--quiet", "--force", "--detach", "--no-checkout", "--", beside, commit)
    with adding(common):
        for _ in range(2):  # a git of the user's own minds no lock of ours
            done = process.run(
                *(*quietly, "-c", "worktree.useRelativePaths=false"),
                *(f"--git-dir={git_dir}", f"--work-tree={folder}", *words),
                cwd=folder,
                env=env,
            )
            if not done.returncode:
                break
        else:
            raise _not_added(done, commit, folder)
    with open(os.path.join(beside, ".git"), "rb") as file:
        admin = os.fsdecode(file.read().strip().removeprefix(b"gitdir: "))
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)  # of a submodule
    os.rename(beside, path)
    with open(os.path.join(admin, "gitdir"), "wb") as file:
        file.write(os.fsencode(os.path.join(path, ".git")) + b"\n")
    reset = ("reset", "--quiet", "--hard", "--no-recurse-submodules")  # as git itself does then
    done = process.run(*quietly, f"--git-dir={admin}", f"--work-tree={path}", *reset, cwd=path, env=env)
    if done.returncode:
        raise _not_added(done, commit, folder)


def _quietly(cwd: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Environment and first words of git: filters and transports as the user has set them up.

    Replaced objects are left out. git-lfs puts the data there, whatever the user has told it to skip.
    """
    env, words = lfs.whole(process.hook_environment(process.command_environment()), cwd)
    return env, (*process.QUIETLY, *words)


def _not_added(done: process.Completed, commit: str, folder: str) -> WorktreeError:
    free = shutil.disk_usage(folder).free
    if free < _LEAST or "No space left on device" in done.said:
        where = os.path.dirname(folder)
        return WorktreeError(
            f"no space for a temporary worktree in TMPDIR ({where}): {free / 1e6:,.1f} MB are left",
            fix="make space there, or name a folder on a larger disk: export TMPDIR=FOLDER"
            " (for `submit`: --worktree-root FOLDER)",
        )
    said = done.said.partition("\n")[0]
    return WorktreeError(
        f"no temporary worktree of commit {commit[:12]}: {said}",
        fix="see what git says: git worktree add --detach ../try " + commit,
    )


def _add_submodules(path: str, home: str | None, common: str, folder: str, adding: Adding) -> None:
    """Check out the submodules of the worktree `path`, theirs too, from what is here wherever that will do.

    `home` and `common`: where the user's own checkout of the same repository is, and its git directory.
    """
    repository = measured(path)
    head = repository.head()
    file = os.path.join(path, ".gitmodules")
    if head is None or not os.path.isfile(file) or os.path.islink(file):  # git follows no such link either
        return
    listed = repository.git("config", "--file", file, "--null", "--get-regexp", r"^submodule\..*\.path$")
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
            _add(module, module, target, commit, folder, adding)
        _add_submodules(target, own, module, folder, adding)


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
    missing = f"the submodule {where} is not here, and"
    chosen = repository.setting("submodule", "url", name)
    told = repository.git("config", "--file", ".gitmodules", f"submodule.{name}.url")
    url = chosen or os.fsdecode(told.stdout).strip()
    if url.startswith(("./", "../")):  # relative to the superproject's own (gitmodules(5))
        base = repository.setting("remote", "url", "origin") or home
        if base.startswith(("./", "../")):  # seen from where the user is
            base = posixpath.normpath(posixpath.join(home, base))
        url = remotes.relative_to(base, url)
    elif chosen is None and not remotes.is_known_host(repository, url):
        raise WorktreeError(f"{missing} no remote of this repository is on its server", fix=_INIT)
    if any(_is_below(url.removeprefix("file://"), top) for top in (repository.worktree, home)):
        raise WorktreeError(f"{missing} its address is a folder of the commit itself", fix=_INIT)
    settings = (f"{name}.url={url}", f"{name}.active=true", f"{name}.update=checkout")
    words = [word for setting in settings for word in ("-c", f"submodule.{setting}")]
    env, quietly = _quietly(repository.worktree)
    update = ("submodule", "--quiet", "update", "--init", "--checkout", "--", where)
    try:
        process.run(*quietly, *words, *update, cwd=repository.worktree, env=env).checked()
    except GitError as error:
        first = error.detail.partition("\n")[0]  # git tries several times, and tells of each
        raise WorktreeError(f"{missing} cannot be fetched: {first}", fix=_INIT) from None
