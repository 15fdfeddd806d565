"""Takes secrets out of text before it is stored, printed, logged or put into an error.

A credential is recognised by where it stands (user information and query of a URL, the value of an
option or variable whose name says so) or by its own form (the prefixes that services give their
tokens). Errs on the side of removing, but never past the value. A pattern is compiled when a text first
holds something that it could be about, and takes time in proportion to the text.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

MASK = "***"


@cache
def _compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(pattern, flags)


def _fits(pattern: str, text: str) -> re.Match[str] | None:
    return _compiled(pattern).fullmatch(text)


_MIXED = r"(?:[\w-]{16,})"
"""What follows a prefix that begins other names too."""
_TOKENS = {
    # GitHub, GitLab, Bitbucket, Atlassian
    r"[\w-]{16,}": "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glagent- glcbt- gldt- glffct- glft- glimt- gloas-"
    " glptt- glrt- glsoat- ATBB ATCTT3 ATATT3"
    # services of models and experiments
    " pplx- lsv2_pt_ lsv2_sk_ pcsk_ nvapi- KGAT_ wandb_v1_ tgp_v1_"
    # clouds, their stores and gateways
    " dop_v1_ doo_v1_ dor_v1_ AIza ya29. GOCSPX- HRKU- LTAI pscale_tkn_ pscale_oauth_ pscale_pw_ sb_secret_"
    " ops_eyJ AGE-SECRET-KEY-1"
    # packages, images, builds
    " pypi-AgE dckr_pat_ dckr_oat_ rubygems_ CLOJARS_ CCIPAT_ sntrys_ sntryu_ dp.pt. dp.st. AKCp cmVmdGtuO"
    " hvs. hvb. hvr."
    # messages, money, shops, desks, graphs
    " xapp- sk_live_ sk_test_ rk_live_ rk_test_ whsec_ shpat_ shpca_ shppa_ shpss_ sq0atp- sq0csp- xkeysib-"
    " lin_api_ lin_oauth_ PMAK- figd_ CFPAT- NRAK- NRJS- NRII- glsa_ shippo_live_",
    _MIXED: "sk- api_org_ gsk_ xai- tvly- jina_ pnu_ isat_ r8_ 1//0 sbp_ nfp_ napi_ rnd_ FlyV1 fo1_ vcp_ npm_"
    " oy2 bkua_ squ_ sqp_ sqa_ tfp_ ntn_ glc_",
    r"[\w.-]{16,}": "glpat- dt0c01. sl.u. sl.B",
    r"(?:[A-Za-z0-9]{30,}|(?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{16,})": "hf_",
    r"[\w-]{10,}": "xoxa- xoxb- xoxe- xoxe. xoxo- xoxp- xoxr- xoxs- xwfp-",
    r"[0-9A-Z]{12,}": "AKIA ASIA ABIA ACCA A3T",
    r"[0-9a-f]{32,}": "dapi key- pul- SK",
    r"[A-Za-z0-9]{43}": "secret_",
    r"[\w/@+-]{20,}": "hooks.slack.com/services/ hooks.slack.com/workflows/ discord.com/api/webhooks/"
    " discordapp.com/api/webhooks/ webhook.office.com/webhookb2/",
    r"[\w-]{16,}\.[\w-]{16,}": "SG.",
    r"[A-Za-z0-9]{14}\.[0-9a-f]{32,}": "pat",
    r"[\w-]{8,}(?:\.[\w-]{8,}\.[\w-]*|[\w-]{50,})": "eyJ",
}
"""What follows a prefix, and the prefixes that it follows, as services write their tokens."""
_TOKENS_WITHIN = {
    "Q~": r"[\w~.-]{3}\dQ~[\w~.-]{31,}",  # Microsoft Entra
    ":AA": r"\d{8,10}:AA[\w-]{32,}",  # Telegram
    "atlasv1": r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}",  # HCP Terraform
    "-us": r"[0-9a-f]{32}-us\d{1,2}(?!\w)",  # Mailchimp
    ".": r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}",  # Discord
}
"""Forms with a mark of their own further in, by that mark."""

_NAME = r"[A-Za-z_][\w.-]*"
_SAYS = (
    r".*(?:token|secret|passw(?:or)?d|passphrase|passcode|passwort|jwt)"
    r"|(?:.*(?:api|access|private|secret|account|auth|encryption|signing|license|shared|master|admin)key)"
    r"|(?:db|user|my|sql|root|key|store|smtp|admin)?pass"
    r"|.*pwd|pw|credentials?|authorization|cookies?|psk|t?otp|bearer"
)
"""The last word of a name, in lower case, that says: a secret."""
_KEYS = frozenset(
    {
        *("api", "access", "private", "secret", "account", "auth", "encryption", "decryption", "signing"),
        *("license", "shared", "master", "subscription", "admin", "hmac", "webhook"),
    }
)
_PAIRS = frozenset(
    {"amz signature", "goog signature", "connection string", "conn string", "conn str", "secret id"}
)
_PERHAPS = r".*keys?|pat|.*tokens|secrets|passwords|auth|session|sessionid|sid|sas|sig(?:nature)?|dsn|pin"
"""The last word of a name that may say so: only where the value looks like a secret too."""
_HINTS = (
    *("token", "secret", "pass", "pwd", "pw", "key", "credential", "auth", "cookie", "psk", "otp", "jwt"),
    *("bearer", "pat", "session", "sid", "sas", "sig", "dsn", "pin", "login", "conn"),
)
_OF_MODELS = (
    r"(?i)(?:[\w.-]*[_.-])?(?:pad|bos|eos|sep|cls|mask|unk|max|min|num|n|special|start|end|new|stop|image"
    r"|prompt|text|control)[_-]?tokens?"
)
"""Names of a language model's tokens, which are hyperparameters."""
_PLAIN = r"(?i)<[^<>\s'\"]{0,30}>|true|false|none|null|yes|no"
_COUNT = r"-?\d{1,5}"
_A_FILE = r"[\w./~-]+\.(?:json|pem|key|pub|txt|ya?ml|crt|cer|env|ini|toml|py)"
_UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_RANDOM = r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[\w~+/=.!@#$%^*-]{8,}"
_WORDS = r"[_.-]+|(?<=[a-z0-9])(?=[A-Z])"


def _certainty(name: str) -> int:
    """Whether `name` is that of a secret: 2 yes, 1 if its value looks like one, 0 no."""
    words = [word.lower() for word in _compiled(_WORDS).split(name.rstrip("0123456789_-.")[-80:]) if word]
    if not words or _fits(_OF_MODELS, name):
        return 0
    last, pair = words[-1], " ".join(words[-2:])
    if _fits(_SAYS, last) or pair in _PAIRS or (last == "key" and words[-2] in _KEYS if words[1:] else False):
        return 2
    return 1 if _fits(_PERHAPS, last) else 0


def _is_secret(name: str, value: str, *, certainty: int | None = None) -> bool:
    """Whether `value` is to be hidden under `name`."""
    sure = _certainty(name) if certainty is None else certainty
    plain = value.strip("\\'\"")
    if not sure or not plain or value.startswith("$") or _fits(_PLAIN, plain):
        return False
    lower = name.lower()
    if lower.endswith(("token", "tokens")) and _fits(_COUNT, plain):
        return False
    if _fits(r".*(?:key|credential|cookie)s?", lower) and _fits(_A_FILE, plain):
        return False
    return sure == 2 or _looks_random(plain)


def _looks_random(value: str) -> bool:
    return bool(_fits(_RANDOM, value)) and not _fits(f"{_A_FILE}|{_UUID}", value)


_PAIR = r"-p|-r|-e|--parameters?|--parameters[_-]raw|--env|--set"
_SETTERS = frozenset({"setenv", "set", "env", "config", "modify", "export", "configure"})
_LOGIN = r"-[uU]|--(?:[a-z]+-)?user|--auth"
_MYSQL = r"(?:mysql|mariadb)[\w-]*"
_LETTERS = (
    (r"sshpass|twine|login|mongo\w*|7z[ar]?", "-p"),
    (r"redis-cli", "-a"),
    (r"ldap\w+", "-w"),
    (r"zip|unzip|sqlcmd|bcp", "-P"),
)
"""Programs (or words of theirs), and the option that takes a password after them."""


class _Rules(NamedTuple):
    """The patterns of one kind of secret; a text without any of `hints` has none."""

    hints: tuple[str, ...]
    apply: Callable[[str], str]


def redact(text: str) -> str:
    """`text` with every credential in it replaced by `***`."""
    return _remembered(text) if len(text) < 500 else _redacted_text(text)


def redacted(value: Any, name: str = "") -> Any:
    """A document of JSON with every credential in it replaced, by their own form and by the names of keys."""
    if value not in (None, "", True, False) and _certainty(name) == 2:  # such keep no secret
        return MASK
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(inner) for inner in value]
    if not isinstance(value, str):
        return value
    return MASK if name and _is_secret(name, value) else redact(value)


