"""The one typed reading of a ledger's rows: an execution, or which of its values is not as it was written.

A ledger can be edited by hand, and a row of it must not stop the others. What an execution holds is said
once, as types; a check for each is made of them when the first row is read.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.redact import redact_command, redacted

COLUMNS = tuple(f.name for f in fields(Execution))
_ID = re.compile(r"[0-9a-f-]{8,64}")
_LATER = {
    "environment": None,
    "isolated": False,
    "notebook": None,
    "agent": None,
    "stdin": None,
    "results": (),
    "job": None,
    "interpreter": None,
}
"""Columns that a ledger of an older schema lacks while it is only read."""


class _Lockfile(TypedDict):
    path: str
    blob: str


class _Submodule(TypedDict):
    path: str
    commit: str


class _Finding(TypedDict):
    code: str
    path: str | None
    message: str


class _Code(TypedDict, total=False):
    path: str | None
    blob: str | None
    checksum: str | None
    url: str | None


class _Provenance(TypedDict, total=False):
    commit: str
    tree: str | None
    committed_at: str | None
    branch: str | None
    tag: str | None
    tag_object: str | None
    version: str | None
    repository_url: str | None
    commit_url: str | None
    remote: str | None
    pushed: str | None
    submodules: Sequence[_Submodule]
    lockfiles: Sequence[_Lockfile]
    shallow: bool | None


class _Notebook(TypedDict, total=False):
    parameters: Mapping[str, Any]
    kernel: str | None
    output: str | None
    sha256: str | None


class _Agent(TypedDict, total=False):
    name: str | None
    email: str | None
    account: str | None


class _Input(TypedDict, total=False):
    kind: str
    path: str | None
    sha256: str | None
    offset: int | None


class _Job(TypedDict):
    submitter: str
    id: str | None
    host: str
    at: str


class _Interpreter(TypedDict, total=False):
    executable: str
    version: str


class _Result(TypedDict):
    path: str
    sha256: str


_JSON: Mapping[str, Any] = {
    "command": Sequence[str],
    "entry_point": _Code,
    "provenance": _Provenance,
    "warnings": Sequence[_Finding],
    "changed_during_run": Sequence[_Finding],
    "environment": Sequence[str] | None,
    "isolated": bool,
    "notebook": _Notebook | None,
    "agent": _Agent | None,
    "stdin": _Input | None,
    "results": Sequence[_Result],
    "job": _Job | None,
    "interpreter": _Interpreter | None,
}
JSON = tuple(_JSON)
"""Columns that hold JSON."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that is no execution: its id as far as it has one, and what is wrong with it."""

    id: str
    problem: str


def read(row: Sequence[Any]) -> Execution | Damaged:
    """The execution of a row of COLUMNS, as it was written, or what is wrong with the row."""
    own = dict(zip(_OWN, _own_of(row), strict=True))
    shared = _shared(*_shared_of(row))
    problem = _problem(own)
    if problem is None and isinstance(shared, dict):
        return Execution(**{**shared, **own, "command": _parsed("command", own["command"])})
    name = own["id"] if isinstance(own["id"], str) else repr(own["id"])
    return Damaged(name, f"{problem or shared} is not as it was written")


def line(row: Sequence[Any], more: dict[str, Any]) -> str | None:
    """The execution of a row as one line of JSON, with the keys of `more`; nothing is built that is known.

    None for a row that is damaged or still Running: see `read`.
    """
    own = dict(zip(_OWN, _own_of(row), strict=True))
    shared = _printed(*_shared_of(row))
    if shared is None or _problem(own):
        return None
    command = _printed_command(own.pop("command"))
    del own["process"]
    return f'{json.dumps(own | more)[:-1]}, "command": {command}, {shared}'


_OWN = ("id", "started_at", "ended_at", "duration", "pid", "process", "command")
"""Columns in which each execution differs from the next; runs of a sweep share the others."""
_SHARED = tuple(name for name in COLUMNS if name not in _OWN)
_own_of = itemgetter(*map(COLUMNS.index, _OWN))
_shared_of = itemgetter(*map(COLUMNS.index, _SHARED))


