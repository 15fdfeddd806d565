"""What git-lfs left undone: tracked files that are pointers to their data, on disk as in the commit.

git sees no difference: the filter makes the same pointer of both. Which files git-lfs should hold is what
the .gitattributes files of the commit say; where none speaks of it, nothing is asked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.blobs import POINTER_SIZE, is_pointer

_ATTRIBUTES = b".gitattributes"
_SPEAKS = b"filter=lfs"
_LARGEST = 1 << 20
# What has git-lfs leave pointers where its filter is asked for data (git-lfs-config(5)).
_SKIPPING = ("GIT_LFS_SKIP_SMUDGE", "GIT_LFS_SKIP_DOWNLOAD_ERRORS")
_WHOLE = ("lfs.fetchinclude=", "lfs.fetchexclude=", "lfs.skipdownloaderrors=false")


def pointers(worktree: str, tracked: Iterable[bytes]) -> list[str]:
    """Those of the `tracked` files (from the top, submodules' too) that are pointers instead of data."""
    top = os.fsencode(worktree)
    found: dict[str, None] = {}
    for path in sorted(path for path in tracked if path.endswith(_ATTRIBUTES)):
        folder, name = os.path.split(path)
        if name == _ATTRIBUTES and _speaks(os.path.join(top, path)):
            found |= dict.fromkeys(_below(worktree, os.fsdecode(folder)))
    return [*found]


def _speaks(path: bytes) -> bool:
    try:
        return _SPEAKS in read_regular(os.fsdecode(path), at_most=_LARGEST)
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
            if small and is_pointer(read_regular(file, at_most=POINTER_SIZE)):
                yield os.path.join(folder, name)
        except OSError:  # gone meanwhile, which is told elsewhere
            continue


def whole(env: dict[str, str], cwd: str) -> tuple[dict[str, str], list[str]]:
    """Environment and `-c` words by which a checkout gets the data, whatever the user's settings skip."""
    env = {name: value for name, value in env.items() if name not in _SKIPPING}
    settings = [*_WHOLE]
    try:
        asked = ("config", "-z", "--get-regexp", r"^filter\.lfs\.(smudge|process)$")
        listed = process.run(*asked, cwd=cwd, env=env)
    except GitError:
        return env, []
    for pair in os.fsdecode(listed.stdout).split("\0")[:-1]:
        name, _, command = pair.partition("\n")
        words = [word for word in command.split(" ") if word not in ("--skip", "-s")]
        settings.append(f"{name}={' '.join(words)}")
    return env, [word for setting in settings for word in ("-c", setting)]
