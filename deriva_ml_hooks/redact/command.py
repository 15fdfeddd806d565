"""Credentials on a command line: each word is judged by itself and by the word before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.redact.forms import MASK, compiled, fits
from deriva_ml_hooks.redact.names import NAME, certainty_of, is_secret
from deriva_ml_hooks.redact.options import without_options
from deriva_ml_hooks.redact.text import PAIR, SETTERS

_OPTION = r"(?s)-[A-Za-z]|--.*"
_ASSIGNED = rf"(?s)(-{{0,2}}|\+{{1,2}}|~)({NAME})=(.*)"
_SCRIPT = r"-[a-z]{0,3}c"
"""What a shell takes a script after: of its words only the first would be the value."""
_NEXT = r"\s--?[A-Za-z]|;(?=[ \w.-]{1,40}=)"
_ENDS_A_WORD = " \t\n\r\f\v'\"&|;"
_HIDDEN = {ord(character): 0xE000 + at for at, character in enumerate(_ENDS_A_WORD)}
_SHOWN = {stand_in: character for character, stand_in in _HIDDEN.items()}
"""Characters of private use stand for what would end a word in a line, so that the line has the words."""


def without_secrets(argv: Sequence[str]) -> Iterator[str]:
    """The words with their credentials replaced."""
    line = without_options(" ".join(word.translate(_HIDDEN) for word in argv))
    before, paired, setter = "", False, False  # the word before is the name of a parameter, of a setting
    for word, of_line in zip(argv, line.split(" ") if argv else (), strict=True):
        sure = certainty_of(before.lstrip("-"))
        if not (before.startswith("-") or paired):  # `password x`: not any two words
            sure = 1 if sure == 2 or (sure and setter) else 0
        if not fits(_OPTION, word) and is_secret(before.lstrip("-"), word, certainty=sure):
            yield MASK
        elif of_line.translate(_SHOWN) != word:
            yield of_line.translate(_SHOWN)
        else:
            yield _word(word, before)
        paired, setter = fits(PAIR, before) is not None, before.lower() in SETTERS
        before = word


def _word(word: str, before: str) -> str:
    """One word of a command line, after the word `before`."""
    assigned = None if fits(_SCRIPT, before) else fits(_ASSIGNED, word)
    if assigned is None:
        # A header may stand behind curl's option in one word.
        return f"-H{redact(word[2:])}" if word.startswith("-H") and ":" in word else redact(word)
    name, value = assigned[2], assigned[3]
    start = word.removesuffix(value)
    if is_secret(name, value):
        further = compiled(_NEXT).search(value)
        return f"{start}{MASK}" + (redact(value[further.start() :]) if further else "")
    if certainty_of(name) == 2:
        return word if value.startswith("$") or "=" not in value else start + redact(value)
    return start + _word(value, assigned[1] + name) if value else word
