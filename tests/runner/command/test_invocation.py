"""The file that a command line runs, on a tree of real files."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml_hooks.runner.command.invocation import Invocation, Kind, invocation
from deriva_ml_hooks.runner.command.launchers import LAUNCHERS, MODULES

INLINE, STDIN, PROGRAM = "INLINE", "STDIN", "PROGRAM"
FILES = (
    "train.py",
    "x.ipynb",
    "bare",
    "bin/fit",
    "bin/time",
    "tools/env",
    "pkg/__init__.py",
    "pkg/__main__.py",
    "pkg/mod.py",
    "pkg.py",
    "loose/job.py",
    "loose/__main__.py",
    "src/lib/__init__.py",
    "src/lib/run.py",
    "app/__main__.py",
    "app.pyz",
    "sub/train.py",
    "sub/inner.py",
    ".venv/pyvenv.cfg",
    ".venv/bin/fit-model",
    ".venv/bin/papermill",
    ".venv/bin/python",
    "envs/c/conda-meta/history",
    "envs/c/bin/tool",
    "node_modules/.bin/tsc",
)
OUTSIDE = ("path/outsider", "path/make", "elsewhere/run.sh", "env/pyvenv.cfg", "env/bin/tool")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A worktree `tree` with files of every sort, and programs on PATH inside and outside it."""
    place = tmp_path_factory.mktemp("place")
    for name in (*(f"tree/{name}" for name in FILES), *OUTSIDE):
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o755)
    with pytest.MonkeyPatch.context() as patch:
        folders = ("tree/.venv/bin", "tree/bin", "tree/node_modules/.bin", "path")
        patch.setenv("PATH", os.pathsep.join(str(place / folder) for folder in folders))
        yield place


def answer(place: Path, argv: list[str], *, folder: str = "tree", executable: str | None = None) -> str:
    """The kind, or the file as the tree spells it."""
    found = invocation(argv, cwd=str(place / folder), top=str(place / "tree"), executable=executable)
    if found.kind is not Kind.FILE:
        assert found.path is None
        return found.kind.name
    assert found.path is not None
    assert os.path.isabs(found.path)
    return Path(os.path.relpath(found.path, place / "tree")).as_posix()


