"""The commands of a fix can be pasted: what is put into them is quoted for a shell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import deriva_ml_hooks

ROOT = Path(deriva_ml_hooks.__file__).parent
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}
PROGRAM = re.compile(
    r"(?:^|[:;({] |&& |\bor |\bthen )"
    r"(?:(?:deriva-ml-hooks|git|pip|uv) [a-z-]|(?:cd|chmod|mkdir|mv|rm|sqlite3) )[^{]*\{"
)
"""A program's name where a command begins, and something that is put into the command."""

MODULE_OF = {id(node): tree for tree in MODULES.values() for node in ast.walk(tree)}
ROOMS = {path.stem: tree for path, tree in MODULES.items()}


def is_quoted(node: ast.expr, scope: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
    """Whether an expression is a constant, has been quoted, or was put together from such."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.JoinedStr):
        text, parts = _text(node)
        if text.startswith("$'"):  # quoted in the shell's own form
            return True
        command = PROGRAM.search(text)
        begins = 0 if command is None else command.start()
        return all(is_quoted(part, scope, seen) for at, part in parts if at >= begins)
    if isinstance(node, ast.IfExp):
        return is_quoted(node.body, scope, seen) and is_quoted(node.orelse, scope, seen)
    if isinstance(node, ast.BoolOp):
        return all(is_quoted(value, scope, seen) for value in node.values)
    if isinstance(node, ast.BinOp):
        return is_quoted(node.left, scope, seen) and is_quoted(node.right, scope, seen)
    if isinstance(node, ast.Subscript):  # the beginning of an object's id
        return isinstance(node.slice, ast.Slice) and node.slice.lower is None
    if isinstance(node, ast.Attribute):  # the fix of an error, which has been looked at where it is made
        return node.attr == "fix"
    if isinstance(node, ast.Call):
        return _is_quoting(node, scope, seen)
    if isinstance(node, ast.Name) and node.id not in seen:
        values = [*_assigned(node.id, scope)] or [*_assigned(node.id, MODULE_OF.get(id(scope), scope))]
        return bool(values) and all(is_quoted(value, scope, seen | {node.id}) for value in values)
    return False


def _text(node: ast.JoinedStr) -> tuple[str, list[tuple[int, ast.expr]]]:
    """An f-string with `{}` for what is put into it, and that with its places."""
    text, parts = "", []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            parts.append((len(text), part.value))
            text += "{}"
        elif isinstance(part, ast.Constant):
            text += str(part.value)
    return text, parts


def _is_quoting(call: ast.Call, scope: ast.AST, seen: frozenset[str]) -> bool:
    name = ast.unparse(call.func)
    if name in ("shlex.quote", "shlex.join"):
        return True
    if name.endswith(".join"):
        (words,) = call.args
        return isinstance(words, ast.GeneratorExp) and is_quoted(words.elt, scope, seen)
    room, _, last = name.rpartition(".")
    where = ROOMS.get(room) if room else MODULE_OF.get(id(scope), scope)
    if last in seen or where is None:
        return False
    returned = [
        (node.value, function)
        for function in ast.walk(where)
        if isinstance(function, ast.FunctionDef) and function.name == last
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and node.value is not None
    ]
    return bool(returned) and all(is_quoted(value, inside, seen | {last}) for value, inside in returned)


def _assigned(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    yield node.value
                elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = zip(target.elts, node.value.elts, strict=True)
                    yield from (value for one, value in pairs if getattr(one, "id", None) == name)
        elif (
            isinstance(node, (ast.AugAssign, ast.AnnAssign))
            and getattr(node.target, "id", None) == name
            and node.value is not None
        ):
            yield node.value


def commands(tree: ast.Module) -> Iterator[tuple[ast.JoinedStr, ast.AST]]:
    """Every f-string that holds a command with something put into it, and the function it is in."""
    inner = {
        id(node): function
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and PROGRAM.search(_text(node)[0]):
            yield node, inner.get(id(node), tree)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_put_into_a_command_is_quoted(path: Path) -> None:
    unquoted = [
        f"{node.lineno}: {ast.unparse(node)}"
        for node, scope in commands(MODULES[path])
        if not is_quoted(node, scope)
    ]
    assert not unquoted


@pytest.mark.parametrize(
    ("source", "fine"),
    [
        ("def f(name): return f'git branch -m {name}'", False),
        ("def f(name): return f'git branch -m {shlex.quote(name)}'", True),
        ("def f(name):\n  word = shlex.quote(name)\n  return f'git push {word}'", True),
        ("def f(name):\n  word = name\n  return f'git push {word}'", False),
        ("def f(oid): return f'see: git show {oid[:12]}'", True),
        ("def f(name): return f'{name}: not a git repository'", None),
    ],
)
def test_a_name_that_is_not_quoted_is_found(source: str, fine: bool | None) -> None:
    found = [*commands(ast.parse(source))]
    assert [is_quoted(node, scope) for node, scope in found] == ([] if fine is None else [fine])
