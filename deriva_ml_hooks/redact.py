"""Takes secrets out of text before it is stored, printed, logged or put into an error.

A credential is recognised by where it stands (user information and query of a URL, the value of an
option or variable whose name says so) or by its own form (the prefixes that forges give their
tokens). Errs on the side of removing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"

_NAME = (
    r"(?:[\w.-]*[_.-])?"
    r"(?:token|secret|passw(?:or)?d|passwd|pwd|api[_-]?key|access[_-]?key|credentials?|authorization)"
)
_SECRET_NAME = re.compile(rf"-*{_NAME}", re.IGNORECASE)

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # RFC 3986, 3.2.1: whatever stands between `//` and the last `@` of the authority.
    (re.compile(r"(?<=://)[^/\s?#'\"]*@"), f"{MASK}@"),
    # The same with a `/`, `?` or `#` in the password that should have been percent-encoded.
    (re.compile(r"(?<=://)[^/\s:@'\"]*:(?!\d+[/?#])[^\s@'\"]*@"), f"{MASK}@"),
    (re.compile(rf"([?&;#]{_NAME}=)[^&\s#'\"]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(rf"((?:^|[\s'\"]|--?|\+){_NAME}=)(?!\$)[^\s'\"&]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"((?:^|\b)(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{MASK}"),
    # GitHub, GitLab, Hugging Face, OpenAI and Slack tokens, AWS key ids, JSON web tokens.
    (
        re.compile(
            r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{16,}"
            r"|sk-[\w-]{16,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{12,}|ATBB\w{16,}"
            r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
        ),
        MASK,
    ),
)


def redact(text: str) -> str:
    """`text` with every credential in it replaced by `***`."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_command(argv: Sequence[str]) -> list[str]:
    """A command line with its credentials replaced, also the word after `--token` and its like."""
    shown: list[str] = []
    hide_next = False
    for word in argv:
        if hide_next and not word.startswith("-"):
            shown.append(MASK)
        else:
            shown.append(redact(word))
        hide_next = word.startswith("-") and _SECRET_NAME.fullmatch(word) is not None
    return shown
