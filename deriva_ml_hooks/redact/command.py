"""Credentials on a command line: each word is judged by itself and by the word before it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.redact.forms import MASK, compiled, fits
from deriva_ml_hooks.redact.names import NAME, RANDOM, certainty_of, is_secret
from deriva_ml_hooks.redact.options import LETTERS, LOGIN, MYSQL
from deriva_ml_hooks.redact.text import PAIR, SETTERS

_OPTION = r"(?s)-[A-Za-z]|--.*"
_LOGIN_VALUE = r"(?s)([^\s:'\"$]+:)(?!//|\d+\Z|\$).+"
_ASSIGNED = rf"(?s)(-{{0,2}}|\+{{1,2}}|~)({NAME})=(.*)"
_SCRIPT = r"-[a-z]{0,3}c"
"""What a shell takes a script after: of its words only the first would be the value."""
_NEXT = r"\s--?[A-Za-z]|;(?=[ \w.-]{1,40}=)"


def without_secrets(argv: Sequence[str]) -> Iterator[str]:
    before = program = letter = ""
    paired = setter = False  # the word before is the name of a parameter, of a setting
    for word in argv:
        name = before.lstrip("-")
        sure = certainty_of(name)
        if not (before.startswith("-") or paired):  # `password x`: not any two words
            sure = 1 if sure == 2 or (sure and setter) else 0
        if letter and before == letter and not word.startswith("$"):
            yield MASK
            program = letter = ""  # after sshpass another command follows
        elif not fits(_OPTION, word) and is_secret(name, word, certainty=sure):
            yield MASK
        elif letter and word.startswith(letter) and len(word) > 2 and not word.startswith("--"):
            yield f"{letter}{MASK}"
            program, letter = ("", "") if program == "sshpass" else (program, letter)
        elif program == "login" and fits(RANDOM, word) and len(word) >= 20:
            yield MASK
        else:
            yield _word(word, before)
        paired, setter = fits(PAIR, before) is not None, before.lower() in SETTERS
        own = os.path.basename(word)
        if fits(MYSQL, own):
            program, letter = own, "-p"
        elif own == "login":
            program = own
        letter = next((o for names, o in LETTERS if fits(names, own)), letter)
        if own == "sshpass":
            program = own
        before = "" if program.startswith(("mysql", "mariadb")) and word == "-p" else word


def _word(word: str, before: str) -> str:
    """One word of a command line, after the word `before`."""
    assigned = None if fits(_SCRIPT, before) else fits(_ASSIGNED, word)
    if assigned is not None:
        start = word[: assigned.start(3)]
        value = assigned[3]
        if is_secret(assigned[2], value):
            further = compiled(_NEXT).search(value)
            return f"{start}{MASK}" + (redact(value[further.start() :]) if further else "")
        if certainty_of(assigned[2]) == 2:
            return word if value.startswith("$") or "=" not in value else start + redact(value)
        return start + _word(value, f"{assigned[1]}{assigned[2]}") if value else word
    login = fits(_LOGIN_VALUE, word) if fits(LOGIN, before) else None
    if login is not None:
        return f"{login[1]}{MASK}"
    if word.startswith("-H") and ":" in word:  # a header behind curl's option, in one word
        return f"-H{redact(word[2:])}"
    if before in ("-b", "-u", "-U"):
        return redact(f"{before} {word}")[len(before) + 1 :]
    return redact(word)
