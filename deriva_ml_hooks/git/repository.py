"""A repository: git in it, its configuration, refs and objects, and the operation that waits in it.

Refs and objects are read in the process, through dulwich, and nothing is written. dulwich's own `Repo`
is not used: it refuses partial clones and reads configuration named by inherited variables.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.configuration import Setting, configuration

if TYPE_CHECKING:
    from dulwich.object_store import DiskObjectStore
    from dulwich.objects import Blob, Commit, ShaFile, Tree
    from dulwich.refs import RefsContainer

T = TypeVar("T")

EMPTY_TREES = (
    b"4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    b"6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
)
"""The id of a tree without entries, by SHA-1 and by SHA-256."""

MISSING = "missing"
"""The detail of a GitError about an object that is not there."""

_OPERATIONS = (
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply/applying", "am"),
    ("rebase-apply", "rebase"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
)
_MOST_LINKS = 8
_FOLDER = 0o040000
_LONGEST_REF = 65536
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0", ""), False),
}
_OF_REFTABLES = b"ref: refs/heads/.invalid"
"""What HEAD holds where only git knows (reftable specification, "Backward compatibility")."""
_OID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@contextmanager
def reading(what: str, *, fix: str = "git fsck") -> Iterator[None]:
    """Turns whatever dulwich raises on broken bytes into GitError about `what`.

    Its parsers let out what they run into: zlib.error, struct.error, ChecksumMismatch, StopIteration...
    """
    try:
        yield
    except HooksError:
        raise
    except Exception as error:
        import traceback

        traceback.clear_frames(error.__traceback__)  # a pack that they hold on to cannot be closed
        problem = MISSING if isinstance(error, KeyError) else f"broken ({type(error).__name__})"
        raise GitError(what, problem, fix=fix) from error


@dataclass(frozen=True)
class Repository:
    """One worktree of a repository.

    `worktree`: the top folder of the checked-out files; `git_dir`: this worktree's own git directory;
    `common_dir`: what all worktrees of the repository share (gitrepository-layout(5)); `here`: the folder
    of the worktree that the user is in ("" at the top, `/` between names); `env`: git's environment.
    A repository of a hook may be bare: its worktree is then the working directory.
    """

    worktree: str
    git_dir: str
    common_dir: str
    here: str = field(default="", compare=False)
    env: Mapping[str, str] = field(default_factory=process.environment, compare=False, repr=False)
    _peeled: dict[bytes, bytes] = field(default_factory=dict, compare=False, repr=False)

    def git(self, *words: str, stdin: bytes | None = None, strict: bool = False) -> process.Completed:
        """Run `git WORDS` at the top of the worktree; see `process.run`."""
        return process.run(*words, cwd=self.worktree, env=self.env, stdin=stdin, strict=strict)

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """git's configuration as git has it for this worktree, asked once. Raises GitError."""
        return configuration(f"--git-dir={self.git_dir}", cwd=self.worktree, env=self.env)

    def values(self, section: str, name: str) -> list[tuple[str, str]]:
        """Every value of `section.<subsection>.name`, with its subsection, in git's order."""
        wanted = section.lower(), name.lower()
        return [
            (each.subsection, each.value)
            for each in self.settings
            if (each.section, each.name) == wanted and each.subsection is not None
        ]

    def setting(self, section: str, name: str, subsection: str | None = None) -> str | None:
        """One configuration value (the last one given, as git takes it), or None."""
        wanted = section.lower(), subsection, name.lower()
        return next((each.value for each in reversed(self.settings) if each[1:4] == wanted), None)

    def is_set(self, section: str, name: str, *, default: bool) -> bool:
        """A boolean configuration value; anything that git would not read as one counts as `default`."""
        value = self.setting(section, name)
        return default if value is None else _BOOLEANS.get(value.lower(), default)

    @cached_property
    def refs(self) -> RefsContainer | None:
        """HEAD and the refs; None where only git reads them right: reftables, several to a repository."""
        if self.setting("extensions", "refStorage") not in (None, "files"):
            return None
        from dulwich.refs import DiskRefsContainer

        return DiskRefsContainer(self.common_dir, self.git_dir)

    def _ask(self, *words: str) -> bytes | None:
        """What git answers; None where there is none. Raises GitError, also for a git that is too old."""
        done = self.git(*words)
        return None if done.returncode == 1 else done.checked()

    @cached_property
    def objects(self) -> DiskObjectStore:
        """The object store, alternates included."""
        from dulwich.config import ConfigFile
        from dulwich.object_store import DiskObjectStore

        config = ConfigFile()  # what it needs to know; it stumbles over values such as 512m
        config.set("core", "repositoryformatversion", "1")
        config.set("extensions", "objectformat", self.setting("extensions", "objectFormat") or "sha1")
        store = DiskObjectStore.from_config(os.path.join(self.common_dir, "objects"), config)
        weakref.finalize(self, store.close)  # else its packs stay open, and complain of it
        return store

    def object(self, oid: bytes) -> ShaFile:
        """The object `oid` (hexadecimal); raises GitError where it is missing or broken."""
        with reading(
            f"object {oid.decode('ascii', 'replace')}", fix="git fsck, then fetch it again: git fetch --all"
        ):
            return self.objects[oid]  # type: ignore[index]  # dulwich's ObjectID is a NewType of bytes

    def peel(self, oid: bytes) -> bytes:
        """The commit (or tree, or blob) that `oid` leads to through any chain of tag objects."""
        from dulwich.objects import Tag

        if (known := self._peeled.get(oid)) is not None:
            return known
        target = oid
        while isinstance(found := self.object(target), Tag):
            target = found.object[1]
        self._peeled[oid] = target
        return target

    def commit(self, oid: bytes) -> Commit:
        """The commit `oid`; raises GitError where it is not there, or something else is."""
        from dulwich.objects import Commit

        return self._of(Commit, oid)

    def tree(self, oid: bytes) -> Tree:
        """The tree `oid`; raises GitError as `commit` does."""
        from dulwich.objects import Tree

        # git knows the tree without entries also where it was never written (gitrepository-layout(5)).
        return Tree() if oid in EMPTY_TREES else self._of(Tree, oid)

    def blob(self, oid: bytes) -> Blob:
        """The blob `oid`; raises GitError as `commit` does."""
        from dulwich.objects import Blob

        return self._of(Blob, oid)

    def _of(self, kind: type[T], oid: bytes) -> T:
        found = self.object(oid)
        if not isinstance(found, kind):
            raise GitError(f"object {oid.decode('ascii', 'replace')}", f"not a {kind.__name__.lower()}")
        return found

    def way(self, tree: bytes, path: str) -> list[tuple[int, bytes]]:
        """Mode and oid of each entry on the way to `path` in the tree `tree`, its own last.

        It ends early at what is no folder (a link, a submodule, a file), or where nothing is.
        """
        mode, oid, found = _FOLDER, tree, list[tuple[int, bytes]]()
        for name in os.fsencode(path).split(b"/"):
            if mode != _FOLDER:
                break
            try:
                mode, oid = self.tree(oid)[name]
            except KeyError:
                break
            found.append((mode, oid))
        return found

    def entry(self, tree: bytes, path: str) -> tuple[int, bytes] | None:
        """Mode and oid of `path` (relative, `/` between names) in the tree `tree`; None where it is not."""
        found = self.way(tree, path)
        return found[-1] if len(found) == path.count("/") + 1 else None

    def file(self, tree: bytes, path: str) -> bytes | None:
        """The blob of the file `path` in `tree`, through symbolic links as in a checkout; None for no file.

        Raises ValueError for a link that leads out of the tree, or through too many others.
        """
        for _ in range(_MOST_LINKS):
            names, way = path.split("/"), self.way(tree, path)
            mode, oid = way[-1] if way else (0, b"")
            if not stat.S_ISLNK(mode):
                return oid if stat.S_ISREG(mode) and len(way) == len(names) else None
            target = os.fsdecode(self.blob(oid).data)
            path = posixpath.normpath(posixpath.join(*names[: len(way) - 1], target, *names[len(way) :]))
            if path.startswith(("/", "../")):
                raise ValueError(path)
        raise ValueError(path)

    def head(self) -> bytes | None:
        """The commit that HEAD names, or None before the first commit."""
        from dulwich.refs import HEADREF

        if self.refs is None:
            oid = (self._ask("rev-parse", "--verify", "--quiet", "HEAD") or b"").strip()
            return oid if _OID.fullmatch(oid) else None
        with reading("HEAD"):
            try:
                oid = self.refs[HEADREF]
            except KeyError:
                return None
        if not _OID.fullmatch(oid):
            raise GitError("HEAD", "names no commit", fix="git fsck")
        return oid

    def branch(self) -> str | None:
        """The branch that HEAD is on, without `refs/heads/`; None when detached."""
        with reading("HEAD"), open(os.path.join(self.git_dir, "HEAD"), "rb") as file:
            contents = file.read(_LONGEST_REF)
        if contents.rstrip() == _OF_REFTABLES:
            contents = b"ref: " + (self._ask("symbolic-ref", "--quiet", "HEAD") or b"")
        prefix = b"ref: refs/heads/"
        return os.fsdecode(contents[len(prefix) :].strip()) if contents.startswith(prefix) else None

    def refs_under(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Every ref whose full name begins with `prefix` (such as `refs/tags/`), by name, with its oid."""
        if self.refs is None:
            listed = self._ask("for-each-ref", "--format=%(objectname) %(refname)", prefix) or b""
            for line in sorted(listed.splitlines(), key=lambda line: line.partition(b" ")[2]):
                oid, _, name = line.partition(b" ")
                yield os.fsdecode(name), oid
            return
        start = prefix.encode()
        with reading(f"refs under {prefix}"):
            names = sorted(name for name in self.refs.allkeys() if name.startswith(start))
        for name in names:
            with reading(os.fsdecode(name)):
                try:
                    oid = self.refs[name]
                except KeyError:  # a symbolic ref to nowhere, such as origin/HEAD after a prune
                    continue
            if _OID.fullmatch(oid):  # a crash leaves empty files and zeros, which git passes over
                yield os.fsdecode(name), oid

    def shallow(self) -> bool:
        """Whether history ends early here (git-clone(1), --depth)."""
        return os.path.exists(os.path.join(self.common_dir, "shallow"))

    def merging(self) -> list[str]:
        """The commits that are being merged into HEAD, in a merge that waits to be concluded."""
        try:
            with open(os.path.join(self.git_dir, "MERGE_HEAD"), encoding="ascii") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def operation(self) -> str | None:
        """The operation that waits to be concluded: merge, rebase, cherry-pick, revert or am."""
        for name, operation in _OPERATIONS:
            if os.path.exists(os.path.join(self.git_dir, name)):
                return operation
        try:  # the rest of a series, after its conflict was settled by a plain commit
            with open(os.path.join(self.git_dir, "sequencer", "todo"), "rb") as file:
                return "revert" if file.read(6) == b"revert" else "cherry-pick"
        except OSError:
            return None
