"""What every hook does the same way: its words, its settings, the files it reads, how it tells findings."""

from __future__ import annotations

import argparse
import os
import shlex
import stat
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from deriva_ml_hooks.config import Settings, hook_settings
from deriva_ml_hooks.errors import BareRepositoryError, NotARepositoryError, UsageError
from deriva_ml_hooks.report import Finding, as_annotations, as_text, wants_annotations

if TYPE_CHECKING:
    from deriva_ml_hooks.git.repository import Repository


class _Parser(argparse.ArgumentParser):
    """Tells of words that do not fit as every other error is told: argparse prints them as they are."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=f"{self.prog} --help")


def arguments(hook_id: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with what all hooks take: file names come after it, added by those that want some."""
    parser = _Parser(
        prog=f"deriva-ml-hooks hook {shlex.quote(hook_id)}", description=description, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print the findings as a JSON array")
    return parser


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """What the words say to a parser of options and `files`: behind `--` all are names of files.

    pre-commit puts the names right behind the arguments, and a repository chooses its names: a file called
    `--allow=*` must not become an option. Raises UsageError for a word without `--` before it that may be
    either.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    ends = words.count("--")
    end = words.index("--") if ends else len(words)
    # A name comes once: of two the first is no name.
    unclear = not ends or (ends == 1 and os.path.lexists("--"))
    for word in words[:end]:
        if unclear and word.startswith("-") and os.path.lexists(word):
            fix = f"put -- behind the last option (args: [..., --]), or: git mv -- {shlex.quote(word)} NAME"
            raise UsageError(f"{word}: an option, and the name of a file", fix=fix)
    args = parser.parse_args(words[:end])
    args.files += words[end + 1 :]
    return args


def require_own_file(path: str, repository: Repository | None) -> None:
    """Raises OSError where there is no file at `path`, or where a link leads to it from `repository`.

    A link that git tracks may point at any file of the user's.
    """
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        raise OSError(0, "a symbolic link, not a notebook")
    if not stat.S_ISREG(mode):
        raise OSError(0, "a folder" if stat.S_ISDIR(mode) else "not a regular file")
    if repository is not None and _leaves(path, os.path.realpath(repository.worktree)):
        raise OSError(0, "led out of the repository by a symbolic link")


def _leaves(path: str, top: str) -> bool:
    """Whether a folder above `path` is in `top`, and the file is not."""

    def is_within(one: str) -> bool:
        return (os.path.realpath(one) + os.sep).startswith(top.rstrip(os.sep) + os.sep)

    above = os.path.abspath(path)
    inside = is_within(above)
    while not inside and (folder := os.path.dirname(above)) != above:
        if is_within(folder):
            return True
        above = folder
    return False


def repository_here() -> Repository | None:
    """The repository of the working directory; None outside of one, where hooks work on file names too."""
    from deriva_ml_hooks.git.discovery import discover

    try:
        return discover()
    except (NotARepositoryError, BareRepositoryError):
        return None


def settings(hook_id: str, repository: Repository | None) -> Settings:
    """[tool.deriva-ml-hooks.ID] of `repository`; empty without one."""
    return hook_settings(repository.worktree, hook_id) if repository is not None else {}


def tell(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print the findings in the form that is wanted; the exit code: 1 when there are any."""
    if as_json:
        import json

        sys.stdout.write(json.dumps([finding.as_json() for finding in findings], indent=2) + "\n")
    elif findings:
        sys.stdout.write(as_text(findings) + "\n")
        if wants_annotations():
            sys.stdout.write(as_annotations(findings) + "\n")
    sys.stdout.flush()
    return 1 if findings else 0
