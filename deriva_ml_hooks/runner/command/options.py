"""How a program that runs another file reads its command line: which options take a value, what comes first.

Wrappers, interpreters, shells and notebook runners differ in no more than that, so one reader serves all.
Pure: it is words in, words out, and looks at no file.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class Kind(enum.Enum):
    """Where the code that a command runs stands."""

    FILE = "file"
    """In a file that the command names."""
    INLINE = "inline"
    """In the command line itself (`python -c`)."""
    STDIN = "stdin"
    """On standard input."""
    PROGRAM = "program"
    """In an installed program, or nowhere in particular: the tree as a whole is what ran."""


class Operand(enum.Enum):
    """What the first operand of a launcher is."""

    COMMAND = "command"
    """The next command line."""
    TARGET = "target"
    """A Python file if it looks like one, else the next command line (`uv run`)."""
    SCRIPT = "script"
    """The file that runs."""
    PYTHON = "python"
    """The Python file, folder or zip file that runs."""
    MODULE = "module"
    """The dotted name of the Python module that runs."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """How one program reads its command line. Long options are written with `-` for `_`.

    A short option may be one letter of a cluster (`-uB`) or carry its value (`-n5`) where `clusters`.
    """

    runs: Operand | Kind
    """What the first operand is."""
    alone: Kind = Kind.PROGRAM
    """What runs when there is no operand."""
    verbs: frozenset[str] = frozenset()
    """The subcommands that run something, of one word or more; the others are the program's business."""
    values: frozenset[str] = frozenset()
    """Options with a value. `--*`: every long option but the `flags`."""
    pairs: frozenset[str] = frozenset()
    """Options with two values."""
    folders: frozenset[str] = frozenset()
    """Options whose value is the folder to start in."""
    glued: frozenset[str] = frozenset()
    """Short options whose value, if any, is in the same word (`perl -Mstrict`)."""
    flags: frozenset[str] = frozenset()
    """Words to step over that would else be taken for an option with a value or for the operand."""
    switches: Mapping[str, Operand | Kind] = field(default_factory=dict)
    """Options that change what the operand is, or (a Kind) settle what runs."""
    skipped: int = 0
    """Operands before the one that matters (`timeout`'s duration)."""
    clusters: bool = True
    assignments: bool = False
    """Whether `NAME=value` may stand before the operand."""


_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def operand(launcher: Launcher, words: Sequence[str], cwd: str) -> tuple[Operand | Kind, Sequence[str], str]:
    """Skip the options of `launcher` in `words`: what runs, the words from the operand on, and its folder."""
    runs, verbs, said, at = launcher.runs, launcher.verbs, "", 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            break
        if word in launcher.flags or (launcher.assignments and _ASSIGNMENT.match(word)):
            continue
        if len(word) < 2 or word[0] not in "-+":  # bash's +x, `julia +1.11`
            if not verbs:
                at -= 1
                break
            said = f"{said} {word}".lstrip()
            if said in verbs:
                verbs = frozenset()
            elif not any(verb.startswith(f"{said} ") for verb in verbs):
                return Kind.PROGRAM, (), cwd
            continue
        option, value = _split(launcher, word)
        if option in launcher.switches:
            runs = launcher.switches[option]
            if isinstance(runs, Kind):
                return runs, (), cwd
            if value is not None:
                return runs, (value, *words[at:]), cwd
        elif option in ("--help", "--version"):
            return Kind.PROGRAM, (), cwd
        elif option in launcher.pairs:
            at += 2 if value is None else 1
        elif _takes_value(launcher, option):
            if value is None and at < len(words):
                value = words[at]
                at += 1
            if value is not None and option in launcher.folders:
                cwd = os.path.join(cwd, value)
    if verbs:
        return Kind.PROGRAM, (), cwd
    return runs, words[at + launcher.skipped :], cwd


def _split(launcher: Launcher, word: str) -> tuple[str, str | None]:
    """An option word as the option that decides how to read on, and the value in the same word if any."""
    if word.startswith("--") or not launcher.clusters:
        option, equals, value = word.partition("=")
        return option.replace("_", "-"), value if equals else None
    for at, letter in enumerate(word[1:], start=2):
        option = word[0] + letter
        if option in launcher.glued:
            break
        if option in launcher.switches or option in launcher.pairs or _takes_value(launcher, option):
            return option, word[at:] or None
    return word, None


def _takes_value(launcher: Launcher, option: str) -> bool:
    if option in launcher.values or option in launcher.folders:
        return True
    return "--*" in launcher.values and option.startswith("--") and option not in launcher.flags