TABLE = {
    "python": [
        ("python train.py", "train.py"),
        ("python3 train.py --epochs 3", "train.py"),
        ("python3.11 sub/../train.py", "train.py"),
        ("python3.13t missing.py", "missing.py"),
        ("/usr/bin/python3.11 train.py", "train.py"),
        (".venv/bin/python train.py", "train.py"),
        ("python -u -B -O train.py", "train.py"),
        ("python -W ignore -X dev train.py", "train.py"),
        ("python -Wd -Xfoo -I -E -s -S -b -v -q train.py", "train.py"),
        ("python -uB train.py", "train.py"),
        ("python -BW ignore train.py", "train.py"),
        ("python --check-hash-based-pycs always train.py", "train.py"),
        ("python -- train.py", "train.py"),
        ("python train.py -m pkg -c x", "train.py"),
        ("python app", "app/__main__.py"),
        ("python .", "__main__.py"),
        ("python app.pyz", "app.pyz"),
        ("python app.zip", "app.zip"),
        ("python -c 'print(1)'", INLINE),
        ("python -uc 'print(1)' train.py", INLINE),
        ("python -c'print(1)'", INLINE),
        ("python", STDIN),
        ("python -", STDIN),
        ("python -u - --epochs 3", STDIN),
        ("python -W", STDIN),
        ("python -V", PROGRAM),
        ("python --version", PROGRAM),
    ],
    "python -m": [
        ("python -m train", "train.py"),
        ("python -m pkg.mod", "pkg/mod.py"),
        ("python -mpkg.mod", "pkg/mod.py"),
        ("python -um pkg.mod train.py", "pkg/mod.py"),
        ("python -m pkg", "pkg/__main__.py"),
        ("python -m loose", "loose/__main__.py"),
        ("python -m loose.job", "loose/job.py"),
        ("python -m lib.run", "src/lib/run.py"),
        ("python -m pytest tests", PROGRAM),
        ("python -m pkg.nothing", PROGRAM),
        ("python -m ../train", PROGRAM),
        ("python -m", STDIN),
    ],
    "python -m launcher": [
        ("python -m papermill x.ipynb out.ipynb", "x.ipynb"),
        ("python -m papermill", STDIN),
        ("python -m torch.distributed.run --nproc_per_node 2 train.py", "train.py"),
        ("python -m torch.distributed.launch --nproc-per-node=2 --use_env train.py", "train.py"),
        ("python -m cProfile train.py", "train.py"),
        ("python -m cProfile -o out.prof -s cumtime train.py", "train.py"),
        ("python -m cProfile -o out.prof -m pkg.mod", "pkg/mod.py"),
        ("python -m coverage run -p --source pkg train.py", "train.py"),
        ("python -m cProfile -m coverage run -m cProfile -m pkg.mod", "pkg/mod.py"),
        ("python -m pdb -c continue train.py", "train.py"),
        ("python -m jupyter nbconvert --execute x.ipynb", "x.ipynb"),
        ("python -m nbconvert --to notebook x.ipynb", "x.ipynb"),
        ("python -m uv run train.py", "train.py"),
        ("python -m deriva_ml_hooks run -- python train.py", "train.py"),
        ("python -m deriva_ml.run_notebook x.ipynb", "x.ipynb"),
        ("python -m mpi4py train.py", "train.py"),
    ],
    "environments": [
        ("uv run train.py", "train.py"),
        ("uv run missing.py", "missing.py"),
        ("uv run python train.py", "train.py"),
        ("uv run -- python -m pkg.mod", "pkg/mod.py"),
        ("uv run app", "app/__main__.py"),
        ("uv run -m pkg.mod", "pkg/mod.py"),
        ("uv run --module --with torch pkg.mod", "pkg/mod.py"),
        ("uv run --script bare", "bare"),
        ("uv run -s --with torch bare", "bare"),
        ("uv run -", STDIN),
        ("uv run python", STDIN),
        ("uv run python -c 1", INLINE),
        ("uv run", PROGRAM),
        ("uv run --with torch --project . -p 3.12 --extra gpu --group dev train.py", "train.py"),
        ("uv run --package a --env-file .env --index-url u --frozen train.py", "train.py"),
        ("uv run --with=torch -p3.12 -qn train.py", "train.py"),
        ("uv --quiet run train.py", "train.py"),
        ("uv --directory sub run inner.py", "sub/inner.py"),
        ("uv run --directory=sub inner.py", "sub/inner.py"),
        ("uv run --directory sub -m lib.run", "src/lib/run.py"),
        ("uv run pytest", PROGRAM),
        ("uv run fit-model", PROGRAM),
        ("uv sync", PROGRAM),
        ("uv tool run ruff", PROGRAM),
        ("uvx ruff check train.py", PROGRAM),
        ("poetry run python train.py", "train.py"),
        ("poetry -C sub run python inner.py", "sub/inner.py"),
        ("pdm run python train.py", "train.py"),
        ("pixi run -e gpu python train.py", "train.py"),
        ("conda run -n ml python train.py", "train.py"),
        ("conda run -n ml --no-capture-output --cwd sub python inner.py", "sub/inner.py"),
        ("mamba run -p /opt/env python train.py", "train.py"),
        ("micromamba run --name=ml python train.py", "train.py"),
        ("conda install x", PROGRAM),
    ],
    "wrappers": [
        ("env python train.py", "train.py"),
        ("env - A=b python train.py", "train.py"),
        ("env -i -u HOME -C sub A=b C=d python inner.py", "sub/inner.py"),
        ("env -iu HOME A=b bash -eu x.sh", "x.sh"),
        ("env", PROGRAM),
        ("nice python train.py", "train.py"),
        ("nice -n 5 python train.py", "train.py"),
        ("nice -n5 nohup python train.py", "train.py"),
        ("time -p python train.py", "train.py"),
        ("/usr/bin/time -v -o log python train.py", "train.py"),
        ("timeout 5m python train.py", "train.py"),
        ("timeout -k 5 --signal=KILL --foreground 5m python train.py", "train.py"),
        ("timeout 5m", PROGRAM),
        ("setsid -w python train.py", "train.py"),
        ("sudo -E -u me A=b python train.py", "train.py"),
        ("nice ./bin/fit", "bin/fit"),
        ("nice fit", "bin/fit"),
        ("nice time python train.py", "bin/time"),
        ("nice outsider", PROGRAM),
        ("nice fit-model", PROGRAM),
        ("nice nowhere", PROGRAM),
        ("deriva-ml-hooks run -- python train.py", "train.py"),
        ("deriva-ml-hooks run -- deriva-ml-hooks run -- uv run train.py", "train.py"),
        ("deriva-ml-hooks status", PROGRAM),
        ("coverage run --branch -m pkg.mod", "pkg/mod.py"),
        ("coverage run --rcfile x train.py", "train.py"),
        ("coverage report", PROGRAM),
    ],
    "clusters": [
        ("srun -N 2 --ntasks=4 --gres gpu:1 -K python train.py", "train.py"),
        ("srun bare", "bare"),
        ("mpirun -np 4 python train.py", "train.py"),
        ("mpiexec -n 4 --mca btl tcp,self -x PATH python -u train.py", "train.py"),
        ("mpirun -report-bindings --hostfile hosts ./bin/fit", "bin/fit"),
        ("mpirun -wdir sub python inner.py", "sub/inner.py"),
        ("torchrun train.py", "train.py"),
        ("torchrun --standalone --nproc_per_node 2 train.py --lr 1", "train.py"),
        ("torchrun --nnodes=2 --rdzv-backend c10d -m pkg.mod", "pkg/mod.py"),
        ("torchrun -m --nproc_per_node=2 pkg.mod", "pkg/mod.py"),
        ("torchrun --no-python bash x.sh", "x.sh"),
        ("accelerate launch train.py", "train.py"),
        ("accelerate launch --config_file a.yaml --multi_gpu --some_new_option 3 train.py", "train.py"),
        ("accelerate launch -m pkg.mod", "pkg/mod.py"),
        ("accelerate config", PROGRAM),
        ("deepspeed --num_gpus 2 train.py --deepspeed ds.json", "train.py"),
        ("deepspeed --module pkg.mod", "pkg/mod.py"),
    ],
    "shells": [
        ("bash x.sh", "x.sh"),
        ("sh -eu x.sh a b", "x.sh"),
        ("bash -o pipefail x.sh", "x.sh"),
        ("bash -euo pipefail x.sh", "x.sh"),
        ("bash +x x.sh", "x.sh"),
        ("bash --login x.sh", "x.sh"),
        ("bash --rcfile rc x.sh", "x.sh"),
        ("/bin/zsh x.sh", "x.sh"),
        ("dash x.sh", "x.sh"),
        ("ksh x.sh", "x.sh"),
        ("sh -c 'python train.py'", PROGRAM),
        ("bash -lc 'python train.py'", PROGRAM),
        ("bash -o pipefail -c 'python train.py'", PROGRAM),
        ("bash", STDIN),
        ("bash -s x.sh", STDIN),
    ],
    "interpreters": [
        ("Rscript --vanilla x.R", "x.R"),
        ("Rscript -e 1", INLINE),
        ("Rscript", STDIN),
        ("R --no-save -f x.R", "x.R"),
        ("R --no-save --file=x.R", "x.R"),
        ("R CMD BATCH --vanilla x.R out.txt", "x.R"),
        ("R --no-save", STDIN),
        ("julia --project=. -t 4 -O3 x.jl", "x.jl"),
        ("julia +1.11 x.jl", "x.jl"),
        ("julia -e 1", INLINE),
        ("julia", STDIN),
        ("perl -Mstrict -I lib -w x.pl", "x.pl"),
        ("perl -lne print", INLINE),
        ("perl", STDIN),
        ("ruby -W0 -r json x.rb", "x.rb"),
        ("node --import tsx --inspect x.js", "x.js"),
        ("node --eval=1", INLINE),
        ("node -", STDIN),
        ("pypy3 train.py", "train.py"),
        ("fish x.fish", "x.fish"),
    ],
    "notebooks": [
        ("papermill x.ipynb out.ipynb -p a 1", "x.ipynb"),
        ("papermill -p a 1 -r b 2 -f p.yaml -y '{}' -b e30= -k python3 --cwd sub x.ipynb -", "x.ipynb"),
        ("papermill --parameters a 1 --parameters_file p.yaml --no-progress-bar x.ipynb", "x.ipynb"),
        ("papermill sub/missing.ipynb", "sub/missing.ipynb"),
        ("papermill - out.ipynb", STDIN),
        ("papermill", STDIN),
        ("papermill --version", PROGRAM),
        ("jupyter nbconvert --execute --to notebook x.ipynb", "x.ipynb"),
        ("jupyter nbconvert --ExecutePreprocessor.timeout=-1 --inplace x.ipynb", "x.ipynb"),
        ("jupyter nbconvert --execute --stdin", STDIN),
        ("jupyter execute --kernel_name python3 x.ipynb", "x.ipynb"),
        ("jupyter run x.ipynb", "x.ipynb"),
        ("jupyter-nbconvert --to html x.ipynb", "x.ipynb"),
        ("jupyter lab", PROGRAM),
        ("deriva-ml-run-notebook x.ipynb --host h --catalog 1", "x.ipynb"),
        ("deriva-ml-run-notebook --host h -p lr 1 --file p.yaml --log-output x.ipynb", "x.ipynb"),
        ("deriva-ml-run +experiment=quick", PROGRAM),
        ("ipython train.py", "train.py"),
        ("ipython3 -c 1", INLINE),
        ("ipython", STDIN),
    ],
    "programs by path": [
        ("./train.py", "train.py"),
        ("bin/fit --epochs 3", "bin/fit"),
        ("./missing", "missing"),
        ("tools/env python train.py", "tools/env"),
        ("../elsewhere/run.sh", "../elsewhere/run.sh"),
        ("../path/make", PROGRAM),
        ("../env/bin/tool", PROGRAM),
        ("/usr/bin/make all", PROGRAM),
        (".venv/bin/fit-model", PROGRAM),
        (".venv/bin/papermill x.ipynb", "x.ipynb"),
        ("envs/c/bin/tool", PROGRAM),
        ("node_modules/.bin/tsc", PROGRAM),
        ("make train", PROGRAM),
        ("''", PROGRAM),
    ],
}


