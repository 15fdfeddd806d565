"""Whether the name of an option, a variable or a key says that its value is a secret."""

from __future__ import annotations

from functools import lru_cache

from deriva_ml_hooks.redact.forms import compiled, fits

NAME = r"[A-Za-z_][\w.-]*"
_SAYS = (
    r".*(?:token|secret|passw(?:or)?d|passphrase|passcode|passwort|jwt)"
    r"|(?:.*(?:api|access|private|secret|account|auth|encryption|signing|license|shared|master|admin)key)"
    r"|(?:db|user|my|sql|root|key|store|smtp|admin)?pass"
    r"|.*pwd|pw|credentials?|authorization|cookies?|psk|t?otp|bearer"
)
"""The last word of a name, in lower case, that says: a secret."""
_KEYS = (
    "api access private secret account auth encryption decryption signing license shared master subscription"
    " admin hmac webhook"
)
_PAIRS = {f"{word} key" for word in _KEYS.split()} | {
    *("amz signature", "goog signature", "connection string", "conn string", "conn str", "secret id")
}
"""The last two words of such a name."""
_PERHAPS = r".*keys?|pat|.*tokens|secrets|passwords|auth|session|sessionid|sid|sas|sig(?:nature)?|dsn|pin"
"""The last word of a name that may say so: only where the value looks like a secret too."""
_OF_MODELS = (
    r"(?i)(?:[\w.-]*[_.-])?(?:pad|bos|eos|sep|cls|mask|unk|max|min|num|n|special|start|end|new|stop|image"
    r"|prompt|text|control)[_-]?tokens?"
)
"""Names of a language model's tokens, which are hyperparameters."""
_PLAIN = r"(?i)<[^<>\s'\"]{0,30}>|true|false|none|null|yes|no"
_COUNT = r"-?\d{1,5}"
_A_FILE = r"[\w./~-]+\.(?:json|pem|key|pub|txt|ya?ml|crt|cer|env|ini|toml|py)"
UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_RANDOM = r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[\w~+/=.!@#$%^*-]{8,}"
_WORDS = r"[_.-]+|(?<=[a-z0-9])(?=[A-Z])"


@lru_cache(maxsize=1024)  # documents repeat their keys
def certainty_of(name: str) -> int:
    """Whether `name` is that of a secret: 2 yes, 1 if its value looks like one, 0 no."""
    words = [word.lower() for word in compiled(_WORDS).split(name.rstrip("0123456789_-.")[-80:]) if word]
    if not words or fits(_OF_MODELS, name):
        return 0
    last, pair = words[-1], " ".join(words[-2:])
    if fits(_SAYS, last) or pair in _PAIRS:
        return 2
    return 1 if fits(_PERHAPS, last) else 0


def is_secret(name: str, value: str, *, certainty: int | None = None) -> bool:
    """Whether `value` is to be hidden under `name`."""
    sure = certainty_of(name) if certainty is None else certainty
    plain = value.strip("\\'\"")
    if not sure or not plain or value.startswith("$") or fits(_PLAIN, plain):
        return False
    lower = name.lower()
    if lower.endswith(("token", "tokens")) and fits(_COUNT, plain):
        return False
    if fits(r".*(?:key|credential|cookie)s?", lower) and fits(_A_FILE, plain):
        return False
    return sure == 2 or looks_random(plain)


def looks_random(value: str) -> bool:
    return bool(fits(_RANDOM, value)) and not fits(f"{_A_FILE}|{UUID}", value)