def _redacted_text(text: str) -> str:
    for _ in range(4):  # hiding one can show another, at most a few times
        before = text
        for rules in _RULES:
            lower = text.lower()
            if any(hint in lower for hint in rules.hints):
                text = rules.apply(text)
        if text == before:
            break
    return text


_remembered = lru_cache(maxsize=2048)(_redacted_text)  # records repeat what they say


# --- in URLs ---

_URL = r"://[^\s'\"]+"
_AUTHORITY = r"[^/?#]*"
_PORT_ENDS_IT = r"[^:]*:\d+"
_HOST_BEHIND = r"@[\w-]+(?:\.[\w-]+)*(?:\.[A-Za-z]{2,}|:\d+)(?=[:/])"
# `user:password@host:path` and `user:password@host/path`, without a scheme.
_NO_SCHEME = r"(?<![^\s'\"=])([\w.+-]+:)(?!//)[^\s@'\"]{1,256}@(?=[\w-]+(?:\.[\w-]+)+[:/])"


def has_host_behind(text: str) -> bool:
    """Whether a host stands behind an `@`: what is before it is a user and a password, however it reads."""
    return _compiled(_HOST_BEHIND).search(text) is not None


def _without_users(text: str) -> str:
    text = _compiled(_URL).sub(lambda url: "://".join(map(_without_user, url[0].split("://"))), text)
    return _compiled(_NO_SCHEME).sub(rf"\1{MASK}@", text)


