"""Commands in temporary worktrees: what is there, what is not, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.consent import agree
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.runner.isolation import checkout
from deriva_ml_hooks.runner.isolation.checkout import WorktreeError
from deriva_ml_hooks.runner.isolation.worktrees import _in_use, clear_left_over
from tests.conftest import Repo

Program = Callable[..., Any]
ISOLATED = ("run", "--isolated")


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary worktrees are made; nothing may be there after a test that does not say so."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert not list(folder.glob("deriva-ml-hooks-*"))


def nothing_is_left(repo: Any) -> bool:
    """No worktree but the user's own, no mark of one, no branch, no lock."""
    listed = repo.git("worktree", "list", "--porcelain").count("worktree ")
    return (
        (listed, repo.git("branch", "--list").count("\n")) == (1, 0)
        and not (repo.git_dir / "worktrees").exists()
        and not (repo.git_dir / "deriva-ml-hooks" / "worktrees").exists()
        and not list(repo.git_dir.rglob("*.lock"))
    )


def newest(program: Program) -> dict[str, Any]:
    return dict(json.loads(program("executions", "list", "--json").out)[0])


class TestWhatRuns:
    def test_head_and_nothing_else_is_there(self, repo: Any, program: Program) -> None:
        repo.write("src/train.py", "print('dirty')\n")
        repo.write("new.py")
        repo.write("data.log")
        done = program(*ISOLATED, "--", "sh", "-c", "find . -type f -not -name '.g*t'; python3 src/train.py")
        assert (done.code, sorted(done.out.split())) == (
            0,
            ["./.gitignore", "./README.md", "./src/train.py", "trained"],
        )
        assert "2 changes in yours left out" in done.err
        record = newest(program)
        assert (record["commit"], record["isolated"]) == (repo.git("rev-parse", "HEAD"), True)
        assert record["provenance"]["tree"] == repo.git("rev-parse", "HEAD^{tree}")
        assert nothing_is_left(repo)
        assert (repo.path / "src/train.py").read_text() == "print('dirty')\n"

    def test_the_folder_that_the_user_is_in(self, repo: Any, program: Program) -> None:
        done = program(*ISOLATED, "--", "sh", "-c", 'ls; test "$PWD" = "$(pwd -P)"', cwd=repo.path / "src")
        assert (done.code, done.out) == (0, "train.py\n")
        record = newest(program)
        assert record["cwd"] == "src"
        repo.write("other.log/x")
        done = program(*ISOLATED, "--", "true", cwd=repo.path / "other.log")
        assert done.code == 125
        assert "not a folder of the commit" in done.err

    def test_what_changes_during_the_run_is_what_changes_in_the_temporary_worktree(
        self, repo: Any, program: Program
    ) -> None:
        script = f"echo x > made.txt; echo y >> README.md; echo z > {repo.path}/mine.txt"
        assert program(*ISOLATED, "--", "sh", "-c", script).code == 0
        changed = {(c["code"], c["path"]) for c in newest(program)["changed_during_run"]}
        assert changed == {("untracked", "made.txt"), ("unstaged", "README.md")}

    def test_policies_concern_head(self, repo: Any, program: Program) -> None:
        done = program(*ISOLATED, "--tag-required", "--", "true")
        assert done.code == 125
        assert "version tag" in done.err
        assert nothing_is_left(repo)
        repo.git("tag", "--annotate", "--message", "One", "v1.0.0")
        assert program(*ISOLATED, "--tag-required", "--", "true").code == 0
        assert newest(program)["provenance"]["version"] == "1.0.0"

    def test_the_branch_is_the_users_and_so_is_a_version_that_depends_on_it(
        self, repo: Any, program: Program
    ) -> None:
        repo.git("tag", "--annotate", "--message", "One", "v1.0.0")
        repo.write("pyproject.toml", '[tool.setuptools_scm]\nversion_scheme = "release-branch-semver"\n')
        repo.git("switch", "--quiet", "--create", "release-1.0")
        repo.commit("Scheme")
        assert program("run", "--", "true").code == 0
        plain = newest(program)["provenance"]
        assert program(*ISOLATED, "--", "true").code == 0
        isolated = newest(program)["provenance"]
        assert isolated["branch"] == plain["branch"] == "release-1.0"
        assert isolated["version"] == plain["version"]
        assert isolated["version"].startswith("1.0.1.dev")
        repo.git("switch", "--quiet", "--detach")
        assert program(*ISOLATED, "--", "true").code == 0
        assert newest(program)["provenance"]["branch"] is None

    def test_from_a_linked_worktree_and_a_detached_head(
        self, repo: Any, program: Program, tmp_path: Path
    ) -> None:
        linked = tmp_path / "linked"
        repo.git("worktree", "add", "--quiet", "--detach", str(linked), "HEAD~1")
        done = program(*ISOLATED, "--", "git", "rev-parse", "HEAD", cwd=linked)
        assert done.out.strip() == repo.git("rev-parse", "HEAD~1")
        assert repo.git("worktree", "list").count("\n") == 1
        assert linked.is_dir()

    def test_hooks_of_the_user_do_not_see_it(self, repo: Any, program: Program) -> None:
        hook = repo.git_dir / "hooks" / "post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho ran >> {repo.path}/hook.log\nexit 1\n")
        hook.chmod(0o755)
        assert program(*ISOLATED, "--", "true").code == 0
        assert not (repo.path / "hook.log").exists()

    def test_the_exit_code_and_a_command_that_is_not_there(self, repo: Any, program: Program) -> None:
        assert program(*ISOLATED, "--", "sh", "-c", "exit 3").code == 3
        assert program(*ISOLATED, "--", "no-such-program").code == 127
        assert program(*ISOLATED, "--", "./ignored.log").code == 127
        assert program(*ISOLATED, "--dry-run", "--", "true").code == 2
        assert nothing_is_left(repo)

    def test_a_ledger_in_the_worktree_is_the_users_own(self, repo: Any, program: Program) -> None:
        repo.write(".deriva-ml-hooks.toml", 'ledger = "runs/ledger.sqlite3"\n')
        repo.write(".gitignore", "runs/\n")
        repo.commit("Ledger")
        assert program(*ISOLATED, "--", "true").code == 0
        assert newest(program)["isolated"]
        assert (repo.path / "runs" / "ledger.sqlite3").is_file()

    def test_folders_that_nobody_may_write_in_are_removed_too(self, repo: Any, program: Program) -> None:
        done = program(
            *ISOLATED, "--", "sh", "-c", "mkdir -p a.log/b/c; touch a.log/b/c/d; chmod -R a-w a.log"
        )
        assert done.code == 0
        assert nothing_is_left(repo)

    def test_a_filter_of_the_repository_applies(self, repo: Any, program: Program) -> None:
        repo.git("config", "filter.shout.smudge", "tr a-z A-Z")
        repo.git("config", "filter.shout.clean", "tr A-Z a-z")
        repo.write(".gitattributes", "*.txt filter=shout\n")
        repo.write("word.txt", "hello\n")
        repo.commit("Filtered")
        assert program(*ISOLATED, "--", "cat", "word.txt").out == "HELLO\n"


