"""Credentials in a text that stand behind a name: options, variables, JSON, YAML, XML, headers, queries."""

from __future__ import annotations

import re

from deriva_ml_hooks.redact.forms import MASK, compiled, fits
from deriva_ml_hooks.redact.names import NAME, certainty_of, is_secret

HINTS = (
    *("token", "secret", "pass", "pwd", "pw", "key", "credential", "auth", "cookie", "psk", "otp", "jwt"),
    *("bearer", "pat", "session", "sid", "sas", "sig", "dsn", "pin", "login", "conn"),
)
PAIR = r"-p|-r|-e|--parameters?|--parameters[_-]raw|--env|--set"
"""Options that are followed by a name and a value, in two words or in one."""
SETTERS = frozenset({"setenv", "set", "env", "config", "modify", "export", "configure"})
"""Words that are followed by them."""

_NAMED = (
    rf"(?<![\w.-])(?P<dash>-{{0,2}})(?P<name>{NAME})"
    r"(?P<quote>(?:\\?[\"'])?)\]?(?P<sep>[ \t]{0,4}(?:=>|:=|={1,2}|:|,|>)[ \t]{0,4}|[ \t]{1,4}|(?=[\"']\Z))"
)
# A value in quotes, which stay; or in pieces that the shell puts together.
_QUOTED = r"(?P<open>\\?[\"'])(?P<value>[^\"'\\\n]*)(?P=open)(?![\w'\"])"
_OPENED = r"\\?[\"'](?P<value>[^\s'\"&]+)"
_PIECES = r"(?P<value>(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s'\"&;]|;(?![ \w.-]{0,40}=))+)"
_TO_THE_QUOTE = r"(?P<value>(?:[^\s'\"&;]|;(?![ \w.-]{0,40}=)|'\"'\"'|\\['\"])+)"
_IN_QUERY = r"(?P<value>[^&\s#'\"]+)"
_IN_JSON = r"(?P<value>[^\s\"',\[\]{}]+)"
_IN_XML = r"(?P<value>[^<\s]+)"
_FIELD = r"(?:[\w-]+=)?(?:\\?\"[^\"\\\n]*\\?\"|[^\s,'\"]+)"
_HEADER = (
    r"(?i)\\?['\"]?(?:(?:basic|bearer|token|apikey|negotiate)[ \t]+)?"
    rf"(?P<value>(?:digest|aws4-hmac-sha256)[ \t]+{_FIELD}(?:,[ \t]*{_FIELD})*|[^\s'\"]+)"
)
# Pairs (RFC 6265, 4.2.1), not the words after them.
_COOKIES = r"\\?['\"]?(?P<value>[^\s;'\"]+(?:;[ \t]*[^\s;'\"]+)*)"
_NO_VALUE = r"--|-[a-z](?![^\s'\"])|\$"
_SENTENCE_ENDS = r"[^\s'\"]+(?:['\"\n]|\Z)"
_TRAILING = ",;)]}"


def without_named(text: str) -> str:
    """`text` without what stands behind the name of a secret."""
    parts: list[str] = []
    done = at = counted = 0
    quotes = {"'": False, '"': False}
    before: re.Match[str] | None = None
    named = compiled(_NAMED)
    while (match := named.search(text, at)) is not None:
        for quote in quotes:
            quotes[quote] ^= text.count(quote, counted, match.start()) % 2 == 1
        counted = match.start()
        start, end = _value(text, match, before, inside=any(quotes.values()))
        at, before = match.end(), match
        if start < end:
            parts += [text[done:start], MASK]
            at = done = end
            before = None
    return "".join([*parts, text[done:]])


def _value(text: str, match: re.Match[str], before: re.Match[str] | None, *, inside: bool) -> tuple[int, int]:
    """Where the secret is that stands behind a name; `inside`: the name is in quotes. Nowhere: (0, 0)."""
    name, sep, start = match["name"], match["sep"].strip(), match.end()
    ahead = text[match.start() - 1 : match.start()]
    last = name.lower().rsplit("-", 1)[-1]
    certainty = certainty_of(name)
    if not certainty or text.startswith("$", start):
        return 0, 0
    if last in ("authorization", "cookie") and sep in (":", "="):
        header = compiled(_COOKIES if last == "cookie" else _HEADER).match(text, start)
        return header.span("value") if header else (0, 0)
    is_quoted = compiled(r"\\?['\"]").match(text, start) is not None
    in_query = sep == "=" and ahead != "" and ahead in "?&#"
    if not sep:
        certainty = _after_space(text, match, before, certainty)
    elif sep == ",":
        certainty = 1 if match["quote"] else 0
    elif (sep == ">" and ahead != "<") or (sep == ":" and not is_quoted and not _is_said(text, match, ahead)):
        certainty = 0
    elif in_query and last in ("key", "sig", "signature", "code"):
        certainty = 1 if last == "key" else 2
    if not certainty:
        return 0, 0
    if in_query:
        form = _IN_QUERY
    elif is_quoted:
        form = _in_quotes(text, start)
    elif sep in (":", ",", ">"):
        form = _IN_XML if sep == ">" else _IN_JSON
    else:
        form = _TO_THE_QUOTE if inside else _PIECES
    found = compiled(form).match(text, start)
    if found is None:
        return 0, 0
    start, end = found.span("value")
    if not is_quoted:
        end = start + len(text[start:end].rstrip(_TRAILING))
    return (start, end) if is_secret(name, text[start:end], certainty=certainty) else (0, 0)


def _after_space(text: str, match: re.Match[str], before: re.Match[str] | None, certainty: int) -> int:
    """How certain it is that a word after the name is a secret: not any two words of a sentence."""
    if compiled(_NO_VALUE).match(text, match.end()):
        return 0
    adjacent = before is not None and before.end() == match.start() and not before["sep"].strip()
    dash, word = (before["dash"], before["name"]) if before is not None and adjacent else ("", "")
    if match["dash"] or fits(PAIR, dash + word):
        return certainty
    # `password x` of a .netrc, `setenv TOKEN x`
    return 1 if certainty == 2 or word.lower() in SETTERS else 0


def _in_quotes(text: str, start: int) -> str:
    """What a value looks like that begins with a quote: closed, one of several pieces, or never closed."""
    if compiled(_QUOTED).match(text, start):
        return _QUOTED
    return _PIECES if compiled(r"(?P<open>[\"'])[^\"'\n]*(?P=open)").match(text, start) else _OPENED


def _is_said(text: str, match: re.Match[str], ahead: str) -> bool:
    """Whether what follows `name:` is a value, and not the rest of a sentence."""
    start, name = match.end(), match["name"].lower()
    if match["quote"] or ("-" in name and name.endswith(("token", "key", "secret"))):
        return True
    if ahead == "/" or text.startswith("//", start):
        return False
    if compiled(r"[^\s'\"\d]{0,64}\d").match(text, start) or not match["sep"].endswith((" ", "\t")):
        return True
    return compiled(_SENTENCE_ENDS).match(text, start) is not None
