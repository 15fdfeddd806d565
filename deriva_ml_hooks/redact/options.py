"""Credentials behind the options of programs that take passwords, where the option's name does not say so."""

from __future__ import annotations

import re
from collections.abc import Callable

from deriva_ml_hooks.redact.forms import MASK, compiled, fits
from deriva_ml_hooks.redact.names import UUID, looks_random

_LOGIN = r"-[uU]|--(?:[a-z]+-)?user|--auth"
_MYSQL = r"(?:mysql|mariadb)[\w-]*"
_LETTERS = (
    (r"sshpass|twine|login|mongo\w*|7z[ar]?", "-p"),
    (r"redis-cli", "-a"),
    (r"ldap\w+", "-w"),
    (r"zip|unzip|sqlcmd|bcp", "-P"),
)
"""Programs (or words of theirs), and the option that takes a password after them."""
HINTS = (
    *("-u", "--", "-b", "auth=(", "bearer", "login", "mysql", "mariadb", "sshpass", "twine", "mongo", "7z"),
    *("redis-cli", "ldap", "zip", "sqlcmd", "bcp"),
)


def _behind(programs: str, option: str) -> str:
    value = r"(?P<value>(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s'\"&])+)"
    return rf"(?<![\w.-])(?:{programs})[ \t](?:[^\n|;&]{{0,200}}?[ \t])??{option}(?!\$){value}"


_FORMS: tuple[tuple[str, Callable[[str], object]], ...] = (
    (
        rf"(?<![\w.-])(?:{_LOGIN})[ \t=]['\"]?[^\s:'\"$]{{1,200}}:(?!//|\d+(?!\S)|\$)(?P<value>[^\s'\"]+)",
        bool,
    ),
    (
        r"(?<![\w.-])(?:-u(?=[^\s:,%=-])|-[uU][ \t])['\"]?[^\s:,%'\"$=]{1,64}[:,%](?P<value>[^\s'\"/:]+)",
        looks_random,
    ),
    (r"(?<![\w.-])-b[ \t]*['\"]?[\w.-]{1,64}=(?P<value>[^\s;'\"]+)", looks_random),
    (r"\bauth=\(\s?([\"'])[^\"'\s]{0,64}\1,\s?([\"'])(?P<value>[^\"'\n]+)\2", bool),
    (r"(?i:\bbearer)\s+(?=[^\s\d]{0,80}\d)(?P<value>[\w.~+/=-]{8,})", bool),
    (
        r"\blogin(?:[ \t]+--[\w-]{1,20}){0,3}[ \t]+(?=[A-Za-z_-]{0,40}\d)(?P<value>[\w.-]{20,})",
        lambda value: not fits(UUID, value),
    ),
    *((_behind(programs, rf"{option}[ \t]*"), bool) for programs, option in _LETTERS),
    (_behind(_MYSQL, "-p"), bool),
)
"""Patterns, and which of their values are secrets."""


def without_options(text: str) -> str:
    """`text` without what stands behind such options."""
    for pattern, is_secret in _FORMS:

        def hidden(match: re.Match[str], is_secret: Callable[[str], object] = is_secret) -> str:
            start, end = (at - match.start() for at in match.span("value"))
            return match[0][:start] + MASK + match[0][end:] if is_secret(match["value"]) else match[0]

        text = compiled(pattern).sub(hidden, text)
    return text