@pytest.mark.parametrize(
    ("command", "expected"),
    [pytest.param(*row, id=f"{group}: {row[0]}") for group, rows in TABLE.items() for row in rows],
)
def test_a_command_line_tells_what_it_runs(place: Path, command: str, expected: str) -> None:
    assert answer(place, shlex.split(command)) == expected


@pytest.mark.parametrize(
    ("command", "executable", "expected"),
    [
        ("fit", "tree/bin/fit", "bin/fit"),
        ("time python train.py", "tree/bin/time", "bin/time"),
        ("time python train.py", "path/time", "train.py"),
        ("fit-model", "tree/.venv/bin/fit-model", PROGRAM),
        ("tsc", "tree/node_modules/.bin/tsc", PROGRAM),
        ("papermill x.ipynb", "tree/.venv/bin/papermill", "x.ipynb"),
        ("outsider", "path/outsider", PROGRAM),
        ("bare", "path/bare", PROGRAM),
        ("nice outsider", "tree/bin/fit", "bin/fit"),
    ],
)
def test_a_bare_name_is_what_path_made_of_it(
    place: Path, command: str, executable: str, expected: str
) -> None:
    assert answer(place, shlex.split(command), executable=str(place / executable)) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py", "sub/train.py"),
        ("python ../train.py", "train.py"),
        ("python -m train", "sub/train.py"),
        ("python -m pkg.mod", "pkg/mod.py"),
        ("python -m lib.run", "src/lib/run.py"),
        ("../bin/fit", "bin/fit"),
        ("env -C .. python train.py", "train.py"),
        ("env -C .. nice -n 5 env -C app python __main__.py", "app/__main__.py"),
    ],
)
def test_names_start_at_the_folder_of_the_command(place: Path, command: str, expected: str) -> None:
    assert answer(place, shlex.split(command), folder="tree/sub") == expected


