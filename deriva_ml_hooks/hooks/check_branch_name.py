"""Keeps direct commits off protected branches, and branch names to a pattern where one is configured.

Asks which branch the next commit goes to. Passed: a detached HEAD (a rebase has one), the first commit of
a repository, since it has to start somewhere, and the merge commit that brings a branch in.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from deriva_ml_hooks.config import text, texts
from deriva_ml_hooks.git.discovery import of_hook
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.hooks._hook import Hook, report
from deriva_ml_hooks.patterns import fits
from deriva_ml_hooks.report import Finding

HOOK = Hook("check-branch-name", stages=("pre-commit",), settings={"protected": texts, "pattern": text})
PROTECTED = ("main", "master")


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the branch that HEAD is on; 1 when no commit should go there."""
    parser = HOOK.parser(__doc__)
    parser.add_argument(
        "--protect",
        dest="protected",
        action="append",
        metavar="GLOB",
        help=f"a branch without direct commits, repeatable (default: {', '.join(PROTECTED)})",
    )
    parser.add_argument(
        "--pattern", metavar="REGEX", help="what the whole name of every other branch must fit"
    )
    args = parser.parse_args(argv)
    repository = of_hook()
    settings = HOOK.chosen(repository, args)
    findings = _findings(repository, settings.get("protected", PROTECTED), settings.get("pattern"))
    return report([*findings], as_json=args.json)


def _findings(repository: Repository, protected: Sequence[str], pattern: str | None) -> Iterator[Finding]:
    branch = repository.branch()
    if branch is None:
        return
    if any(fnmatchcase(branch, glob) for glob in protected):
        is_first = repository.git("rev-parse", "--verify", "--quiet", "HEAD").returncode != 0
        if not is_first and not repository.merging():
            message = f"{branch} is protected: no direct commits"
            fix = f"git switch -c {_suggested('NAME', protected, pattern)}"
            yield Finding("protected-branch", None, message, fix)
    elif pattern and not fits(pattern, [branch])[0]:
        message = f"the branch name {branch} does not match {pattern}"
        fix = f"git branch -m {_suggested(branch.rpartition('/')[2], protected, pattern)}"
        yield Finding("branch-name", None, message, fix)


def _suggested(name: str, protected: Sequence[str], pattern: str | None) -> str:
    """The branch `name` under a kind, spelled so that it fits the pattern: a word for a shell.

    Where nothing that we know fits, what is wanted: in brackets, which no shell takes for a name.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    spelled = [name, name.lower(), *([plain] if plain else [])]
    names = [f"{kind}/{one}" for one in spelled for kind in ("feature", "experiment", "fix")]
    names = [one for one in [*names, *spelled[1:]] if not any(fnmatchcase(one, glob) for glob in protected)]
    for one, is_fit in zip(names, fits(pattern, names) if pattern else [True] * len(names), strict=True):
        if is_fit:
            return shlex.quote(one)
    return f"NAME (one that matches {shlex.quote(pattern)})" if pattern else "NAME (another one)"
