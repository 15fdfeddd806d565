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
_VALUE = r"(?:(?:\"[^\"]*\"|'[^']*'|[^\s'\"&])+|[\"'][^\s'\"&]+)"
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # `user:password@host:path` and `user:password@host/path`, without a scheme.
    (
        re.compile(r"(?<![^\s'\"=])([\w.+-]+:)(?!//)[^\s@'\"]{1,256}@(?=[\w-]+(?:\.[\w-]+)+[:/])"),
        rf"\1{MASK}@",
    ),
    (re.compile(rf"([?&;#]{_NAME}=)[^&\s#'\"]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(rf"(?<![\w.?&;#-])(-{{0,2}}{_NAME}=)(?!\$){_VALUE}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(rf"(?<![\w.-])(--{_NAME}[ \t])(?![-$]){_VALUE}", re.IGNORECASE), rf"\1{MASK}"),
    # Headers (`PRIVATE-TOKEN: x`) and JSON (`"token": "x"`).
    (re.compile(rf"(?<![\w.-])((?:[a-z]+-)+(?:token|key|secret): ?)(?!\$){_VALUE}", re.I), rf"\1{MASK}"),
    (re.compile(rf"([\"']{_NAME}[\"']\s*:\s*[\"'])[^\"']+", re.IGNORECASE), rf"\1{MASK}"),
    (
        re.compile(
            r"(\bauthorization[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer|token)\s+)?)[^\s'\"]+", re.IGNORECASE
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(\bbearer\s+)(?=[^\s\d]*\d)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{MASK}"),
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


_URL = re.compile(r"://[^\s'\"]+")
_AUTHORITY = re.compile(r"[^/?#]*")
_PORT_ENDS_IT = re.compile(r"[^:]*:\d+")
HOST_BEHIND = re.compile(r"@[\w-]+(?:\.[\w-]+)*(?:\.[A-Za-z]{2,}|:\d+)(?=[:/])")
"""A host behind an `@`: what stands before it is a user name and a password, whatever it reads as."""


def redact(text: str) -> str:
    """`text` with every credential in it replaced by `***`."""
    text = _URL.sub(lambda url: "://".join(map(_without_user, url[0].split("://"))), text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def _without_user(rest: str) -> str:
    """What follows `://`, whatever stands before the last `@` of the authority replaced (RFC 3986, 3.2.1).

    Also where a password holds a `/`, `?` or `#` that should have been percent-encoded.
    """
    if "@" not in rest:
        return rest
    authority = _AUTHORITY.match(rest)
    before = authority[0] if authority else ""
    ends = [before.rfind("@"), *(match.start() for match in HOST_BEHIND.finditer(rest))]
    if "@" not in before and ":" in before and not _PORT_ENDS_IT.fullmatch(before):
        ends.append(rest.rfind("@"))
    return rest if max(ends) < 0 else f"{MASK}@{rest[max(ends) + 1 :]}"


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
