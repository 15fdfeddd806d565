"""Credentials that are known by their own form: tokens by their prefix, keys in PEM, users in URLs."""

from __future__ import annotations

import re
from functools import cache

MASK = "***"


@cache
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern, compiled when a text first holds something that it could be about."""
    return re.compile(pattern, flags)


def fits(pattern: str, text: str) -> re.Match[str] | None:
    """The match of the whole text."""
    return compiled(pattern).fullmatch(text)


# --- tokens ---

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

_PREFIXES = tuple(prefix for prefixes in _TOKENS.values() for prefix in prefixes.split())
HINTS = tuple(hint.lower() for hint in (*_PREFIXES, *_TOKENS_WITHIN))


def without_tokens(text: str) -> str:
    found = [p for p in _PREFIXES if p in text]
    for form, prefixes in _TOKENS.items():
        here = [re.escape(prefix) for prefix in prefixes.split() if prefix in found]
        if here:
            # A form that can fail after a long run begins only where a run does.
            edge = r"(?<![\w-])" if r"\." in form else r"(?<![A-Za-z0-9])"
            text = compiled(f"{edge}(?:{'|'.join(here)}){form}").sub(
                _hidden_token if form == _MIXED else MASK, text
            )
    for mark, pattern in _TOKENS_WITHIN.items():
        if mark in text:
            text = compiled(rf"(?<![\w-]){pattern}").sub(MASK, text)
    return text


def _hidden_token(match: re.Match[str]) -> str:
    """The match hidden, unless it reads as words: `xai-methods-of-2024`."""
    runs = compiled(r"[A-Za-z0-9]+").findall(match[0])
    digits = any(any(c.isdigit() for c in run) and len(run) >= 12 for run in runs)
    mixed = all(
        any(kind(c) for run in runs[1:] for c in run) for kind in (str.isdigit, str.isupper, str.islower)
    )
    return MASK if digits or mixed else match[0]


# --- private keys ---

_PEM = r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_PEM_LINES = r"(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{16,})*"


def without_keys(text: str) -> str:
    """`text` without private keys in PEM, whole or cut off (RFC 7468)."""
    parts, at, ends = [], 0, True
    for begin in compiled(_PEM).finditer(text):
        if begin.start() < at:
            continue
        end = text.find("-----END", begin.end()) if ends else -1
        ends = end >= 0
        stop = text.find("-----", end + 8) if ends else -1
        last = compiled(_PEM_LINES).match(text, begin.end())
        parts += [text[at : begin.start()], MASK]
        at = stop + 5 if stop >= 0 else last.end() if last else begin.end()
    return "".join([*parts, text[at:]]) if parts else text


# --- in URLs ---

_URL = r"://[^\s'\"]+"
_AUTHORITY = r"[^/?#]*"
_PORT_ENDS_IT = r"[^:]*:\d+"
_HOST_BEHIND = r"@[\w-]+(?:\.[\w-]+)*(?:\.[A-Za-z]{2,}|:\d+)(?=[:/])"
# `user:password@host:path` and `user:password@host/path`, without a scheme.
_NO_SCHEME = r"(?<![^\s'\"=])([\w.+-]+:)(?!//)[^\s@'\"]{1,256}@(?=[\w-]+(?:\.[\w-]+)+[:/])"


def has_host_behind(text: str) -> bool:
    """Whether a host stands behind an `@`: what is before it is a user and a password, however it reads."""
    return compiled(_HOST_BEHIND).search(text) is not None


def without_users(text: str) -> str:
    text = compiled(_URL).sub(lambda url: "://".join(map(_without_user, url[0].split("://"))), text)
    return compiled(_NO_SCHEME).sub(rf"\1{MASK}@", text)


def _without_user(rest: str) -> str:
    """What follows `://`, whatever stands before the last `@` of the authority replaced (RFC 3986, 3.2.1).

    Also where a password holds a `/`, `?` or `#` that should have been percent-encoded.
    """
    if "@" not in rest:
        return rest
    authority = compiled(_AUTHORITY).match(rest)
    before = authority[0] if authority else ""
    ends = [before.rfind("@"), *(match.start() for match in compiled(_HOST_BEHIND).finditer(rest))]
    if "@" not in before and ":" in before and not fits(_PORT_ENDS_IT, before):
        ends.append(rest.rfind("@"))
    return rest if max(ends) < 0 else f"{MASK}@{rest[max(ends) + 1 :]}"