class TestRedirect:
    """What would lead back into the user's own worktree."""

    def test_a_program_of_an_environment_in_it_runs_and_others_do_not(
        self, repo: Any, program: Program
    ) -> None:
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", str(repo.path / "env.log")], check=True
        )
        repo.write("src/train.py", "import sys; print(sys.prefix)\n")
        repo.commit("Prefix")
        words = ("env.log/bin/python", "src/train.py")
        assert program(*ISOLATED, "--", *words).out == f"{repo.path}/env.log\n"
        assert newest(program)["command"][0] == f"{repo.path}/env.log/bin/python"
        for name in ("tool.log", "tool.sh"):
            repo.write(name, "#!/bin/sh\necho dirty\n").chmod(0o755)
            assert program(*ISOLATED, "--", f"./{name}").code == 127

    @pytest.mark.parametrize(
        "words",
        [
            ("python3", "{}/src/train.py"),
            ("python3", "--script={}/src/train.py"),
            ("sh", "-c", "python3 '{}/src/train.py'; true"),
            ("sh", "-c", "python3 ~/repo/src/train.py"),
            ("sh", "-c", 'python3 "$HOME/repo/src/train.py"'),
            ("env", "PYTHONPATH=/nowhere:{}/src", "python3", "src/train.py"),
            ("env", "PYTHONPATH={}", "python3", "src/train.py"),
            ("sh", "-c", "cd {} && python3 src/train.py"),
        ],
    )
    def test_a_tracked_file_by_its_absolute_path_is_refused(
        self, repo: Any, program: Program, words: Sequence[str]
    ) -> None:
        env = {"HOME": str(repo.path.parent)}
        done = program(*ISOLATED, "--", *(word.format(repo.path) for word in words), env=env)
        assert (done.code, done.out) == (125, "")
        assert "your own worktree" in done.err

    def test_the_fix_for_an_absolute_path(self, repo: Any, program: Program) -> None:
        done = program(*ISOLATED, "--", "python3", f"{repo.path}/src/train.py")
        assert "src/train.py" in done.err.rpartition("fix: ")[2]
        done = program(*ISOLATED, "--entry-point", f"{repo.path}/src/train.py", "--", "sh", "-c", "exit 0")
        assert done.code == 0
        assert newest(program)["entry_point"]["path"] == "src/train.py"

    def test_path_leads_to_the_temporary_worktree(self, repo: Any, program: Program) -> None:
        repo.write("bin/tool", "#!/bin/sh\necho committed\n").chmod(0o755)
        repo.commit("Tool")
        repo.write("bin/tool", "#!/bin/sh\necho dirty\n")
        env = {"PATH": f"{repo.path}/bin:{os.environ['PATH']}"}
        assert program(*ISOLATED, "--", "tool", env=env).out == "committed\n"
        assert newest(program)["entry_point"]["path"] == "bin/tool"

    def test_variables_lead_to_the_temporary_worktree_and_to_data_that_it_lacks(
        self, repo: Any, program: Program
    ) -> None:
        repo.write("src/train.py", "print('dirty')\n")
        repo.write("data.log/a.csv", "1\n")
        env = {"PROJECT_ROOT": str(repo.path), "DATA": f"{repo.path}/data.log", "NEXT": f"{repo.path}-2"}
        script = 'python3 "$PROJECT_ROOT/src/train.py"; cat "$DATA/a.csv"; echo "$NEXT"'
        done = program(*ISOLATED, "--", "sh", "-c", script, env=env)
        assert done.out == f"trained\n1\n{repo.path}-2\n"

    def test_an_environment_that_uv_would_install_into_is_not_handed_on(
        self, repo: Any, program: Program
    ) -> None:
        words = ("--", "sh", "-c", 'echo "[$UV_PROJECT_ENVIRONMENT]"')
        for value, handed_on in ((str(repo.path / ".venv"), "[]\n"), ("relative", "[relative]\n")):
            assert program(*ISOLATED, *words, env={"UV_PROJECT_ENVIRONMENT": value}).out == handed_on

    def test_a_home_that_is_the_repository_stays_home(self, repo: Any, program: Program) -> None:
        done = program(*ISOLATED, "--", "sh", "-c", 'echo "$HOME"', env={"HOME": str(repo.path)})
        assert done.out == f"{repo.path}\n"

    def test_imports_come_from_the_temporary_worktree(
        self, repo: Any, program: Program, tmp_path: Path
    ) -> None:
        """A package that is installed as editable, in the two ways that setuptools has, and PYTHONPATH."""
        for name in ("one", "two", "three"):
            repo.write(f"lib-{name}/src/{name}/__init__.py", "WORD = 'committed'\n")
        repo.write("main.py", "import one, two, three\nprint(one.WORD, two.WORD, three.WORD)\n")
        repo.commit("Packages")
        for name in ("one", "two", "three"):
            repo.write(f"lib-{name}/src/{name}/__init__.py", "WORD = 'dirty'\n")
        venv = tmp_path / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        [packages] = venv.glob("lib/python*/site-packages")
        (packages / "one.pth").write_text(f"{repo.path}/lib-one/src\n")
        (packages / "__editable___two_finder.py").write_text(
            "import sys\nfrom importlib.util import spec_from_file_location\n"
            f"MAPPING = {{'two': '{repo.path}/lib-two/src/two'}}\n"
            "class Finder:\n    @classmethod\n    def find_spec(cls, name, path=None, target=None):\n"
            "        if name in MAPPING:\n"
            "            return spec_from_file_location(name, MAPPING[name] + '/__init__.py')\n"
            "sys.meta_path.append(Finder)\n"
        )
        (packages / "two.pth").write_text("import __editable___two_finder\n")
        python = str(venv / "bin" / "python")
        env = {"PYTHONPATH": f"{repo.path}/lib-three/src"}
        plain = subprocess.run(
            [python, "main.py"],
            cwd=repo.path,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=True,
        )
        assert plain.stdout == "dirty dirty dirty\n"
        assert program(*ISOLATED, "--", python, "main.py", env=env).out == "committed committed committed\n"
        finder = packages / "__editable___two_finder.py"
        finder.write_text(finder.read_text().replace("append(", "insert(0, "))
        assert program(*ISOLATED, "--", python, "main.py", env=env).out == "committed committed committed\n"
        done = program(*ISOLATED, "--", "timeout", "60", python, "-I", "main.py")
        assert (done.code, done.out) == (125, "")
        assert "imports from your own worktree" in done.err
        assert newest(program)["changed_during_run"] == []
        repo.write("go.sh", f"PYTHONPATH=lib-three/src {python} main.py\n")
        repo.write("Makefile", f"all:\n\tPYTHONPATH=lib-three/src {python} main.py\n")
        repo.commit("Script")
        done = program(*ISOLATED, "--", "sh", "go.sh")
        assert (done.code, "go.sh: line 1 has" in done.err) == (125, True)
        assert program(*ISOLATED, "--", "make").code == 0
        told = [w["path"] for w in newest(program)["warnings"] if w["code"] == "other-worktree"]
        assert told == ["Makefile"]

    def test_an_installation_of_another_worktree(self, repo: Any, program: Program, tmp_path: Path) -> None:
        """The environment has the main worktree installed, and the user is in a linked one."""
        repo.write("lib/one.py", "WORD = 'committed'\n")
        repo.write("main.py", "import one\nprint(one.WORD)\n")
        repo.write("run.sh", 'exec "$OTHER" main.py\n')
        repo.commit("Package")
        linked = tmp_path / "linked"
        repo.git("worktree", "add", "--quiet", "--detach", str(linked))
        repo.write("lib/one.py", "WORD = 'dirty'\n")
        venv = tmp_path / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
        [packages] = venv.glob("lib/python*/site-packages")
        (packages / "one.pth").write_text(f"{repo.path}/lib\n")
        python = str(venv / "bin" / "python")
        done = program("run", "--", "env", "A=1", python, "main.py", cwd=linked)
        assert (done.code, done.out) == (125, "")
        assert f"{python} imports from another worktree of this repository: {repo.path}/lib" in done.err
        assert json.loads(program("executions", "list", "--json").out) == []
        assert program(*ISOLATED, "--", python, "main.py", cwd=linked).out == "committed\n"
        assert newest(program)["changed_during_run"] == []
        done = program("run", "--", "sh", "run.sh", cwd=linked, env={"OTHER": python})
        assert (done.code, done.out) == (0, "dirty\n")
        assert f"(code that is not the commit's was loaded: {repo.path}/lib/one.py)" in done.err
        [change] = newest(program)["changed_during_run"]
        assert (change["code"], change["path"]) == ("other-worktree", f"{repo.path}/lib/one.py")

    def test_code_that_a_program_takes_from_the_users_tree_is_told(self, repo: Any, program: Program) -> None:
        repo.write(
            "main.py", "import os, sys\nos.execv(sys.executable, ['python', os.environ['WHERE'] + '.py'])\n"
        )
        repo.write("one.py", "print('committed')\n")
        repo.commit("Package")
        repo.write("one.py", "print('dirty')\n")
        done = program(*ISOLATED, "--", sys.executable, "main.py", env={"WHERE": f"{repo.path}/one"})
        assert done.out == "dirty\n"
        [change] = newest(program)["changed_during_run"]
        assert change["path"] == f"{repo.path}/one.py"
        assert change["message"] == "code from outside the temporary worktree was loaded"
        assert nothing_is_left(repo)

    def test_an_environment_that_uv_would_rewire_is_not_handed_on(self, repo: Any, program: Program) -> None:
        env = {"VIRTUAL_ENV": str(repo.path.parent / "venv")}
        assert (
            program(*ISOLATED, "--", "sh", "-c", 'echo "[${VIRTUAL_ENV-unset}]"', env=env).out == "[unset]\n"
        )

    @pytest.mark.parametrize("url", ["file://{}/data", "sqlite:///{}/data", "{}/data:{}/data"])
    def test_a_url_in_a_variable_stays_one(self, repo: Any, program: Program, url: str) -> None:
        repo.write("data", "committed\n")
        repo.commit("Data")
        script = 'echo "$URL"; pwd'
        value = url.format(repo.path, repo.path)
        said, where = program(*ISOLATED, "--", "sh", "-c", script, env={"URL": value}).out.split()
        assert said == url.format(where, where)


