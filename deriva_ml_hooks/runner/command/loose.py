"""Loose code: what a command may run, and no commit holds.

A program that is in no table may run any file that it is given, so its words are looked at, those of a quoted
command too, in every folder that they name. Files are looked at; nothing is started, and git asked nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance
from deriva_ml_hooks.runner.command.entry_point import is_installed
from deriva_ml_hooks.runner.command.launchers import launcher_of
from deriva_ml_hooks.runner.command.options import Operand

_BETWEEN_WORDS = re.compile(r"[\s=,:;|&()<>'\"`]+")
_SOURCED = re.compile(r"(?:^|[;&|({\n])\s*(?:\.|source)\s+['\"]?([^\s;&|'\")]+)")
_OUTPUT_OPTIONS = frozenset({"-o", "--output", "--output-file", "--outfile", "--out"})
_MAKE = (("GNUmakefile", "makefile", "Makefile"), ("-f", "--file", "--makefile"))
_DEFAULTS = {
    "make": _MAKE,
    "gmake": _MAKE,
    "snakemake": (
        ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile"),
        ("-s", "--snakefile"),
    ),
    "just": (("justfile", "Justfile", ".justfile"), ("-f", "--justfile")),
    "rake": (("rakefile", "Rakefile"), ("-f", "--rakefile")),
}
"""The file that a program runs where none is named, the first that is there; the options that name one."""
_TESTS_FOLDERS = frozenset({"unittest", "pytest", "py.test", "nose2"})
"""What runs the modules in a folder. To others a folder is data, whatever is in it."""
_CODE_NAMES = frozenset(Path(name).name.lower() for names, _ in _DEFAULTS.values() for name in names)
_CODE_SUFFIX = re.compile(
    r"\.(?:py[wxco]?|ipynb|(?:ba|z|k|fi)?sh|awk|sed|r|[rq]md|jl|p[lm]|rb|[cm]?[jt]s|lua|tcl|php|m|go|rs|do|ado"
    r"|sas|sps|sql|c|cc|c[pux]{2}|cu|h|hpp|java|jar|class|so|dylib|dll|scala|f90|mk|smk|nf|[wc][dw]l)",
    re.IGNORECASE,
)
_PERHAPS = frozenset({"", ".yml", ".yaml"})
"""Suffixes of texts that are code in a repository as often as not."""
_COMPILED = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")
_ARCHIVES = frozenset({".jar", ".war"})
_LOOKED_AT = 10_000
"""Entries of a folder that are looked at."""


class Loose(NamedTuple):
    """Code that no commit of the repository holds: its real path; whether it was compiled, so none will."""

    path: str
    compiled: bool


def loose_code(argv: Sequence[str], cwd: str, provenance: Provenance) -> list[Loose]:
    """The code that the command `argv` may run besides its program, and no commit holds.

    What was installed is no such thing.
    """
    names = list(dict.fromkeys(_names(argv[1:])))
    named = [folder for name in names if name and os.path.isdir(folder := os.path.join(cwd, name))]
    words = [word for text in argv for word in _BETWEEN_WORDS.split(text)]
    sourced = [match[1] for text in argv for match in _SOURCED.finditer(text)]
    interpreted = {
        os.path.join(folder, _expanded(name))
        for name in (*sourced, *_interpreted(words))
        for folder in (cwd, *named)
    }
    paths = [*_defaults(words, cwd, named)]
    if not _TESTS_FOLDERS.isdisjoint(map(os.path.basename, words)):
        paths += [path for folder in named for path in _within(os.path.normpath(folder), provenance)]
    paths += [os.path.join(folder, name) for name in names for folder in (cwd, *named)]
    found = dict.fromkeys(
        os.path.realpath(path)
        for path in dict.fromkeys(paths)
        if _is_loose(path, provenance, interpreted=path in interpreted)
    )
    return [Loose(real, is_compiled(real)) for real in found]


def is_code(path: str, real: str, *, perhaps: bool = True) -> bool:
    """Whether the file at `path`, perhaps a link to `real`, is code by its name or its beginning.

    `perhaps`: also a text that is code or data.
    """
    for name in (path, real):
        if _CODE_SUFFIX.fullmatch(Path(name).suffix) or Path(name).stem.lower() in _CODE_NAMES:
            return True
    beginning = _beginning(real)
    if beginning.startswith((b"#!", *_COMPILED)):
        return True
    named = Path(real)
    # `.env` and `.git` are settings, which nobody may be advised to commit.
    perhaps = perhaps and named.suffix.lower() in _PERHAPS and not named.name.startswith(".")
    return perhaps and beginning != b"" and b"\0" not in beginning


def is_compiled(real: str) -> bool:
    """Whether a file is a program or library that was made of code."""
    beginning = _beginning(real)
    return beginning.startswith(_COMPILED) or (beginning[:2] == b"PK" and Path(real).suffix in _ARCHIVES)


def is_inside(real: str, worktree: str) -> bool:
    """Whether a real path is in the worktree."""
    inside = os.path.relpath(real, worktree)
    return inside != os.pardir and not inside.startswith(os.pardir + os.sep)


def _beginning(real: str) -> bytes:
    with suppress(OSError), open(real, "rb") as stream:
        return stream.read(512)
    return b""


def _interpreted(words: Sequence[str]) -> Iterator[str]:
    """What stands where the file of an interpreter does."""
    for at, word in enumerate(words):
        launcher = launcher_of(word)
        if launcher is None or launcher.verbs or launcher.runs not in (Operand.PYTHON, Operand.SCRIPT):
            continue
        yield next((other for other in words[at + 1 :] if not other.startswith("-")), "")


def _defaults(words: Sequence[str], cwd: str, named: Sequence[str]) -> Iterator[str]:
    """The files that a program runs unnamed, in the folder it is sent to or else where it is started."""
    sent = named if any(word == "cd" or word.startswith(("-C", "--directory")) for word in words) else ()
    for program in _DEFAULTS.keys() & set(map(os.path.basename, words)):
        files, options = _DEFAULTS[program]
        if not any(word.startswith(options) for word in words):
            yield from filter(None, [_first(folder, files) for folder in sent] or [_first(cwd, files)])


def _first(folder: str, files: Sequence[str]) -> str | None:
    return next((path for file in files if os.path.isfile(path := os.path.join(folder, file))), None)


def _within(folder: str, provenance: Provenance) -> Iterator[str]:
    """The modules in a folder of the worktree that the commit has not got, as far as one may look."""
    worktree, real = provenance.source.repository.worktree, os.path.realpath(folder)
    if is_inside(real, worktree) and not provenance.source.holds(
        provenance.tree, os.path.relpath(real, worktree)
    ):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in islice(entries, _LOOKED_AT):
                if entry.name.endswith(".py"):  # the rest is too often what a run has made
                    yield entry.path


def _is_loose(path: str, provenance: Provenance, *, interpreted: bool) -> bool:
    worktree = provenance.source.repository.worktree
    try:
        if not os.path.isfile(path) or is_installed(os.path.normpath(path), [worktree]):
            return False
    except ValueError:  # a NUL
        return False
    real = os.path.realpath(path)
    if os.path.basename(real) == ".git":  # git's own, which no commit can hold
        return False
    if not is_inside(real, worktree):
        return not is_installed(real, [worktree]) and is_code(path, real, perhaps=interpreted)
    return is_code(path, real) and not _is_committed(real, provenance)


def _is_committed(real: str, provenance: Provenance) -> bool:
    try:
        provenance.file(real)
    except NotInCommitError:
        return False
    return True


def _names(words: Sequence[str]) -> Iterator[str]:
    """Everything in `words` that may name a file: words, values in them, the words of a quoted command.

    Not what is named as the output.
    """
    before = ""
    for word in words:
        option = word.partition("=")[0] if word.startswith("-") else before
        before = word
        if option in _OUTPUT_OPTIONS:
            continue
        yield word
        yield word.partition("=")[2]
        if word.startswith("-"):
            yield word[2:]
        for part in _BETWEEN_WORDS.split(word):
            yield part
            yield _expanded(part)


def _expanded(word: str) -> str:
    """A word as a shell would have it, as far as it is plain."""
    if word.startswith(("~", "$")):
        with suppress(ValueError):  # a name that no user can have
            return os.path.expandvars(os.path.expanduser(word))
    return word
