"""Records handed on, and taken back in a place that has files but no repository."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]


@pytest.fixture(autouse=True)
def tagged(repo: Repo) -> Repo:
    """A version, and a remote on a known forge."""
    repo.git("remote", "add", "origin", "git@github.com:lab/model.git")
    repo.git("tag", "-a", "v1.2.0", "-m", "x")
    return repo


class TestEnv:
    def test_a_shell_reads_it(self, repo: Repo, program: Program) -> None:
        repo.git("checkout", "--quiet", "-b", "it's-$(touch${IFS}boom)")
        done = program("provenance", "--format", "env")
        assert done.code == 0
        shown = subprocess.run(
            ["sh", "-c", 'eval "$1"; env -0', "sh", done.out], cwd=repo.path, capture_output=True, check=True
        )
        env = dict(entry.split("=", 1) for entry in shown.stdout.decode().split("\0") if entry)
        found = {name: value for name, value in env.items() if name.startswith("DERIVA_ML_HOOKS_")}
        commit = repo.git("rev-parse", "HEAD")
        assert found == {
            "DERIVA_ML_HOOKS_COMMIT": commit,
            "DERIVA_ML_HOOKS_TREE": repo.git("rev-parse", "HEAD^{tree}"),
            "DERIVA_ML_HOOKS_BRANCH": "it's-$(touch${IFS}boom)",
            "DERIVA_ML_HOOKS_TAG": "v1.2.0",
            "DERIVA_ML_HOOKS_VERSION": "1.2.0",
            "DERIVA_ML_HOOKS_REPOSITORY_URL": "https://github.com/lab/model",
            "DERIVA_ML_HOOKS_COMMIT_URL": f"https://github.com/lab/model/commit/{commit}",
            "DERIVA_ML_HOOKS_REMOTE": "origin",
            "DERIVA_ML_HOOKS_PUSHED": "",
            "DERIVA_ML_HOOKS_CLEAN": "true",
        }
        assert not (repo.path / "boom").exists()

    def test_it_says_when_the_tree_is_not_the_commit(self, repo: Repo, program: Program) -> None:
        repo.write("new.py")
        done = program("provenance", "--format", "env")
        assert "export DERIVA_ML_HOOKS_CLEAN=false\n" in done.out
        assert "new.py: " in done.err


class TestDocker:
    def test_arguments_of_a_build(self, repo: Repo, program: Program) -> None:
        done = program("provenance", "--format", "docker")
        commit = repo.git("rev-parse", "HEAD")
        assert shlex.split(done.out) == [
            "--build-arg=DERIVA_MCP_IN_DOCKER=true",
            "--build-arg=DERIVA_MCP_VERSION=1.2.0",
            f"--build-arg=DERIVA_MCP_GIT_COMMIT={commit}",
            f"--label=org.opencontainers.image.revision={commit}",
            "--label=org.opencontainers.image.source=https://github.com/lab/model",
            "--label=org.opencontainers.image.version=1.2.0",
        ]

    def test_none_for_what_is_not_the_commit(self, repo: Repo, program: Program, tmp_path: Path) -> None:
        repo.write("src/train.py", "changed\n")
        target = tmp_path / "arguments"
        done = program("provenance", "--format", "docker", "--output", str(target))
        assert (done.code, done.out) == (1, "")
        assert "src/train.py: " in done.err
        assert not target.exists()


class TestBuildingAsThePageSays:
    """The lines of docs/images.md, by a shell, with a `docker` that writes down what it is given."""

    @pytest.fixture
    def builds(self, repo: Repo, tmp_path: Path) -> Callable[[], tuple[int, list[str]]]:
        repo.write(".gitignore", "/provenance.json\n")
        repo.commit()
        repo.git("tag", "-a", "v2.0.0", "-m", "x")
        page = (Path(__file__).parents[2] / "docs" / "images.md").read_text()
        block = next(b for b in page.split("```console\n$ ") if "docker build" in b).partition("```")[0]
        given, docker = tmp_path / "given", tmp_path / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {given}\n")
        docker.chmod(0o755)
        path = os.pathsep.join([str(docker.parent), os.path.dirname(sys.executable), os.environ["PATH"]])

        def build() -> tuple[int, list[str]]:
            lines = block.partition("$ docker run")[0]
            done = subprocess.run(["sh", "-c", lines], cwd=repo.path, env={**os.environ, "PATH": path})
            return done.returncode, given.read_text().splitlines() if given.exists() else []

        return build

    def test_a_commit_is_built_with_its_arguments_before_the_folder(
        self, repo: Repo, builds: Callable[[], tuple[int, list[str]]]
    ) -> None:
        code, given = builds()
        assert code == 0
        assert given[0] == "build"
        assert f"--build-arg=DERIVA_MCP_GIT_COMMIT={repo.git('rev-parse', 'HEAD')}" in given
        assert given[-1] == "."
        assert all(word.startswith("--") or word == "ghcr.io/lab/model" for word in given[1:-1])
        assert json.loads((repo.path / "provenance.json").read_text())["clean"] is True

    def test_nothing_is_built_of_a_dirty_tree(
        self, repo: Repo, builds: Callable[[], tuple[int, list[str]]]
    ) -> None:
        repo.write("src/train.py", "changed\n")
        assert builds() == (1, [])


class TestUsage:
    @pytest.mark.parametrize(
        "words",
        [
            ("--format", "yaml"),
            ("--format", "ro-crate"),
            ("0123",),
            ("--format", "env", "0123"),
            ("--format", "env", "--left-out", "x"),
            ("--left-out", "x"),
            ("--format", "json", "--left-out", "[x"),
            ("--output", "x"),
            ("--format", "env", "--output", "no/such/folder/x"),
        ],
    )
    def test_words_that_fit_nothing(self, program: Program, words: tuple[str, ...]) -> None:
        assert program("provenance", *words).code == 2

    def test_no_secret_is_exported(self, repo: Repo, program: Program) -> None:
        repo.git("remote", "set-url", "origin", "https://ada:hunter2@github.com/lab/model.git")
        for form in ("json", "env", "docker"):
            done = program("provenance", "--format", form)
            assert done.code == 0
            assert "https://github.com/lab/model" in done.out
            assert "hunter2" not in done.out + done.err


class TestImage:
    @pytest.fixture
    def image(self, repo: Repo, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder with the files of a commit and what the build wrote, and no repository above it."""
        repo.write("helper.py", "value = 1\n")
        repo.write("caf\udce9.txt", "bytes\n")
        repo.write("dos.txt", "one\n")
        repo.write(".gitattributes", "dos.txt text eol=crlf\n")
        (repo.path / "link").symlink_to("helper.py")
        repo.commit("Files")
        (repo.path / "dos.txt").unlink()
        repo.git("checkout", "--", "dos.txt")
        repo.git("tag", "-a", "v1.3.0", "-m", "x")
        assert (repo.path / "dos.txt").read_bytes() == b"one\r\n"
        return self.build(repo, program, tmp_path, monkeypatch)

    @staticmethod
    def build(
        repo: Repo,
        program: Program,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        left_out: Sequence[str] = (),
    ) -> Path:
        folder = tmp_path / "image"
        shutil.copytree(repo.path, folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        target = folder / "provenance.json"
        words = [word for glob in left_out for word in ("--left-out", glob)]
        done = program("provenance", "--format", "json", *words, "--output", str(target), cwd=repo.path)
        assert done.code == 0, done.err
        monkeypatch.setenv("DERIVA_ML_HOOKS_PROVENANCE_FILE", str(target))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        return folder

    def runs(self, program: Program, image: Path, *words: str) -> dict[str, Any]:
        done = program("run", "--", *(words or (sys.executable, "src/train.py")), cwd=image)
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = json.loads(program("executions", "list", "--json", cwd=image).out)
        return found[0]

    def test_the_record_is_the_one_of_the_build_and_says_so(
        self, repo: Repo, program: Program, image: Path, tmp_path: Path
    ) -> None:
        record = self.runs(program, image)
        commit = repo.git("rev-parse", "HEAD")
        assert record["provenance"]["source"] == "file"
        assert (record["commit"], record["provenance"]["tag"]) == (commit, "v1.3.0")
        assert record["entry_point"] == {
            "path": "src/train.py",
            "blob": repo.git("rev-parse", "HEAD:src/train.py"),
            "checksum": repo.git("rev-parse", "HEAD:src/train.py"),
            "url": f"https://github.com/lab/model/blob/{commit}/src/train.py",
        }
        assert [w["code"] for w in record["warnings"]] == ["provenance-file"]
        assert record["changed_during_run"] == []
        assert (tmp_path / "state" / "deriva-ml-hooks" / "executions.sqlite3").exists()
        assert "the record of the image" in program("executions", "show", record["id"], cwd=image).out
        assert not (image / ".git").exists()

    def test_a_record_of_a_repository_says_nothing_of_the_kind(self, repo: Repo, program: Program) -> None:
        assert program("run", "--", "true").code == 0
        (record,) = json.loads(program("executions", "list", "--json").out)
        assert "source" not in record["provenance"]

    @pytest.mark.parametrize("name", ["helper.py", "dos.txt", "caf\udce9.txt", "link"])
    def test_a_file_that_is_not_the_one_of_the_commit_is_refused(
        self, program: Program, image: Path, name: str
    ) -> None:
        (image / name).unlink()
        (image / name).write_text("other\n")
        done = program("run", "--", sys.executable, "src/train.py", cwd=image)
        assert done.code == 125
        assert "not the file that the image was built with" in done.err
        assert done.out == ""

    def test_a_folder_in_the_place_of_a_file_is_refused(self, program: Program, image: Path) -> None:
        (image / "src/train.py").unlink()
        (image / "src/train.py").mkdir()
        (image / "src/train.py/__main__.py").write_text("print('other')\n")
        done = program("run", "--entry-point", "helper.py", "--", sys.executable, "src/train.py", cwd=image)
        assert (done.code, done.out) == (125, "")
        assert "src/train.py: not the file that the image was built with" in done.err

    def test_everything_else_knows_the_record_of_the_image_too(
        self, repo: Repo, program: Program, image: Path
    ) -> None:
        commit = repo.git("rev-parse", "HEAD")
        done = program("check", cwd=image)
        assert (done.code, done.out) == (0, f"accepted: {commit[:12]}  main  v1.3.0\n")
        assert program("hook", "check-clean-tree", cwd=image).code == 0
        assert "DERIVA_ML_HOOKS_CLEAN=true" in program("provenance", "--format", "env", cwd=image).out
        assert program("version", cwd=image).out == "1.3.0\n"
        assert json.loads(program("provenance", "--json", cwd=image).out)["commit"] == commit
        script = "from deriva_ml_hooks import require_clean; print(require_clean().commit)"
        assert self.runs(program, image, sys.executable, "-c", script)["commit"] == commit
        assert "not inside a git repository" in program("provenance", "--format", "json", cwd=image).err
        (image / "helper.py").write_text("edited\n")
        assert program("check", cwd=image).code == 1
        done = program("run", "--dry-run", "--", sys.executable, "-c", script, cwd=image)
        assert "RefusedError" in done.err
        (image / "provenance.json").write_text("{}")
        for command in ("check", "version", "provenance"):
            done = program(command, cwd=image)
            assert done.code == 1
            assert "cannot be taken for the record of this image" in done.err

    def test_files_that_the_export_names_as_left_out_are_no_obstacle(
        self, repo: Repo, program: Program, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.rmtree(image)
        self.build(repo, program, tmp_path, monkeypatch, left_out=["*.md", "/src/**", "!/src/train.py"])
        (image / "README.md").unlink()
        record = self.runs(program, image)
        files = len(repo.git("ls-files", "-z").split("\0")) - 1
        assert record["status"] == "Completed"
        assert (record["provenance"]["compared"], record["provenance"]["files"]) == (files - 1, files)
        assert f"{files - 1} of {files} files of the commit compared" in record["warnings"][0]["message"]
        (image / "src/train.py").unlink()
        done = program("check", cwd=image)
        assert done.code == 1
        assert "src/train.py: not here" in done.err + done.out

    def test_an_image_that_lacks_a_file_which_nobody_left_out_is_refused(
        self, repo: Repo, program: Program, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (image / "README.md").unlink()
        done = program("run", "--", sys.executable, "src/train.py", cwd=image)
        assert (done.code, done.out) == (125, "")
        assert "README.md: not here" in done.err
        fix = done.err.partition("leaves out: ")[2].splitlines()[0]
        target = ["--output", str(image / "provenance.json")]
        assert program(*shlex.split(fix)[1:], *target, cwd=repo.path).code == 0
        assert self.runs(program, image)["status"] == "Completed"

    @pytest.mark.parametrize("left_out", [(), ("*",)])
    def test_a_folder_without_a_file_of_the_commit_is_refused(
        self,
        repo: Repo,
        program: Program,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        left_out: Sequence[str],
    ) -> None:
        image = self.build(repo, program, tmp_path, monkeypatch, left_out=left_out)
        bare = tmp_path / "bare"
        bare.mkdir()
        shutil.move(image / "provenance.json", bare)
        monkeypatch.setenv("DERIVA_ML_HOOKS_PROVENANCE_FILE", str(bare / "provenance.json"))
        done = program("run", "--", "touch", "planted", cwd=bare)
        assert done.code == 125
        assert not (bare / "planted").exists()
        assert "no file of the commit is in " in done.err

    def test_a_folder_that_the_record_is_not_of_is_refused(
        self, program: Program, image: Path, tmp_path: Path
    ) -> None:
        for name in ("elsewhere", "image-2"):
            folder = tmp_path / name
            folder.mkdir()
            done = program("run", "--", "touch", "planted", cwd=folder)
            assert done.code == 125
            assert not (folder / "planted").exists()
            assert f"fix: cd {image}" in done.err
        assert program("run", "--", "true", cwd=image / "src").code == 0

    def test_a_record_behind_a_link_is_that_of_the_folder_where_the_link_stands(
        self, program: Program, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Kubernetes mounts a ConfigMap."""
        mounted = tmp_path / "..data"
        mounted.mkdir()
        shutil.move(image / "provenance.json", mounted)
        (image / "provenance.json").symlink_to(mounted / "provenance.json")
        assert self.runs(program, image)["status"] == "Completed"
        (image / "helper.py").write_text("edited\n")
        assert program("run", "--", "true", cwd=image).code == 125
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/provenance.json").symlink_to(mounted / "provenance.json")
        monkeypatch.setenv("DERIVA_ML_HOOKS_PROVENANCE_FILE", str(tmp_path / "etc/provenance.json"))
        done = program("run", "--", "true", cwd=tmp_path / "etc")
        assert done.code == 125
        assert "no file of the commit is in " in done.err

    def test_an_entry_point_that_is_not_of_the_commit_is_refused(self, program: Program, image: Path) -> None:
        (image / "extra.py").write_text("print('extra')\n")
        done = program("run", "--", sys.executable, "extra.py", cwd=image)
        assert done.code == 125
        assert "extra.py: " in done.err
        assert "not a file of commit" in done.err
        assert "build the image again" in done.err

    def test_what_the_run_changes_is_in_its_record(self, program: Program, image: Path) -> None:
        record = self.runs(program, image, "sh", "-c", "echo '#' >> helper.py")
        assert [(c["code"], c["path"]) for c in record["changed_during_run"]] == [("unstaged", "helper.py")]

    def test_a_version_can_be_required(
        self, repo: Repo, program: Program, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = ("run", "--tag-required", "--", "true")
        assert program(*words, cwd=image).code == 0
        repo.commit("Later")
        shutil.rmtree(image)
        self.build(repo, program, tmp_path, monkeypatch)
        done = program(*words, cwd=image)
        assert done.code == 125
        assert "no version tag" in done.err

    def test_the_ledger_can_be_elsewhere(
        self, program: Program, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DERIVA_ML_HOOKS_LEDGER", str(tmp_path / "volume" / "runs.sqlite3"))
        self.runs(program, image)
        assert (tmp_path / "volume" / "runs.sqlite3").exists()

    def test_a_notebook_runs_there_too(
        self, repo: Repo, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cell = {
            "cell_type": "code",
            "execution_count": None,
            "id": "a",
            "outputs": [],
            "source": "print(6*7)",
        }
        document = {"cells": [cell | {"metadata": {}}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        repo.write("x.ipynb", json.dumps(document))
        repo.commit()
        checksum = json.loads(self.fields(repo, "x.ipynb"))["checksum"]
        image = self.build(repo, program, tmp_path, monkeypatch)
        done = program("run-notebook", "x.ipynb", cwd=image)
        assert done.code == 0, done.err
        (record,) = json.loads(program("executions", "list", "--json", cwd=image).out)
        assert record["entry_point"]["checksum"] == checksum
        assert "42" in Path(record["notebook"]["output"]).read_text()

    @staticmethod
    def fields(repo: Repo, path: str) -> str:
        script = (
            "import json, sys; from deriva_ml_hooks import provenance; "
            "print(json.dumps(provenance().workflow_fields(sys.argv[1])))"
        )
        words = [sys.executable, "-c", script, path]
        return subprocess.run(words, cwd=repo.path, capture_output=True, check=True, text=True).stdout

    def test_an_export_of_what_was_not_the_commit_is_refused(
        self, repo: Repo, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repo.write("src/train.py", "print('edited')\n")
        image = self.build(repo, program, tmp_path, monkeypatch)
        assert json.loads((image / "provenance.json").read_text())["clean"] is False
        done = program("run", "--", sys.executable, "src/train.py", cwd=image)
        assert (done.code, done.out) == (125, "")
        assert "a worktree that was not the commit" in done.err

    @pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"clean": true}', '{"clean": "true"}'])
    def test_a_file_that_is_no_export_is_refused(
        self, program: Program, image: Path, content: str | None
    ) -> None:
        (image / "provenance.json").unlink()
        if content is not None:
            (image / "provenance.json").write_text(content)
        done = program("run", "--", sys.executable, "src/train.py", cwd=image)
        assert (done.code, done.out) == (125, "")
        assert "provenance.json: " in done.err
        assert "Traceback" not in done.err

    @pytest.mark.parametrize("without", ["DERIVA_ML_HOOKS_PROVENANCE_FILE", "PATH", None])
    def test_nothing_there_advises_to_make_a_repository(
        self, program: Program, image: Path, monkeypatch: pytest.MonkeyPatch, without: str | None
    ) -> None:
        monkeypatch.setenv("DERIVA_MCP_IN_DOCKER", "true" if without != "PATH" else "")
        if without is not None:
            monkeypatch.delenv("DERIVA_ML_HOOKS_PROVENANCE_FILE")
        if without == "PATH":
            monkeypatch.setenv("PATH", "/nowhere")
        for words in (["provenance"], ["run", "--isolated", "--", "true"], ["bump-version"], ["doctor"]):
            done = program(*words, cwd=image)
            if done.code == 0:  # the record of the image answers
                continue
            assert "not inside a git repository" in done.err
            assert "git init" not in done.err
            assert ("do this where its repository is" in done.err) == (without is None)
        done = program("run", "--", sys.executable, "src/train.py", cwd=image)
        assert "git init" not in done.err

    def test_without_the_variable_it_is_refused(
        self, program: Program, image: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DERIVA_ML_HOOKS_PROVENANCE_FILE")
        done = program("run", "--", sys.executable, "src/train.py", cwd=image)
        assert done.code == 125
        assert "not inside a git repository" in done.err

    def test_where_there_is_a_repository_it_is_measured_and_the_file_is_not_asked(
        self, repo: Repo, program: Program, image: Path
    ) -> None:
        repo.write("new.py")
        assert program("run", "--", "true", cwd=repo.path).code == 125
        assert os.environ["DERIVA_ML_HOOKS_PROVENANCE_FILE"].startswith(str(image))