def _without_user(rest: str) -> str:
    """What follows `://`, whatever stands before the last `@` of the authority replaced (RFC 3986, 3.2.1).

    Also where a password holds a `/`, `?` or `#` that should have been percent-encoded.
    """
    if "@" not in rest:
        return rest
    authority = _compiled(_AUTHORITY).match(rest)
    before = authority[0] if authority else ""
    ends = [before.rfind("@"), *(match.start() for match in _compiled(_HOST_BEHIND).finditer(rest))]
    if "@" not in before and ":" in before and not _fits(_PORT_ENDS_IT, before):
        ends.append(rest.rfind("@"))
    return rest if max(ends) < 0 else f"{MASK}@{rest[max(ends) + 1 :]}"


# --- by their own form ---

_PREFIXES = tuple(prefix for prefixes in _TOKENS.values() for prefix in prefixes.split())
_PEM = r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_PEM_LINES = r"(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{16,})*"


def _without_tokens(text: str) -> str:
    found = [p for p in _PREFIXES if p in text]
    for form, prefixes in _TOKENS.items():
        here = [re.escape(prefix) for prefix in prefixes.split() if prefix in found]
        if here:
            # A form that can fail after a long run begins only where a run does.
            edge = r"(?<![\w-])" if r"\." in form else r"(?<![A-Za-z0-9])"
            text = _compiled(f"{edge}(?:{'|'.join(here)}){form}").sub(
                _hidden_token if form == _MIXED else MASK, text
            )
    for mark, pattern in _TOKENS_WITHIN.items():
        if mark in text:
            text = _compiled(rf"(?<![\w-]){pattern}").sub(MASK, text)
    return text


def _hidden_token(match: re.Match[str]) -> str:
    """The match hidden, unless it reads as words: `xai-methods-of-2024`."""
    runs = _compiled(r"[A-Za-z0-9]+").findall(match[0])
    digits = any(any(c.isdigit() for c in run) and len(run) >= 12 for run in runs)
    mixed = all(
        any(kind(c) for run in runs[1:] for c in run) for kind in (str.isdigit, str.isupper, str.islower)
    )
    return MASK if digits or mixed else match[0]


def _without_keys(text: str) -> str:
    """`text` without private keys in PEM, whole or cut off (RFC 7468)."""
    parts, at, ends = [], 0, True
    for begin in _compiled(_PEM).finditer(text):
        if begin.start() < at:
            continue
        end = text.find("-----END", begin.end()) if ends else -1
        ends = end >= 0
        stop = text.find("-----", end + 8) if ends else -1
        last = _compiled(_PEM_LINES).match(text, begin.end())
        parts += [text[at : begin.start()], MASK]
        at = stop + 5 if stop >= 0 else last.end() if last else begin.end()
    return "".join([*parts, text[at:]]) if parts else text


