"""The commands of a fix can be pasted: what is put into them is quoted for a shell, and it helps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import deriva_ml_hooks

from .conftest import Repo

Program = Callable[..., Any]

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
        return node.attr == "fix" or ast.unparse(node) == "HOOK.id"
    if isinstance(node, ast.Call):
        return _is_quoting(node, scope, seen)
    if isinstance(node, ast.Name) and node.id not in seen:
        values = [*_assigned(node.id, scope)] or [*_assigned(node.id, MODULE_OF.get(id(scope), scope))]
        values = values or [*_handed_over(node.id, scope)]
        return bool(values) and all(is_quoted(value, scope, seen | {node.id}) for value in values)
    return False


def _handed_over(name: str, scope: ast.AST) -> Iterator[ast.expr]:
    """What the calls in its module hand to the parameter `name` of a function."""
    for function in ast.walk(MODULE_OF.get(id(scope), scope)):
        names = [one.arg for one in function.args.args] if isinstance(function, ast.FunctionDef) else []
        if name not in names or not isinstance(function, ast.FunctionDef) or scope is not function:
            continue
        for call in ast.walk(MODULE_OF.get(id(scope), scope)):
            if isinstance(call, ast.Call) and getattr(call.func, "id", None) == function.name:
                yield call.args[names.index(name)]


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
    where = ROOMS.get(room) if room not in ("", "self") else MODULE_OF.get(id(scope), scope)
    if where is not None and not _defines(where, last):  # it is imported
        where = next((ROOMS[module] for module in _imported(where, last) if module in ROOMS), None)
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


def _defines(tree: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.walk(tree))


def _imported(tree: ast.AST, name: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            yield str(node.module).rpartition(".")[2]


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


def pasted(said: str) -> str:
    """The command of the last fix in what was said, whole: what stands after words of ours and a colon."""
    fix = said.rpartition("fix: ")[2].partition("\n")[0]
    found = re.search(r"(?:^|: )((?:git|cd|rm) .*)", fix)
    assert found, fix
    return found[1]


class TestPasted:
    """What is refused goes once its fix has been typed as it stands."""

    @staticmethod
    def helps(program: Program, folder: Path, *words: str, code: int = 1) -> str:
        refused = program(*words, cwd=folder)
        assert refused.code == code, refused.err
        command = pasted(refused.err)
        again = f'{command} && "$@"'
        ours = [sys.executable, "-m", "deriva_ml_hooks", *words]
        done = subprocess.run(["sh", "-ec", again, "sh", *ours], cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return command

    @pytest.mark.parametrize("remote_name", ["origin", "a b", None])
    def test_a_rerun_of_a_commit_that_is_not_here(
        self, repo: Repo, remote: Repo, program: Program, remote_name: str | None
    ) -> None:
        if remote_name == "a b":
            repo.git("config", "--rename-section", "remote.origin", "remote.a b")
        if remote_name is None:
            repo.git("remote", "remove", "origin")
        lost = repo.commit("Lost")
        repo.git("push", "--quiet", str(remote.path), "HEAD:refs/heads/kept")
        assert program("run", "--quiet", "--json", "run.log", "--", "true").code == 0
        if remote_name is None:
            repo.git("remote", "add", "other", str(remote.path))
        repo.git("reset", "--quiet", "--hard", "HEAD~1")
        repo.git("reflog", "expire", "--expire=now", "--all")
        repo.git("gc", "--quiet", "--prune=now")
        assert repo.git("cat-file", "-t", lost, check=False) == ""
        execution = re.search(r'"id": "([^"]+)"', (repo.path / "run.log").read_text())
        assert execution
        self.helps(program, repo.path, "rerun", execution[1], code=125)

    @pytest.mark.parametrize("way", ["lock", "name"])
    def test_a_version_whose_name_is_taken(
        self, repo: Repo, remote: Repo, program: Program, way: str
    ) -> None:
        if way == "lock":
            (repo.git_dir / "refs/tags/v0.1.0.lock").touch()
        else:
            repo.git("tag", "v0.1.0/x")
        self.helps(program, repo.path, "bump-version")
        assert "v0.1.0" in remote.git("tag")

    @pytest.mark.parametrize("there", [True, False])
    @pytest.mark.parametrize("inside", ["", "hooks"])
    def test_a_check_beside_the_worktrees(
        self, repo: Repo, program: Program, tmp_path: Path, there: bool, inside: str
    ) -> None:
        bare = tmp_path / "the bare.git"
        repo.git("clone", "--quiet", "--bare", str(repo.path), str(bare))
        if there:
            repo.git("-C", str(bare), "worktree", "add", "--quiet", "-b", "own", str(tmp_path / "a worktree"))
        command = self.helps(program, bare / inside, "check")
        assert command.startswith("cd " if there else "git -C ")

    def test_a_tag_that_is_gone(self, repo: Repo, remote: Repo, program: Program) -> None:
        repo.git("tag", "--annotate", "--message", "One", "v1.0.0")
        repo.push("origin", "v1.0.0")
        assert program("run", "--quiet", "--", "true").code == 0
        repo.git("tag", "--delete", "v1.0.0")
        repo.git("gc", "--quiet", "--prune=now")
        self.helps(program, repo.path, "verify")
