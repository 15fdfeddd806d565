"""What Python imports in the place of the commit's modules: stale bytecode, what goes before a module."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.runner import modules
from deriva_ml_hooks.runner.request import Request, accept

Program = Callable[..., Any]
MAIN = "from helper import RATE\nprint(RATE)\n"
COMMITTED, EDITED = "RATE = 0.1\n", "RATE = 0.9\n"


@pytest.fixture
def model(repo: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`repo` with a script, a module beside it, and Python's caches ignored."""
    repo.write(".gitignore", "__pycache__/\n*.so\n*.pyc\nsrc/helper/\nsrc/other/\n")
    repo.write("src/main.py", MAIN)
    repo.write("src/helper.py", COMMITTED)
    repo.commit("Model")
    monkeypatch.chdir(repo.path)
    return repo


def edited_and_put_back(repo: Any, name: str = "src/helper.py", **options: Any) -> Path:
    """The bytecode of an edit of the same size and second, after which the file is as it was."""
    source: Path = repo.write(name, EDITED)
    py_compile.compile(str(source), doraise=True, **options)
    stamp = source.stat().st_mtime
    source.write_text(COMMITTED)
    os.utime(source, (stamp, stamp))
    return Path(importlib.util.cache_from_source(str(source)))


def warned(repo: Any) -> list[tuple[str, str | None]]:
    accepted = accept(Request([sys.executable, "src/main.py"]))
    return [(w.code, w.path) for w in accepted.verdict.warnings if w.code == "shadowed-module"]


def test_the_commit_runs_though_bytecode_of_an_edit_is_there(model: Any, program: Program) -> None:
    edited_and_put_back(model)
    ran = program("run", "--", sys.executable, "src/main.py")
    assert (ran.code, ran.out) == (0, "0.1\n")


def test_bytecode_that_is_kept_elsewhere_is_looked_at_there(
    model: Any, program: Program, tmp_path: Path
) -> None:
    source = model.path / "src/helper.py"
    prefix = tmp_path / "caches"
    kept = prefix / str(source.parent).lstrip("/") / f"helper.{sys.implementation.cache_tag}.pyc"
    edited_and_put_back(model, cfile=str(kept))
    env = {"PYTHONPYCACHEPREFIX": str(prefix)}
    assert program("run", "--", sys.executable, "src/main.py", env=env).out == "0.1\n"


@pytest.mark.parametrize(
    ("mode", "is_gone"),
    [
        (py_compile.PycInvalidationMode.TIMESTAMP, True),
        (py_compile.PycInvalidationMode.UNCHECKED_HASH, True),
        (py_compile.PycInvalidationMode.CHECKED_HASH, False),
    ],
)
def test_bytecode_goes_where_python_would_not_see_that_it_is_stale(
    model: Any, mode: Any, is_gone: bool
) -> None:
    bytecode = edited_and_put_back(model, invalidation_mode=mode)
    accept(Request([sys.executable, "src/main.py"]))
    assert bytecode.exists() is not is_gone


def test_bytecode_that_was_written_after_its_source_stays(model: Any) -> None:
    source = model.path / "src/helper.py"
    py_compile.compile(str(source), doraise=True)
    bytecode = Path(importlib.util.cache_from_source(str(source)))
    later = source.stat().st_ctime_ns + 1
    os.utime(bytecode, ns=(later, later))
    before = bytecode.stat()
    accept(Request([sys.executable, "src/main.py"]))
    assert bytecode.stat().st_ino == before.st_ino


def test_bytecode_that_the_commit_holds_stays(model: Any) -> None:
    bytecode = edited_and_put_back(model)
    model.git("add", "--force", str(bytecode))
    model.commit("Bytecode")
    accept(Request([sys.executable, "src/main.py"]))
    assert model.git("status", "--porcelain") == ""


def test_bytecode_of_a_submodule_goes_too(model: Any, make_repo: Callable[..., Any]) -> None:
    library = make_repo("library")
    library.write("helper.py", COMMITTED)
    library.write(".gitignore", "__pycache__/\n")
    library.commit()
    model.git("submodule", "--quiet", "add", str(library.path), "src/lib")
    model.commit("Library")
    bytecode = edited_and_put_back(model, "src/lib/helper.py")
    accept(Request([sys.executable, "src/main.py"]))
    assert not bytecode.exists()


