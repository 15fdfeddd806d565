"""What is brought back from a temporary worktree, and what of the user's is never overwritten."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ...conftest import Repo

Isolated = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary worktrees are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def isolated(repo: Repo, program: Callable[..., Any]) -> Isolated:
    """Runs a shell's line away from `repo`: the exit code, and what was said."""

    def run(line: str, *outputs: str, options: Sequence[str] = (), cwd: str = ".") -> tuple[int, str]:
        words = [word for output in outputs for word in ("--output", output)]
        done = program("run", "--isolated", *options, *words, "--", "sh", "-c", line, cwd=repo.path / cwd)
        return done.code, done.err

    return run


def kept(temporary: Path) -> list[str]:
    """The files in the worktree that was kept, except those of the commit; none where none was kept."""
    found = [path for path in temporary.glob("deriva-ml-hooks-*/repo/**/*") if path.is_file()]
    tops = [str(path.relative_to(temporary).joinpath()).split("/", 2)[2] for path in found]
    return sorted({*tops} - {".git", ".gitignore", "README.md", "src/train.py"})


class TestWhatIsNamed:
    @pytest.mark.parametrize(
        ("output", "names"),
        [
            ("results", ["results/a.csv", "results/b.txt", "results/deep/c.csv"]),
            ("results/*.csv", ["results/a.csv"]),
            ("results/**/*.csv", ["results/a.csv", "results/deep/c.csv"]),
            ("res*", ["results/a.csv", "results/b.txt", "results/deep/c.csv"]),
            ("[x] y", ["[x] y"]),
            ("odd[", ["odd["]),
        ],
    )
    def test_is_a_folder_a_file_or_a_glob(
        self, repo: Repo, isolated: Isolated, output: str, names: list[str]
    ) -> None:
        line = "mkdir -p results/deep; touch results/a.csv results/b.txt results/deep/c.csv '[x] y' 'odd['"
        code, said = isolated(line, output)
        assert code == 0
        assert f"{output}: {len(names)} file" in said
        found = {str(path.relative_to(repo.path)) for path in repo.path.rglob("*") if path.is_file()}
        new = {name for name in found if not name.startswith((".git", "README", "src"))}
        assert new == {*names}

    def test_is_kept_where_it_is_missing_and_the_exit_code_stays(
        self, isolated: Isolated, temporary: Path
    ) -> None:
        code, said = isolated("mkdir results; echo hours > results/x; exit 3", "reslts")
        assert code == 3
        assert "reslts: the run has made nothing of it" in said
        assert "the temporary worktree is kept" in said
        assert kept(temporary) == ["results/x"]

    def test_is_kept_where_nothing_was_made_of_what_is_there_and_something_else_was(
        self, repo: Repo, isolated: Isolated, temporary: Path
    ) -> None:
        repo.write("outputs/.gitkeep")
        repo.commit()
        code, said = isolated("mkdir output; echo hours > output/x", "outputs")
        assert code == 0
        assert "outputs: the run has made nothing of it" in said
        assert "output/x" in kept(temporary)

    def test_that_is_missing_where_nothing_was_made_keeps_nothing(
        self, isolated: Isolated, temporary: Path
    ) -> None:
        code, said = isolated("exit 3", "results", "*.csv")
        assert (code, said.count("the run has made nothing of it")) == (3, 2)
        assert not list(temporary.iterdir())

    def test_is_kept_where_the_command_has_broken_its_repository(
        self, isolated: Isolated, temporary: Path
    ) -> None:
        isolated("mkdir results; echo x > results/x; echo broken > .git", "results")
        assert kept(temporary) == ["results/x"]

    def test_is_brought_back_also_where_the_command_has_committed_it(
        self, repo: Repo, isolated: Isolated
    ) -> None:
        isolated("echo 1 > made.csv; git add made.csv; git commit --quiet -m Made", "made.csv")
        assert (repo.path / "made.csv").read_text() == "1\n"

    def test_leads_to_the_users_own_where_it_is_a_link_into_the_temporary_worktree(
        self, repo: Repo, isolated: Isolated
    ) -> None:
        isolated('mkdir results; echo x > results/x; ln -s "$PWD/results/x" results/latest', "results")
        assert os.readlink(repo.path / "results/latest") == str(repo.path / "results/x")
        assert (repo.path / "results/latest").read_text() == "x\n"


