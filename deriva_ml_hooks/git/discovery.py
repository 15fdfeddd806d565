"""Which repository a folder belongs to, found as git finds it (git(1), gitrepository-layout(5)).

For measuring, files on disk are asked, never inherited variables: they name the repository of a hook.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator

from deriva_ml_hooks.errors import BareRepositoryError, GitError, NotARepositoryError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository, reading


def of_hook() -> Repository:
    """The repository that git sees from the working directory, inherited variables of a hook included.

    Inside `git commit -a` GIT_INDEX_FILE names the index in question, in a linked worktree GIT_DIR the git
    directory. Raises NotARepositoryError.
    """
    env, folder = process.hook_environment(), os.getcwd()
    where = ("--absolute-git-dir", "--git-common-dir", "--show-toplevel")
    done = process.run("rev-parse", *where, cwd=folder, env=env)
    if "not a git repository" in done.said:
        raise NotARepositoryError(folder)
    if "must be run in a work tree" not in done.said:  # a bare repository can be pushed from, too
        done.checked()
    with process.answer("rev-parse"):
        git_dir, common, *top, end = os.fsdecode(done.stdout).split("\n")
        (worktree,) = top or [folder]
        if end or "\0" in git_dir + common + worktree:
            raise ValueError(git_dir)
    return Repository(worktree, git_dir, os.path.normpath(os.path.join(folder, common)), env=env)


def measured(start: str = ".") -> Repository:
    """The repository whose worktree holds the folder `start`, found as git finds it.

    Inherited variables such as GIT_DIR are not asked. Raises NotARepositoryError, BareRepositoryError,
    and GitError where a `.git` file leads nowhere.
    """
    try:
        folder = here = os.path.realpath(start)
    except FileNotFoundError:  # the working directory was removed
        raise NotARepositoryError(start) from None
    while True:
        dot_git = os.path.join(folder, ".git")
        if os.path.isfile(dot_git):
            return _opened(folder, _gitfile(dot_git), here)
        if _is_git_directory(dot_git):
            return _opened(folder, dot_git, here)
        if _is_git_directory(folder):
            raise BareRepositoryError(here, folder, _a_worktree(folder))
        parent = os.path.dirname(folder)
        if parent == folder:
            raise NotARepositoryError(here)
        folder = parent


def _opened(folder: str, git_dir: str, start: str) -> Repository:
    common = git_dir
    pointer = os.path.join(git_dir, "commondir")
    if os.path.isfile(pointer):
        with reading(pointer), open(pointer, "rb") as file:
            common = os.path.normpath(os.path.join(git_dir, os.fsdecode(file.read().rstrip(b"\r\n"))))
    inside = os.path.relpath(start, folder)
    here = "" if inside == os.curdir else inside.replace(os.sep, "/")
    repository = Repository(folder, git_dir, common, here)
    # core.bare and core.worktree are about the main worktree (git-worktree(1))
    is_main = common == git_dir
    if is_main and repository.is_set("core", "bare", default=False):
        raise BareRepositoryError(folder, common, _a_worktree(common))
    of_each = is_main or repository.is_set("extensions", "worktreeConfig", default=False)
    moved = repository.setting("core", "worktree") if of_each else None
    if moved is not None and os.path.realpath(os.path.join(git_dir, moved)) != folder:
        raise GitError(
            folder,
            f"not checked out here: core.worktree is {moved}",
            fix=f"git config --file {shlex.quote(os.path.join(git_dir, 'config'))} --unset core.worktree",
        )
    return repository


def linked_worktrees(common: str) -> Iterator[tuple[str, str | None]]:
    """What the repository `common` keeps of each linked worktree, and where that is, there or not.

    None where a killed git has not yet written it (gitrepository-layout(5), worktrees/<id>/gitdir).
    """
    kept = os.path.join(common, "worktrees")
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(kept)):
            admin, worktree = os.path.join(kept, name), None
            with contextlib.suppress(OSError), open(os.path.join(admin, "gitdir"), "rb") as file:
                dot_git = os.fsdecode(file.read().rstrip(b"\r\n"))
                worktree = os.path.dirname(os.path.normpath(os.path.join(admin, dot_git)))
            yield admin, worktree


def _a_worktree(common: str) -> str | None:
    """A linked worktree that is there."""
    places = (place for _, place in linked_worktrees(common) if place is not None)
    return next((place for place in places if os.path.isfile(os.path.join(place, ".git"))), None)


def _gitfile(path: str) -> str:
    with reading(path), open(path, "rb") as file:
        content = file.read(65536)
    if not content.startswith(b"gitdir: "):
        raise GitError(path, "not a file that names a git directory", fix=f"restore or remove {path}")
    target = os.fsdecode(content[len(b"gitdir: ") :].rstrip(b"\r\n"))
    git_dir = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if not _is_git_directory(git_dir):
        raise GitError(path, f"names {git_dir}, which is not a git directory", fix="git worktree repair")
    return git_dir


def _is_git_directory(path: str) -> bool:
    """What git's own test asks: HEAD, and objects and refs here or in the common directory."""
    if not os.path.lexists(os.path.join(path, "HEAD")):
        return False
    return os.path.isfile(os.path.join(path, "commondir")) or (
        os.path.isdir(os.path.join(path, "objects")) and os.path.isdir(os.path.join(path, "refs"))
    )