class TestOutputs:
    def test_what_is_named_is_copied_back(self, repo: Any, program: Program) -> None:
        repo.write(".gitignore", "results/\n*.csv\n")
        repo.write("results/README", "tracked\n")
        repo.git("add", "--force", "results/README")
        repo.commit("Results")
        repo.write("results/old.txt", "old\n")
        repo.write("results/model.bin", "old model\n")
        script = (
            "mkdir -p results/deep; echo new > results/model.bin; echo x > results/deep/x.txt;"
            "ln -s deep/x.txt results/link; echo changed > results/README;"
            "echo 1 > table.csv; echo 2 > other.csv; exit 4"
        )
        words = (
            "--output",
            "results",
            "--output",
            "table.csv",
            "--output",
            "missing",
            "--",
            "sh",
            "-c",
            script,
        )
        done = program(*ISOLATED, *words)
        assert done.code == 4
        self.take_away_kept(repo, done.err, "results/README")
        results = repo.path / "results"
        assert {p.name for p in results.iterdir()} == {"README", "old.txt", "model.bin", "deep", "link"}
        assert (results / "model.bin").read_text() == "old model\n"
        assert (results / "deep" / "x.txt").read_text() == "x\n"
        assert os.readlink(results / "link") == "deep/x.txt"
        assert (results / "README").read_text() == "tracked\n"
        assert (repo.path / "table.csv").is_file()
        assert not (repo.path / "other.csv").exists()
        assert "results: 2 files copied back" in done.err
        assert "results/README and 1 more: not copied, since yours are others" in done.err.replace(
            "results/model.bin and", "results/README and"
        )
        assert "missing: the run has made nothing of it" in done.err
        assert repo.git("status", "--porcelain") == ""

    @staticmethod
    def take_away_kept(repo: Any, said: str, name: str) -> None:
        """Remove the worktree that was kept, in which `name` is."""
        command = said.rpartition("to remove it: ")[2].splitlines()[0]
        assert (Path(shlex.split(command)[2]) / "repo" / name).exists()
        subprocess.run(command, shell=True, cwd=repo.path, check=True)
        assert nothing_is_left(repo)

    def test_what_cannot_be_copied_is_kept(self, repo: Any, program: Program) -> None:
        repo.write("made.log", "a file of the user's own\n")
        script = "mkdir made.log; echo result > made.log/x"
        done = program(*ISOLATED, "--output", "made.log", "--", "sh", "-c", script)
        assert done.code == 0
        assert "made.log/x: not copied: " in done.err
        self.take_away_kept(repo, done.err, "made.log/x")
        assert (repo.path / "made.log").read_text() == "a file of the user's own\n"

    def test_a_tracked_file_that_only_the_user_has_changed_is_no_loss(
        self, repo: Any, program: Program
    ) -> None:
        repo.write("src/train.py", "print('dirty')\n")
        done = program(*ISOLATED, "--output", "src", "--", "sh", "-c", "echo x > src/new.log")
        assert "not copied" not in done.err
        assert (repo.path / "src" / "new.log").read_text() == "x\n"
        assert nothing_is_left(repo)

    @pytest.mark.parametrize("path", ["/etc", "../x", ".", "a/../..", ".git/hooks", "sub/.git"])
    def test_only_what_is_below_the_top(self, repo: Any, program: Program, path: str) -> None:
        done = program(*ISOLATED, "--output", path, "--", "true")
        assert done.code == 2
        assert "fix: " in done.err
        assert program("run", "--output", "results", "--", "true").code == 2


