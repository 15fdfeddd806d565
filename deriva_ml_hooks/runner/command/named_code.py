"""Code that the words of a command name, and no commit holds.

A program that is in no table may run any file that it is given. So its words are looked at, and those of the
texts in them that a shell reads. Files are looked at; nothing is started.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from deriva_ml_hooks.files import inside
from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance
from deriva_ml_hooks.runner.command.invocation import Kind, invocation, is_installed, on_path
from deriva_ml_hooks.runner.command.launchers import is_interpreter
from deriva_ml_hooks.runner.command.shell_words import can_be_name, is_text, shell_commands
from deriva_ml_hooks.untracked import has_code_suffix

_OUTPUT_OPTIONS = frozenset({"-o", "--output", "--output-file", "--outfile", "--out"})
_CHANGES_FOLDER = ("-C", "--directory", "--chdir")
_MAKE = ("GNUmakefile", "makefile", "Makefile")
_SNAKEMAKE = ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile")
_DEFAULTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "make": (_MAKE, ("-f", "--file", "--makefile")),
    "snakemake": (_SNAKEMAKE, ("-s", "--snakefile")),
}
"""The file that a program runs where none is named, the first that is there; the options that name one."""
_PARTS = re.compile(r"[\s=,:;|&()<>'\"`]+")
_DEEPEST = 4
"""Commands quoted in commands that are looked into."""
_COMPILED = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")
_ARCHIVES = frozenset({".jar", ".war"})


class NamedCode(NamedTuple):
    """Code that no commit of the repository holds: its real path; whether it was compiled, so none will.

    `is_given`: code of the commit, or a program that reads it as settings, is given it: it may be data.
    """

    path: str
    compiled: bool
    is_given: bool


class _Named(NamedTuple):
    """A path that a command names; whether it `runs` that, whatever it is called, or is given it only."""

    path: str
    runs: bool
    is_given: bool


def named_code(argv: Sequence[str], cwd: str, provenance: Provenance) -> list[NamedCode]:
    """The code that the command `argv` may run besides its program, and no commit holds; the worst first."""
    found: dict[str, NamedCode] = {}
    # A path that one command runs and another is given counts as run.
    for named in sorted(_named(argv, [cwd], provenance, 0, is_given=False), key=lambda named: named.is_given):
        if _is_uncommitted(named, provenance):
            real = os.path.realpath(named.path)
            found.setdefault(real, NamedCode(real, is_compiled(real), named.is_given))
    return [*found.values()]


def is_code(path: str, real: str) -> bool:
    """Whether the file at `path`, perhaps a link to `real`, is code by its name or its beginning."""
    if any(has_code_suffix(name) or has_code_name(name) for name in (path, real)):
        return True
    return _beginning(real).startswith((b"#!", *_COMPILED))


def has_code_name(path: str) -> bool:
    """Whether a file has the name of one that a program runs unnamed (`Makefile`)."""
    return Path(path).stem.lower() in {"gnumakefile", "makefile", "snakefile"}


def is_compiled(real: str) -> bool:
    """Whether a file is a program or library that was made of code."""
    beginning = _beginning(real)
    return beginning.startswith(_COMPILED) or (beginning[:2] == b"PK" and Path(real).suffix in _ARCHIVES)


def _beginning(real: str) -> bytes:
    with suppress(OSError), open(real, "rb") as stream:
        return stream.read(512)
    return b""


def _named(
    words: Sequence[str], folders: Sequence[str], provenance: Provenance, depth: int, *, is_given: bool
) -> Iterator[_Named]:
    """Everything that the command `words` names, or a command in them, when it is started in `folders`.

    There are several where a `cd` comes before it: which of them it is in is not known.
    """
    sent = (
        os.path.normpath(os.path.join(folders[0], name)) for name in _values(words, _CHANGES_FOLDER) if name
    )
    folders = [*folders, *filter(os.path.isdir, sent)]
    names = [*map(os.path.basename, words)]
    arguments = next((at + 1 for at, name in enumerate(names) if name in _DEFAULTS), len(words))
    for folder in folders:
        for at, path in _scripts(words, folder, provenance):
            if _is_committed(os.path.realpath(path), provenance):
                arguments = min(arguments, at)
            yield _Named(path, True, is_given)
    if words[0] in (".", "source"):
        for folder in folders:
            for word in words[1:2]:
                is_settings = os.path.basename(word).startswith(".")  # `.env`, which nobody should commit
                yield _Named(os.path.join(folder, word), True, is_settings)
    for program in _DEFAULTS.keys() & {*names}:
        for name in _values(words, _DEFAULTS[program][1]):
            yield from (_Named(os.path.join(folder, name), True, is_given) for folder in folders)
    yield from (_Named(path, False, is_given) for path in defaults(words, folders))
    for at, word in enumerate(words):
        option = word.partition("=")[0] if word.startswith("-") else words[at - 1]
        if option in _OUTPUT_OPTIONS:
            continue
        given = is_given or at >= arguments
        parts = () if is_text(word) else _PARTS.split(word)
        for name in (word, word.partition("=")[2], *parts, *([word[2:]] if word.startswith("-") else ())):
            yield from (_Named(os.path.join(folder, name), False, given) for folder in folders if name)
        if is_text(word) and depth < _DEEPEST:
            inner = [folders[0]]
            for command in shell_commands(word):
                spelled = [os.path.expanduser(os.path.expandvars(w)) for w in command.words if can_be_name(w)]
                if not spelled:
                    continue
                yield from _named(spelled, inner, provenance, depth + 1, is_given=given)
                if spelled[0] == "cd" and len(inner) < _DEEPEST:
                    inner.append(os.path.normpath(os.path.join(inner[-1], spelled[-1])))


def _scripts(words: Sequence[str], folder: str, provenance: Provenance) -> Iterator[tuple[int, str]]:
    """The files that the command runs, by an interpreter anywhere in it too, and from which word on.

    Where an option is before the interpreter its name may be that option's value.
    """
    top = provenance.source.repository.worktree
    starts = [
        at
        for at, word in enumerate(words)
        if at == 0 or (is_interpreter(word) and not words[at - 1].startswith("-"))
    ]
    for at in starts:
        found = invocation(words[at:], cwd=folder, top=top, executable=on_path(words[at], folder))
        # What nothing interprets runs only if it can be started.
        is_run = len(starts) > 1 or is_interpreter(words[at]) or os.access(found.path or "", os.X_OK)
        if found.kind is Kind.FILE and found.path is not None and is_run:
            yield at, found.path


def _values(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """The values of some options, in a word of their own or in the same one."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        for option in options:
            if word == option:
                yield following
            elif word.startswith(option) and (word[len(option)] == "=" or not option.startswith("--")):
                yield word[len(option) :].removeprefix("=")


def defaults(words: Sequence[str], folders: Sequence[str]) -> Iterator[str]:
    """The files that a program runs unnamed, in the last of the folders that it may be in."""
    for program in dict.fromkeys(map(os.path.basename, words)):
        files, options = _DEFAULTS.get(program, ((), ()))
        if not any(word.startswith(options) for word in words):
            paths = (os.path.join(folders[-1], file) for file in files)
            yield from islice(filter(os.path.isfile, paths), 1)


def _is_uncommitted(named: _Named, provenance: Provenance) -> bool:
    top, path = provenance.source.repository.worktree, os.path.normpath(named.path)
    if not os.path.isfile(path) or is_installed(path, top):
        return False
    real = os.path.realpath(path)
    if not (named.runs or is_code(path, real)):
        return False
    if inside(real, top) is None:
        return not is_installed(real, top)
    return not _is_committed(real, provenance)


def _is_committed(real: str, provenance: Provenance) -> bool:
    try:
        provenance.file(real)
    except NotInCommitError:
        return False
    return True