class TestWhatNobodyAskedFor:
    LINE = (
        "mkdir -p out/a src/__pycache__; touch out/a/1 out/2 src/__pycache__/x.pyc src/new;"
        " for n in 1 2 3 4 5; do touch $n.csv; done; echo more >> README.md"
    )

    def test_is_counted_and_named_before_it_goes(self, isolated: Isolated, temporary: Path) -> None:
        code, said = isolated(self.LINE)
        assert code == 0
        told = (
            "not asked for by --output: 9 new or changed files: 1.csv, 2.csv, 3.csv, 4.csv, 5.csv and 3 more"
        )
        assert f"{told}; removed with the temporary worktree" in said
        assert not list(temporary.iterdir())

    def test_is_counted_by_folders(self, isolated: Isolated) -> None:
        said = isolated("mkdir -p out/a; touch out/a/1 out/2 src/new", "src")[1]
        assert "2 new or changed files: out/ (2); removed" in said

    def test_is_no_word_where_nothing_was_made(self, isolated: Isolated) -> None:
        assert "asked for" not in isolated("mkdir __pycache__; touch __pycache__/x.pyc")[1]

    def test_is_no_result_where_tools_leave_it_but_comes_where_it_is_asked_for(
        self, repo: Repo, isolated: Isolated, temporary: Path
    ) -> None:
        folders = ".pytest_cache .venv/bin src/x.egg-info src/__pycache__ .mypy_cache .ipynb_checkpoints"
        line = f"for d in {folders}; do mkdir -p $d; touch $d/f; done; touch .coverage x.pyc"
        assert "asked for" not in isolated(line)[1]
        assert "removed" not in isolated(line, ".pytest_cache")[1]
        assert (repo.path / ".pytest_cache/f").exists()

    def test_stays_with_keep(self, isolated: Isolated, temporary: Path) -> None:
        said = isolated("touch made.csv", options=["--keep"])[1]
        assert "the temporary worktree is kept" in said
        assert kept(temporary) == ["made.csv"]

    @pytest.mark.parametrize(
        ("answer", "stays"), [("\n", True), ("y\n", True), ("n\n", False), ("\x04", True)]
    )
    def test_stays_on_a_terminal_unless_the_user_says_no(
        self, repo: Repo, temporary: Path, answer: str, stays: bool
    ) -> None:
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "deriva_ml_hooks", "run", "--isolated", "--", "touch", "made.csv"]
        os.write(ours, answer.encode())
        streams: Any = {"stdin": theirs, "stdout": subprocess.DEVNULL, "stderr": theirs}
        with subprocess.Popen(words, cwd=repo.path, **streams) as process:
            assert process.wait() == 0
        os.close(theirs)
        assert b"keep the temporary worktree?" in os.read(ours, 65536)
        os.close(ours)
        assert kept(temporary) == (["made.csv"] if stays else [])


class TestFilesOfTheUsers:
    def test_that_git_does_not_track_stay_and_what_is_new_comes_as_it_is_pasted(
        self, repo: Repo, isolated: Isolated, temporary: Path
    ) -> None:
        for name in ("old.log", "same.log", "my results.log/a"):
            repo.write(name, "worked on for weeks\n")
        repo.write("same.log", "new\n")
        files = "old.log same.log 'my results.log/a' new.log"
        line = f"mkdir 'my results.log'; for f in {files}; do echo new > \"$f\"; done"
        code, said = isolated(line, "*.log")
        assert (code, (repo.path / "new.log").read_text()) == (0, "new\n")
        assert (repo.path / "old.log").read_text() == "worked on for weeks\n"
        assert (repo.path / "my results.log/a").read_text() == "worked on for weeks\n"
        assert "not copied, since yours are others" in said
        assert "2 files copied back" in said
        (paste,) = re.findall("^.*fix: (tar .*)$", said, re.MULTILINE)
        subprocess.run(paste, shell=True, check=True, cwd=repo.path)
        assert {(repo.path / name).read_text() for name in ("old.log", "my results.log/a")} == {"new\n"}

    def test_are_named_from_the_folder_that_the_user_is_in(self, repo: Repo, isolated: Isolated) -> None:
        assert isolated(
            "touch a.log ../b.log c.log", "a.log", "../b.log", str(repo.path / "src/c.log"), cwd="src"
        )
        for name in ("src/a.log", "b.log", "src/c.log"):
            assert (repo.path / name).exists()

    def test_are_results_of_the_record_by_the_same_globs(
        self, repo: Repo, isolated: Isolated, program: Callable[..., Any]
    ) -> None:
        isolated(
            "mkdir -p r.log/deep; touch r.log/a.csv r.log/deep/b.csv 'odd[.log'", "r.log/*.csv", "odd[.log"
        )
        (record,) = json.loads(program("executions", "list", "--json").out)
        assert [one["path"] for one in record["results"]] == ["odd[.log", "r.log/a.csv"]


