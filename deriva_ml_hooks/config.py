"""[tool.deriva-ml-hooks]: what a repository may set, read strictly.

A key that is not known, a value of the wrong type or outside its range is an error that names the
file and the key: a policy with a typing error in it must never be a policy that is silently off.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from deriva_ml_hooks.errors import ConfigError
from deriva_ml_hooks.files import read_regular

Policy = Literal["refuse", "warn", "ignore"]

MAX_BYTES = 1 << 20
"""What a TOML document may have."""
_MAX_PARTS = 32  # time and memory of a key grow with their square
_MAX_DEPTH = 100
# Each of them takes what it has read, also where a quote is not closed: none reads a line twice.
_QUOTED = re.compile(rb"""\"(?:\\.|[^"\\])*"?|'[^']*'?|#.*""")
_BETWEEN_KEYS = re.compile(rb"[^\w. \t-]")
_DOT = re.compile(rb"[\w-][ \t]*\.[ \t]*(?=[\w-])")
_BRACKET = re.compile(rb"[\[\]{}]")

TABLE = "tool.deriva-ml-hooks"
STANDALONE = ".deriva-ml-hooks.toml"


class Config(NamedTuple):  # a dataclass would cost every hook the import of inspect
    """The settings of a repository; every field is documented in the README's table."""

    remote: str | None = None
    hosts: Mapping[str, str] = MappingProxyType({})
    untracked_ignore: tuple[str, ...] = ()
    ledger: str | None = None
    unpushed: Policy = "warn"
    no_remote: Policy = "warn"
    untagged: Policy = "ignore"
    shallow: Policy = "warn"
    foreign_filter: Policy = "refuse"
    excluded_code: Policy = "warn"
    link_outside: Policy = "warn"
    lfs_pointer: Policy = "warn"
    paranoid: bool = False
    guard: bool | None = None
    catalog: str | None = None
    schema: str = "deriva-ml"
    workflow_type: tuple[str, ...] = ()
    workflow_name: str | None = None
    on_catalog_error: Literal["defer", "refuse"] = "defer"
    catalog_timeout: float = 10.0
    recorded_by: Literal["auto", "runner", "deriva-ml"] = "auto"
    correct_workflow: bool = True


Settings = Mapping[str, Any]
"""The settings of one hook by key; a key that is not set is absent."""


