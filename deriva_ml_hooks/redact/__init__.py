"""Takes secrets out of text before it is stored, printed, logged or put into an error.

A credential is recognised by where it stands (user information and query of a URL, the value of an option or
variable whose name says so) or by its own form (the prefixes that services give their tokens). Errs on the
side of removing, but never past the value. A pattern is compiled when a text first holds something that it
could be about, and takes time in proportion to the text.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from deriva_ml_hooks.redact import forms, options, text
from deriva_ml_hooks.redact.forms import MASK, has_host_behind
from deriva_ml_hooks.redact.names import certainty_of, is_secret

__all__ = ["MASK", "has_host_behind", "redact", "redact_command", "redacted", "shown_command"]

_RULES = (
    (forms.HINTS, forms.without_tokens),
    (("@",), forms.without_users),
    (("private key",), forms.without_keys),
    (text.HINTS, text.without_named),
    (options.HINTS, options.without_options),
)
"""What takes out one kind of secret; a text without any of the hints (in lower case) has none."""


def redact(text: str) -> str:
    """`text` with every credential in it replaced by `***`."""
    return _remembered(text) if len(text) < 500 else _redacted(text)


def redacted(value: Any, name: str = "") -> Any:
    """A document of JSON with every credential in it replaced, by their own form and by the names of keys."""
    if value not in (None, "", True, False) and certainty_of(name) == 2:  # such keep no secret
        return MASK
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(inner) for inner in value]
    if not isinstance(value, str):
        return value
    return MASK if name and is_secret(name, value) else redact(value)


def redact_command(argv: Sequence[str]) -> list[str]:
    """A command line with its credentials replaced, each word by itself and by the word before it."""
    from deriva_ml_hooks.redact.command import without_secrets

    return [*without_secrets(argv)]


def shown_command(argv: Sequence[str]) -> str:
    """The same as one line, quoted for a shell but for what was replaced."""
    words = ((word, word.replace(MASK, "x")) for word in redact_command(argv))
    return " ".join(word if shlex.quote(plain) == plain else shlex.quote(word) for word, plain in words)


def _redacted(text: str) -> str:
    for _ in range(4):  # hiding one can show another, at most a few times
        before = text
        for hints, without in _RULES:
            lower = text.lower()
            if any(hint in lower for hint in hints):
                text = without(text)
        if text == before:
            break
    return text


_remembered = lru_cache(maxsize=2048)(_redacted)  # records repeat what they say