class TestSubmodules:
    @pytest.fixture
    def nested(self, make_repo: Callable[..., Any]) -> Any:
        inner, middle, outer = (make_repo(name) for name in ("inner", "middle", "outer"))
        inner.write("word.txt", "inner\n")
        inner.commit()
        middle.git("submodule", "--quiet", "add", str(inner.path), "deep er")
        middle.commit()
        outer.git("submodule", "--quiet", "add", str(middle.path), "lib")
        outer.git("submodule", "--quiet", "update", "--init", "--recursive")
        outer.commit()
        return outer

    def test_are_checked_out_from_what_is_here(self, nested: Any, program: Program, tmp_path: Path) -> None:
        for name in ("inner", "middle"):
            (tmp_path / name).rename(tmp_path / f"{name}.gone")
        config = (nested.git_dir / "config").read_bytes()
        (nested.path / "lib" / "deep er" / "word.txt").write_text("dirty\n")
        done = program(*ISOLATED, "--", "cat", "lib/deep er/word.txt", cwd=nested.path)
        assert (done.code, done.out) == (0, "inner\n"), done.err
        listed = json.loads(program("executions", "list", "--json", cwd=nested.path).out)
        assert listed[0]["changed_during_run"] == []
        assert (nested.git_dir / "config").read_bytes() == config
        assert not list(nested.git_dir.rglob("worktrees"))
        assert nothing_is_left(nested)

    def test_are_fetched_where_they_are_not_and_nothing_is_written_down(
        self, nested: Any, program: Program, tmp_path: Path
    ) -> None:
        clone = type(nested)(tmp_path / "clone")
        nested.git("clone", "--quiet", str(nested.path), str(clone.path))
        config = (clone.git_dir / "config").read_bytes()
        done = program(*ISOLATED, "--", "cat", "lib/deep er/word.txt", cwd=clone.path)
        assert (done.code, done.out) == (0, "inner\n"), done.err
        assert (clone.git_dir / "config").read_bytes() == config
        assert not (clone.git_dir / "modules").exists()
        (tmp_path / "middle").rename(tmp_path / "middle.gone")
        done = program(*ISOLATED, "--", "true", cwd=clone.path)
        assert done.code == 125
        assert "fix: git submodule update --init --recursive" in done.err
        assert nothing_is_left(clone)

    def test_a_name_that_leads_out_of_the_git_directory_is_none(
        self, repo: Any, program: Program, tmp_path: Path
    ) -> None:
        """git ignores such a name; a repository that is tracked as files may say what it runs."""
        planted, module = tmp_path / "planted", make_module(tmp_path)
        repo.git("submodule", "--quiet", "add", str(module.path), "vendored")
        payload = repo.path / "payload"
        module.git("clone", "--quiet", "--bare", str(module.path), str(payload))
        for setting in ("core.fsmonitor", "filter.x.smudge", "filter.x.clean"):
            module.git("--git-dir", str(payload), "config", setting, f"touch {planted}; cat")
        for empty in ("refs/heads", "objects/info"):
            (payload / empty / "kept").write_text("")
        name = "../../payload"
        repo.git(
            "config", "--file", ".gitmodules", "--rename-section", "submodule.vendored", f"submodule.{name}"
        )
        repo.commit("Planted")
        done = program(*ISOLATED, "--", "ls", "vendored")
        assert not planted.exists()
        assert done.out == ""

    @pytest.mark.parametrize(
        "url", ["https://evil.example/x.git", "git@evil.example:x.git", "ext::touch planted"]
    )
    def test_are_not_fetched_unasked_from_a_server_that_no_remote_is_on(
        self, nested: Any, program: Program, url: str, tmp_path: Path
    ) -> None:
        nested.git("config", "--file", ".gitmodules", "submodule.lib.url", url)
        nested.commit("Elsewhere")
        clone = type(nested)(tmp_path / "clone")
        nested.git("clone", "--quiet", str(nested.path), str(clone.path))
        done = program(*ISOLATED, "--", "true", cwd=clone.path)
        assert done.code == 125
        assert "no remote of this repository is on its server" in done.err
        assert "fix: git submodule update --init --recursive" in done.err

    @pytest.mark.parametrize("url", ["./payload", "{}/payload", "file://{}/payload"])
    def test_are_not_cloned_from_a_folder_of_the_commit(self, repo: Any, tmp_path: Path, url: str) -> None:
        """Asked of a worktree itself, since no commit can know where its temporary one will be."""
        module = make_module(tmp_path)
        repo.git("submodule", "--quiet", "add", str(module.path), "vendored")
        repo.git("config", "--remove-section", "submodule.vendored")
        repo.git("config", "--file", ".gitmodules", "submodule.vendored.url", url.format(repo.path))
        module.git("clone", "--quiet", "--bare", str(module.path), str(repo.path / "payload"))
        with pytest.raises(WorktreeError, match="a folder of the commit itself"):
            checkout._fetch_submodule(measured(str(repo.path)), str(repo.path), "vendored", "vendored")

    def test_a_server_that_the_user_has_agreed_to_is_known(self, repo: Any) -> None:
        here = measured(str(repo.path))
        assert not remotes.is_known_host(here, "https://git.example/x.git")
        agree("host", "git.example")
        assert remotes.is_known_host(here, "https://git.example/x.git")

    def test_a_name_inside_of_another_git_directory_is_none(self, repo: Any, tmp_path: Path) -> None:
        """Names of branches make folders there."""
        module = make_module(tmp_path)
        modules = repo.git_dir / "modules"
        repo.git("clone", "--quiet", "--bare", str(module.path), str(modules / "a"))
        repo.git("clone", "--quiet", "--bare", str(module.path), str(modules / "a/refs/heads/b"))
        repo.git("clone", "--quiet", "--bare", str(module.path), str(modules / "c/d"))
        found = {name: checkout._module(None, str(repo.git_dir), name, "x")[1] for name in ("a", "c/d")}
        assert found == {name: str(modules / name) for name in ("a", "c/d")}
        assert checkout._module(None, str(repo.git_dir), "a/refs/heads/b", "x") == (None, None)

    @pytest.mark.parametrize("where", ["an embedded git directory", "a linked worktree"])
    def test_are_taken_from_the_users_own_checkout(
        self, repo: Any, program: Program, tmp_path: Path, where: str
    ) -> None:
        module = make_module(tmp_path)
        if where == "a linked worktree":
            repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
            repo = type(repo)(tmp_path / "linked")
        else:
            repo.git("clone", "--quiet", str(module.path), "lib")
        repo.git("submodule", "--quiet", "add", str(module.path), "lib")
        repo.commit("Library")
        (tmp_path / "module").rename(tmp_path / "gone")
        done = program(*ISOLATED, "--", "cat", "lib/word", cwd=repo.path)
        assert (done.code, done.out) == (0, "word\n"), done.err


