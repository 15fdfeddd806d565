"""The words of a command line, and of the shell text in them: the one reader of shell words.

What a shell makes of `eval`, `$(...)` in quotes, here-documents or a pipe into an interpreter is not read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_BETWEEN = re.compile(r"[\s;&|()`'\"]+")
_TOKEN = re.compile(
    r"""((?:[^\s;&|()<>`'"\\]|\\.|'[^']*'|"(?:\\.|[^"\\])*")+)|([;&|()<>`\n]+)""",
    re.DOTALL,
)
"""A word with its quotes, or marks between words. A quote without an end is skipped."""
_BACKGROUND = re.compile(r"(?<![&<>])&(?![&<>])")
_KEYWORDS = frozenset({"do", "then", "else", "elif", "if", "while", "until", "!", "{", "time"})
_LONGEST = 100_000
"""Characters of a text that are read."""


class Command(NamedTuple):
    """One simple command of a text, without its redirections; `background`: an `&` ends it."""

    words: list[str]
    background: bool


def is_text(word: str) -> bool:
    """Whether a word may hold a command of several words."""
    return re.search(r"[\s;&|<>()`]", word) is not None


def can_be_name(word: str) -> bool:
    """Whether the system takes a word for a path at all: it has no NUL, and can be encoded."""
    return not re.search("[\0\ud800-\udc7f\udd00-\udfff]", word)


def shell_commands(text: str) -> Iterator[Command]:
    """The simple commands in `text`. What they write to by `>` is left out; what they read is a word."""
    words: list[str] = []
    is_output = False
    for word, mark in _TOKEN.findall(text[:_LONGEST]):
        if mark and re.search("[<>]", mark) and "(" not in mark:
            is_output = ">" in mark
        elif mark:
            is_output = False
            if words:
                yield Command(words, _BACKGROUND.search(mark) is not None)
            words = []
        elif is_output:
            is_output = False
        elif words or word not in _KEYWORDS:
            words.append("".join(shlex.split(word)))
    if words:
        yield Command(words, background=False)


def split_words(words: Iterable[str]) -> Iterator[str]:
    """The words, and in their place those within one that a shell reads."""
    for word in words:
        yield from filter(None, _BETWEEN.split(word) if _BETWEEN.search(word) else [word])


def assigned(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The variables that a command sets: for `env`, or in what it has a shell do."""
    for word in words:
        found = ASSIGNMENT.fullmatch(word)
        if found is not None:
            yield found[1], found[2]
        for command in shell_commands(word) if is_text(word) else ():
            yield from assigned(part for part in command.words if part != word)
