"""What git-lfs holds, and what it left undone: tracked files that are pointers, as in the commit.

git sees no difference: the filter makes the same pointer of both. Which files git-lfs should hold is what
the .gitattributes files of the commit say; where none speaks of it, nothing is asked.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.configuration import configuration
from deriva_ml_hooks.git.objects import contents, missing
from deriva_ml_hooks.git.repository import Repository

POINTER_SIZE = 1024
"""Bytes that a pointer stays below (git-lfs specification, "The Pointer")."""

_POINTER = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\n(?:ext-[0-9]-\w+ sha256:[0-9a-f]{64}\n)*"
    rb"oid sha256:[0-9a-f]{64}\nsize [0-9]+\n?"
)
_SPEAKS = b"filter=lfs"
_LARGEST = 1 << 20
# What has git-lfs leave pointers where its filter is asked for data (git-lfs-config(5)).
_SKIPPING = ("GIT_LFS_SKIP_SMUDGE", "GIT_LFS_SKIP_DOWNLOAD_ERRORS")
_WHOLE = ("lfs.fetchinclude=", "lfs.fetchexclude=", "lfs.skipdownloaderrors=false")


def tracked_by_lfs(repository: Repository, paths: Collection[bytes]) -> set[bytes]:
    """Those of `paths` that .gitattributes (the staged ones, and those of the worktree) give to git-lfs."""
    stdin = b"".join(path + b"\0" for path in paths)
    done = repository.git("check-attr", "--stdin", "-z", "filter", stdin=stdin)
    words = done.stdout.split(b"\0") if not done.returncode else []
    return {path for path, value in zip(words[::3], words[2::3], strict=False) if value == b"lfs"}


def pointer_blobs(repository: Repository, oids: Collection[bytes]) -> set[bytes]:
    """Those of the blobs `oids`, all below POINTER_SIZE, that are pointers."""
    names = [oid.decode("ascii") for oid in oids]
    found = set()
    for name, blob in zip(names, contents(repository, names), strict=True):
        if blob is None:
            raise missing(name)
        if _POINTER.fullmatch(blob.data):
            found.add(name.encode("ascii"))
    return found


def pointers(worktree: str, tracked: Iterable[bytes]) -> list[str]:
    """Those of the `tracked` files (from the top, submodules' too) that are pointers instead of data."""
    found: dict[str, None] = {}
    for path in sorted(os.fsdecode(path) for path in tracked if path.endswith(b".gitattributes")):
        folder, name = os.path.split(path)
        if name == ".gitattributes" and _speaks(os.path.join(worktree, path)):
            found |= dict.fromkeys(_below(worktree, folder))
    return [*found]


def _speaks(path: str) -> bool:
    try:
        return _SPEAKS in read_regular(path, at_most=_LARGEST)
    except OSError:
        return False


def _below(worktree: str, folder: str) -> Iterator[str]:
    cwd = os.path.join(worktree, folder)
    listed = process.run("ls-files", "-z", "--", ":(attr:filter=lfs)", cwd=cwd).checked()
    for name in os.fsdecode(listed).split("\0")[:-1]:
        file = os.path.join(cwd, name)
        try:
            found = os.lstat(file)
            small = stat.S_ISREG(found.st_mode) and found.st_size < POINTER_SIZE
            if small and _POINTER.fullmatch(read_regular(file, at_most=POINTER_SIZE)):
                yield os.path.join(folder, name)
        except OSError:  # gone meanwhile: status says so
            continue


def whole(env: dict[str, str], cwd: str) -> tuple[dict[str, str], list[str]]:
    """Environment and `-c` words by which a checkout gets the data, whatever the user's settings skip."""
    env = {name: value for name, value in env.items() if name not in _SKIPPING}
    settings = [*_WHOLE]
    try:
        found = configuration(cwd=cwd, env=env)
    except GitError:
        return env, []
    for each in found:
        if (each.section, each.subsection) == ("filter", "lfs") and each.name in ("smudge", "process"):
            words = [word for word in each.value.split(" ") if word not in ("--skip", "-s")]
            settings.append(f"filter.lfs.{each.name}={' '.join(words)}")
    return env, [word for setting in settings for word in ("-c", setting)]
