"""What a command names that its commit does not hold, so that a temporary worktree has not got it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from deriva_ml_hooks.git.content import GITLINK, SYMLINK
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner.inside_python import is_installed


def uncommitted(words: Sequence[str], cwd: str, commit: str, home: Repository) -> dict[str, str]:
    """Those of `words` that name what is here but not in `commit`, with their paths from the top.

    Relative ones only, `cwd` being the folder from the top that they start from; what is installed in an
    environment (.venv) is no such thing. Raises GitError where the commit is not here.
    """
    tree = tree_of(home, commit)
    found = {}
    for word in words:
        for part in (word, word.partition("=")[2]):
            if not part or part.startswith("-") or os.path.isabs(part):
                continue
            here = os.path.normpath(os.path.join(home.worktree, cwd, part))
            inside = os.path.relpath(here, home.worktree).replace(os.sep, "/")
            if inside == "." or not os.path.exists(here) or is_installed(here, home.worktree):
                continue
            if inside.startswith("../") or not is_held(home, tree, inside):
                found[part] = inside
    return found


def tree_of(home: Repository, commit: str) -> bytes:
    """The tree of a commit; raises GitError where it is not here."""
    tree: bytes = home.commit(commit.encode("utf-8", "surrogateescape")).tree
    return tree


def is_held(home: Repository, tree: bytes, path: str, *, links: bool = True) -> bool:
    """Whether the commit has `path`, or a submodule or, with `links`, a symbolic link on the way there."""
    way = home.way(tree, path)
    if way and way[-1][0] == SYMLINK:
        return links
    return bool(way) and (way[-1][0] == GITLINK or len(way) == path.count("/") + 1)
