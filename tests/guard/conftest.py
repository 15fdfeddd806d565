"""A project as DerivaML's model template lays it out, and the environment in which it is started."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.config import load
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.git.discovery import measured

if TYPE_CHECKING:
    from tests.conftest import Repo

ROOT = Path(__file__).parents[2]

TRAIN = """\
import os
from models.helper import FACTOR

def train(lr: float, seed: int = 0, dry_run: bool = False) -> None:
    print(f"trained {lr * FACTOR:g}", flush=True)
    command = os.environ.get(f"AFTER_{seed}")
    if command:
        os.system(command)
"""
CONFIGS = """\
from hydra_zen import builds, store
from models.train import train

store(builds(train, lr=0.1, seed=0, dry_run=False), name="train")
"""
START = """\
import sys

sys.path.insert(0, "src")

def main() -> int:
    import configs
    from hydra_zen import store, zen
    from models.train import train

    store.add_to_hydra_store()
    if "--allow-dirty" in sys.argv:
        sys.argv.remove("--allow-dirty")
    words = dict(version_base="1.3", config_name="train", config_path=None)
    zen(train).hydra_main(**words)
    return 0

if __name__ == "__main__":
    main()
"""
NOTEBOOK = """\
import sys

import papermill


def main() -> None:
    if "--inspect" in sys.argv:
        return print("inspected")
    output = "outputs/executed.ipynb"
    papermill.execute_notebook(sys.argv[1], output, kernel_name="python3", progress_bar=False)
    print("executed")
"""
IGNORED = "__pycache__/\noutputs/\nmultirun/\n"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a command `deriva-ml-run`, which starts Hydra as DerivaML's own does."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    installed = [path for path in sys.path if "-packages" in path]
    (site / "beside.pth").write_text("\n".join([str(ROOT), *installed]) + "\n")
    (site / "deriva_ml_run.py").write_text(START)
    (site / "deriva_ml_run_notebook.py").write_text(NOTEBOOK)
    script = folder / "bin" / "deriva-ml-run-notebook"
    script.write_text(f"#!{folder}/bin/python\nfrom deriva_ml_run_notebook import main\nmain()\n")
    script.chmod(0o755)
    script = folder / "bin" / "deriva-ml-run"
    script.write_text(
        f"#!{folder}/bin/python\nimport sys\nfrom deriva_ml_run import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return folder


@pytest.fixture
def project(repo: Repo) -> Repo:
    """A guarded project in the template's layout, committed."""
    repo.write("pyproject.toml", "[tool.deriva-ml-hooks]\nguard = true\n")
    repo.write(".gitignore", IGNORED)
    repo.write("src/models/__init__.py", "")
    repo.write("src/models/helper.py", "FACTOR = 10\n")
    repo.write("src/models/train.py", TRAIN)
    repo.write("src/configs/__init__.py", CONFIGS)
    repo.write("uv.lock", "version = 1\n")
    repo.commit("The template")
    return repo


def rows(repo: Repo) -> list[dict[str, Any]]:
    """The records of a project, the newest first."""
    found = measured(str(repo.path))
    return [row.as_json() for row in ledger_of(found, load(found.worktree)).newest()]


Typed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(project: Repo, environment: Path) -> Typed:
    """Types a command in the project, with the environment activated."""

    def run(*words: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(environment)}
        for name in ("PYTEST_CURRENT_TEST", "PYTEST_VERSION"):  # a guarded program is left alone there
            env.pop(name, None)
        env |= variables
        return subprocess.run(
            words, cwd=cwd or project.path, env=env, text=True, capture_output=True, check=False
        )

    return run
