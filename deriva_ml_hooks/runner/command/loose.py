"""Loose code: what a command may run, and no commit holds.

A program that is in no table may run any file that it is given, so its words are looked at, those of a quoted
command too, in every folder that they name. Files are looked at; nothing is started, and git asked nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from deriva_ml_hooks.files import inside
from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance
from deriva_ml_hooks.runner.command.entry_point import Kind, invocation, is_installed, on_path
from deriva_ml_hooks.runner.command.launchers import launcher_of
from deriva_ml_hooks.runner.command.options import Operand
from deriva_ml_hooks.runner.command.quoted import (
    ASSIGNMENT,
    BETWEEN_WORDS,
    commands,
    expanded,
    files_of,
    is_text,
)
from deriva_ml_hooks.untracked import has_code_suffix

_OUTPUT_OPTIONS = frozenset({"-o", "--output", "--output-file", "--outfile", "--out"})
_MAKE = (("GNUmakefile", "makefile", "Makefile"), ("-f", "--file", "--makefile"))
_DEFAULTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "make": _MAKE,
    "gmake": _MAKE,
    "snakemake": (
        ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile"),
        ("-s", "--snakefile"),
    ),
    "just": (("justfile", "Justfile", ".justfile"), ("-f", "--justfile")),
    **dict.fromkeys(("pytest", "py.test"), (("conftest.py",), ("--noconftest",))),
}
"""The file that a program runs where none is named, the first that is there; the options that name one."""
_TESTS_FOLDERS = frozenset({"unittest", "pytest", "py.test", "nose2"})
"""What runs the modules in a folder. To others a folder is data, whatever is in it."""
_CODE_NAMES = frozenset(Path(name).name.lower() for names, _ in _DEFAULTS.values() for name in names)
YAML = frozenset({".yml", ".yaml"})
"""Suffixes of texts that some programs run, and most read."""
_CHANGES_FOLDER = ("-C", "--directory", "--chdir")
_DEEPEST = 4
"""Commands quoted in commands that are looked into."""
_MOST_FOLDERS = 8
_COMPILED = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")
_ARCHIVES = frozenset({".jar", ".war"})
_LOOKED_AT = 10_000
"""Entries of a folder that are looked at."""


class Loose(NamedTuple):
    """Code that no commit of the repository holds: its real path; whether it was compiled, so none will.

    `is_given`: a script of the commit, or a program that reads it as settings, is given it: it may be data.
    """

    path: str
    compiled: bool
    is_given: bool


class _Seen(NamedTuple):
    """A path that a command names; whether it `runs` that, whatever it is called, or is given it only."""

    path: str
    runs: bool = False
    is_given: bool = False


def loose_code(argv: Sequence[str], cwd: str, provenance: Provenance) -> list[Loose]:
    """The code that the command `argv` may run besides its program, and no commit holds; the worst first.

    What was installed is no such thing.
    """
    found: dict[str, Loose] = {}
    # A path that one command runs and another is given counts as run.
    for seen in sorted(dict.fromkeys(_Reader(provenance).read(argv, cwd)), key=lambda seen: seen.is_given):
        if _is_loose(seen, provenance):
            real = os.path.realpath(seen.path)
            found.setdefault(real, Loose(real, is_compiled(real), seen.is_given))
    return [*found.values()]


def is_code(path: str, real: str) -> bool:
    """Whether the file at `path`, perhaps a link to `real`, is code by its name or its beginning."""
    for name in (path, real):
        if has_code_suffix(name) or has_code_name(name):
            return True
    return _beginning(real).startswith((b"#!", *_COMPILED))


def has_code_name(real: str) -> bool:
    """Whether a file has the name of one that a program runs unnamed (`Makefile`)."""
    return Path(real).stem.lower() in _CODE_NAMES


def is_compiled(real: str) -> bool:
    """Whether a file is a program or library that was made of code."""
    beginning = _beginning(real)
    return beginning.startswith(_COMPILED) or (beginning[:2] == b"PK" and Path(real).suffix in _ARCHIVES)


def _beginning(real: str) -> bytes:
    with suppress(OSError), open(real, "rb") as stream:
        return stream.read(512)
    return b""


class _Reader:
    """Reads what a command names, and the commands in its words; it knows the variables that they set."""

    def __init__(self, provenance: Provenance) -> None:
        self._provenance = provenance
        self._roots = [provenance.source.repository.worktree]
        self._variables = dict(os.environ)

    def read(
        self, words: Sequence[str], cwd: str, *, depth: int = 0, is_given: bool = False, is_left: bool = False
    ) -> Iterator[_Seen]:
        """Everything that the command `words` names, or a command in them, when it is started in `cwd`.

        `is_given`: as an argument of code that the commit holds; `is_left`: another `cd` comes in between.
        """
        folders = [cwd, *_sent(words, cwd)]
        told = [os.path.join(cwd, name) for word in words for name in (word, word.partition("=")[2]) if name]
        named = [os.path.normpath(folder) for folder in told if os.path.isdir(folder)]
        for path in self._run(words, folders):
            yield _Seen(path, runs=True, is_given=is_given)
        for word in words[1:2] if words[0] in (".", "source") else ():
            is_settings = os.path.basename(word).startswith(".")  # `.env`, which nobody should commit
            for folder in folders:
                yield _Seen(os.path.join(folder, word), runs=True, is_given=is_settings)
        if not is_left:
            yield from (_Seen(path, is_given=is_given) for path in defaults(words, folders))
        if not _TESTS_FOLDERS.isdisjoint(map(os.path.basename, words)):
            yield from (
                _Seen(path, is_given=is_given) for top in named for path in _within(top, self._provenance)
            )
        arguments = 0 if is_given else self._arguments(words, cwd)
        for at, (names, text) in enumerate(_names(words)):
            given = at >= arguments
            for name in names:
                yield from (_Seen(os.path.join(top, name), is_given=given) for top in (*folders, *named))
            if text is not None and depth < _DEEPEST:
                yield from self._quoted(text, cwd, depth + 1, is_given=given)
        if len(words) == arguments == 2 and Path(words[1]).suffix.lower() in YAML:
            yield _Seen(os.path.join(cwd, words[1]), runs=True, is_given=True)

    def _quoted(self, text: str, cwd: str, depth: int, *, is_given: bool) -> Iterator[_Seen]:
        folders = [cwd]
        for raw in commands(text):
            words = [expanded(word, self._variables) for word in raw]
            sets = [ASSIGNMENT.fullmatch(word) for word in words]
            if words[0] == "export" or None not in sets:
                self._variables |= {found[1]: found[2] for found in sets if found}
            for folder in tuple(folders):
                left = folder != folders[-1]
                spread = [name for word in words for name in files_of(word, folder)]
                yield from self.read(spread, folder, depth=depth, is_given=is_given, is_left=left)
                if words[0] in ("cd", "pushd") and len(words) > 1:
                    there = os.path.normpath(os.path.join(folder, words[-1]))
                    if there not in folders and len(folders) < _MOST_FOLDERS:
                        folders.append(there)

    def _run(self, words: Sequence[str], folders: Sequence[str]) -> Iterator[str]:
        """The files behind an interpreter and its like, or behind an option that names one; else a program's.

        Where an option is before the interpreter its name may be that option's value.
        """
        interpreters = {*filter(_is_interpreter, words)}
        for at, word in enumerate(words):
            if at and (word not in interpreters or words[at - 1].startswith("-")):
                continue
            for folder in folders:
                path = self._script(words[at:], folder)
                # What nothing interprets runs only if it can be started.
                if path is not None and (interpreters or os.access(path, os.X_OK)):
                    yield path
        for program in {*map(os.path.basename, words)} & _DEFAULTS.keys() - _TESTS_FOLDERS:
            named = _values(words, _DEFAULTS[program][1])
            yield from (os.path.join(top, name) for name in named for top in folders)

    def _script(self, words: Sequence[str], folder: str) -> str | None:
        if not words:
            return None
        if ASSIGNMENT.fullmatch(words[0]):
            words = ["env", *words]
        found = invocation(words, cwd=folder, roots=self._roots, executable=on_path(words[0], folder))
        return found.path if found.kind is Kind.FILE else None

    def _arguments(self, words: Sequence[str], cwd: str) -> int:
        """From which word on they are arguments of code that the commit holds."""
        for at, word in enumerate(words):
            if os.path.basename(word) in _DEFAULTS.keys() - _TESTS_FOLDERS:
                return at + 1
            if at == 0 or launcher_of(word) is not None:
                path = self._script(words[at:], cwd)
                if path is not None and _is_committed(os.path.realpath(path), self._provenance):
                    return at
        return len(words)


def _is_interpreter(word: str) -> bool:
    launcher = launcher_of(word)
    return launcher is not None and not launcher.verbs and launcher.runs in (Operand.PYTHON, Operand.SCRIPT)


def _values(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """The values of some options, in a word of their own or in the same one."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        for option in options:
            if word == option:
                yield following
            elif word.startswith(option) and (word[len(option)] == "=" or not option.startswith("--")):
                yield word[len(option) :].removeprefix("=")


