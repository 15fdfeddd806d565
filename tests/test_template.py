"""The first hour in a repository built like DerivaML's model template, from `install` to recorded runs.

Its structure only, written here: uv and a large uv.lock, configurations in src/configs, a notebook whose
cell of parameters calls run_notebook, a workflow of its own, a .gitignore that knows nothing of what runs
leave.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.cli import main
from deriva_ml_hooks.hooks import recommended
from deriva_ml_hooks.notebooks.strip import strip
from tests.commands.test_submit import Queue, queue
from tests.conftest import Repo

__all__ = ["queue"]  # a fixture

ROOT = Path(__file__).parents[1]
BIN = os.path.dirname(sys.executable)
NOTEBOOK = "notebooks/roc_analysis.ipynb"
PYPROJECT = """\
[project]
name = "model"
dynamic = ["version"]
requires-python = ">=3.10"
dependencies = []

[tool.setuptools_scm]
"""
# uv asks nobody and builds nothing for this one.
VIRTUAL = PYPROJECT.partition("[tool")[0].replace('dynamic = ["version"]', 'version = "0"')
VIRTUAL += "[tool.uv]\npackage = false\n"
LOCK = """\
version = 1
revision = 3
requires-python = ">=3.10"

[[package]]
name = "model"
version = "0"
source = { virtual = "." }
"""
TRAIN = """\
import os, pathlib, sys
from configs import experiments
for name in ("checkpoints/1.pt", "runs/a/events.out", "outputs/x/.hydra/config.yaml", "predictions.csv"):
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_text(str(experiments.RATE))
print("trained at", experiments.RATE)
"""


def cell(source: str, *tags: str, count: int | None = None) -> dict[str, Any]:
    output = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}
    return {
        "cell_type": "code",
        "execution_count": count,
        "id": "0",
        "metadata": {"tags": [*tags]} if tags else {},
        "outputs": [] if count is None else [output],
        "source": source.splitlines(keepends=True),
    }


def notebook(*, ran: bool) -> bytes:
    """The notebook of the template's kind, as Jupyter saves it."""
    call = 'ml, execution, config = run_notebook("roc", workflow_type="ROC")\nprint(config.assets)'
    cells = [
        cell("from deriva_ml.execution import run_notebook", count=1 if ran else None),
        cell(call, "parameters", count=2 if ran else None),
    ]
    document = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    for one in cells:
        del one["id"]
    return json.dumps(document, indent=1).encode() + b"\n"