# --- by name ---

_NAMED = (
    rf"(?<![\w.-])(?P<dash>-{{0,2}})(?P<name>{_NAME})"
    r"(?P<quote>(?:\\?[\"'])?)\]?(?P<sep>[ \t]{0,4}(?:=>|:=|={1,2}|:|,|>)[ \t]{0,4}|[ \t]{1,4}|(?=[\"']\Z))"
)
# A value in quotes, which stay; or in pieces that the shell puts together.
_QUOTED = r"(?P<open>\\?[\"'])(?P<value>[^\"'\\\n]*)(?P=open)(?![\w'\"])"
_OPENED = r"\\?[\"'](?P<value>[^\s'\"&]+)"
_PIECES = r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s'\"&;]|;(?![ \w.-]{0,40}=))+"
_TO_THE_QUOTE = r"(?:[^\s'\"&;]|;(?![ \w.-]{0,40}=)|'\"'\"'|\\['\"])+"
_IN_QUERY = r"[^&\s#'\"]+"
_IN_JSON = r"[^\s\"',\[\]{}]+"
_FIELD = r"(?:[\w-]+=)?(?:\\?\"[^\"\\\n]*\\?\"|[^\s,'\"]+)"
_HEADER = (
    r"(?:(?:basic|bearer|token|apikey|negotiate)[ \t]+)?"
    rf"(?P<value>(?:digest|aws4-hmac-sha256)[ \t]+{_FIELD}(?:,[ \t]*{_FIELD})*|[^\s'\"]+)"
)
_COOKIES = r"[^\s;'\"]+(?:;[ \t]*[^\s;'\"]+)*"  # pairs (RFC 6265, 4.2.1), not the words after them
_NO_OPTION = r"--|-[a-z](?![^\s'\"])|\$"
_SENTENCE_ENDS = r"[^\s'\"]+(?:['\"\n]|\Z)"
_TRAILING = ",;)]}"


def _without_named(text: str) -> str:
    parts: list[str] = []
    done = at = counted = 0
    quotes = {"'": False, '"': False}
    before: re.Match[str] | None = None
    named = _compiled(_NAMED)
    while (match := named.search(text, at)) is not None:
        for quote in quotes:
            quotes[quote] ^= text.count(quote, counted, match.start()) % 2 == 1
        counted = match.start()
        value = _value(text, match, before, inside=any(quotes.values()))
        at, before = match.end(), match
        if value is not None and value[0] < value[1]:
            parts += [text[done : value[0]], MASK]
            at = done = value[1]
            before = None
    return "".join([*parts, text[done:]]) if parts else text


def _value(
    text: str, match: re.Match[str], before: re.Match[str] | None, *, inside: bool
) -> tuple[int, int] | None:
    """Where the secret is that stands behind a name, if it is one."""
    name, sep, start = match["name"], match["sep"].strip(), match.end()
    ahead = text[match.start() - 1] if match.start() else ""
    certainty = _certainty(name)
    if not certainty or text[start : start + 1] == "$":
        return None
    last = name.lower().rsplit("-", 1)[-1]
    if last in ("authorization", "cookie") and sep in (":", "="):
        header = _compiled(_COOKIES if last == "cookie" else _HEADER, re.IGNORECASE)
        start += len(text[start : start + 2]) - len(text[start : start + 2].lstrip("\\'\""))
        found = header.match(text, start)
        return found.span("value" if last != "cookie" else 0) if found else None
    if not sep:
        adjacent = before is not None and before.end() == match.start() and not before["sep"].strip()
        paired = adjacent and before is not None and _fits(_PAIR, before["dash"] + before["name"])
        setter = adjacent and before is not None and before["name"].lower() in _SETTERS
        if _compiled(_NO_OPTION).match(text, start):
            return None
        if not (match["dash"] or paired):
            # `password x` of a .netrc, `setenv TOKEN x`: not any two words of a sentence.
            if certainty < 2 and not setter:
                return None
            certainty = 1
    elif sep == ",":
        if not match["quote"]:
            return None
        certainty = 1
    elif sep == ">" and ahead != "<":
        return None
    quoted = text[start : start + 1] in ("'", '"') or text[start : start + 2] in ('\\"', "\\'")
    if ahead and ahead in "?&#" and sep == "=":
        form = _IN_QUERY
    elif quoted:
        form = (
            _QUOTED if _compiled(_QUOTED).match(text, start) else _PIECES if _closed(text, start) else _OPENED
        )
    elif sep in (":", ",", ">"):
        if sep == ":" and not _is_said(text, match):
            return None
        form = r"[^<\s]+" if sep == ">" else _IN_JSON
    else:
        form = _TO_THE_QUOTE if inside else _PIECES
    found = _compiled(form).match(text, start)
    if found is None:
        return None
    start, end = found.span("value" if form in (_QUOTED, _OPENED) else 0)
    if not quoted:
        while end > start and text[end - 1] in _TRAILING:
            end -= 1
    if ahead and ahead in "?&#" and last in ("key", "sig", "signature", "code") and sep == "=":
        certainty = 2 if last != "key" else 1
    return (start, end) if _is_secret(name, text[start:end], certainty=certainty) else None


