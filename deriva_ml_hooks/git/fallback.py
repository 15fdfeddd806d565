"""Measures a worktree without a git program: every file of the commit is hashed in the process.

Slower than git, and it knows no filters: where git would apply one it says so, which refuses. A clean
answer from here means that file by file, byte by byte, the worktree is the commit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.git import sparse
from deriva_ml_hooks.git.content import EXECUTABLE, GITLINK, SYMLINK, modes_are_kept, object_id
from deriva_ml_hooks.git.repository import Repository, reading
from deriva_ml_hooks.git.status import Change, Measurement
from deriva_ml_hooks.globs import Glob, glob

if TYPE_CHECKING:
    from dulwich.index import ConflictedIndexEntry, IndexEntry

_MOST_IGNORED = 1 << 20  # bytes
_NO_GIT = "there is no git program to ask"

_Files = Mapping[str, tuple[int, str]]
_Entries = Mapping[str, "IndexEntry | ConflictedIndexEntry"]


def measure(repository: Repository) -> Measurement:
    """Everything in which the worktree differs from HEAD's commit, as far as it can be told without git.

    What cannot be told is a change with the code `git-error`. Raises GitError where the repository
    cannot be read.
    """
    if repository.setting("extensions", "objectFormat") not in (None, "sha1"):
        raise GitError(
            "the index", f"is of another hash function than SHA-1, and {_NO_GIT}", fix="install git"
        )
    head = repository.head()
    if head is None:
        return Measurement(None, ())
    files = dict(_files(repository, repository.commit(head).tree, ""))
    entries = _entries(repository)
    changes = [*_index(files, entries), *_worktree(repository, files, entries)]
    with reading("the files that say what is ignored", fix="see their owner and mode"):
        changes += _untracked(repository, files)
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


def _entries(repository: Repository) -> _Entries:
    from dulwich.index import Index

    with reading(f"the index, and {_NO_GIT}", fix="install git"):
        index = Index(os.path.join(repository.git_dir, "index"))
        return {os.fsdecode(path): entry for path, entry in index.items()}


def _index(files: _Files, entries: _Entries) -> Iterator[Change]:
    """Where the index differs from the commit: staged content, and conflicts."""
    from dulwich.index import ConflictedIndexEntry

    for path, entry in entries.items():
        if isinstance(entry, ConflictedIndexEntry):
            yield Change("unmerged", path, "in conflict")
        elif files.get(path) != (entry.mode, entry.sha.decode("ascii")):
            yield Change("staged", path, "staged, not committed")
    for path in files.keys() - entries.keys():
        yield Change("staged", path, "deleted and staged, not committed")


def _worktree(repository: Repository, files: _Files, entries: _Entries) -> Iterator[Change]:
    """Where the checked-out files differ from the commit; flags of the index only excuse what is absent."""
    wanted = sparse.wanted(repository)
    keeps_modes = modes_are_kept(repository)
    filtered = _has_filters(repository, files)
    for path, (mode, oid) in files.items():
        file = os.path.join(repository.worktree, path)
        if mode == GITLINK:
            if os.path.lexists(file) and not _is_empty_folder(file):
                yield Change("git-error", path, f"a submodule, and {_NO_GIT}")
            continue
        if not os.path.lexists(file) and getattr(entries.get(path), "skip_worktree", False):
            if wanted(path):
                yield Change("hidden-change", path, "gone, and hidden by the index flag skip-worktree")
            continue
        try:
            found = os.lstat(file).st_mode
            if stat.S_IFMT(found) != stat.S_IFMT(mode):  # before it is read: a named pipe would wait for ever
                yield Change("unstaged", path, "changed in type since the commit, not staged")
                continue
            if mode == SYMLINK:
                data = os.fsencode(os.readlink(file))
            else:
                with open(file, "rb") as stream:
                    data = stream.read()
        except OSError:
            yield Change("unstaged", path, "gone, or not readable, since the commit")
            continue
        if mode != SYMLINK and keeps_modes and bool(found & stat.S_IXUSR) != (mode == EXECUTABLE):
            yield Change("unstaged", path, "made executable or not since the commit, not staged")
        elif object_id("blob", data, like=oid) != oid:
            if filtered:
                yield Change("git-error", path, f"may differ only by a filter or line endings, and {_NO_GIT}")
            else:
                yield Change("unstaged", path, "changed since the commit, not staged")


def _is_empty_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path)


def _has_filters(repository: Repository, files: _Files) -> bool:
    """Whether git might convert content here: attributes anywhere, or line endings by configuration."""
    return (
        any(path.rpartition("/")[2] == ".gitattributes" for path in files)
        or os.path.exists(os.path.join(repository.common_dir, "info", "attributes"))
        or repository.setting("core", "attributesFile") is not None
        or repository.setting("core", "autocrlf") not in (None, "false")
    )


def _untracked(repository: Repository, files: _Files) -> Iterator[Change]:
    top = repository.worktree
    users = repository.setting("core", "excludesFile")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join("~", ".config")
    users = os.path.expanduser(os.path.join(config, "git", "ignore") if users is None else users)
    shared = [*_globs(os.path.join(repository.common_dir, "info", "exclude")), *_globs(users)]
    own: dict[str, Sequence[Glob]] = {}  # by folder, with `/` at its end; the top's is empty

    def is_ignored(path: str, *, is_folder: bool) -> bool:
        """The nearest file that says anything of it decides (gitignore(5)), if no folder above is ignored."""
        folder = path
        while folder:
            folder = folder[: folder.rstrip("/").rfind("/") + 1]
            name = os.fsencode(path[len(folder) :])
            for rule in own.get(folder, ()) if folder else [*own.get("", ()), *shared]:
                if rule.names(name, is_folder=is_folder):
                    return not rule.negated
        return False

    for folder, folders, names in os.walk(top, onerror=_unreadable):
        inside = os.path.relpath(folder, top)
        prefix = "" if inside == "." else inside.replace(os.sep, "/") + "/"
        if prefix and (".git" in folders or ".git" in names):
            folders.clear()
            yield Change("untracked", prefix, "a repository of its own")
            continue
        if ".gitignore" in names:
            own[prefix] = _globs(os.path.join(folder, ".gitignore"))
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [
            name
            for name in folders
            if prefix + name not in files and name != ".git" and not is_ignored(prefix + name, is_folder=True)
        ]
        for name in sorted([*names, *links]):
            path = prefix + name
            if path not in files and path != ".git" and not is_ignored(path, is_folder=False):
                yield Change("untracked", path, "not tracked by git, not ignored")


def _globs(path: str) -> list[Glob]:
    """What a file says is ignored, the last glob first; a line that is no glob ignores nothing."""
    try:
        lines = read_regular(path, at_most=_MOST_IGNORED).splitlines()
    except FileNotFoundError:
        return []
    found: list[Glob] = []
    for line in reversed(lines):
        with suppress(ValueError):
            found += [rule] if (rule := glob(line)) is not None else []
    return found


def _unreadable(error: OSError) -> None:
    raise GitError(str(error.filename), f"cannot be read: {error.strerror}", fix="see its owner and mode")