def _problem(own: Mapping[str, Any]) -> str | None:
    """The first of a row's own columns that does not fit."""
    for name, of in _OWN_TYPES.items():
        if type(own[name]) not in of:
            return name
    if not _ID.fullmatch(own["id"]):
        return "id"
    if not math.isfinite(own["duration"] or 0):
        return "duration"
    return "command" if _parsed("command", own["command"]) is _UNFIT else None


@lru_cache(maxsize=512, typed=True)  # a whole number is equal to a float
def _shared(*row: Any) -> dict[str, Any] | str:
    """The values of the shared columns, or the name of the first one that does not fit."""
    values = dict(zip(_SHARED, row, strict=True))
    for name, stored in values.items():
        if name in _PLAIN:
            if type(stored) not in _PLAIN[name]:
                return name
        elif stored is None and name in _LATER:
            values[name] = _LATER[name]
        else:
            values[name] = _parsed(name, stored) if type(stored) is str else _UNFIT
            if values[name] is _UNFIT:
                return name
    if values["status"] not in _STATUS:
        return "status"
    return "cwd" if "\0" in values["cwd"] else values  # it has to lead somewhere


@lru_cache(maxsize=512, typed=True)
def _printed(*row: Any) -> str | None:
    values = _shared(*row)
    if isinstance(values, str) or values["status"] == "Running":
        return None
    return json.dumps(redacted(values | {"commit": values["provenance"]["commit"]}))[1:]


@lru_cache(maxsize=4096)
def _printed_command(text: str) -> str:
    return json.dumps(redact_command(_parsed("command", text)))


def _types(hint: Any) -> frozenset[type]:
    """The types of a plain column's values: what SQLite gives for them."""
    found = {type(one) if isinstance(one, str) else one for one in get_args(hint) or (hint,)}
    return frozenset(found | {int}) if float in found else frozenset(found)


_HINTS = get_type_hints(Execution)
_PLAIN = {name: _types(hint) for name, hint in _HINTS.items() if name not in _JSON}
_OWN_TYPES = {name: _PLAIN.get(name, {str}) for name in _OWN}
_STATUS = get_args(_HINTS["status"])
_UNFIT = object()


@lru_cache(maxsize=512)  # runs of a sweep share most of what they hold
def _parsed(name: str, text: str) -> Any:
    try:
        value = json.loads(text)
        if not _check(_JSON[name])(value):
            return _UNFIT
    except (ValueError, RecursionError):
        return _UNFIT
    if (name == "command" and not value) or (name == "provenance" and "commit" not in value):
        return _UNFIT
    paths = [value.get("path"), value.get("output")] if isinstance(value, dict) else []
    if any("\0" in path for path in paths if path is not None):  # they have to lead somewhere
        return _UNFIT
    if name in ("entry_point", "provenance"):
        for key in _JSON[name].__annotations__:
            value.setdefault(key, () if key in ("submodules", "lockfiles") else None)
    return value


@cache
def _check(hint: Any) -> Callable[[Any], bool]:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda _: True
    if is_typeddict(hint):
        checks = {name: _check(of) for name, of in get_type_hints(hint).items()}
        required = hint.__required_keys__
        return lambda v: (
            isinstance(v, dict) and required <= v.keys() and all(checks[k](v[k]) for k in checks.keys() & v)
        )
    if origin in (Union, types.UnionType):
        either = [_check(one) for one in inner]
        return lambda v: any(check(v) for check in either)
    if origin is not None and issubclass(origin, Mapping):
        return lambda v: isinstance(v, dict)
    if origin is not None and issubclass(origin, Sequence):
        each = _check(inner[0])
        return lambda v: isinstance(v, list) and all(map(each, v))
    return lambda v: type(v) is hint