def make_module(folder: Path) -> Repo:
    """A repository whose files have a filter, to be a submodule."""
    module = Repo(folder / "module")
    module.path.mkdir()
    module.git("init", "--quiet")
    module.write(".gitattributes", "* filter=x\n")
    module.commit("Module", word="word\n")
    return module


class TestKilled:
    def started(self, repo: Any, script: str, **options: Any) -> tuple[subprocess.Popen[bytes], bytes]:
        """The program with a command that says when it runs, and what it said."""
        running = subprocess.Popen(
            [sys.executable, "-m", "deriva_ml_hooks", *ISOLATED, "--", "sh", "-c", f"echo $$; {script}"],
            cwd=repo.path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options,
        )  # fmt: skip
        assert running.stdout is not None
        return running, running.stdout.readline()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_the_command_and_the_worktree(
        self, repo: Any, program: Program, number: int
    ) -> None:
        running, _ = self.started(repo, "exec sleep 60")
        running.send_signal(number)
        assert running.wait() == 128 + number
        assert running.stdout is not None
        running.stdout.close()
        assert newest(program)["status"] == "Aborted"
        assert nothing_is_left(repo)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_while_the_worktree_is_made(
        self, repo: Any, program: Program, number: int, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "fifo")
        repo.git("config", "filter.slow.smudge", f"echo > {tmp_path}/fifo; sleep 60; cat")
        repo.write(".gitattributes", "*.txt filter=slow\n")
        repo.write("word.txt")
        repo.commit("Slow")
        running = subprocess.Popen(
            [sys.executable, "-m", "deriva_ml_hooks", *ISOLATED, "--", "true"],
            cwd=repo.path, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (tmp_path / "fifo").read_text()  # until the filter has begun
        running.send_signal(number)
        assert running.wait() == 128 + number
        assert nothing_is_left(repo)
        assert json.loads(program("executions", "list", "--json").out) == []

    def test_after_a_kill_the_next_call_cleans_up(self, repo: Any, program: Program, temporary: Path) -> None:
        running, line = self.started(repo, "read line < /dev/null; exec sleep 60")
        running.kill()
        running.wait()
        home = measured(str(repo.path))
        assert clear_left_over(home) == []  # the command still works there
        [folder] = temporary.glob("deriva-ml-hooks-*")
        assert (folder / "repo" / "README.md").is_file()
        os.kill(int(line), signal.SIGKILL)
        assert running.stdout is not None
        running.stdout.read()  # until it has ended
        running.stdout.close()
        while os.path.exists(f"/proc/{int(line)}"):
            os.sched_yield()
        done = program(*ISOLATED, "--", "true")
        assert f"removed a temporary worktree that was left over: {folder}" in done.err
        assert not folder.exists()
        assert nothing_is_left(repo)

    def test_after_a_kill_what_somebody_has_asked_for_is_named_and_stays(
        self, repo: Any, program: Program, temporary: Path
    ) -> None:
        running = subprocess.Popen(
            [sys.executable, "-m", "deriva_ml_hooks", *ISOLATED, "--output", "res", "--", "sh", "-c",
             "mkdir res; echo hours > res/x; kill -9 $PPID"],
            cwd=repo.path, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert running.wait() == -9
        [folder] = temporary.glob("deriva-ml-hooks-*")
        while list(folder.glob("*/.git")) and _in_use(str(folder)):
            os.sched_yield()
        done = program(*ISOLATED, "--", "true")
        assert f"a run that was killed has left what it made in {folder}" in done.err
        assert (folder / "repo/res/x").read_text() == "hours\n"
        removal = done.err.partition("to remove it: ")[2].partition("\n")[0]
        subprocess.run(["sh", "-c", removal], cwd="/", check=True)
        assert "killed" not in program(*ISOLATED, "--", "true").err
        assert nothing_is_left(repo)

    def test_a_worktree_of_a_living_process_another_host_or_an_edited_mark_is_left_alone(
        self, repo: Any, program: Program, temporary: Path, tmp_path: Path
    ) -> None:
        running, _ = self.started(repo, "read line; echo ended", stdin=subprocess.PIPE)
        assert clear_left_over(measured(str(repo.path))) == []
        assert program(*ISOLATED, "--", "true").code == 0
        assert running.communicate(b"\n")[0] == b"ended\n"
        precious = tmp_path / "precious"
        precious.mkdir()
        marks = repo.git_dir / "deriva-ml-hooks" / "worktrees"
        marks.mkdir()
        told = {
            "folder": str(precious),
            "repositories": [],
            "host": "elsewhere",
            "pid": 2**22 + 1,
            "process": "x",
        }
        (marks / "a.json").write_text(json.dumps(told))
        (marks / "b.json").write_text(json.dumps({**told, "host": os.uname().nodename}))
        (marks / "c.json").write_text("not JSON")
        assert clear_left_over(measured(str(repo.path))) == []
        assert precious.is_dir()

    def test_a_worktree_of_the_users_that_is_not_there_just_now_is_not_pruned(
        self, repo: Any, program: Program, tmp_path: Path
    ) -> None:
        repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "usb"))
        (tmp_path / "usb").rename(tmp_path / "unplugged")
        assert program(*ISOLATED, "--", "true").code == 0
        (tmp_path / "unplugged").rename(tmp_path / "usb")
        assert repo.git("-C", str(tmp_path / "usb"), "status", "--porcelain") == ""
