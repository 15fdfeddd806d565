"""How a program that runs something else reads its words: which options take a value, what comes first.

Wrappers, interpreters, shells and schedulers differ in no more than that, so one reader serves all.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deriva_ml_hooks.runner.command.shell_words import ASSIGNMENT


class Kind(enum.Enum):
    """Where the code that a command runs stands, or what has to be read on to know that."""

    FILE = "file"
    """In a file that the command names."""
    INLINE = "inline"
    """In the command line itself (`python -c`)."""
    STDIN = "stdin"
    """On standard input."""
    PROGRAM = "program"
    """In an installed program, or nowhere in particular: the tree as a whole is what ran."""
    COMMAND = "command"
    """In the next command line."""
    TARGET = "target"
    """In a Python file if it looks like one, else in the next command line (`uv run`)."""
    PYTHON = "python"
    """In a Python file, folder or zip file."""
    MODULE = "module"
    """In the Python module of that dotted name."""
    SHELL = "shell"
    """In the commands of a text."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """How some programs read their command line. Lists of words are texts; options have `-` for `_`.

    Short options may stand in one word (`-uB`), the last one with its value (`-n5`).
    """

    names: str
    runs: Kind
    """What the first operand is."""
    modules: str = ""
    """The names by which `python -m` starts it."""
    alone: Kind = Kind.PROGRAM
    """What runs when there is no operand."""
    verbs: str = ""
    """The subcommands that run something; the others are the program's business."""
    values: str = ""
    """Options with a value. `--*`: every long option but the `flags`; `-*`: every letter."""
    pairs: str = ""
    """Options with two values."""
    folders: str = ""
    """Options whose value is the folder to start in."""
    flags: str = ""
    """Words to step over that would else be taken for something else."""
    switches: Mapping[str, Kind] = field(default_factory=dict)
    """Options that change what the operand is, or settle what runs."""
    skipped: int = 0
    """Operands before the one that matters (`timeout`'s duration)."""
    waits: str | None = None
    """For one that hands its command over and ends: the options with which it waits for that."""
    leaves: str = ""
    """Options with which it does not wait for its command."""

    def has_value(self, option: str) -> bool:
        """Whether a value belongs to `option`."""
        values = f"{self.values} {self.folders}".split()
        wildcard = "--*" if option.startswith("--") else "-*" if len(option) == 2 else option
        return option in values or (wildcard in values and option not in self.flags.split())

    def decides(self, option: str) -> bool:
        """Whether `option` decides how the words after it are read."""
        return option in self.switches or option in self.pairs.split() or self.has_value(option)


def read(
    launcher: Launcher, words: Sequence[str], cwd: str
) -> tuple[Kind, Sequence[str], str, Sequence[str]]:
    """Skip the options: what runs, the words from the operand on, the folder it starts in, the options."""
    runs, has_verb, said, at = launcher.runs, not launcher.verbs, [], 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            break
        if word in launcher.flags.split() or (runs is Kind.COMMAND and ASSIGNMENT.fullmatch(word)):
            said.append(word)
            continue
        if len(word) < 2 or word[0] not in "-+":  # bash's +x, `julia +1.11`
            if has_verb:
                at -= 1
                break
            if word not in launcher.verbs.split():
                return Kind.PROGRAM, (), cwd, said
            has_verb = word != "tool"  # `uv tool run`
            continue
        options, value = _options(launcher, word)
        said += options
        option = options[-1]
        if option in launcher.switches:
            runs = launcher.switches[option]
            if runs in (Kind.INLINE, Kind.STDIN, Kind.PROGRAM):
                return runs, (), cwd, said
            if value is not None and runs is not Kind.SHELL:
                return runs, (value, *words[at:]), cwd, said
        elif option in ("--help", "--version"):
            return Kind.PROGRAM, (), cwd, said
        elif option in launcher.pairs.split():
            at += 2 if value is None else 1
        elif launcher.has_value(option):
            if value is None and at < len(words):
                value = words[at]
                at += 1
            if value is not None and option in launcher.folders.split():
                cwd = os.path.join(cwd, value)
    rest = words[at + launcher.skipped :]
    if not has_verb:
        return Kind.PROGRAM, (), cwd, said
    return (runs if rest else launcher.alone), rest, cwd, said


def _options(launcher: Launcher, word: str) -> tuple[list[str], str | None]:
    """The options in a word, and the value of the last one if it stands there too."""
    option, equals, value = word.partition("=")
    option = option[:2] + option[2:].replace("_", "-")
    if word.startswith("--") or launcher.decides(option):
        return [option], value if equals else None
    found = []
    for at, letter in enumerate(word[1:], start=2):
        found.append(word[0] + letter)
        if launcher.decides(found[-1]):
            return found, word[at:] or None
    return found, None
