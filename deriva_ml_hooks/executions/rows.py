"""Executions as rows of a ledger: written without secrets, and read with care.

A ledger can be edited by hand. A row that is not as it was written is `Damaged`, and stops no other row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any, get_args

from deriva_ml_hooks.executions.record import Execution, Status
from deriva_ml_hooks.redact import redact_command, redacted

COLUMNS = tuple(f.name for f in fields(Execution))
_DEFAULTS = {f.name: f.default for f in fields(Execution) if f.default is not MISSING}
"""The values of columns that a ledger of an older schema lacks."""
_ID = re.compile(r"[0-9a-f-]{8,64}")
_UNFIT = object()


def _is_path(value: Any) -> bool:
    return type(value) is str and "\0" not in value


_NONE = type(None)
_TEXT = (str, _NONE)
_NUMBER = (int, _NONE)
_FINDINGS = [{"code": str, "path": _TEXT, "message": str}]
_CODE = {"path": (_is_path, _NONE), **dict.fromkeys(("blob", "checksum", "url"), _TEXT)}
_PROVENANCE = {
    "commit": str,
    **dict.fromkeys(("tree", "committed_at", "branch", "tag", "tag_object", "version"), _TEXT),
    **dict.fromkeys(("repository_url", "commit_url", "remote", "pushed"), _TEXT),
    "submodules": ([{"path": str, "commit": str}], _NONE),
    "lockfiles": ([{"path": str, "blob": str}], _NONE),
    "shallow": (bool, _NONE),
}
_NOTEBOOK = {
    "parameters": (dict, _NONE),
    "kernel": _TEXT,
    "output": (_is_path, _NONE),
    "sha256": _TEXT,
}
_INPUT = {"kind": str, "path": (_is_path, _NONE), "sha256": _TEXT, "offset": _NUMBER}
_JSON: Mapping[str, Any] = {
    "command": [str],
    "entry_point": _CODE,
    "provenance": _PROVENANCE,
    "warnings": _FINDINGS,
    "changed_during_run": _FINDINGS,
    "environment": ([str], _NONE),
    "isolated": bool,
    "notebook": (_NOTEBOOK, _NONE),
    "agent": (dict.fromkeys(("name", "email", "account"), _TEXT), _NONE),
    "stdin": (_INPUT, _NONE),
    "results": [{"path": str, "sha256": str}],
    "job": ({"submitter": str, "id": _TEXT, "host": str, "at": str}, _NONE),
    "interpreter": (dict.fromkeys(("executable", "version"), _TEXT), _NONE),
}
"""The form of each column that holds JSON; of a dictionary the keys that have to fit, if they are there."""
JSON = tuple(_JSON)
_PLAIN: Mapping[str, Any] = {
    "id": lambda value: type(value) is str and _ID.fullmatch(value) is not None,
    "status": lambda value: value in get_args(Status),
    **dict.fromkeys(("exit_code", "signal"), _NUMBER),
    **dict.fromkeys(("started_at", "host"), str),
    **dict.fromkeys(("detail", "ended_at", "description", "process", "rerun_of", "parent"), _TEXT),
    "duration": (int, lambda value: type(value) is float and math.isfinite(value), _NONE),
    "cwd": _is_path,
    "pid": int,
}


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that is no execution: its id as far as it has one, and what is wrong with it."""

    id: str
    problem: str


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of columns as a ledger stores them: all that is written to one passes here.

    Text becomes bytes, since a file name need not be UTF-8.
    """
    kept = {name: redacted(value) for name, value in values.items()}
    if "command" in values:
        kept["command"] = redact_command(values["command"])
    kept |= {name: json.dumps(value) for name, value in kept.items() if name in _JSON}
    return {name: as_bytes(value) if isinstance(value, str) else value for name, value in kept.items()}


def as_bytes(text: str) -> bytes:
    """Text as the ledger stores it."""
    return text.encode("utf-8", "surrogateescape")


def read(row: Sequence[Any]) -> Execution | Damaged:
    """The execution of a row of COLUMNS, as it was written, or what is wrong with the row."""
    values = {}
    for name, stored in zip(COLUMNS, row, strict=True):
        if stored is None and name in _DEFAULTS:
            values[name] = _DEFAULTS[name]
        elif name in _JSON:
            values[name] = _parsed(name, stored)
        else:
            values[name] = stored if _fits(stored, _PLAIN[name]) else _UNFIT
        if values[name] is _UNFIT:
            name_of_it = row[0] if isinstance(row[0], str) else repr(row[0])
            return Damaged(name_of_it, f"{name} is not as it was written")
    return Execution(**values)


@lru_cache(maxsize=512)  # runs of a sweep share most of what they hold
def _parsed(name: str, stored: Any) -> Any:
    try:
        value: Any = json.loads(stored) if isinstance(stored, str) else _UNFIT
        is_fit = _fits(value, _JSON[name])
    except (ValueError, RecursionError):
        return _UNFIT
    if not is_fit or (name == "command" and not value):
        return _UNFIT
    if name in ("entry_point", "provenance"):
        for key in _JSON[name]:
            value.setdefault(key, () if key in ("submodules", "lockfiles") else None)
    return value


def _fits(value: Any, form: Any) -> bool:
    """Whether a value has a form: a type, a rule, one of several, a list of one, or a dictionary of them."""
    if isinstance(form, type):
        return type(value) is form  # True is no number
    if isinstance(form, tuple):
        return any(_fits(value, one) for one in form)
    if isinstance(form, list):
        return type(value) is list and all(_fits(each, form[0]) for each in value)
    if isinstance(form, dict):
        return type(value) is dict and all(_fits(value.get(key), one) for key, one in form.items())
    return bool(form(value))