def _closed(text: str, start: int) -> bool:
    """Whether the quote at `start` is closed on its line."""
    found = _compiled(r"(?P<open>[\"'])[^\"'\n]*(?P=open)").match(text, start)
    return found is not None


def _is_said(text: str, match: re.Match[str]) -> bool:
    """Whether what follows `name:` is a value, and not the rest of a sentence."""
    ahead = text[match.start() - 1] if match.start() else ""
    start = match.end()
    if match["quote"] or (
        "-" in match["name"] and match["name"].lower().endswith(("token", "key", "secret"))
    ):
        return True
    if ahead == "/" or text.startswith("//", start):
        return False
    first = _compiled(r"[^\s'\"]{0,64}").match(text, start)
    has_digit = first is not None and any(c.isdigit() for c in first[0])
    return (
        has_digit
        or not match["sep"].endswith((" ", "\t"))
        or _compiled(_SENTENCE_ENDS).match(text, start) is not None
    )


_CLEAN_VALUE = r"(?P<value>(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s'\"&])+)"


def _without_options(text: str) -> str:
    """`text` without what stands behind the short options of programs that take passwords."""
    login = _compiled(
        rf"(?<![\w.-])((?:{_LOGIN})[ \t=]['\"]?[^\s:'\"$]{{1,64}}:)(?!//|\d+(?!\S)|\$)[^\s'\"]+"
    )
    text = login.sub(rf"\1{MASK}", text)
    attached = _compiled(
        r"(?<![\w.-])((?:-u(?=[^\s:,%=-])|-[uU][ \t])['\"]?[^\s:,%'\"$=]{1,64}[:,%])([^\s'\"/:]+)"
    )
    text = attached.sub(lambda m: f"{m[1]}{MASK}" if _looks_random(m[2]) else m[0], text)
    cookie = _compiled(r"(?<![\w.-])(-b[ \t]*['\"]?[\w.-]{1,64}=)([^\s;'\"]+)")
    text = cookie.sub(lambda m: f"{m[1]}{MASK}" if _looks_random(m[2]) else m[0], text)
    auth = _compiled(r"(\bauth=\(\s?([\"'])[^\"'\s]{0,64}\2,\s?([\"']))[^\"'\n]+\3")
    text = auth.sub(rf"\1{MASK}\3", text)
    bearer = _compiled(r"(\bbearer\s+)(?=[^\s\d]{0,80}\d)[\w.~+/=-]{8,}", re.IGNORECASE)
    text = bearer.sub(rf"\1{MASK}", text)
    signed_in = _compiled(r"(\blogin(?:[ \t]+--[\w-]{1,20}){0,3}[ \t]+)(?=[A-Za-z_-]{0,40}\d)([\w.-]{20,})")
    text = signed_in.sub(lambda m: m[0] if _fits(_UUID, m[2]) else f"{m[1]}{MASK}", text)
    for programs, option in _LETTERS:
        if option in text:
            behind = (
                rf"(\b(?:{programs})[ \t](?:[^\n|;&]{{0,200}}?[ \t])??{option}[ \t]*)(?!\$){_CLEAN_VALUE}"
            )
            text = _compiled(behind).sub(rf"\1{MASK}", text)
    return _compiled(rf"(\b{_MYSQL}[ \t](?:[^\n|;&]{{0,200}}?[ \t])??-p)(?!\$){_CLEAN_VALUE}").sub(
        rf"\1{MASK}", text
    )


