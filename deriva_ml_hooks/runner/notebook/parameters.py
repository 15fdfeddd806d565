"""A notebook's parameters: what its cells tagged `parameters` set, and what a run sets them to.

papermill runs its own cell of parameters right after the first of these cells (or in the place of the one
that an earlier run left), so what a later one sets cannot be set from outside.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.notebooks.cells import Assignment, parsed, python_of, targets
from deriva_ml_hooks.redact import redacted

TAG, INJECTED = "parameters", "injected-parameters"
_COMMENT = re.compile(r"#\s*(?:type:\s*(?P<type>\S*)\s*)?(?P<help>.*)", re.DOTALL)
"""As papermill reads it: a type in the way of PEP 484, and words for people."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a notebook: `default` is the source text that sets it, `type` as it is annotated."""

    name: str
    type: str | None
    default: str
    help: str


def listed(cells: Sequence[Mapping[str, Any]]) -> tuple[list[Parameter], dict[str, int]]:
    """The parameters of a Python notebook; the names that a later cell sets again, with its index."""
    tagged = [index for index, cell in enumerate(cells) if TAG in _tags(cell)]
    injected = [index for index, cell in enumerate(cells) if INJECTED in _tags(cell)]
    place = injected[0] if injected else tagged[0] if tagged else 0
    found = {p.name: p for index in tagged if index <= place for p in read_cell(cells[index]["source"])}
    undone = {p.name: index for index in tagged if index > place for p in read_cell(cells[index]["source"])}
    return [*found.values()], undone


def _tags(cell: Mapping[str, Any]) -> Sequence[str]:
    tags: Sequence[str] = cell["metadata"].get("tags", [])
    return tags


def read_cell(source: str) -> list[Parameter]:
    """What a cell of parameters sets as Python reads it; nothing where it is no valid Python."""
    text = python_of(source)
    tree = parsed(text)
    lines = re.split(r"\r\n?|\n", text)
    found: dict[str, Parameter] = {}
    for statement in _statements(tree) if tree is not None else ():
        # What follows the last byte of a statement on its line: its comment, if it is the only one there.
        rest = lines[(statement.end_lineno or 1) - 1].encode()[statement.end_col_offset :].decode()
        about = _COMMENT.fullmatch(rest.strip())
        kind, words = (about["type"], about["help"].strip()) if about else (None, "")
        if isinstance(statement, ast.AnnAssign):
            kind = _text(statement.annotation, text).strip("'\"")
        default = _text(statement.value, text) if statement.value is not None else ""
        for name in targets(statement):
            found[name] = Parameter(name, kind or None, default, words)
    return [*found.values()]


def _statements(node: ast.AST) -> Iterator[Assignment]:
    """The assignments of a cell in their order, those in functions and classes left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Assign, ast.AnnAssign)):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)):
            yield from _statements(child)


def _text(node: ast.expr, text: str) -> str:
    found = ast.get_source_segment(text, node)
    return ast.unparse(node) if found is None or "\n" in found else found


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


_LARGEST = 1 << 20
"""Characters of a file of parameters, aliases written out: papermill writes all of them into a cell."""


def _table(file: str) -> dict[str, Any]:
    import yaml
    from papermill.iorw import NoDatesSafeLoader

    try:
        if os.path.isdir(file):
            raise IsADirectoryError("a folder")
        with open(file, encoding="utf-8-sig") as stream:  # a pipe as well: `-f <(command)`
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST or _written_out(yaml.compose(text, NoDatesSafeLoader), {}) > _LARGEST:
            raise ValueError(f"more than {_LARGEST >> 20} MB, its aliases written out")
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


def _written_out(node: Any, known: dict[int, float]) -> float:
    """About how many characters a node of YAML has with all its aliases written out; inf in a circle."""
    if id(node) not in known:
        known[id(node)] = math.inf
        value = getattr(node, "value", "")
        inner = chain.from_iterable(value) if value and isinstance(value[0], tuple) else value
        inside = len(value) if isinstance(value, str) else sum(_written_out(one, known) for one in inner)
        known[id(node)] = 1 + inside
    return known[id(node)]


def require_known(
    names: Sequence[str], path: str, known: Sequence[Parameter], undone: Mapping[str, int]
) -> None:
    """Raises UsageError where one of `names` is no parameter of the notebook at `path`, or is set later."""
    for name in names:
        if name in undone:
            what = f"{name} is set in cell {undone[name]}, which runs after the parameters and undoes them"
            raise UsageError(
                f"{path}: {what}", fix="move it to the first cell tagged parameters, and commit that"
            )
        if name not in [p.name for p in known]:
            raise UsageError(f"{path}: has no parameter {name}", fix=_nearest(name, [p.name for p in known]))


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


def _nearest(name: str, known: Sequence[str]) -> str:
    if not known:
        return "give the cell that sets the defaults the tag parameters, and commit that"
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"its parameters are: {', '.join(known)}"
