"""[tool.deriva-ml-hooks]: what a repository may set, read strictly.

A key that is not known, a value of the wrong type or outside its range is an error that names the
file and the key: a policy with a typing error in it must never be a policy that is silently off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from deriva_ml_hooks.errors import ConfigError, UsageError
from deriva_ml_hooks.toml import parse_toml, read_document

Policy = Literal["refuse", "warn", "ignore"]

TABLE = "tool.deriva-ml-hooks"
STANDALONE = ".deriva-ml-hooks.toml"


class Config(NamedTuple):  # a dataclass would cost every hook the import of inspect
    """The settings of a repository; every field stands in docs/configuration.md."""

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


Reader = Callable[[Any], Any]
"""Reads a value of a table; raises UnfitError for one that does not fit."""


class UnfitError(Exception):
    """A value that does not fit; its text is what was expected."""


def text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise UnfitError("a string that is not empty, without NUL")
    return value


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v and "\0" not in v for v in value):
        raise UnfitError("an array of strings, none empty or with NUL")
    return tuple(value)


def text_or_texts(value: Any) -> tuple[str, ...]:
    try:
        return (text(value),) if isinstance(value, str) else texts(value)
    except UnfitError:
        raise UnfitError("a string, or an array of strings") from None


def seconds(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 3600:
        raise UnfitError("a number of seconds, above 0 and at most 3600")
    return float(value)


def globs(value: Any) -> tuple[str, ...]:
    from deriva_ml_hooks.globs import MAX_BYTES, matcher

    try:
        matcher(map(os.fsencode, texts(value)))
    except ValueError:
        expected = f"an array of globs as in .gitignore, of at most {MAX_BYTES} bytes"
        raise UnfitError(expected) from None
    return tuple(value)


def switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("true or false")
    return value


def count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise UnfitError("a whole number, zero or more")
    return value


def word(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise UnfitError("a string without NUL")
    return value


def _one_of(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise UnfitError("one of " + ", ".join(f'"{c}"' for c in choices))
        return str(value)

    return read


def some_of(*choices: str) -> Reader:
    """A reader of arrays of `choices`."""

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or any(each not in choices for each in value):
            raise UnfitError("an array of " + ", ".join(f'"{c}"' for c in choices))
        return tuple(value)

    return read


def _hosts(value: Any) -> Mapping[str, str]:
    forges = ("github", "gitlab", "bitbucket")
    if not isinstance(value, dict) or not all(v in forges for v in value.values()):
        raise UnfitError(
            'a table of hosts, such as { "git.example.org" = "gitlab" } (github, gitlab, bitbucket)'
        )
    return MappingProxyType({host.lower(): forge for host, forge in value.items()})


_STRICTNESS = ("ignore", "warn", "refuse")
_POLICY = _one_of(*reversed(_STRICTNESS))
_READERS: Mapping[str, Reader] = {
    "remote": text,
    "hosts": _hosts,
    "untracked-ignore": globs,
    "ledger": text,
    "unpushed": _POLICY,
    "no-remote": _POLICY,
    "untagged": _POLICY,
    "shallow": _POLICY,
    "foreign-filter": _POLICY,
    "excluded-code": _POLICY,
    "link-outside": _POLICY,
    "lfs-pointer": _POLICY,
    "paranoid": switch,
    "guard": switch,
    "catalog": text,
    "schema": text,
    "workflow-type": text_or_texts,
    "workflow-name": text,
    "on-catalog-error": _one_of("defer", "refuse"),
    "catalog-timeout": seconds,
    "recorded-by": _one_of("auto", "runner", "deriva-ml"),
    "correct-workflow": switch,
}
KEYS = tuple(_READERS)
"""Every key of the table, in the order of docs/configuration.md."""


def load(root: str) -> Config:
    """The configuration of the repository whose worktree is `root`.

    [tool.deriva-ml-hooks] of its pyproject.toml, or .deriva-ml-hooks.toml where there is no
    pyproject.toml. Raises ConfigError.
    """
    return _settings(*_table(lambda name: (read_document(os.path.join(root, name), name), name)))


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
    own = dict(table)
    for hook in table.keys() - _READERS.keys():
        if readers := _readers_of(hook):
            _read_hook(hook, own.pop(hook), file, readers)
    values = _read(own, _READERS, file, "")
    return Config(**{key.replace("-", "_"): value for key, value in values.items()})


def _readers_of(hook: str) -> Mapping[str, Reader]:
    """What the hook declares of its table. Hooks come after this layer, so their room is found by name."""
    try:
        readers: Mapping[str, Reader] = import_module("deriva_ml_hooks.hooks").declared(hook).settings
    except UsageError:
        return {}
    return readers


def hook_settings(root: str, hook: str) -> Mapping[str, Any]:
    """What [tool.deriva-ml-hooks.HOOK] sets where the worktree is `root`, by key. Raises ConfigError."""
    file, table = _table(lambda name: (read_document(os.path.join(root, name), name), name))
    return _read_hook(hook, table[hook], file, _readers_of(hook)) if hook in table else {}


def settings_table(root: str, hook: str) -> tuple[str, str]:
    """The file for settings where the worktree is `root`, and the header of the table of `hook` in it."""
    standalone, whole = (os.path.exists(os.path.join(root, name)) for name in (STANDALONE, "pyproject.toml"))
    return (STANDALONE, hook) if standalone and not whole else ("pyproject.toml", f"{TABLE}.{hook}")


def _read_hook(hook: str, table: Any, file: str, readers: Mapping[str, Reader]) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(file, hook, "not a table", fix=f"write it as [{TABLE}.{hook}]")
    return _read(table, readers, file, f"{hook}.")


def _read(table: Mapping[str, Any], readers: Mapping[str, Reader], file: str, prefix: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        reader = readers.get(key)
        if reader is None:
            key = key if len(key) <= 60 else key[:57] + "..."
            known = tuple(readers)
            if readers is _READERS:
                known += tuple(filter(_readers_of, import_module("deriva_ml_hooks.hooks").hook_ids()))
            raise ConfigError(file, prefix + key, "no such setting", fix=_suggestion(key, file, known))
        try:
            values[key] = reader(value)
        except UnfitError as expected:
            problem = f"expected {expected}, found {_shown(value)}"
            raise ConfigError(file, prefix + key, problem, fix=f"set {key} to {expected}") from None
    return values


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
