"""Measures a worktree without a git program: every file of the commit is hashed in the process.

Slower than git, and it knows no filters: where git would apply one it says so, which refuses. A clean
answer from here means that file by file, byte by byte, the worktree is the commit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git.content import EXECUTABLE, GITLINK, SYMLINK, modes_are_kept, object_id
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.status import Change, Measurement

_NO_GIT = "there is no git program to ask"


def measure(repository: Repository) -> Measurement:
    """Everything in which the worktree differs from HEAD's commit, as far as it can be told without git.

    What cannot be told is a change with the code `git-error`. Raises GitError where the repository
    cannot be read.
    """
    head = repository.head()
    if head is None:
        return Measurement(None, ())
    files = dict(_files(repository, repository.commit(head).tree, ""))
    changes = [*_index(repository, files), *_worktree(repository, files)]
    changes += [
        Change("untracked", path, "not tracked by git, not ignored") for path in _untracked(repository, files)
    ]
    operation = repository.operation()
    if operation is not None:
        changes.append(Change("operation-in-progress", None, operation))
    return Measurement(head.decode("ascii"), tuple(changes))


def _files(repository: Repository, tree: bytes, folder: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Every path of a tree with its mode and oid."""
    for entry in repository.tree(tree).iteritems():
        path = folder + os.fsdecode(entry.path)
        if stat.S_ISDIR(entry.mode):
            yield from _files(repository, entry.sha, path + "/")
        else:
            yield path, (entry.mode, entry.sha.decode("ascii"))


def _index(repository: Repository, files: dict[str, tuple[int, str]]) -> Iterator[Change]:
    """Where the index differs from the commit: staged content, and conflicts."""
    from dulwich.index import ConflictedIndexEntry, Index

    try:
        index = Index(os.path.join(repository.git_dir, "index"))
        entries = {os.fsdecode(path): entry for path, entry in index.items()}
    except (OSError, ValueError, AssertionError, KeyError) as error:
        raise GitError("the index", f"cannot be read, and {_NO_GIT}: {error}", fix="install git") from None
    for path, entry in entries.items():
        if isinstance(entry, ConflictedIndexEntry):
            yield Change("unmerged", path, "in conflict")
        elif files.get(path) != (entry.mode, entry.sha.decode("ascii")):
            yield Change("staged", path, "staged, not committed")
    for path in files.keys() - entries.keys():
        yield Change("staged", path, "deleted and staged, not committed")


def _worktree(repository: Repository, files: dict[str, tuple[int, str]]) -> Iterator[Change]:
    """Where the checked-out files differ from the commit. Flags of the index are not looked at."""
    keeps_modes = modes_are_kept(repository)
    filtered = _has_filters(repository, files)
    for path, (mode, oid) in files.items():
        file = os.path.join(repository.worktree, path)
        if mode == GITLINK:
            if os.path.isdir(file) and os.listdir(file):
                yield Change("git-error", path, f"a submodule, and {_NO_GIT}")
            continue
        try:
            found = os.lstat(file).st_mode
            if mode == SYMLINK:
                data = os.fsencode(os.readlink(file))
            else:
                with open(file, "rb") as stream:
                    data = stream.read()
        except OSError:
            yield Change("unstaged", path, "gone, or not readable, since the commit")
            continue
        if stat.S_ISLNK(found) != (mode == SYMLINK):
            yield Change("unstaged", path, "changed in type since the commit, not staged")
        elif mode != SYMLINK and keeps_modes and bool(found & stat.S_IXUSR) != (mode == EXECUTABLE):
            yield Change("unstaged", path, "made executable or not since the commit, not staged")
        elif object_id("blob", data, like=oid) != oid:
            if filtered:
                yield Change("git-error", path, f"may differ only by a filter or line endings, and {_NO_GIT}")
            else:
                yield Change("unstaged", path, "changed since the commit, not staged")


def _has_filters(repository: Repository, files: dict[str, tuple[int, str]]) -> bool:
    """Whether git might convert content here: attributes anywhere, or line endings by configuration."""
    return (
        any(path.rpartition("/")[2] == ".gitattributes" for path in files)
        or os.path.exists(os.path.join(repository.common_dir, "info", "attributes"))
        or repository.setting("core", "attributesFile") is not None
        or repository.setting("core", "autocrlf") not in (None, "false")
    )


def _untracked(repository: Repository, files: dict[str, tuple[int, str]]) -> Iterator[str]:
    from dulwich.ignore import IgnoreFilter, IgnoreFilterManager, default_user_ignore_filter_path

    own = os.path.join(repository.common_dir, "info", "exclude")
    shared = [p for p in (own, default_user_ignore_filter_path(repository.config)) if os.path.exists(p)]
    ignored = IgnoreFilterManager(
        repository.worktree, [IgnoreFilter.from_path(path) for path in shared], ignorecase=False
    )
    for folder, folders, names in os.walk(repository.worktree):
        inside = os.path.relpath(folder, repository.worktree)
        prefix = "" if inside == "." else inside.replace(os.sep, "/") + "/"
        folders[:] = [
            name
            for name in folders
            if (prefix + name not in files) and name != ".git" and not ignored.is_ignored(f"{prefix}{name}/")
        ]
        links = [name for name in os.listdir(folder) if os.path.islink(os.path.join(folder, name))]
        for name in sorted({*names, *links}):
            path = prefix + name
            if path not in files and path != ".git" and not ignored.is_ignored(path):
                yield path