def test_bytecode_outside_the_repository_is_never_taken_away(
    model: Any, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (model.path / "src/__pycache__").symlink_to(tmp_path / "elsewhere")
    model.git("add", "--force", "src/__pycache__")
    model.commit("A link")
    bytecode = edited_and_put_back(model)
    ran = program("run", "--", sys.executable, "src/main.py")
    assert (ran.code, ran.out) == (125, "")
    assert "bytecode older than its source" in ran.err
    assert [file.name for file in (tmp_path / "elsewhere").iterdir()] == [bytecode.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="who may write everywhere")
def test_bytecode_that_cannot_be_taken_away_is_refused(model: Any, program: Program) -> None:
    folder = edited_and_put_back(model).parent
    folder.chmod(0o500)
    try:
        ran = program("run", "--", sys.executable, "src/main.py")
    finally:
        folder.chmod(0o700)
    assert (ran.code, ran.out) == (125, "")
    assert "bytecode older than its source" in ran.err


@pytest.mark.parametrize(
    "name",
    ["src/helper/__init__.py", "src/helper/__init__.pyc", "src/helper.so", "src/helper.abi3.so"],
)
def test_what_goes_before_a_module_of_the_commit_is_a_warning(model: Any, name: str) -> None:
    model.write(name, "RATE = 0.9\n")
    assert warned(model) == [("shadowed-module", name)]


@pytest.mark.parametrize(
    "name",
    ["src/helper/data.so", "src/helper/readme.txt", "src/other/__init__.py", "src/helper.pyc", "src/free.so"],
)
def test_what_python_does_not_prefer_is_no_warning(model: Any, name: str) -> None:
    model.write(name, "RATE = 0.9\n")
    assert warned(model) == []


@pytest.mark.parametrize("name", ["random.py", "random.pyc", "random.so", "random/__init__.py"])
def test_what_goes_before_the_standard_library_beside_a_script_is_a_warning(model: Any, name: str) -> None:
    model.write(".git/info/exclude", "random*\n")
    model.write("src/package/__init__.py")
    model.commit("A package")
    model.write(f"src/package/{name}")  # package.random hides nothing
    assert warned(model) == []
    model.write(f"src/{name}")
    assert warned(model) == [("shadowed-module", f"src/{name}")]


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PYTHONPATH", "data", "data/sitecustomize.py"),
        ("PYTHONPATH", "{top}/missing:{top}/data", "{top}/data/sitecustomize.py"),
        ("PYTHONPATH", "src", None),
        ("PYTHONPATH", "data/env/lib", None),
        ("BASH_ENV", "/etc/profile", None),
        ("PYTHONPATH", "{out}", None),
        ("BASH_ENV", "data/sitecustomize.py", "data/sitecustomize.py"),
        ("PYTHONSTARTUP", "{out}/rc.py", "{out}/rc.py"),
        ("ENV", "production", None),
        ("ENV", "src/helper.py", None),
    ],
)
def test_code_of_no_commit_that_the_environment_names_is_a_warning(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str | None
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "rc.py").write_text("")
    model.write(".git/info/exclude", "/data\n")
    for name in ("data/sitecustomize.py", "data/env/pyvenv.cfg", "data/env/lib/six.py"):
        model.write(name)
    for name in ("PYTHONPATH", "BASH_ENV", "ENV", "PYTHONSTARTUP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value.format(top=model.path, out=out))
    warnings = accept(Request([sys.executable, "src/main.py"])).verdict.warnings
    found = [(w.path, variable in w.message) for w in warnings if w.code == "code-from-environment"]
    assert found == ([] if told is None else [(told.format(top=model.path, out=out), True)])


@pytest.mark.parametrize(
    "argv",
    [
        ("env", "PYTHONPATH=data:src", "python", "src/main.py"),
        ("bash", "-c", "export PYTHONPATH='data' && python src/main.py"),
        ("bash", "-c", "A=1 PYTHONPATH=data python src/main.py"),
        ("env", "BASH_ENV=data/run", "bash", "-c", "true"),
        ("env", "MAKEFILES=data/run", "make"),
    ],
    ids=" ".join,
)
def test_so_is_code_that_the_command_itself_has_loaded(
    model: Any, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    model.write(".git/info/exclude", "/data\n")
    for name in ("data/run.py", "data/run"):
        model.write(name)
    told = {(w.code, w.path) for w in accept(Request(argv)).verdict.warnings}
    assert told & {("code-from-environment", "data/run.py"), ("code-from-environment", "data/run")}


def test_a_package_that_the_commit_holds_is_no_warning(model: Any) -> None:
    model.write("src/helper/__init__.py")
    model.git("add", "--force", "src/helper/__init__.py")
    model.commit("Both")
    assert warned(model) == []


def test_a_shadowed_module_is_told_in_the_record(model: Any, program: Program) -> None:
    model.write("src/helper/__init__.py", EDITED)
    ran = program("run", "--", sys.executable, "src/main.py")
    assert (ran.code, ran.out) == (0, "0.9\n")
    [record] = json.loads(program("executions", "list", "--json").out)
    told = {w["path"]: w["message"] for w in record["warnings"]}
    assert told["src/helper/__init__.py"] == "not in the commit, and imported in the place of src/helper.py"


def test_modules_are_found_by_their_folder() -> None:
    assert modules.modules_of([b"a.py", b"b/c.py", b"b/d.txt"]) == {b"": {b"a"}, b"b": {b"c"}}