_RULES = (
    _Rules((*(p.lower() for p in _PREFIXES), *(m.lower() for m in _TOKENS_WITHIN)), _without_tokens),
    _Rules(("@",), _without_users),
    _Rules(("private key",), _without_keys),
    _Rules(_HINTS, _without_named),
    _Rules(
        (
            *("-u", "--", "-b", "auth=(", "bearer", "login", "mysql", "mariadb", "sshpass", "twine", "mongo"),
            *("7z", "redis-cli", "ldap", "zip", "sqlcmd", "bcp"),
        ),
        _without_options,
    ),
)


# --- command lines ---


def redact_command(argv: Sequence[str]) -> list[str]:
    """A command line with its credentials replaced, each word by itself and by the word before it."""
    return [*_redacted(argv)]


_OPTION = r"(?s)-[A-Za-z]|--.*"
_LOGIN_VALUE = r"(?s)([^\s:'\"$]+:)(?!//|\d+\Z|\$).+"
_ASSIGNED = rf"(?s)(-{{0,2}}|\+{{1,2}}|~)({_NAME})=(.*)"
_SCRIPT = r"-[a-z]{0,3}c"
"""What a shell takes a script after: of its words only the first would be the value."""
_NEXT = r"\s--?[A-Za-z]|;(?=[ \w.-]{1,40}=)"


def shown_command(argv: Sequence[str]) -> str:
    """The same as one line, quoted for a shell but for what was replaced."""
    words = ((word, word.replace(MASK, "x")) for word in redact_command(argv))
    return " ".join(word if shlex.quote(plain) == plain else shlex.quote(word) for word, plain in words)


def _redacted(argv: Sequence[str]) -> Iterator[str]:
    before = program = letter = ""
    paired = setter = False  # the word before is the name of a parameter, of a setting
    for word in argv:
        name = before.lstrip("-")
        sure = _certainty(name)
        if not (before.startswith("-") or paired):  # `password x`: not any two words
            sure = 1 if sure == 2 or (sure and setter) else 0
        if letter and before == letter and not word.startswith("$"):
            yield MASK
            program = letter = ""  # after sshpass another command follows
        elif not _fits(_OPTION, word) and _is_secret(name, word, certainty=sure):
            yield MASK
        elif letter and word.startswith(letter) and len(word) > 2 and not word.startswith("--"):
            yield f"{letter}{MASK}"
            program, letter = ("", "") if program == "sshpass" else (program, letter)
        elif program == "login" and _fits(_RANDOM, word) and len(word) >= 20:
            yield MASK
        else:
            yield _word(word, before)
        paired, setter = _fits(_PAIR, before) is not None, before.lower() in _SETTERS
        own = os.path.basename(word)
        if re.fullmatch(_MYSQL, own):
            program, letter = own, "-p"
        elif own == "login":
            program = own
        letter = next((o for names, o in _LETTERS if re.fullmatch(names, own)), letter)
        if own == "sshpass":
            program = own
        before = "" if program.startswith(("mysql", "mariadb")) and word == "-p" else word


def _word(word: str, before: str) -> str:
    """One word of a command line, after the word `before`."""
    assigned = None if _fits(_SCRIPT, before) else _fits(_ASSIGNED, word)
    if assigned is not None:
        start = word[: assigned.start(3)]
        value = assigned[3]
        if _is_secret(assigned[2], value):
            further = _compiled(_NEXT).search(value)
            return f"{start}{MASK}" + (redact(value[further.start() :]) if further else "")
        if _certainty(assigned[2]) == 2:
            return word if value.startswith("$") or "=" not in value else start + redact(value)
        return start + _word(value, f"{assigned[1]}{assigned[2]}") if value else word
    login = _fits(_LOGIN_VALUE, word) if _fits(_LOGIN, before) else None
    if login is not None:
        return f"{login[1]}{MASK}"
    if word.startswith("-H") and ":" in word:  # a header behind curl's option, in one word
        return f"-H{redact(word[2:])}"
    if before in ("-b", "-u", "-U"):
        return redact(f"{before} {word}")[len(before) + 1 :]
    return redact(word)
