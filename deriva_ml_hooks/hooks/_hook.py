"""What a hook declares of itself, and what every hook does the same way: words, settings, files, findings."""

from __future__ import annotations

import argparse
import os
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from deriva_ml_hooks.config import Reader, hook_settings
from deriva_ml_hooks.errors import BareRepositoryError, NotARepositoryError, UsageError
from deriva_ml_hooks.report import Finding, as_annotations, as_text, wants_annotations

if TYPE_CHECKING:
    from deriva_ml_hooks.git.repository import Repository


class Hook(NamedTuple):
    """A hook: its id, the stages it runs at, and the keys of its table, each with what reads its value.

    `recommended`: it suits every model repository. Those that are run in the order of their ids.
    """

    id: str
    stages: tuple[str, ...]
    settings: Mapping[str, Reader] = MappingProxyType({})
    recommended: bool = False

    def parser(self, description: str | None) -> argparse.ArgumentParser:
        """A parser with what all hooks take: file names come after it, added by those that want some."""
        program = f"deriva-ml-hooks hook {shlex.quote(self.id)}"
        parser = _Parser(prog=program, description=description, allow_abbrev=False)
        parser.add_argument("--json", action="store_true", help="print the findings as a JSON array")
        return parser

    def chosen(self, repository: Repository | None, args: argparse.Namespace | None = None) -> dict[str, Any]:
        """The settings in force: `args`, then [tool.deriva-ml-hooks.ID] of `repository`."""
        table = hook_settings(repository.worktree, self.id) if repository is not None else {}
        given = {key: getattr(args, key.replace("-", "_"), None) for key in self.settings}
        return {**table, **{key: value for key, value in given.items() if value is not None}}


class _Parser(argparse.ArgumentParser):
    """Reports words that do not fit as every other error is reported."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=f"{self.prog} --help")


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


def read_own_file(path: str, repository: Repository | None) -> bytes:
    """The regular file at `path`. Raises OSError, also where a link leads to it from `repository`.

    A link that git tracks may point at any file of the user's.
    """
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        raise OSError(0, "a symbolic link, not a notebook")
    if not stat.S_ISREG(mode):
        raise OSError(0, "a folder" if stat.S_ISDIR(mode) else "not a regular file")
    if repository is not None and _is_led_out(path, os.path.realpath(repository.worktree)):
        raise OSError(0, "led out of the repository by a symbolic link")
    with open(path, "rb") as file:
        return file.read()


def _is_led_out(path: str, top: str) -> bool:
    """Whether a folder above `path` is in `top`, and the file is not."""
    names = [os.path.abspath(path)]
    while (above := os.path.dirname(names[-1])) != names[-1]:
        names.append(above)
    inside = [os.path.commonpath([os.path.realpath(name), top]) == top for name in names]
    return any(inside) and not inside[0]


def repository_here() -> Repository | None:
    """The repository of the working directory; None outside of one, where hooks work on file names too."""
    from deriva_ml_hooks.git.discovery import measured

    try:
        return measured()
    except (NotARepositoryError, BareRepositoryError):
        return None


def report(findings: Sequence[Finding], *, as_json: bool = False) -> int:
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
