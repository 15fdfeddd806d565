"""What `uv run` has in a temporary worktree: the user's environment, or one that is kept; by the real uv."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.runner.isolation import environments
from tests.conftest import Repo

Program = Callable[..., Any]
UV = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
pytestmark = pytest.mark.skipif(UV is None, reason="uv is not installed")

PROJECT = """\
[project]
name = "model"
version = "0.1.0"
requires-python = ">=3.10"
dependencies = []
[project.scripts]
train = "model:main"
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"
"""
WITH_DEP = (
    PROJECT.replace("[]", '["dep"]')
    + """\
[tool.uv.sources]
dep = { path = "dep-2-py3-none-any.whl" }
"""
)
CODE = """\
import sys
try:
    from dep import VALUE
except ImportError:
    VALUE = 0
def main():
    print({!r}, VALUE, sys.prefix)
"""


def wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "dep-2-py3-none-any.whl", "w") as archive:
        archive.writestr("dep.py", "VALUE = 2\n")
        archive.writestr("dep-2.dist-info/METADATA", "Metadata-Version: 2.1\nName: dep\nVersion: 2\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr("dep-2.dist-info/WHEEL", tags)
        archive.writestr("dep-2.dist-info/RECORD", "")


@pytest.fixture
def project(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A project of uv with a package of its own installed in .venv; all without a network."""
    base = Path(os.path.realpath(sys.executable)).parent
    monkeypatch.setenv("PATH", os.pathsep.join([os.path.dirname(str(UV)), str(base), "/usr/bin", "/bin"]))
    for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    repo.write("pyproject.toml", PROJECT)
    repo.write("src/model/__init__.py", CODE.format("committed"))
    repo.write(".gitignore", ".venv/\n__pycache__/\n*.so\n")
    done = repo.run(str(UV), "sync", "--python", str(base / f"python3.{sys.version_info.minor}"))
    assert done.returncode == 0, done.stderr
    repo.commit("Project")
    return repo


def ran(program: Program, *words: str) -> tuple[str, str, str]:
    """What was printed of the code and of its dependency, and the environment's folder: `own` or `kept`."""
    done = program(*words)
    assert done.code == 0, done.err
    code, value, prefix = done.out.split()
    return code, value, "kept" if "deriva-ml-hooks/environments" in prefix else prefix


def newest(program: Program) -> dict[str, Any]:
    return dict(json.loads(program("executions", "list", "--json").out)[0])


def own(repo: Repo) -> str:
    return str(repo.path / ".venv")


ISOLATED = ("run", "--isolated", "--", "uv", "run", "train")


def test_the_environment_of_the_user_is_used_and_left_as_it_is(project: Repo, program: Program) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project.path / ".venv").rglob("*.pth")}
    project.write("src/model/__init__.py", CODE.format("dirty"))
    done = program(*ISOLATED)
    assert done.out.split() == ["committed", "0", own(project)]
    version = ".".join(map(str, sys.version_info[:3]))
    assert (
        f"isolated: the packages of {own(project)} (Python {version}), as uv.lock of the commit" in done.err
    )
    assert newest(program)["interpreter"] == {"executable": f"{own(project)}/bin/python", "version": version}
    assert {path: path.stat().st_mtime_ns for path in (project.path / ".venv").rglob("*.pth")} == before


def copied(repo: Repo) -> None:
    """The project stands in the environment as a copy of what was dirty."""
    repo.write("src/model/__init__.py", CODE.format("copied"))
    assert repo.run(str(UV), "sync", "--no-editable").returncode == 0


def other_programs(repo: Repo) -> None:
    """The program `train` of the environment is not the commit's."""
    repo.write("src/model/other.py", CODE.format("other"))
    repo.write("pyproject.toml", PROJECT.replace("model:main", "model.other:main"))
    assert repo.run(str(UV), "sync").returncode == 0


def other_packages(repo: Repo) -> None:
    wheel(repo.path)
    repo.write("pyproject.toml", WITH_DEP)
    assert repo.run(str(UV), "sync").returncode == 0


def built_extension(repo: Repo) -> None:
    repo.write("src/model/fast.so")


def gone(repo: Repo) -> None:
    shutil.rmtree(repo.path / ".venv")


@pytest.mark.parametrize("change", [copied, other_programs, other_packages, built_extension, gone])
def test_an_environment_that_is_not_the_commits_is_not_used(
    project: Repo, program: Program, change: Callable[[Repo], None]
) -> None:
    change(project)
    assert ran(program, *ISOLATED) == ("committed", "0", "kept")


def test_a_python_that_cannot_be_led_has_the_kept_environment(project: Repo, program: Program) -> None:
    project.write("src/model/__init__.py", CODE.format("dirty"))
    code = "from model import main; main()"
    words = ("run", "--isolated", "--entry-point", "src/model/__init__.py", "--", "uv", "run", "python", "-I")
    assert ran(program, *words, "-c", code) == ("committed", "0", "kept")


def test_a_rerun_has_the_packages_of_its_commit_kept_for_the_next_time(
    project: Repo, program: Program, tmp_path: Path
) -> None:
    assert program("run", "--", "uv", "run", "train").code == 0
    first = newest(program)
    other_packages(project)
    project.commit("Other packages")
    assert program("run", "--", "uv", "run", "train").out.split()[1] == "2"
    assert ran(program, "rerun", first["id"]) == ("committed", "0", "kept")
    assert newest(program)["interpreter"]["version"] == first["interpreter"]["version"]
    assert "kept from an earlier run in" in program("rerun", first["id"]).err
    kept = tmp_path / "cache" / "deriva-ml-hooks" / "environments"
    assert len([path for path in kept.iterdir() if path.is_dir()]) == 1


def test_two_runs_never_share_a_kept_environment_and_few_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lock = tmp_path / "uv.lock"
    lock.write_text("one")
    with environments._kept(str(lock), "3.12.1") as one, environments._kept(str(lock), "3.12.1") as two:
        assert None not in (one, two)
        assert one != two
    for number in range(9):
        lock.write_text(str(number))
        with environments._kept(str(lock), "") as folder:
            Path(str(folder)).mkdir()
    assert len(list((tmp_path / "deriva-ml-hooks" / "environments").glob("*.lock"))) <= environments._MOST


def test_without_a_place_to_keep_it_uv_goes_its_own_way(
    project: Repo, program: Program, tmp_path: Path
) -> None:
    gone(project)
    (tmp_path / "cache").write_text("in the way")
    code, value, prefix = ran(program, *ISOLATED)
    assert (code, value) == ("committed", "0")
    assert prefix.endswith("/.venv")
    assert not Path(own(project)).exists()