class _UnfitError(Exception):
    """A value that does not fit; its text is what was expected."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _UnfitError("a string that is not empty, without NUL")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v and "\0" not in v for v in value):
        raise _UnfitError("an array of strings, none empty or with NUL")
    return tuple(value)


def _text_or_texts(value: Any) -> tuple[str, ...]:
    try:
        return (_text(value),) if isinstance(value, str) else _texts(value)
    except _UnfitError:
        raise _UnfitError("a string, or an array of strings") from None


def _seconds(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 3600:
        raise _UnfitError("a number of seconds, above 0 and at most 3600")
    return float(value)


def _globs(value: Any) -> tuple[str, ...]:
    from deriva_ml_hooks.globs import MAX_BYTES, matcher

    try:
        matcher(map(os.fsencode, _texts(value)))
    except ValueError:
        expected = f"an array of globs as in .gitignore, of at most {MAX_BYTES} bytes"
        raise _UnfitError(expected) from None
    return tuple(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _UnfitError("true or false")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise _UnfitError("a whole number, zero or more")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _UnfitError("a string without NUL")
    return value


def _one_of(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise _UnfitError("one of " + ", ".join(f'"{c}"' for c in choices))
        return str(value)

    return read


def _hosts(value: Any) -> Mapping[str, str]:
    forges = ("github", "gitlab", "bitbucket")
    if not isinstance(value, dict) or not all(v in forges for v in value.values()):
        raise _UnfitError(
            'a table of hosts, such as { "git.example.org" = "gitlab" } (github, gitlab, bitbucket)'
        )
    return MappingProxyType({host.lower(): forge for host, forge in value.items()})


_STRICTNESS = ("ignore", "warn", "refuse")
_POLICY = _one_of(*reversed(_STRICTNESS))
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "remote": _text,
    "hosts": _hosts,
    "untracked-ignore": _globs,
    "ledger": _text,
    "unpushed": _POLICY,
    "no-remote": _POLICY,
    "untagged": _POLICY,
    "shallow": _POLICY,
    "foreign-filter": _POLICY,
    "excluded-code": _POLICY,
    "link-outside": _POLICY,
    "lfs-pointer": _POLICY,
    "paranoid": _switch,
    "guard": _switch,
    "catalog": _text,
    "schema": _text,
    "workflow-type": _text_or_texts,
    "workflow-name": _text,
    "on-catalog-error": _one_of("defer", "refuse"),
    "catalog-timeout": _seconds,
    "recorded-by": _one_of("auto", "runner", "deriva-ml"),
    "correct-workflow": _switch,
}
KEYS = tuple(_READERS)
"""Every key of the table, in the order of the README."""

_HOOKS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "check-branch-name": {"protected": _texts, "pattern": _text},
    "check-large-files": {"max-kb": _count, "allow": _texts, "deny": _texts},
    "check-notebooks": {"skip": _texts},
    "check-version-tags": {"prefix": _word, "allow-pre-releases": _switch},
    "strip-notebook-outputs": {
        "keep-output": _switch,
        "keep-count": _switch,
        "keep-id": _switch,
        "extra-keys": _texts,
        "keep-metadata-keys": _texts,
        "drop-empty-cells": _switch,
        "drop-tagged-cells": _texts,
        "strip-init-cells": _switch,
        "max-size": _text,
        "drop-output-type": _texts,
        "keep-output-type": _texts,
    },
}
HOOK_KEYS: Mapping[str, tuple[str, ...]] = {hook: tuple(readers) for hook, readers in _HOOKS.items()}
"""Every key of the table of each hook that has one, [tool.deriva-ml-hooks.ID]."""


def load(root: str) -> Config:
    """The configuration of the repository whose worktree is `root`.

    [tool.deriva-ml-hooks] of its pyproject.toml, or .deriva-ml-hooks.toml where there is no
    pyproject.toml. Raises ConfigError.
    """
    return _settings(*_table(lambda name: _file(root, name)))


def committed(read: Callable[[str], bytes | None]) -> Config:
    """The configuration as a commit has it; `read` gives a file at its top. Raises ConfigError."""
    return _settings(*_table(lambda name: (read(name), f"HEAD:{name}")))


def stricter(worktree: Config, commit: Config) -> Config:
    """The settings of the worktree, where what loosens the gate counts only as the commit has it."""
    policies = [key.replace("-", "_") for key, reader in _READERS.items() if reader is _POLICY]
    tighter = {
        name: max(getattr(worktree, name), getattr(commit, name), key=_STRICTNESS.index) for name in policies
    }
    return worktree._replace(
        **tighter,
        untracked_ignore=commit.untracked_ignore,
        paranoid=worktree.paranoid or commit.paranoid,
        remote=commit.remote or worktree.remote,
    )


def policy_on(config: Config, code: str) -> Policy:
    """What becomes of a difference from the commit: what is set for it, or else it is refused."""
    policy: Policy = getattr(config, code.replace("-", "_")) if _READERS.get(code) is _POLICY else "refuse"
    return policy


def _settings(file: str, table: Mapping[str, Any]) -> Config:
    own = {key: value for key, value in table.items() if key not in _HOOKS}
    for hook in table.keys() - own.keys():
        _read_hook(hook, table[hook], file)
    values = _read(own, _READERS, file, "")
    return Config(**{key.replace("-", "_"): value for key, value in values.items()})


def hook_settings(root: str, hook: str) -> Settings:
    """What [tool.deriva-ml-hooks.HOOK] sets where the worktree is `root`. Raises ConfigError."""
    file, table = _table(lambda name: _file(root, name))
    return _read_hook(hook, table[hook], file) if hook in table else {}


def settings_table(root: str, hook: str) -> tuple[str, str]:
    """The file for settings where the worktree is `root`, and the header of the table of `hook` in it."""
    standalone, whole = (os.path.exists(os.path.join(root, name)) for name in (STANDALONE, "pyproject.toml"))
    return (STANDALONE, hook) if standalone and not whole else ("pyproject.toml", f"{TABLE}.{hook}")


def _read_hook(hook: str, table: Any, file: str) -> Settings:
    if not isinstance(table, dict):
        raise ConfigError(file, hook, "not a table", fix=f"write it as [{TABLE}.{hook}]")
    return _read(table, _HOOKS.get(hook, {}), file, f"{hook}.")


def _read(
    table: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]], file: str, prefix: str
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        reader = readers.get(key)
        if reader is None:
            key = key if len(key) <= 60 else key[:57] + "..."
            known = (*readers, *_HOOKS) if readers is _READERS else tuple(readers)
            raise ConfigError(file, prefix + key, "no such setting", fix=_suggestion(key, file, known))
        try:
            values[key] = reader(value)
        except _UnfitError as expected:
            problem = f"expected {expected}, found {_shown(value)}"
            raise ConfigError(file, prefix + key, problem, fix=f"set {key} to {expected}") from None
    return values


def _file(root: str, name: str) -> tuple[bytes | None, str]:
    return _bytes(os.path.join(root, name), name), name


def _table(read: Callable[[str], tuple[bytes | None, str]]) -> tuple[str, Mapping[str, Any]]:
    """The table, and the file that has it, as it is shown; `read` gives both of a file by its name."""
    data, name = read("pyproject.toml")
    if data is not None:
        document = parse_toml(data, name)
        tool = document.get("tool", {})
        tool = tool if isinstance(tool, dict) else {}
        table = tool.get("deriva-ml-hooks", {})
        for key in tool:
            if key != "deriva-ml-hooks" and key.replace("_", "-").lower() == "deriva-ml-hooks":
                raise ConfigError(name, f"tool.{key}", "no such table", fix=f"write it as [{TABLE}]")
    else:
        data, name = read(STANDALONE)
        table = parse_toml(data, name) if data is not None else {}
    if not isinstance(table, dict):
        raise ConfigError(name, TABLE, "not a table", fix=f"write it as [{TABLE}]")
    return name, table


def read_toml(path: str, shown: str) -> dict[str, Any] | None:
    """The TOML document at `path`, None where there is none; raises ConfigError naming it `shown`."""
    data = _bytes(path, shown)
    return parse_toml(data, shown) if data is not None else None


def _bytes(path: str, shown: str) -> bytes | None:
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


def _suggestion(key: str, file: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key.replace("_", "-"), known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"remove it from {file}; the settings are: " + ", ".join(known)


def _shown(value: Any) -> str:
    from deriva_ml_hooks.redact import redact  # its patterns take a while to compile

    try:
        text = redact(repr(value)[:4096])
    except ValueError:  # Python does not write down an integer of more than 4300 digits
        return "a number too long to show"
    return text if len(text) <= 60 else text[:57] + "..."
