"""Parameters that are secrets: which they are, and their values out of everything that is kept of a run.

What is known is known by value, so it is found wherever a cell shows it. What a notebook itself reads from
elsewhere and prints is not known and stays.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from deriva_ml_hooks.redact import MASK, redacted

SHORTEST = 4
"""Characters; a shorter value stands in too many words that have nothing to do with it."""
_BINARY = re.compile(r"(?:image/(?!svg)|audio/|video/|font/|application/(?:pdf|octet-stream|zip))")


def masked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they may be stored: what a name or a value shows to be a secret is replaced."""
    return {name: redacted(value, name) for name, value in parameters.items()}


def hiding(parameters: Mapping[str, Any]) -> Callable[[str], str] | None:
    """What replaces the secrets among `parameters` in a text; None where there are none.

    Values of less than `SHORTEST` characters stay.
    """
    found = {secret for secret in _secrets(parameters, masked(parameters)) if len(secret) >= SHORTEST}
    forms = {form for secret in found for form in _forms(secret)}
    if not forms:
        return None
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(MASK, text)


def _secrets(value: Any, shown: Any) -> Iterator[str]:
    """What stands in `value` and no longer in `shown`, which is `value` masked."""
    if value == shown:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _secrets(inner, shown[key] if isinstance(shown, dict) else MASK)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _secrets(inner, shown[place] if isinstance(shown, list) else MASK)
    elif isinstance(value, str):
        yield from _parts(value, shown)
    elif not isinstance(value, bool) and value is not None:
        yield str(value)


def _parts(value: str, shown: str) -> Iterator[str]:
    around = [re.escape(piece) for piece in shown.split(MASK)]
    match = re.fullmatch("(.+?)".join(around), value, re.DOTALL) if 2 <= len(around) <= 5 else None
    for part in match.groups() if match else (value,):
        # Of a URL's user and password the second alone, and what is sent.
        for one in (part, part.partition(":")[2] if shown != MASK else part):
            yield from (one, unquote(one))
        lines = part.splitlines()
        if len(lines) > 1:  # a key in lines of its own, one of which may be printed
            yield from (line.strip() for line in lines if len(line.strip()) >= 2 * SHORTEST)


def _forms(secret: str) -> set[str]:
    """A secret as it stands in outputs: itself, in literals of Python and JSON, in HTML and in URLs."""
    escaped = secret.encode("unicode_escape", "surrogatepass").decode("ascii")
    literals = {escaped, escaped.replace('"', '\\"'), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
    return {secret, html.escape(secret), html.escape(secret, quote=False), quote(secret, safe="")} | literals


def hide(notebook: dict[str, Any], parameters: Mapping[str, Any], injected: str | None) -> None:
    """Take the secrets among `parameters` out of an executed notebook.

    `injected`: the source of the cell of parameters, masked; None where there is no such cell.
    """
    conceal = hiding(parameters) or str
    about = notebook["metadata"].get("papermill")
    if about is not None and about.get("parameters"):
        about["parameters"] = masked(parameters)
    if "widgets" in notebook["metadata"]:
        notebook["metadata"]["widgets"] = _concealed(notebook["metadata"]["widgets"], conceal)
    for cell in notebook["cells"]:
        if injected is not None and "injected-parameters" in cell["metadata"].get("tags", []):
            cell["source"], injected = injected, None
        for output in cell.get("outputs", []):
            for key in output.keys() - {"output_type", "name", "execution_count"}:
                output[key] = _concealed(output[key], conceal, is_lines=key != "traceback")


def _concealed(value: Any, conceal: Callable[[str], str], *, is_lines: bool = True) -> Any:
    """`value` without what `conceal` replaces; a list of words is a text in lines if `is_lines`."""
    if isinstance(value, str):
        return conceal(value)
    if isinstance(value, dict):
        return {
            key: inner if _BINARY.match(key) else _concealed(inner, conceal) for key, inner in value.items()
        }
    if isinstance(value, list):
        if is_lines and value and all(isinstance(line, str) for line in value):
            whole = "".join(value)
            hidden = conceal(whole)
            return value if hidden == whole else hidden.splitlines(keepends=True)
        return [_concealed(inner, conceal) for inner in value]
    return value