def _sent(words: Sequence[str], cwd: str) -> Iterator[str]:
    """The folders that options send a program to."""
    for name in _values(words, _CHANGES_FOLDER):
        folder = os.path.normpath(os.path.join(cwd, name))
        if name and os.path.isdir(folder):
            yield folder


def defaults(words: Sequence[str], folders: Sequence[str]) -> Iterator[str]:
    """The files that a program runs unnamed, in the folder it is sent to or else where it is started."""
    for program in dict.fromkeys(map(os.path.basename, words)):
        files, options = _DEFAULTS.get(program, ((), ()))
        if not any(word.startswith(options) for word in words):
            for folder in folders[1:] or folders:
                yield from islice(filter(os.path.isfile, (os.path.join(folder, file) for file in files)), 1)


def _within(folder: str, provenance: Provenance) -> Iterator[str]:
    """The modules in a folder of the worktree that the commit has not got, as far as one may look."""
    worktree, real = provenance.source.repository.worktree, os.path.realpath(folder)
    name = inside(real, worktree)
    if name is not None and not provenance.source.holds(provenance.tree, name):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in islice(entries, _LOOKED_AT):
                if entry.name.endswith(".py"):  # the rest is too often what a run has made
                    yield entry.path


def _is_loose(seen: _Seen, provenance: Provenance) -> bool:
    worktree = provenance.source.repository.worktree
    if not os.path.isfile(seen.path) or is_installed(os.path.normpath(seen.path), [worktree]):
        return False
    real = os.path.realpath(seen.path)
    # git's own can be held by no commit
    if os.path.basename(real) == ".git" or not (seen.runs or is_code(seen.path, real)):
        return False
    if inside(real, worktree) is None:
        return not is_installed(real, [worktree])
    return not _is_committed(real, provenance)


def _is_committed(real: str, provenance: Provenance) -> bool:
    try:
        provenance.file(real)
    except NotInCommitError:
        return False
    return True


def _names(words: Sequence[str]) -> Iterator[tuple[list[str], str | None]]:
    """For each word all that may name a file, and the word where it may be a command: not one in Python.

    Nothing for what is named as the output.
    """
    before, launcher = "", None
    for word in words:
        launcher = launcher_of(word) or launcher
        option = word.partition("=")[0] if word.startswith("-") else before
        is_inline = launcher is not None and launcher.switches.get(before) is Kind.INLINE
        before = word
        if option in _OUTPUT_OPTIONS:
            yield [], None
            continue
        names = [word, word.partition("=")[2], *([word[2:]] if word.startswith("-") else [])]
        text = word if is_text(word) and not is_inline else None
        parts = BETWEEN_WORDS.split(word) if text is None else []
        yield [name for part in (*names, *parts) for name in {part, expanded(part, os.environ)} if name], text
