"""Whether the repository around a folder is guarded: `guard` in its own settings, or else of this clone.

Asked at every start of a Hydra application, so it reads two files before it imports anything.
"""

from __future__ import annotations

import os
from typing import NamedTuple

KEY = "deriva-ml-hooks.guard"
"""Where git's configuration of one clone keeps it (git-config(1))."""

_FILES = ("pyproject.toml", ".deriva-ml-hooks.toml")
_LARGEST = 1 << 20


class Setting(NamedTuple):
    """Whether it is on, why, and the top folder of the worktree (None: no repository)."""

    on: bool
    why: str
    worktree: str | None


def of(folder: str) -> Setting:
    """The setting for what runs in `folder`. Raises ConfigError where the repository's own cannot be read."""
    top = worktree_of(os.path.abspath(folder))
    if top is None:
        return Setting(False, "no repository", None)
    if any(b"guard" in _bytes(os.path.join(top, name)) for name in _FILES):
        from deriva_ml_hooks.config import load

        own = load(top).guard
        if own is not None:
            return Setting(own, "the repository's own setting", top)
    if of_clone(top):
        return Setting(True, "the setting of this clone", top)
    return Setting(False, "the default", top)


def of_clone(top: str) -> bool:
    """Whether the clone whose worktree is `top` has it switched on in git's configuration."""
    if b"deriva-ml-hooks" not in _bytes(_configuration(top)):
        return False
    from deriva_ml_hooks.git import process

    asked = process.run("config", "--local", "--type=bool", "--get", KEY, cwd=top)
    return asked.stdout.strip() == b"true"


def worktree_of(folder: str) -> str | None:
    """The top of the worktree that holds `folder`, an absolute path; None outside of one."""
    while not os.path.lexists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return folder


def _configuration(top: str) -> str:
    """The file with git's configuration of the clone whose worktree is `top` (gitrepository-layout(5))."""
    git_dir = os.path.join(top, ".git")
    if not os.path.isdir(git_dir):
        named = _bytes(git_dir).partition(b"gitdir:")[2].strip()
        git_dir = os.path.join(top, os.fsdecode(named))
        common = _bytes(os.path.join(git_dir, "commondir")).strip()
        git_dir = os.path.join(git_dir, os.fsdecode(common))
    return os.path.join(git_dir, "config")


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    except (OSError, ValueError):
        return b""
