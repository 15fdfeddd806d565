"""Where the Pythons of a run import from: the table of interpreters, ways of install and ways to start."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.runner.inside_python import Worktrees
from deriva_ml_hooks.runner.witness import (
    OtherWorktreeError,
    Witness,
    refuse_other_worktrees,
    unreached,
    worktrees_of,
)

FINDER = """\
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location
MAPPING = {'named': %(mapped)r}
NAMESPACES = {'space': %(namespace)r}
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in MAPPING:
            where = MAPPING[name] + '/__init__.py'
            return spec_from_file_location(name, where, submodule_search_locations=[MAPPING[name]])
        parent, _, rest = name.partition('.')  # as setuptools has it, whatever the package's own path is
        if rest and parent in MAPPING:
            return PathFinder.find_spec(name, [MAPPING[parent]])
class Spaces:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in NAMESPACES:
            spec = PathFinder.find_spec(name, [])
            from importlib.machinery import ModuleSpec
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = list(NAMESPACES[name])
            return spec
def install():
    sys.meta_path.append(Finder)
    sys.meta_path.append(Spaces)
install()
"""
# What a program imports: installed by a line of a .pth file (flat and src), by a map to a folder of another
# name, as a portion of a namespace, by a link, by a folder of links that git ignores.
INSTALLED = {
    "flat": "flat",
    "src layout": "layout",
    "map": "named",
    "map, submodule": "named.deep",
    "namespace": "space.portion",
    "link": "linked",
    "strict": "tight",
}


class World:
    """A user's worktree that is dirty throughout, the double of its commit, and environments."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.user, self.double = base / "user", base / "double"
        for top, value in ((self.user, "dirty"), (self.double, "committed")):
            for name in (
                "flat.py",
                "src/layout/__init__.py",
                "lib/code/__init__.py",
                "lib/code/deep.py",
                "spaces/space/portion.py",
                "linked/__init__.py",
                "more/onpath.py",
                "lib/tight/__init__.py",
            ):
                file = top / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"VALUE = {value!r}\n")
            (top / "scripts").mkdir()
            (top / "scripts/show.py").write_text(
                "import importlib, sys\n"
                "m = importlib.import_module(sys.argv[1])\nprint(m.VALUE, m.__file__)\n"
            )
        strict = self.user / "build/__editable__.tight-1/tight"
        strict.mkdir(parents=True)
        (strict / "__init__.py").symlink_to(self.user / "lib/tight/__init__.py")
        (strict / "untracked.py").write_text("VALUE = 'dirty'\n")
        (self.user / "untracked.py").write_text("VALUE = 'dirty'\n")
        (self.user / "lib/code/untracked.py").write_text("VALUE = 'dirty'\n")
        self.one, self.two = self.environment("one"), self.environment("two")
        self.worktrees = Worktrees(str(self.double), [str(self.user)])

    def environment(self, name: str, python: str = sys.executable) -> Path:
        folder = self.base / name
        subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "flat.pth").write_text(
            f"{self.user}\n{self.user}/src\n{self.user}/build/__editable__.tight-1\n"
        )
        maps = {"mapped": f"{self.user}/lib/code", "namespace": [f"{self.user}/spaces/space"]}
        (packages / "__editable___x_finder.py").write_text(FINDER % maps)
        (packages / "x.pth").write_text("import __editable___x_finder\n")
        (packages / "linked").symlink_to(self.user / "linked")
        script = folder / "bin" / "show"
        script.write_text(f"#!{folder}/bin/python\n" + (self.user / "scripts/show.py").read_text())
        script.chmod(0o755)
        return folder / "bin" / "python"

    def run(
        self, words: Sequence[str], env: Mapping[str, str] | None = None, *, leads: bool = True
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Run the words in the double, and what the processes have told."""
        given = {**os.environ, "PATH": f"{self.one.parent}:{os.environ['PATH']}", **(env or {})}
        refuse_other_worktrees(words, given, self.worktrees, led=True)
        witness = Witness(str(self.base / "private"), self.worktrees, leads=leads)
        given |= witness.variables(given)
        done = subprocess.run(words, cwd=self.double, env=given, capture_output=True, text=True, check=False)
        return done, witness.told()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world").resolve())


STARTS = {
    "python script": "python scripts/show.py MODULE",
    "python -m": "python -m scripts.show MODULE",
    "env": "env A=1 python scripts/show.py MODULE",
    "timeout and nice": "timeout 60 nice python scripts/show.py MODULE",
    "bash -c": "bash -c 'A=1 python scripts/show.py MODULE; true'",
    "another interpreter": "env A=1 {two} scripts/show.py MODULE",
    "a console script": "show MODULE",
    "a console script elsewhere": "{two.parent}/show MODULE",
    "a child": "python -c 'import os, sys; s = sys.argv; os.execv(s[1], s[1:])' {two} scripts/show.py MODULE",
}


def words_of(python: Path, start: str, module: str) -> list[str]:
    line = start.replace("{two.parent}", str(python.parent))
    return [word.replace("MODULE", module) for word in shlex.split(line.replace("{two}", str(python)))]


@pytest.mark.parametrize(("start", "way"), [*product(STARTS, INSTALLED)])
def test_imports_come_from_the_double(world: World, start: str, way: str) -> None:
    done, told = world.run(words_of(world.two, STARTS[start], INSTALLED[way]))
    value, _, file = done.stdout.strip().partition(" ")
    assert (value, file.startswith(f"{world.double}/")) == ("committed", True), done
    assert told == []


@pytest.mark.slow
def test_so_they_do_in_every_python_that_is_here(world: World) -> None:
    """The table: interpreter, way to start, way of install; where it was imported from (`pytest -s`)."""
    wrong = []
    for minor in range(8, 20):
        found = shutil.which(f"python3.{minor}")
        if found is None or subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
            continue  # a shim of pyenv is there for what is not chosen
        python = world.environment(f"python3.{minor}", found)
        path = {"PATH": f"{python.parent}:{os.environ['PATH']}"}
        for start, way in product(STARTS, INSTALLED):
            done, told = world.run(words_of(python, STARTS[start], INSTALLED[way]), path)
            sys.stdout.write(f"3.{minor} | {start} | {way} | {done.stdout}")
            if not done.stdout.startswith(f"committed {world.double}/") or told:
                wrong.append((minor, start, way, done, told))
    assert wrong == []


@pytest.mark.parametrize("way", INSTALLED)
def test_without_it_they_come_from_the_users_tree(world: World, way: str) -> None:
    words = [str(world.two), str(world.double / "scripts/show.py"), INSTALLED[way]]
    done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dirty ")


@pytest.mark.parametrize(
    "start",
    [
        "python -E scripts/show.py flat",
        "python -I -m scripts.show flat",
        "python -BI scripts/show.py flat",
        "python -W ignore -E scripts/show.py flat",
        "timeout 60 {two} -I scripts/show.py flat",
        "bash -c 'cd . && python -I scripts/show.py flat'",
        "env PYTHONPATH=more python scripts/show.py flat",
        "bash -c 'PYTHONPATH=more python scripts/show.py flat'",
        "env -u PYTHONPATH {two} scripts/show.py flat",
        "env -i {two} scripts/show.py flat",
        "./isolated-script flat",
        "env PATH={two.parent}:/usr/bin python -I scripts/show.py flat",
        "sh -c '. {two.parent}/activate; python -I scripts/show.py flat'",
        "sh -c 'export PATH={two.parent}:$PATH; python -I scripts/show.py flat'",
        "sh -c 'P={two}; $P -I scripts/show.py flat'",
        "bash -c 'opts=-I; {two} $opts scripts/show.py flat'",
        "bash -c 'cd {two.parent} && ./python -I {show} flat'",
        "bash -c 'exec -c {two} scripts/show.py flat'",
    ],
)
def test_a_python_that_cannot_be_reached_is_refused(world: World, start: str) -> None:
    script = world.double / "isolated-script"
    script.write_text(f"#!{world.two} -I\nprint('ran')\n")
    script.chmod(0o755)
    words = words_of(world.two, start.replace("./isolated", str(world.double / "isolated")), "")
    with pytest.raises(OtherWorktreeError, match="imports from your own worktree"):
        world.run(words)


@pytest.mark.parametrize(
    ("words", "text", "line"),
    [
        ("sh go.sh", "cd .\nPYTHONPATH=more python scripts/show.py flat\n", 2),
        ("sh go.sh", "export PYTHONPATH=more\n\npython scripts/show.py flat\n", 3),
        ("sh go.sh", "unset PYTHONPATH; python x.py\n", 1),
        ("bash -c './go.sh | tee log'", "#!/bin/sh\npython -I scripts/show.py flat\n", 2),
        ("make", "all:\n\t@{two} -BE x.py\n", 2),
        ("sh -c 'make -s'", "all:\n\t@{two} -BE x.py\n", 2),
        ("sh go.sh", ". {two.parent}/activate\n\npython -I x.py\n", 3),
        ("sh go.sh", "PYTHONPATH+=:src {two} x.py\n", None),
        ("make all", "export PYTHONPATH := more\nall:\n\tshow flat\n", 3),
        ("sh outer", "env -i {two} x.py\n", 1),
        ("sh go.sh", "PYTHONPATH=more:$PYTHONPATH python x.py\n", None),
        ("make", "export PYTHONPATH := more:$(PYTHONPATH)\nall:\n\tpython x.py\n", None),
        ("sh go.sh", "# PYTHONPATH=more python x.py\npython x.py  # not with -I\n", None),
        ("sh go.sh", "{shim} -I x.py\n", None),
        ("sh go.sh", "python x.py -I -E\necho PYTHONPATH=more; grep -I x y\n", None),
        ("python go.sh", "#!/usr/bin/python\nprint('PYTHONPATH= python -I x.py')\n", None),
        ("python x.py", "python -I x.py\n", None),
    ],
)
def test_a_script_that_starts_one_which_cannot_be_reached_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, words: str, text: str, line: int | None
) -> None:
    monkeypatch.chdir(world.double)
    shim = world.base / "python3"  # as pyenv leaves one for a Python that is not chosen
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    for name in ("go.sh", "Makefile"):
        (world.double / name).write_text(text.format(two=world.two, shim=shim))
    (world.double / "outer").write_text("sh ./go.sh\n")
    env = {**os.environ, "PATH": f"{world.one.parent}:{os.environ['PATH']}"}
    found = unreached(shlex.split(words), env, world.worktrees)
    told = None if found is None else (found.path, found.message.partition(" has ")[0])
    where = "Makefile" if "make" in words else "go.sh"
    assert told == (None if line is None else (where, f"line {line}"))


def test_one_that_has_nothing_installed_from_there_is_not(world: World, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "clean")], check=True)
    python = str(tmp_path / "clean" / "bin" / "python")
    for flags in (["-I"], ["-E"], ["-S"]):
        done, _ = world.run([python, *flags, "-c", "print('ran')"])
        assert done.stdout == "ran\n", done


@pytest.mark.parametrize("module", ["untracked", "named.untracked", "tight.untracked"])
def test_what_the_commit_does_not_hold_is_not_there(world: World, module: str) -> None:
    done, told = world.run(["python", "scripts/show.py", module])
    assert "ModuleNotFoundError" in done.stderr
    assert told == []


def test_what_stands_further_down_the_path_is_found_where_the_first_has_no_double(
    world: World, tmp_path: Path
) -> None:
    [packages] = world.two.parent.parent.glob("lib/python*/site-packages")
    (world.user / "src" / "both.py").write_text("VALUE = 'dirty'\n")
    (packages / "zz.pth").write_text(f"{tmp_path}\n")
    (tmp_path / "both.py").write_text("VALUE = 'installed'\n")
    try:
        done, told = world.run([str(world.two), "scripts/show.py", "both"])
    finally:
        (world.user / "src" / "both.py").unlink()
        (packages / "zz.pth").unlink()
    assert done.stdout.startswith("installed "), done
    assert told == []


def test_what_is_put_on_the_path_later_is_led_too(world: World) -> None:
    script = f"import sys; sys.path.insert(0, '{world.user}/more'); import onpath; print(onpath.VALUE)"
    assert world.run(["python", "-c", script])[0].stdout == "committed\n"
    given = {"PYTHONPATH": f"{world.user}/more"}
    with pytest.raises(OtherWorktreeError):
        world.run(["env", "PYTHONPATH=x", "python", "scripts/show.py", "onpath"], given)
    assert world.run(["python", "scripts/show.py", "onpath"], given)[0].stdout.startswith("committed ")


def test_code_that_goes_around_the_import_system_is_told(world: World) -> None:
    script = f"exec(open('{world.double}/hand.py').read())"
    (world.double / "hand.py").write_text(
        "import importlib.util as u, sys\n"
        f"spec = u.spec_from_file_location('by_hand', '{world.user}/flat.py')\n"
        "sys.modules['by_hand'] = module = u.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
    )
    assert world.run(["python", "-c", script])[1] == [f"{world.user}/flat.py"]
    assert world.run([str(world.two), str(world.user / "scripts/show.py"), "flat"])[1] == [
        f"{world.user}/scripts/show.py"
    ]
    assert not (world.base / "private").exists()


class TestNothingElseChanges:
    @pytest.mark.parametrize(
        "script",
        [
            "import sys; print(sys.path, [m for m in sys.modules if 'custom' in m])",
            "import sys; sys.exit(7)",
            "import nothing_of_this_name",
            "raise ValueError('x')",
            "import os; os.kill(os.getpid(), 9)",
            "import os; os._exit(5)",
            "import atexit; atexit.register(print, 'at the end')",
            "import threading; threading.Thread(target=lambda: 1 / 0, name='T').start()",
        ],
    )
    def test_paths_output_exit_codes_and_tracebacks(self, world: World, script: str, tmp_path: Path) -> None:
        python = [sys.executable, "-c", script]
        plain = subprocess.run(python, cwd=world.double, capture_output=True, text=True, check=False)
        done, _ = world.run(python)
        assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)

    @pytest.mark.parametrize(
        "source", ["print('its own')\n", "raise OSError('broken')\n", "import nothing_here\n"]
    )
    def test_the_sitecustomize_of_the_environment_goes_on_working(
        self, world: World, source: str, tmp_path: Path
    ) -> None:
        (tmp_path / "sitecustomize.py").write_text(source)
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        python = [sys.executable, "-c", "import sitecustomize; print(sitecustomize.__file__)"]
        plain = subprocess.run(python, cwd=world.double, capture_output=True, text=True, check=False, env=env)
        done, _ = world.run(python, {"PYTHONPATH": str(tmp_path)})
        assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)

    def test_it_loads_nothing_that_a_start_of_python_does_not(self, world: World) -> None:
        words = [sys.executable, "-c", "import sys; print(*sorted(sys.modules))"]
        plain = subprocess.run(words, cwd=world.double, capture_output=True, text=True, check=True)
        assert {*world.run(words)[0].stdout.split()} - {*plain.stdout.split()} <= {"__future__", "atexit"}


def test_a_python_that_is_asked_imports_nothing_from_a_folder_that_others_write_to(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted"
    for name in ("json", "os", "importlib"):
        (tmp_path / f"{name}.py").write_text(f"open({str(planted)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    refuse_other_worktrees([sys.executable, "-E", "x.py"], env, world.worktrees, led=True)
    with pytest.raises(OtherWorktreeError):
        refuse_other_worktrees([str(world.two), "-E", "x.py"], env, world.worktrees, led=True)
    assert not planted.exists()


@pytest.mark.parametrize("name", ["python-tool", "python", "tool"])
def test_asking_where_imports_come_from_runs_no_code_of_the_commit(
    world: World, tmp_path: Path, name: str
) -> None:
    planted, double = tmp_path / "planted", tmp_path / "double"
    (double / "bin").mkdir(parents=True)
    tool = double / "bin" / name
    tool.write_text(f"#!/bin/sh\ntouch {planted}\n")
    tool.chmod(0o755)
    (double / "sitecustomize.py").write_text(f"open({str(planted)!r}, 'w')\n")
    env = {
        **os.environ,
        "PATH": f"{double}/bin:{os.environ['PATH']}",
        "PYTHONPATH": f"{double}::{double}",
    }
    trees = Worktrees(str(double), [str(world.user)])
    for python in (str(tool), name, sys.executable, "python3"):
        refuse_other_worktrees([python, "-E", "x.py"], env, trees, led=True)
    assert not planted.exists()


def test_all_worktrees_of_a_repository(repo: Any, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    both = {str(repo.path.resolve()), str((tmp_path / "linked").resolve())}
    for place in (repo.path, tmp_path / "linked"):
        assert {*worktrees_of(measured(str(place)))} == both


@pytest.mark.parametrize(
    ("path", "doubled"),
    [
        ("/user/src", "/double/src"),
        ("/user", "/double"),
        ("/user-2/src", "/user-2/src"),
        ("/user/inner/src", "/double/src"),
        ("/user/double/src", "/user/double/src"),
        ("src", "src"),
        ("", ""),
        ("__editable__.x-1.finder.__path_hook__", "__editable__.x-1.finder.__path_hook__"),
    ],
)
def test_what_is_led(path: str, doubled: str) -> None:
    here = "/user/double" if path.startswith("/user/double") else "/double"
    assert Worktrees(here, ["/user", "/user/inner"]).doubled(path) == doubled
