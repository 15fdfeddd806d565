"""Whatever is typed in a guarded project: the code that ran is what the record names, or nothing ran."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.guard.conftest import rows

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.guard.conftest import Typed


TABLE = "[tool.deriva-ml-hooks]\n"
APP = """\
import hydra

@hydra.main(version_base=None, config_path=None)
def main(_):
    {}

main()
"""


def assert_refused(repo: Repo, done: Any) -> None:
    """Nothing ran, and nothing is recorded."""
    assert done.returncode == 125, done
    assert done.stdout == ""
    assert rows(repo) == []


class TestARun:
    def test_a_clean_tree_runs_with_a_record_of_its_commit(self, project: Repo, typed: Typed) -> None:
        done = typed("deriva-ml-run", "lr=2")
        assert (done.returncode, done.stdout) == (0, "trained 20\n")
        (row,) = rows(project)
        assert row["provenance"]["commit"] == project.git("rev-parse", "HEAD")
        assert row["status"] == "Completed"
        assert row["command"][-1] == "lr=2"

    @pytest.mark.parametrize("words", [("python", "-m", "deriva_ml_run"), ("python", "start.py")])
    def test_however_it_is_started(self, project: Repo, typed: Typed, words: tuple[str, ...]) -> None:
        project.write("start.py", "from deriva_ml_run import main\nmain()\n")
        project.commit("A script")
        done = typed(*words, "lr=3")
        assert (done.returncode, done.stdout) == (0, "trained 30\n")
        assert len(rows(project)) == 1

    def test_its_exit_code_is_the_programs(self, project: Repo, typed: Typed) -> None:
        project.write("start.py", APP.format("raise SystemExit(9)"))
        project.commit("Start")
        assert typed("python", "start.py").returncode == 9
        (row,) = rows(project)
        assert (row["status"], row["exit_code"]) == ("Failed", 9)

    @pytest.mark.parametrize(
        "change",
        [
            lambda repo: repo.write("src/models/helper.py", "FACTOR = 11\n"),
            lambda repo: repo.write("src/models/other.py", ""),
            lambda repo: repo.git("rm", "--quiet", "--cached", "uv.lock"),
        ],
        ids=["a helper is edited", "a module is untracked", "something is staged"],
    )
    def test_a_tree_that_is_not_the_commit_is_refused(
        self, project: Repo, typed: Typed, change: Callable[[Repo], object]
    ) -> None:
        change(project)
        assert_refused(project, typed("deriva-ml-run", "lr=2"))
        assert_refused(project, typed("deriva-ml-run", "--multirun", "lr=2,3"))

    @pytest.mark.parametrize("folder", ["outputs", "multirun", "findings", ".scratch"])
    def test_what_runs_leave_is_offered_to_gitignore(self, project: Repo, typed: Typed, folder: str) -> None:
        project.write(".gitignore", "__pycache__/\n")
        project.commit("Ignore less")
        project.write(f"{folder}/1/model.pt")
        done = typed("deriva-ml-run", "lr=2")
        assert_refused(project, done)
        assert f"/{folder}/" in done.stderr
        assert ".gitignore" in done.stderr

    @pytest.mark.parametrize("way", ["a variable", "a word"])
    def test_nothing_lets_a_dirty_tree_pass(self, project: Repo, typed: Typed, way: str) -> None:
        project.write("src/models/helper.py", "FACTOR = 11\n")
        if way == "a variable":
            done = typed("deriva-ml-run", "lr=2", DERIVA_ML_ALLOW_DIRTY="true")
        else:
            done = typed("deriva-ml-run", "--allow-dirty", "lr=2")
        assert_refused(project, done)
        assert "dry_run=true" in done.stderr

    def test_where_git_fails_nothing_runs(
        self, project: Repo, typed: Typed, tmp_path: Path, environment: Path
    ) -> None:
        broken = tmp_path / "broken" / "git"
        broken.parent.mkdir()
        broken.write_text("#!/bin/sh\nexit 3\n")
        broken.chmod(0o755)
        path = os.pathsep.join([str(broken.parent), str(environment / "bin"), os.environ["PATH"]])
        assert_refused(project, typed("deriva-ml-run", "lr=2", PATH=path))

    def test_a_second_remote_is_the_one_that_counts(self, project: Repo, typed: Typed) -> None:
        project.git("remote", "add", "origin", "https://github.com/fork/mine.git")
        project.git("remote", "add", "lab", "https://github.com/lab/mine.git")
        project.write("pyproject.toml", '[tool.deriva-ml-hooks]\nguard = true\nremote = "lab"\n')
        project.commit("The lab's")
        assert typed("deriva-ml-run", "lr=2").returncode == 0
        assert rows(project)[0]["provenance"]["repository_url"] == "https://github.com/lab/mine"

    def test_a_lock_file_that_uv_has_rewritten_is_named_as_such(self, project: Repo, typed: Typed) -> None:
        project.write("uv.lock", "version = 2\n")
        done = typed("deriva-ml-run", "lr=2")
        assert_refused(project, done)
        assert "--frozen" in done.stderr
        fix = next(line for line in done.stderr.splitlines() if line.startswith("fix: "))
        assert typed("sh", "-c", fix.removeprefix("fix: ")).returncode == 0
        assert typed("deriva-ml-run", "lr=2").returncode == 0

    def test_it_is_gated_from_wherever_it_is_started(
        self, project: Repo, typed: Typed, make_repo: Callable[..., Repo]
    ) -> None:
        project.write("start.py", APP.format("print('ran')"))
        project.commit("A script")
        other = make_repo("other")
        other.commit("Other", file="x\n")
        for folder in (project.path.parent, other.path):
            done = typed("python", str(project.path / "start.py"), cwd=folder)
            assert (done.returncode, done.stdout) == (125, "")

    def test_in_this_clone_alone(self, project: Repo, typed: Typed) -> None:
        project.git("rm", "--quiet", "pyproject.toml")
        project.commit("No settings")
        assert typed("deriva-ml-run", "lr=2").returncode == 0
        assert rows(project) == []
        project.git("config", "deriva-ml-hooks.guard", "true")
        assert typed("deriva-ml-run", "lr=2", cwd=project.path).returncode == 0
        assert len(rows(project)) == 1


class TestASweep:
    def test_every_job_is_under_one_run(self, project: Repo, typed: Typed) -> None:
        done = typed("deriva-ml-run", "--multirun", "lr=2,3", "seed=1,2")
        assert done.returncode == 0
        assert done.stdout.count("trained") == 4
        assert [row["status"] for row in rows(project)] == ["Completed"]

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("echo 'FACTOR = 11' > src/models/helper.py", "src/models/helper.py"),
            ("git commit --quiet --allow-empty -m Later", "HEAD is no longer"),
            ("touch src/new.py", "src/new.py"),
            ("rm -rf .git/refs .git/objects", "job 1"),
        ],
    )
    def test_the_next_job_is_refused_where_the_tree_has_changed(
        self, project: Repo, typed: Typed, command: str, said: str
    ) -> None:
        done = typed("deriva-ml-run", "--multirun", "seed=1,2", AFTER_1=command)
        assert done.returncode == 125
        assert done.stdout.count("trained") == 1
        assert said in done.stderr
        if "rm" not in command:
            (row,) = rows(project)
            assert row["status"] == "Failed"
            assert said in row["detail"]

    def test_results_of_earlier_jobs_are_no_code(self, project: Repo, typed: Typed) -> None:
        done = typed(
            "deriva-ml-run", "--multirun", "seed=1,2", AFTER_1="mkdir -p runs && touch runs/model.pt"
        )
        assert done.returncode == 0
        assert done.stdout.count("trained") == 2


class TestItIsLeftAlone:
    @pytest.mark.parametrize(
        "words", [("--help",), ("--cfg", "job"), ("--info", "plugins"), ("--hydra-help",), ("dry_run=true",)]
    )
    def test_what_runs_nothing(self, project: Repo, typed: Typed, words: tuple[str, ...]) -> None:
        project.write("src/models/helper.py", "FACTOR = 11\n")
        done = typed("deriva-ml-run", *words)
        assert done.returncode == 0, done
        assert rows(project) == []

    @pytest.mark.parametrize(
        "content", ["", "[tool.deriva-ml-hooks]\n", "[tool.deriva-ml-hooks]\nguard = false\n"]
    )
    def test_a_repository_that_has_not_said_so(self, project: Repo, typed: Typed, content: str) -> None:
        project.write("pyproject.toml", content)
        done = typed("deriva-ml-run", "lr=2")
        assert (done.returncode, done.stdout) == (0, "trained 20\n")
        assert rows(project) == []

    def test_a_run_that_is_around_it_already(self, project: Repo, typed: Typed) -> None:
        done = typed("python", "-m", "deriva_ml_hooks", "run", "--", "deriva-ml-run", "lr=2")
        assert done.returncode == 0
        assert len(rows(project)) == 1

    def test_a_test_that_composes_a_configuration(self, project: Repo, typed: Typed) -> None:
        project.write("compose.py", COMPOSE)
        assert typed("python", "compose.py").stdout == "{}\n"

    def test_pytest_and_ipython(self, project: Repo, typed: Typed) -> None:
        """Which call the application as a function, on whatever tree."""
        call = "import sys; sys.argv[1:] = ['lr=2']; from deriva_ml_run import main; main()"
        project.write("test_it.py", f"def test_it(): {call}\n")
        done = typed("python", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_it.py")
        assert (done.returncode, "trained 20\n" in done.stdout) == (0, True), done
        done = typed("python", "-m", "IPython", "--quick", "-c", call, IPYTHONDIR="outputs")
        assert (done.returncode, "trained 20\n" in done.stdout) == (0, True), done
        assert rows(project) == []

    def test_an_application_of_another_project(
        self, project: Repo, typed: Typed, make_repo: Callable[..., Repo]
    ) -> None:
        other = make_repo("other")
        other.write(
            "app.py", "import hydra\n@hydra.main(version_base=None)\ndef main(_):\n    print('ran')\nmain()\n"
        )
        done = typed("python", str(other.path / "app.py"))
        assert (done.returncode, done.stdout) == (0, "ran\n")
        assert rows(project) == []


COMPOSE = """\
from hydra import compose, initialize

with initialize(version_base=None):
    print(compose())
"""


class TestANotebook:
    """DerivaML's own command, which knows nothing of Hydra."""

    @pytest.fixture
    def notebook(self, project: Repo) -> str:
        cell = nbformat.v4.new_code_cell("import os; print(os.environ['DERIVA_ML_HOOKS_EXECUTION'])")
        project.write("analysis.ipynb", nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
        project.commit("Notebook")
        (project.path / "outputs").mkdir()
        return "analysis.ipynb"

    def test_it_is_started_again_under_run(self, project: Repo, typed: Typed, notebook: str) -> None:
        done = typed("deriva-ml-run-notebook", notebook)
        assert (done.returncode, done.stdout) == (0, "executed\n")
        (row,) = rows(project)
        assert row["entry_point"]["path"] == notebook

    def test_a_tree_that_is_not_the_commit_is_refused(
        self, project: Repo, typed: Typed, notebook: str
    ) -> None:
        project.write("src/models/helper.py", "FACTOR = 11\n")
        assert_refused(project, typed("deriva-ml-run-notebook", notebook))
        assert typed("deriva-ml-run-notebook", "--inspect", notebook).stdout == "inspected\n"