def test_a_module_of_the_current_folder_goes_before_an_installed_launcher(tmp_path: Path) -> None:
    (tmp_path / "profile.py").touch()
    found = invocation(
        ["python", "-m", "profile", "x.py"], cwd=str(tmp_path), top=str(tmp_path), executable=None
    )
    assert found == Invocation(Kind.FILE, str(tmp_path / "profile.py"))


def module_file(tree: Path, *argv: str) -> tuple[str | None, bool]:
    """The file of a command as `tree` spells it, and whether it was guessed."""
    found = invocation(argv, cwd=str(tree), top=str(tree), executable=None)
    return found.path and Path(os.path.relpath(found.path, tree)).as_posix(), found.guessed is not None


def test_a_module_is_looked_for_on_pythonpath_before_the_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    for name in ("src/job.py", "lib/job.py", "here.py", "src/papermill.py", "../other/job.py"):
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "other/installed.py").touch()
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert module_file(tree, "python", "-m", "job") == ("src/job.py", True)
    assert module_file(tree, "python", "-m", "here") == ("here.py", False)
    monkeypatch.setenv("PYTHONPATH", f"missing{os.pathsep}src")
    assert module_file(tree, "python", "-m", "job") == ("src/job.py", False)
    assert module_file(tree, "env", "PYTHONPATH=lib", "python", "-m", "job") == ("lib/job.py", False)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'other'}{os.pathsep}src")
    assert module_file(tree, "python", "-m", "job") == ("../other/job.py", False)
    assert module_file(tree, "python", "-m", "installed") == (None, False)
    assert module_file(tree, "python", "-m", "here") == ("here.py", False)


