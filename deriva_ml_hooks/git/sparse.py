"""Which paths a sparse checkout wants in the worktree: git has no command that says so before 2.41."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import cache

from deriva_ml_hooks.git.repository import Repository

_Rule = tuple[re.Pattern[bytes], bool, bool]  # what it matches, whether only folders, whether it includes


def wanted(repository: Repository) -> Callable[[str], bool]:
    """Tells of a tracked path whether it should be checked out; of every path where all should be."""
    rules = _rules(repository)
    if rules is None:
        return lambda _path: True

    # As git decides (dir.c, path_in_sparse_checkout): the last pattern that matches counts, and what
    # none matches goes with its folder. So unlike in .gitignore a folder's content can be re-included.
    @cache
    def included(path: bytes, is_folder: bool) -> bool:
        for expression, only_folders, includes in rules:
            if (is_folder or not only_folders) and expression.match(path):
                return includes
        parent = path.rpartition(b"/")[0]
        return bool(parent) and included(parent, True)

    return lambda path: included(os.fsencode(path), False)


def _rules(repository: Repository) -> Sequence[_Rule] | None:
    """The patterns, the last one first; None where no sparse checkout is in use."""
    from dulwich.ignore import read_ignore_patterns, translate

    if not repository.is_set("core", "sparseCheckout", default=False):
        return None
    try:
        with open(os.path.join(repository.git_dir, "info", "sparse-checkout"), "rb") as file:
            patterns = list(read_ignore_patterns(file))
        return [
            (re.compile(translate(pattern.rstrip(b"/"))), line.endswith(b"/"), not line.startswith(b"!"))
            for line in reversed(patterns)
            if (pattern := line.removeprefix(b"!")).strip(b"/")
        ]
    except (OSError, ValueError, re.error):
        return None
