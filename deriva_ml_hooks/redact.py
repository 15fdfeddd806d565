"""Takes secrets out of text before it is stored, printed, logged or put into an error.

A credential is recognised by where it stands (user information and query of a URL, the value of an
option or variable whose name says so) or by its own form (the prefixes that forges give their
tokens). Errs on the side of removing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

MASK = "***"

_NAME = (
    r"(?:[\w.-]*(?:token|secret|passw(?:or)?d|passwd|passphrase)"
    r"|(?:[\w.-]*[_.-])?(?:pwd?|pass|credentials?|authorization|amz-signature)"
    r"|[\w.-]*(?:api|access|private|secret|account|auth|encryption|signing|license)[_-]?key)"
)
_SECRET_NAME = re.compile(rf"-*{_NAME}", re.IGNORECASE)
_MODEL_TOKEN = re.compile(
    r"(?:[\w.-]*[_.-])?(?:pad|bos|eos|sep|cls|mask|unk|max|min|num|n|special|start|end|new|stop|image|prompt"
    r"|text|control)[_-]?token",
    re.IGNORECASE,
)
"""Names of a language model's tokens, which are hyperparameters."""
_PLAIN_TOKEN = re.compile(r"([\"']?)(?:-?\d{1,5}|<[^<>\s'\"]{0,30}>)\1")
_VALUE = r"(?P<value>(?:\"[^\"]*\"|'[^']*'|[^\s'\"&])+|[\"'][^\s'\"&]+)"
_NAMED = rf"(?P<name>{_NAME})"
_NO_OPTION = r"(?!--|-[a-z](?![^\s'\"])|\$)"
_PAIR = r"-p|-r|-e|--parameters?|--parameters[_-]raw|--env|--set"
_LOGIN = r"-u|--(?:[a-z]+-)?user|--auth"
_MYSQL = r"(?:mysql|mariadb)[\w-]*"


def _hidden(match: re.Match[str]) -> str:
    """The match with its value replaced, unless its name and value are those of a hyperparameter."""
    if _is_plain(match["name"], match["value"]):
        return match[0]
    return match[0][: match.start("value") - match.start()] + MASK


def _is_plain(name: str, value: str) -> bool:
    if _MODEL_TOKEN.fullmatch(name):
        return True
    return name.lower().endswith("token") and _PLAIN_TOKEN.fullmatch(value) is not None


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # `user:password@host:path` and `user:password@host/path`, without a scheme.
    (
        re.compile(r"(?<![^\s'\"=])([\w.+-]+:)(?!//)[^\s@'\"]{1,256}@(?=[\w-]+(?:\.[\w-]+)+[:/])"),
        rf"\1{MASK}@",
    ),
    (
        re.compile(rf"[?&;#](?P<name>{_NAME}|sig|signature)=(?P<value>[^&\s#'\"]+)", re.IGNORECASE),
        _hidden,
    ),
    (re.compile(rf"(?<![\w.?&;#-])-{{0,2}}{_NAMED}=(?!\$){_VALUE}", re.IGNORECASE), _hidden),
    (re.compile(rf"(?<![\w.-])--{_NAMED}[ \t]{_NO_OPTION}{_VALUE}", re.IGNORECASE), _hidden),
    (re.compile(rf"(?<![\w.-])(?:{_PAIR})[ \t]{_NAMED}[ \t](?!\$){_VALUE}", re.IGNORECASE), _hidden),
    # Headers (`PRIVATE-TOKEN: x`), JSON (`"token": "x"`, `"token": x`), and `token: x` that is no sentence.
    (re.compile(rf"(?<![\w.-])((?:[a-z]+-)+(?:token|key|secret): ?)(?!\$){_VALUE}", re.I), rf"\1{MASK}"),
    (re.compile(rf"[\"']{_NAMED}[\"']\s*:\s*[\"'](?P<value>[^\"']+)", re.IGNORECASE), _hidden),
    (
        re.compile(
            rf"[\"']{_NAMED}[\"']\s*:\s*(?!(?:null|true|false|none)\b)(?P<value>[^\s\"',\[\]{{}}]+)",
            re.IGNORECASE,
        ),
        _hidden,
    ),
    (
        re.compile(
            rf"(?<![\w./-]){_NAMED}:(?:[ \t]?(?=[^\s'\"]{{0,64}}\d)|(?=\S)|[ \t](?=[^\s'\"]+(?:['\"\n]|\Z)))"
            r"(?!\$|//)(?P<value>[^\s'\",{}\[\]]+)",
            re.IGNORECASE,
        ),
        _hidden,
    ),
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
    # `curl -u user:password` (not docker's `-u 1000:1000`), `sshpass -p x`, `mysql -px`.
    (
        re.compile(rf"(?<![\w.-])((?:{_LOGIN})[ \t=]['\"]?[^\s:'\"$]{{1,64}}:)(?!//|\d+(?!\S)|\$)[^\s'\"]+"),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(\bsshpass[ \t]+-p[ \t]*)(?!\$){_VALUE}"), rf"\1{MASK}"),
    (re.compile(rf"(\b{_MYSQL}[ \t](?:[^\n|;&]{{0,200}}?[ \t])?-p)(?!\$){_VALUE}"), rf"\1{MASK}"),
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
    name, before, program = "", "", ""
    for word in argv:
        if name and not _OPTION.fullmatch(word):
            shown.append(word if _is_plain(name, word) else MASK)
            name, before = "", word
            program = "" if program == "sshpass" else program  # what follows is another command
            continue
        shown.append(_word(word, before, program))
        is_name = word.startswith("-") or _PAIR_OPTION.fullmatch(before) is not None
        name = word.lstrip("-") if is_name and _SECRET_NAME.fullmatch(word) else ""
        if word == "-p" and program == "sshpass":
            name = "password"
        if _WITH_PASSWORD.fullmatch(os.path.basename(word)):
            program = os.path.basename(word)
        elif program == "sshpass" and word.startswith("-p") and len(word) > 2:
            program = ""
        before = word
    return shown


_OPTION = re.compile(r"-[A-Za-z]|--.*", re.DOTALL)
_PAIR_OPTION = re.compile(_PAIR)
_LOGIN_OPTION = re.compile(_LOGIN)
_LOGIN_VALUE = re.compile(r"([^\s:'\"$]+:)(?!//|\d+\Z|\$).+", re.DOTALL)
_WITH_PASSWORD = re.compile(rf"sshpass|{_MYSQL}")


def _word(word: str, before: str, program: str) -> str:
    """One word of a command line, after the word `before`, where `program` takes a password with -p."""
    if program and word.startswith("-p") and len(word) > 2:
        return f"-p{MASK}"
    option, equals, value = word.partition("=")
    if word.startswith("-") and value and _SECRET_NAME.fullmatch(option):
        return word if _is_plain(option, value) or value.startswith("$") else f"{option}={MASK}"
    if equals and _LOGIN_OPTION.fullmatch(option):
        return f"{option}={_word(value, option, '')}"
    login = _LOGIN_VALUE.fullmatch(word) if _LOGIN_OPTION.fullmatch(before) else None
    return f"{login[1]}{MASK}" if login is not None else redact(word)
