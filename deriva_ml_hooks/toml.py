"""TOML documents that a stranger wrote: read within limits of time and memory, or an error names them."""

from __future__ import annotations

import re
import sys
from typing import Any

from deriva_ml_hooks.errors import ConfigError
from deriva_ml_hooks.files import read_regular

MAX_BYTES = 1 << 20
"""What a TOML document may have."""
_MAX_PARTS = 32  # time and memory of a key grow with their square
_MAX_DEPTH = 100
# Each of them takes what it has read, also where a quote is not closed: none reads a line twice.
_QUOTED = re.compile(rb"""\"(?:\\.|[^"\\])*"?|'[^']*'?|#.*""")
_BETWEEN_KEYS = re.compile(rb"[^\w. \t-]")
_DOT = re.compile(rb"[\w-][ \t]*\.[ \t]*(?=[\w-])")
_BRACKET = re.compile(rb"[\[\]{}]")


def read_toml(path: str, shown: str) -> dict[str, Any] | None:
    """The TOML document at `path`, None where there is none; raises ConfigError naming it `shown`."""
    data = read_document(path, shown)
    return parse_toml(data, shown) if data is not None else None


def read_document(path: str, shown: str) -> bytes | None:
    """What is in a small regular file at `path`, None where there is none; raises ConfigError."""
    try:
        return read_regular(path, at_most=MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        fix = "put a file there, or nothing; see its owner and mode"
        raise ConfigError(shown, None, f"cannot be read: {error.strerror}", fix=fix) from None


def parse_toml(data: bytes, shown: str) -> dict[str, Any]:
    """TOML from bytes; raises ConfigError naming the document `shown`, also where it could take for ever."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        _require_modest(data)
        document: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what int() and UTF-8 have to say
        raise ConfigError(shown, None, f"not valid TOML: {error}", fix="mend the line it names") from None
    return document


def _require_modest(data: bytes) -> None:
    """Raises ValueError for what the parser takes minutes and gigabytes for, or overflows its stack."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    depth = 0
    for number, line in enumerate(data.split(b"\n"), start=1):
        bare = _QUOTED.sub(b"s", line)
        if line.count(b".") > _MAX_PARTS:
            keys = _BETWEEN_KEYS.split(bare)
            if any(len(_DOT.findall(key)) >= _MAX_PARTS for key in keys):
                raise ValueError(f"a key of more than {_MAX_PARTS} parts (at line {number})")
        for bracket in _BRACKET.findall(bare):
            depth = depth + 1 if bracket in b"[{" else max(depth - 1, 0)
            if depth > _MAX_DEPTH:
                raise ValueError(f"brackets inside each other, more than {_MAX_DEPTH} (at line {number})")
