"""The dependency rule of the architecture: who may import whom, and what a hook must not load."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import deriva_ml_hooks

ROOT = Path(deriva_ml_hooks.__file__).parent

# A layer may import those before it, and its own modules.
LAYERS = (
    {"redact"},
    {"errors", "files", "globs", "packages", "programs"},
    {"report", "patterns", "toml", "untracked"},
    {"config", "notebooks"},
    {"git"},
    {"provenance"},
    {"gate"},
    {"hooks"},
    {"executions"},
    {"export", "verify"},
    {"catalog"},
    {"runner"},
    {"guard"},
    {"api", "install", "pre_push", "release"},
    {"commands"},
    {"cli"},
    {"__main__", "__init__"},
)
# The same, inside the runner; "" is what stands in no room of it.
RUNNER = ("command", "", "notebook", "isolation")
HEAVY = {"deriva", "nbformat", "nbstripout", "papermill", "rich", "setuptools_scm", "typer", "vcs_versioning"}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py"))


def layer_of(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every imported module, and whether it is imported when the module itself is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", None) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    deferred = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if id(node) not in typing_only:
                yield name, id(node) not in deferred


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_layers_before_its_own(path: Path) -> None:
    own = room_of(path)
    for name, _ in imports(path):
        if not name.startswith("deriva_ml_hooks."):
            continue
        other = name.split(".")[1]
        assert other == own or layer_of(other) < layer_of(own), name


def test_the_rooms_of_the_runner_have_layers_too() -> None:
    rooms = {path.name for path in (ROOT / "runner").iterdir() if (path / "__init__.py").exists()}
    assert rooms | {""} == set(RUNNER)
    for path in (ROOT / "runner").rglob("*.py"):
        own = path.relative_to(ROOT / "runner").parts[0]
        for name, _ in imports(path):
            parts = name.split(".")
            if parts[:2] == ["deriva_ml_hooks", "runner"]:
                other = parts[2] if parts[2] in rooms else ""
                assert RUNNER.index(other) <= RUNNER.index(own if own in rooms else ""), (path, name)


@pytest.mark.parametrize(
    "path", [p for p in modules() if room_of(p) not in ("commands",)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    at_import = {name.split(".")[0] for name, immediate in imports(path) if immediate}
    assert not at_import & HEAVY


def test_a_hook_imports_no_other_hook_and_nothing_that_records() -> None:
    for path in (ROOT / "hooks").glob("[a-z]*.py"):
        for name, _ in imports(path):
            parts = name.split(".")
            assert parts[:2] != ["deriva_ml_hooks", "hooks"] or parts[2].startswith("_"), (path, name)
            assert parts[0] not in ("typer", "deriva"), (path, name)
            assert parts[1:2] not in (["executions"], ["runner"], ["catalog"]), (path, name)


# What starts a process: git, any other program, the command of a run, and Hydra's own application again.
STARTS = {"git/process.py", "programs.py", "runner/child.py", "guard/restart.py"}


def test_processes_start_in_one_place_each() -> None:
    starting = re.compile(r"exec[lv]p?e?|fork|forkpty|popen|posix_spawnp?|spawn[lv]p?e?|system")
    for path in modules():
        where = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        called = [node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
        imported = {name.split(".")[0] for name, _ in imports(path)}
        if any(map(starting.fullmatch, called)) or imported & {"subprocess", "multiprocessing", "pty"}:
            assert where in STARTS, where
        assert where == "git/process.py" or not re.search(r"\.run\(\s*[\[(]\"git\"", text), where


def test_only_the_catalog_imports_deriva() -> None:
    for path in modules():
        if room_of(path) != "catalog":
            assert "deriva" not in {name.split(".")[0] for name, _ in imports(path)}, path


def test_library_code_neither_prints_nor_exits() -> None:
    for path in modules():
        if room_of(path) in ("commands", "cli", "hooks", "pre_push"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", None) or getattr(called, "attr", None)
            assert name != "print", path
            assert not (isinstance(called, ast.Attribute) and name in ("exit", "_exit")), path
