"""The code cells of a notebook, and what their source says: the names in it, and what is a literal.

IPython's syntax (magics, shell escapes, help) is taken out by line, without IPython. Nothing is run.
"""

from __future__ import annotations

import ast
import re
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Assignment = ast.Assign | ast.AnnAssign
Line = tuple[int, str]
"""The number of a line in its cell, from 1, and its text."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell: `number` counts all cells from 1, `count` is its execution count."""

    number: int
    source: str
    tags: tuple[str, ...]
    count: int | None


def code_cells(notebook: Any) -> list[Cell]:
    """The code cells of a notebook of nbformat 4, in order; what is no cell is left out."""
    cells = notebook.get("cells") if isinstance(notebook, dict) and notebook.get("nbformat") == 4 else None
    found = []
    for number, cell in enumerate(cells if isinstance(cells, list) else [], start=1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source, count, metadata = (cell.get(key) for key in ("source", "execution_count", "metadata"))
            text = "".join(map(str, source)) if isinstance(source, list) else source
            tags = metadata.get("tags") if isinstance(metadata, dict) else None
            found.append(
                Cell(
                    number,
                    text if isinstance(text, str) else "",
                    tuple(tags) if isinstance(tags, list) else (),
                    count if type(count) is int else None,
                )
            )
    return found


def is_python(notebook: Any) -> bool:
    """Whether the notebook's kernel runs Python; so it does where nothing is said."""
    metadata = notebook.get("metadata") if isinstance(notebook, dict) else None
    for section, key in (("kernelspec", "language"), ("language_info", "name")):
        table = metadata.get(section) if isinstance(metadata, dict) else None
        language = table.get(key) if isinstance(table, dict) else None
        if isinstance(language, str) and language:
            return language.lower() in ("python", "ipython")
    return True


# Python among IPython's own syntax

_BODY_IS_PYTHON = re.compile(r"%%(?:time|timeit|capture|prun)\b")
# For lines without the white space before them: two repetitions of it side by side would take for ever.
_IPYTHON = re.compile(r"[%!?;,/]|[\w.*%]+\?{1,2}\s*$|(?:pip|conda|mamba|micromamba|uv)\s")
_ASSIGNED = re.compile(r"([\w.\[\], ()*]+=\s*)(?:%|!)")


def is_foreign(source: str) -> bool:
    """Whether a cell magic hands the cell to something else than this Python: `%%bash`, `%%html`."""
    start = source.lstrip()
    return start.startswith("%%") and _BODY_IS_PYTHON.match(start) is None


def python_of(source: str) -> str:
    """The cell, line for line, with `pass` for IPython's syntax and `...` for what it would assign."""
    if parsed(source) is not None:
        return source
    if is_foreign(source):
        return "pass"
    lines, continued = [], False
    for line in source.splitlines():
        text = line.lstrip()
        indent = line[: len(line) - len(text)]
        if continued:
            lines.append("")
        elif _IPYTHON.match(text):
            lines.append(indent + "pass")
        elif found := _ASSIGNED.match(text):
            lines.append(indent + found[1] + "...")
        else:
            lines.append(line)
            continue
        continued = line.rstrip().endswith("\\")
    return "\n".join(lines)


def parsed(source: str) -> ast.Module | None:
    try:
        return _parse(source)
    except SyntaxError:
        return None


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an escape such as "\d" is the author's business
        try:
            return ast.parse(source)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error)) from None


def names(source: str) -> set[str]:
    """The names of the notebook that a cell reads or sets, functions included; empty for no Python.

    A function's own arguments and variables are not among them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = symtable.symtable(python_of(source), "cell", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return set(_names(table, top=True))


def _names(table: symtable.SymbolTable, *, top: bool) -> Iterator[str]:
    yield from (symbol.get_name() for symbol in table.get_symbols() if top or symbol.is_global())
    for child in table.get_children():
        yield from _names(child, top=False)


def assigned(source: str) -> set[str]:
    """The names that a cell assigns at its top level."""
    return {name for statement in _assignments(source) for name in targets(statement)}


def _assignments(source: str) -> list[Assignment]:
    tree = parsed(python_of(source))
    statements = tree.body if tree is not None else []
    return [one for one in statements if isinstance(one, (ast.Assign, ast.AnnAssign))]


def targets(statement: Assignment) -> list[str]:
    """The names that an assignment sets."""
    return [
        node.id
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]


def assigns_from(source: str, function: str) -> bool:
    """Whether a cell assigns, at its top level, what a call of `function` (of any module) returns."""
    calls = (one.value for one in _assignments(source) if isinstance(one.value, ast.Call))
    return any(ast.unparse(call.func).rpartition(".")[2] == function for call in calls)


def unfit_parameters(source: str) -> list[Line]:
    """The statements that are no assignment of a literal. Raises SyntaxError where it is no Python."""
    lines = source.splitlines()
    return [
        (statement.lineno, shown(lines[statement.lineno - 1]))
        for statement in _parse(python_of(source)).body
        if not _assigns_a_literal(statement)
    ]


def _assigns_a_literal(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        return all(map(_is_target, statement.targets)) and _is_literal(statement.value)
    if isinstance(statement, ast.AnnAssign):
        return isinstance(statement.target, ast.Name) and _is_literal(statement.value)
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def _is_target(target: ast.expr) -> bool:
    if isinstance(target, (ast.Tuple, ast.List)):
        return all(map(_is_target, target.elts))
    return isinstance(target, ast.Name)


def _is_literal(value: ast.expr | None) -> bool:
    try:
        return value is not None and ast.literal_eval(value) is not ...
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False


def shown(line: str) -> str:
    """A line of source, short enough for a message."""
    text = line.strip()
    return text if len(text) <= 80 else text[:77] + "..."
