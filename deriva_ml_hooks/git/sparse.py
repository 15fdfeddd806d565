"""Which paths a sparse checkout wants in the worktree: git has no command that says so before 2.41."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache

from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.globs import Glob, glob


def wanted(repository: Repository) -> Callable[[str], bool]:
    """Tells of a tracked path whether it should be checked out; of every path where all should be."""
    rules = _rules(repository)
    if rules is None:
        return lambda _path: True

    @cache
    def decided(path: bytes, is_folder: bool) -> bool | None:
        return next((not rule.negated for rule in rules if rule.names(path, is_folder=is_folder)), None)

    # As git decides (dir.c, path_in_sparse_checkout): the last pattern that matches counts, and what
    # none matches goes with its folder. So unlike in .gitignore a folder's content can be re-included.
    def included(path: str) -> bool:
        name = os.fsencode(path)
        verdict = decided(name, False)
        while verdict is None and (name := name.rpartition(b"/")[0]):
            verdict = decided(name, True)
        return bool(verdict)

    return included


def _rules(repository: Repository) -> Sequence[Glob] | None:
    """The patterns, the last one first; None where no sparse checkout is in use."""
    if not repository.is_set("core", "sparseCheckout", default=False):
        return None
    try:
        with open(os.path.join(repository.git_dir, "info", "sparse-checkout"), "rb") as file:
            lines = file.read().splitlines()
        return [rule for line in reversed(lines) if (rule := glob(line)) is not None]
    except (OSError, ValueError):
        return None
