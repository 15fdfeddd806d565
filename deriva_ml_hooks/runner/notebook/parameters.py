"""A notebook's parameters: what its cells tagged `parameters` set, and what a run sets them to.

papermill runs its own cell of parameters right after the first of these cells (or in the place of the one
that an earlier run left), so what a later one sets cannot be set from outside. Its own inspection misses a
default that holds an equals sign, so the cell is read as Python reads it.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.notebooks.cells import parsed, python_of, targets
from deriva_ml_hooks.redact import redacted

TAG, INJECTED = "parameters", "injected-parameters"
_LARGEST = 1 << 20
"""Characters of a file of parameters: papermill writes all of them into a cell."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a notebook: `default` is Python that gives it, `type` as it is annotated."""

    name: str
    type: str | None
    default: str


def listed(cells: Sequence[Mapping[str, Any]]) -> list[Parameter]:
    """The parameters of a Python notebook."""
    tags = [cell["metadata"].get("tags", []) for cell in cells]
    tagged = [index for index, names in enumerate(tags) if TAG in names]
    injected = [index for index, names in enumerate(tags) if INJECTED in names]
    last = [*injected, *tagged, 0][0]
    found = {p.name: p for index in tagged if index <= last for p in read_cell(cells[index]["source"])}
    return [*found.values()]


def read_cell(source: str) -> list[Parameter]:
    """What a cell of parameters sets as Python reads it; nothing where it is no valid Python."""
    tree = parsed(python_of(source))
    found: dict[str, Parameter] = {}
    for statement in tree.body if isinstance(tree, ast.Module) else ():
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            kind = statement.annotation if isinstance(statement, ast.AnnAssign) else None
            default = ast.unparse(statement.value) if statement.value is not None else ""
            for name in targets(statement):
                found[name] = Parameter(name, ast.unparse(kind) if kind is not None else None, default)
    return [*found.values()]


def chosen(pairs: Sequence[tuple[str, str]], files: Sequence[str]) -> dict[str, Any]:
    """The parameters of a run, typed as papermill types them: from `files`, then from `pairs`.

    Raises UsageError for a file that cannot be read and for what is not UTF-8.
    """
    import papermill.cli

    found: dict[str, Any] = {}
    for file in files:
        found |= _table(file)
    found |= {name: papermill.cli._resolve_type(value) for name, value in pairs}
    for name, value in found.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            shown = name.encode("utf-8", "backslashreplace").decode("utf-8")
            raise UsageError(f"-p {shown}: not UTF-8", fix="write it in UTF-8: iconv -t UTF-8") from None
    return found


def _table(file: str) -> dict[str, Any]:
    import yaml
    from papermill.iorw import NoDatesSafeLoader

    try:
        if os.path.isdir(file):
            raise IsADirectoryError("a folder")
        with open(file, encoding="utf-8-sig") as stream:  # a pipe as well: `-f <(command)`
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise ValueError(f"more than {_LARGEST >> 20} MB")
        # Written out, a few of them can fill the memory.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, NoDatesSafeLoader)):
            raise ValueError("holds an alias (*name); write out what it stands for")
        found = yaml.load(text, Loader=NoDatesSafeLoader) or {}  # noqa: S506  # a safe one
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise ValueError("not a table of names and values")
        json.dumps(found)
    except Exception as error:  # yaml's own, and what it makes of odd documents
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        problem = said.splitlines()[0] if said else type(error).__name__
        fix = "name a .yaml or .json file with one value for each parameter"
        raise UsageError(f"{file}: {problem}", fix=fix) from error
    return found


def require_known(names: Sequence[str], path: str, known: Sequence[str]) -> None:
    """Raises UsageError where one of `names` is no parameter of the notebook at `path`."""
    for name in names:
        if name in known:
            continue
        fix = f"its parameters are: {', '.join(known)}"
        if near := difflib.get_close_matches(name, known, n=1):
            fix = f"did you mean {near[0]}?"
        elif not known:
            fix = "give the cell that sets the defaults the tag parameters, and commit that"
        raise UsageError(f"{path}: has no parameter {name}", fix=fix)


def require_no_secret(chosen: Mapping[str, Any], path: str) -> None:
    """Raises UsageError for a secret: papermill would write it into the executed notebook."""
    for name, value in chosen.items():
        if redacted({name: value}) == {name: value}:
            continue
        variable = re.sub(r"\W|^(?=\d)", "_", name, flags=re.ASCII).upper()
        if redacted({name: "x"}) == {name: "x"}:  # a name that says nothing may be one like PATH
            variable += "_SECRET"
        raise UsageError(
            f"{path}: the parameter {name} is a secret, and the executed notebook would keep it",
            fix=f"have the notebook read the environment variable {variable}, commit that, leave {name} out, "
            f"and set it: read -rs {variable} && export {variable}",
        )
