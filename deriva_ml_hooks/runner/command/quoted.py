"""Reads the commands of a text as a shell would split them; nothing is started.

What cannot be read so is split at all that may stand between words. Everything is bounded.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

BETWEEN_WORDS = re.compile(r"[\s=,:;|&()<>'\"`]+")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_SEPARATORS = ";()&|\n"
_KEYWORDS = frozenset({"do", "then", "else", "elif", "if", "while", "until", "!", "{", "time"})
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_BRACES = re.compile(r"\{([^{},]*(?:,[^{},]*)+)\}")
_MAGIC = re.compile(r"[*?\[]")
_LONGEST = 100_000
_MOST = 100
"""Words that one word is expanded to."""


def is_text(word: str) -> bool:
    """Whether a word may hold a command of several words."""
    return re.search(r"[\s;&|<>()`]", word) is not None


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands in `text`, without redirections to a file."""
    try:
        if len(text) > _LONGEST:
            raise ValueError
        lexer = shlex.shlex(text.replace("`", ";"), posix=True, punctuation_chars=f"{_SEPARATORS}<>")
        lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
        tokens = [*lexer]
    except ValueError:  # it is no shell's, or its quotes have no end
        tokens = BETWEEN_WORDS.split(text[:_LONGEST])
    command: list[str] = []
    is_output = False
    for token in tokens:
        is_mark = token != "" and set(token) <= set(f"{_SEPARATORS}<>")
        if is_output and not is_mark:
            is_output = False
        elif is_mark and ("<" in token or ">" in token):
            is_output = ">" in token and "(" not in token
        elif is_mark:
            if command:
                yield command
            command = []
        elif command or token not in _KEYWORDS:
            command.append(token)
    if command:
        yield command


def assigned(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The variables that a command sets: for `env`, or in what it has a shell do."""
    for word in words:
        found = ASSIGNMENT.fullmatch(word)
        if found is not None:
            yield found[1], found[2]
        if is_text(word):
            yield from assigned(part for command in commands(word) for part in command if part != word)


def expanded(word: str, variables: Mapping[str, str]) -> str:
    """A word with its variables and its home, as far as they are plain."""
    word = _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), word)
    if word.startswith("~"):
        with suppress(ValueError):  # a name that no user can have
            return os.path.expanduser(word)
    return word


def files_of(word: str, folder: str) -> list[str]:
    """What a pattern in `folder` stands for: the word itself where there is nothing."""
    words = [word]
    while len(words) < _MOST and (found := next(filter(None, map(_BRACES.search, words)), None)):
        at = words.index(found.string)
        words[at : at + 1] = [
            found.string[: found.start()] + part + found.string[found.end() :] for part in found[1].split(",")
        ]
    return [name for each in words[:_MOST] for name in _matches(each, folder)]


def _matches(word: str, folder: str) -> list[str]:
    folders = os.path.dirname(word).split(os.sep)
    # Each folder that is a pattern looks into all there are.
    if not _MAGIC.search(word) or sum(1 for name in folders if _MAGIC.search(name)) > 1 or "\0" in word:
        return [word]
    return [*islice(glob.iglob(word, root_dir=folder), _MOST)] or [word]