FILES: dict[str, str | bytes] = {
    "pyproject.toml": PYPROJECT,
    "uv.lock": LOCK + "# a package, its versions and its hashes\n" * (747_000 // 42),
    "README.md": "# Model\n",
    ".gitignore": "__pycache__/\n.venv\n*.egg-info/\n.ipynb_checkpoints",
    ".github/workflows/release.yml": "on:\n  push:\n    tags: ['v*']\njobs: {}\n",
    "src/configs/__init__.py": "",
    "src/configs/experiments.py": "RATE = 0.01\n",
    "src/models/__init__.py": "",
    "src/models/train.py": TRAIN,
    NOTEBOOK: strip(notebook(ran=False)),
}


@pytest.fixture
def template(make_repo: Callable[..., Repo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A new repository of the template's structure, nothing committed, with a remote; worked in."""
    made = make_repo("model")
    for name, content in FILES.items():
        made.write(name, content)
    bare = make_repo("remote.git", "--bare")
    made.git("remote", "add", "origin", str(bare.path))
    monkeypatch.chdir(made.path)
    monkeypatch.setenv("PATH", BIN, prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", "src")
    monkeypatch.setenv("GIT_EDITOR", "echo Changed >")
    for name in ("PRE_COMMIT_HOME", "PREK_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name, value in {"OFFLINE": "1", "CACHE_DIR": str(tmp_path / "uv"), "PYTHON": sys.executable}.items():
        monkeypatch.setenv(f"UV_{name}", value)
    return made


@pytest.fixture
def committed(template: Repo) -> Repo:
    """The same, committed and pushed, with the native hooks in place."""
    assert main(["install"]) == 0
    template.commit("Start")
    template.push()
    return template


def paste(command: str) -> None:
    """Run a command as it was printed."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, text=True)
    assert done.returncode in (0, 1), (command, done)  # a hook that changed something says 1
    assert "rror" not in done.stderr, (command, done)


Started = Callable[..., tuple[int, str]]


@pytest.fixture
def start(template: Repo, program: Callable[..., Any]) -> Started:
    """Runs the program in the repository; its exit code, and all that was printed."""

    def run(*words: str) -> tuple[int, str]:
        done = program(*words, cwd=template.path)
        return done.code, done.out + done.err

    return run


def listed(start: Started) -> list[dict[str, Any]]:
    """The executions that are recorded, newest first."""
    found: list[dict[str, Any]] = json.loads(start("executions", "list", "--json")[1])
    return found


TRAINING = ("run", "--", sys.executable, "src/models/train.py")


def fixes(said: str) -> list[str]:
    return [line.removeprefix("fix: ") for line in said.splitlines() if line.startswith("fix: ")]


@pytest.mark.parametrize("framework", ["pre-commit", "prek"])
def test_it_is_committed_and_pushed_through_every_recommended_hook(template: Repo, framework: str) -> None:
    yaml = pytest.importorskip("yaml")
    if not shutil.which(framework):
        pytest.skip(f"{framework} is not installed")
    manifest = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    command = f"{sys.executable} -m deriva_ml_hooks hook"
    ours = [
        one | {"language": "system", "entry": f"{command} {one['id']}"}
        for one in manifest
        if one["id"] in recommended()
    ]
    assert len(ours) == len(recommended())
    document = {
        "default_install_hook_types": ["pre-commit", "pre-push"],
        "repos": [{"repo": "local", "hooks": ours}],
    }
    template.write(".pre-commit-config.yaml", json.dumps(document))
    paste(f"{framework} install")
    assert main(["install"]) == 0
    template.commit("Start")
    template.push()
    assert template.git("status", "--porcelain") == ""
    assert template.git("rev-parse", "origin/main") == template.git("rev-parse", "HEAD")


def test_what_a_run_leaves_refuses_the_next_until_the_fixes_are_pasted(
    committed: Repo, start: Started
) -> None:
    assert start(*TRAINING)[0] == 0
    committed.write("src/models/other.py", "import os\n")
    code, said = start(*TRAINING)
    assert code == 125
    ways = fixes(said)
    assert len(ways) == 2
    for way in ways:
        paste(way)
    for _ in range(2):
        assert start(*TRAINING)[0] == 0
    tracked = committed.git("ls-files").splitlines()
    assert "src/models/other.py" in tracked
    assert not [name for name in tracked if name.startswith(("runs", "outputs", "checkpoints", "pred"))]
    records = listed(start)
    assert [record["status"] for record in records] == ["Completed"] * 3
    code, said = start("verify", "--json")
    assert {one["verdict"] for one in json.loads(said)["executions"]} <= {"verified", "unpushed"}
    assert start("rerun", records[0]["id"])[0] == 0


def test_the_lines_that_install_offers_are_enough_for_every_run(committed: Repo, start: Started) -> None:
    assert "/runs/" in start("doctor")[1]
    assert start("install", "--gitignore")[0] == 0
    committed.write(".gitignore", (committed.path / ".gitignore").read_text() + "/predictions.csv\n")
    committed.commit("Ignore")
    for _ in range(2):
        assert start(*TRAINING)[0] == 0


def test_a_notebook_that_ran_is_stripped_or_filtered_and_the_run_goes_on(
    committed: Repo, start: Started
) -> None:
    for part in (0, 1):
        committed.write(NOTEBOOK, notebook(ran=True))
        code, said = start("run", "--", "true")
        assert (code, "executed; only its outputs differ from the commit" in said) == (125, True)
        for_good = said.partition("look past outputs: ")[2].partition(")\n")[0]
        paste((*fixes(said), for_good)[part])
        assert start("run", "--", "true")[0] == 0
    assert (committed.path / NOTEBOOK).read_bytes() == notebook(ran=True)  # git looks past the outputs now
    committed.write(NOTEBOOK, notebook(ran=False).replace(b"roc", b"other"))
    assert start("run", "--", "true")[0] == 125


def test_a_run_that_wants_a_tag_is_led_to_bump_version(committed: Repo, start: Started) -> None:
    code, said = start("run", "--tag-required", "--", "true")
    assert code == 125
    (way,) = fixes(said)
    paste(way)
    assert start("run", "--tag-required", "--", "true")[0] == 0
    assert committed.git("ls-remote", "--tags", "origin") != ""


def test_a_dry_run_of_derivamls_own_program_records_nothing(committed: Repo, start: Started) -> None:
    committed.write(".venv/bin/deriva-ml-run", '#!/bin/sh\necho "$*"\n').chmod(0o755)
    committed.write("README.md", "# Edited\n")
    program = ".venv/bin/deriva-ml-run"
    code, said = start("run", "--dry-run", "--", program, "+experiment=a")
    assert (code, "+experiment=a dry_run=true" in said) == (0, True)
    assert start("run", "--", program, "+experiment=a")[0] == 125
    assert json.loads(start("executions", "list", "--json")[1]) == []


def test_its_packages_are_brought_by_uv(
    committed: Repo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    if shutil.which("pre-commit") or shutil.which("prek"):
        pytest.skip("a framework is installed for the whole machine")
    assert main(["install", "--pre-commit"]) != 0
    assert fixes(capsys.readouterr().err) == ["uv add --dev pre-commit"]


def test_ci_is_written_beside_its_release_workflow_and_passes(
    committed: Repo, start: Started, run_ci: Callable[..., Any], tmp_path: Path
) -> None:
    assert start("install", "--ci", "github")[0] == 0
    before = committed.git("rev-parse", "HEAD")
    committed.commit("Checks")
    committed.push()
    names = sorted(os.listdir(committed.path / ".github/workflows"))
    assert names == ["deriva-ml-hooks.yml", "release.yml"]
    done = run_ci("refs/heads/main", before, remote=tmp_path / "remote.git")
    assert done.returncode == 0, done


def test_a_job_is_submitted_and_runs_what_was_accepted(committed: Repo, start: Started, queue: Queue) -> None:
    committed.write("job.sh", "#!/bin/sh\npython3 src/models/train.py\n")
    commit = committed.commit("Job")
    code, said = start("run", "--", "sbatch", "job.sh")
    assert code == 125
    (way,) = fixes(said)
    paste(way)
    assert [record["status"] for record in listed(start)] == ["Submitted"]
    committed.write("src/models/train.py", "raise SystemExit('edited while it waited')\n")
    assert queue.run().returncode == 0
    (record,) = listed(start)
    assert (record["status"], record["commit"]) == ("Completed", commit)


def test_a_run_that_changes_the_tree_is_marked_where_runs_are_read(committed: Repo, start: Started) -> None:
    assert start("run", "--description", "Lock again", "--", "sh", "-c", "echo >> uv.lock")[0] == 0
    shown = start("executions", "list")[1]
    assert "Completed, changed" in shown
    assert "Lock again" in shown
    committed.push()
    assert "changed during the run: uv.lock" in start("verify", "last")[1]


@pytest.mark.skipif(not shutil.which("uv", path=BIN) and not shutil.which("uv"), reason="needs uv")
def test_a_run_under_uv_is_recorded_with_its_script_and_leaves_the_lock_file_alone(
    committed: Repo, start: Started
) -> None:
    committed.write("pyproject.toml", VIRTUAL)
    committed.commit("Virtual")
    code, said = start("run", "--", "uv", "run", "python", "src/models/train.py")
    assert code == 0, said
    (record,) = listed(start)
    assert record["entry_point"]["path"] == "src/models/train.py"
    assert [one["path"] for one in record["provenance"]["lockfiles"]] == ["uv.lock"]
    assert committed.git("diff", "--name-only") == ""
    committed.write("src/models/train.py", "raise SystemExit('edited')\n")
    for again in (
        ("run", "--isolated", "--", "uv", "run", "python", "src/models/train.py"),
        ("rerun", "last"),
    ):
        code, said = start(*again)
        assert code == 0, said
        assert "isolated: " in said
    versions = {record["interpreter"]["version"] for record in listed(start)}
    assert len(versions) == 1
