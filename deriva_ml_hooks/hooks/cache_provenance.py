"""Caches what is known of the commit, so that nobody waits for it later.

Runs after git has done its work, so it must never fail: it warns and answers 0. Silent when all is well. The
native hooks start it where nobody waits for it or hears it, and the next git command may be under way.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import NotARepositoryError
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.hooks._hook import Hook
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import printable

HOOK = Hook(
    "cache-provenance",
    stages=("post-commit", "post-checkout", "post-merge", "post-rewrite", "pre-push", "manual"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the cache for the repository of the working directory; always 0."""
    parser = argparse.ArgumentParser(prog="deriva-ml-hooks hook cache-provenance", description=__doc__)
    # git and pre-commit hand on what their hook was given; nothing of it is needed.
    parser.add_argument("ignored", nargs="*", help=argparse.SUPPRESS)
    parser.parse_known_args(argv)
    try:
        commit = None
        while commit != (commit := measured().head()):  # the next commit may have come meanwhile
            repository = measured()
            provenance_of(repository, load(repository.worktree))
    except NotARepositoryError as error:
        # `git --git-dir=X --work-tree=Y commit` lets nobody find the repository from its files.
        if "GIT_DIR" not in os.environ:
            _warn(error)
    except Exception as error:  # whatever it is, the git command has already done its work
        _warn(error)
    return 0


def _warn(error: Exception) -> None:
    said = printable(redact(str(error)))
    print(f"deriva-ml-hooks: provenance not cached: {said}", file=sys.stderr)  # noqa: T201