class TestEditsOfTheUsers:
    @pytest.fixture
    def library(self, repo: Repo, make_repo: Callable[..., Repo]) -> Path:
        """A submodule libs/sub with a file that the user has edited, in `repo`."""
        sub = make_repo("sub")
        sub.commit("Sub", code="committed\n")
        repo.git("submodule", "--quiet", "add", str(sub.path), "libs/sub")
        repo.write("results.log/old", "old\n")
        repo.commit("Library")
        file = repo.path / "libs/sub/code"
        file.write_text("edited for hours\n")
        return file

    @pytest.mark.parametrize("output", ["libs", "libs/sub", "libs/sub/code", "libs/*/c*"])
    def test_in_a_submodule_stay_and_what_is_new_there_comes(
        self, repo: Repo, library: Path, isolated: Isolated, temporary: Path, output: str
    ) -> None:
        line = "echo new > libs/sub/code.csv; echo other > libs/x"
        code, said = isolated(line, output)
        assert (code, library.read_text()) == (0, "edited for hours\n")
        assert (repo.path / "libs/sub/code.csv").exists() == (output != "libs/sub/code")
        assert "not copied" not in said.replace("nothing was copied", "")

    def test_in_a_submodule_stay_where_the_command_has_changed_the_same_file(
        self, library: Path, isolated: Isolated, temporary: Path
    ) -> None:
        code, said = isolated("echo other > libs/sub/code", "libs")
        assert (code, library.read_text()) == (0, "edited for hours\n")
        assert "libs/sub/code: not copied, since yours is another" in said
        assert "libs/sub/code" in kept(temporary)

    def test_stay_behind_a_folder_that_is_a_link(
        self, repo: Repo, library: Path, isolated: Isolated, temporary: Path
    ) -> None:
        for name, leads in (("sub.log", "libs/sub"), ("src.log", "src"), ("git.log", ".git/hooks")):
            (repo.path / name).symlink_to(repo.path / leads)
        repo.write("src/train.py", "edited\n")
        files = "sub.log/code src.log/train.py git.log/x"
        line = f"mkdir sub.log src.log git.log; for f in {files}; do echo no > $f; done"
        code, said = isolated(line, "sub.log", "src.log", "git.log")
        assert (code, library.read_text()) == (0, "edited for hours\n")
        assert (repo.path / "src/train.py").read_text() == "edited\n"
        assert not (repo.git_dir / "hooks/x").exists()
        assert said.count("not copied") == 3
        assert {"sub.log/code", "src.log/train.py", "git.log/x"} <= {*kept(temporary)}

    def test_a_submodule_that_is_not_checked_out_stays_empty(
        self, repo: Repo, library: Path, isolated: Isolated, temporary: Path
    ) -> None:
        repo.git("submodule", "--quiet", "deinit", "--force", "libs/sub")
        said = isolated("echo new > libs/sub/new.csv", "libs")[1]
        assert "a submodule that is not checked out" in said
        assert not list((repo.path / "libs/sub").iterdir())
        assert "libs/sub/new.csv" in kept(temporary)

    def test_nothing_is_written_through_a_link_of_the_repository_that_leads_out_of_it(
        self, repo: Repo, isolated: Isolated, temporary: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (repo.path / "results").symlink_to(tmp_path / "outside")
        repo.commit("A link")
        said = isolated("rm results; mkdir results; touch results/x", "results")[1]
        assert "a link of the repository that leads out of it" in said
        assert not list((tmp_path / "outside").iterdir())
        assert "results/x" in kept(temporary)

    def test_a_link_of_the_users_own_is_followed(
        self, repo: Repo, isolated: Isolated, temporary: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "scratch").mkdir()
        (repo.path / "results.log").symlink_to(tmp_path / "scratch")
        isolated("mkdir results.log; echo 1 > results.log/x", "results.log")
        assert (tmp_path / "scratch/x").read_text() == "1\n"
        assert not list(temporary.iterdir())