def test_relative_folders_on_path_start_at_the_folder_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = tmp_path / "own" / "fit"
    fit.parent.mkdir()
    fit.touch(mode=0o755)
    monkeypatch.setenv("PATH", "own")
    found = invocation(["nice", "fit"], cwd=str(tmp_path), top=str(tmp_path), executable=None)
    assert found == Invocation(Kind.FILE, str(fit))


def test_a_link_to_a_file_is_named_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.py").touch()
    (tmp_path / "link.py").symlink_to("real.py")
    found = invocation(["python", "link.py"], cwd=str(tmp_path), top=str(tmp_path), executable=None)
    assert found == Invocation(Kind.FILE, str(tmp_path / "link.py"))


def test_a_worktree_that_is_reached_by_a_link_is_the_same_worktree(tmp_path: Path) -> None:
    (tmp_path / "real" / "bin").mkdir(parents=True)
    fit = tmp_path / "real" / "bin" / "fit"
    fit.touch(mode=0o755)
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    linked = str(tmp_path / "link" / "bin" / "fit")
    found = invocation(["fit"], cwd=str(tmp_path), top=str(tmp_path / "real"), executable=linked)
    assert found == Invocation(Kind.FILE, linked)


def test_python_itself_runs_the_file_that_is_named_for_a_module(tmp_path: Path) -> None:
    files = (
        "both.py",
        "both/__init__.py",
        "both/__main__.py",
        "loose.py",
        "loose/__main__.py",
        "n/__main__.py",
    )
    for name in (*files, "n/mod.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("print(__file__)\n" if "__init__" not in name else "")
    for module in ("both", "loose", "n", "n.mod"):
        ran = subprocess.run(
            [sys.executable, "-m", module], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        found = invocation(["python", "-m", module], cwd=str(tmp_path), top=str(tmp_path), executable=None)
        assert found.path is not None
        assert os.path.samefile(found.path, ran.stdout.strip()), module


def test_many_wrappers_are_followed_to_the_end(place: Path) -> None:
    assert answer(place, [*["nohup"] * 3000, "python", "train.py"]) == "train.py"


VOCABULARY = sorted(
    {
        *LAUNCHERS,
        *MODULES,
        *(word for rows in TABLE.values() for command, _ in rows for word in shlex.split(command)),
        *("-", "--", "+", "=", "--=", "A=b", "..", "/", "\0", "a\0/b", "\ud800", "\udcff/x", "x" * 5000),
    }
)


@given(argv=st.lists(st.sampled_from(VOCABULARY) | st.text(max_size=5), min_size=1, max_size=12))
def test_no_command_line_raises(place: Path, argv: list[str]) -> None:
    found = invocation(argv, cwd=str(place / "tree"), top=str(place / "tree"), executable=None)
    assert isinstance(found, Invocation)
    assert (found.path is not None) == (found.kind is Kind.FILE)
    assert found.path is None or os.path.isabs(found.path)


def test_a_program_of_the_project_is_the_file_that_holds_its_function(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project.scripts]\nmy-train = "model.cli:main"\nwhole = "model:main"\nother = "elsewhere:main"\n'
    )
    package = tmp_path / "src" / "model"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").touch()

    def of(*words: str, executable: str | None = None) -> Invocation:
        return invocation(words, cwd=str(tmp_path), top=str(tmp_path), executable=executable)

    assert of("uv", "run", "my-train", "--fast").path == str(package / "cli.py")
    assert of("uv", "run", "whole").path == str(package / "__init__.py")
    assert of("uv", "run", "other").kind is Kind.PROGRAM
    assert of("my-train", executable="/usr/bin/my-train").path is None
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    assert of("my-train", executable=str(environment / "bin" / "my-train")).path == str(package / "cli.py")
    assert of(".venv/bin/my-train").path == str(package / "cli.py")
