"""The `rerun` command: from exactly the recorded commit, or not at all."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.git.discovery import measured

Program = Callable[..., Any]


def ledger_of(repo: Any) -> Ledger:
    return Ledger(str(Path(measured(str(repo.path)).common_dir) / "deriva-ml-hooks" / "executions.sqlite3"))


def nothing_is_left(repo: Any) -> bool:
    """No worktree but the user's own, no mark of one, no lock."""
    listed = repo.git("worktree", "list", "--porcelain").count("worktree ")
    return (
        listed == 1
        and not (repo.git_dir / "worktrees").exists()
        and not (repo.git_dir / "deriva-ml-hooks" / "worktrees").exists()
        and not list(repo.git_dir.rglob("*.lock"))
    )


@pytest.fixture
def script(repo: Any) -> Any:
    """`repo` with a script that prints what its helper says, and what it was given."""
    repo.write("src/helper.py", "def say():\n    return 'first'\n")
    repo.write("src/train.py", "import os, sys, helper\nprint(helper.say(), *sys.argv[1:], os.getcwd())\n")
    repo.write(".gitignore", "*.log\n__pycache__/\nresults/\n")
    repo.commit("Script")
    return repo


@pytest.fixture
def first(script: Any, program: Program) -> dict[str, Any]:
    """A run of the script from `src`, with a variable that is not set afterwards."""
    env = {"MODEL_SEED": "hunter2"}
    done = program(
        "run", "--description", "why", "--", "python3", "train.py", "x", cwd=script.path / "src", env=env
    )
    assert done.out == f"first x {script.path}/src\n"
    listed = json.loads(program("executions", "list", "--json").out)
    assert "hunter2" not in json.dumps(listed)
    return dict(listed[0])


def test_a_changed_helper_and_a_dirty_tree_do_not_change_what_runs(
    script: Any, first: dict[str, Any], program: Program, tmp_path: Path
) -> None:
    script.commit("Better", **{"src/helper.py": "def say():\n    return 'second'\n"})
    script.write("src/helper.py", "def say():\n    return 'dirty'\n")
    script.write("src/train.py", "syntax error\n")
    script.write("src/random.py", "raise SystemExit('untracked')\n")
    status = script.git("status", "--porcelain")
    file = tmp_path / "again.json"
    done = program("rerun", "--json", str(file), first["id"][:13])
    assert (done.code, done.out.split()[:2]) == (0, ["first", "x"]), done.err
    where = done.out.split()[2]
    assert where.endswith("/repo/src")
    assert not Path(where).exists()
    assert "not set now, but in the first run: MODEL_SEED" in done.err
    again = json.loads(file.read_text())
    assert again["rerun_of"] == first["id"]
    assert (again["isolated"], first["isolated"], first["rerun_of"]) == (True, False, None)
    shown = program("executions", "show", again["id"]).out
    assert re.search(f"^rerun of +{first['id']}$", shown, re.MULTILINE)
    assert re.search("^isolated +in a temporary worktree$", shown, re.MULTILINE)
    for field in ("commit", "command", "cwd", "entry_point", "description"):
        assert again[field] == first[field], field
    assert again["provenance"] == first["provenance"] | {"branch": None}
    assert again["changed_during_run"] == []
    assert "MODEL_SEED" in first["environment"]
    assert "MODEL_SEED" not in again["environment"]
    assert script.git("status", "--porcelain") == status
    assert nothing_is_left(script)
    assert program("verify").out.startswith("2 executions: 2 unpushed")


def test_a_rerun_can_be_run_again_and_so_can_a_failed_one(script: Any, first: Any, program: Program) -> None:
    assert program("rerun", first["id"]).code == 0
    again = json.loads(program("executions", "list", "--json").out)[0]
    assert program("rerun", again["id"]).code == 0
    program("run", "--", "sh", "-c", "exit 7")
    failed = json.loads(program("executions", "list", "--json").out)[0]
    assert program("rerun", "--quiet", failed["id"]).code == 7
    assert nothing_is_left(script)


def test_addresses_are_those_of_the_users_own_repository(
    script: Any, program: Program, tmp_path: Path
) -> None:
    script.git("init", "--quiet", "--bare", "../remote.git")
    script.git("remote", "add", "origin", "../remote.git")
    script.push()
    program("run", "--", "python3", "src/train.py")
    one = json.loads(program("executions", "list", "--json").out)[0]
    assert program("rerun", one["id"]).code == 0
    two = json.loads(program("executions", "list", "--json").out)[0]
    assert two["provenance"]["repository_url"] == f"file://{tmp_path}/remote.git"
    assert two["entry_point"] == one["entry_point"]
    assert two["provenance"] == one["provenance"] | {"branch": None}
    assert program("verify").code == 0


def test_keep_leaves_the_worktree_and_says_where(script: Any, first: Any, program: Program) -> None:
    done = program("rerun", "--keep", first["id"])
    command = done.err.rpartition("to remove it: ")[2].splitlines()[0]
    where = Path(shlex.split(command)[2])
    assert (where / "repo" / "src" / "train.py").is_file()
    assert program("rerun", first["id"]).code == 0
    assert where.is_dir()
    subprocess.run(command, shell=True, cwd=script.path, check=True)
    assert not where.exists()
    assert nothing_is_left(script)


def test_untracked_files_that_were_let_pass_are_told_not_to_be_there(script: Any, program: Program) -> None:
    script.write(".deriva-ml-hooks.toml", 'untracked-ignore = ["notes/"]\n')
    script.commit("Tolerant")
    for name in ("notes/a.txt", "notes/b.txt"):
        script.write(name)
    assert program("run", "--", "true").code == 0
    first = json.loads(program("executions", "list", "--json").out)[0]
    assert [w["path"] for w in first["warnings"] if w["code"] == "untracked"] == [
        "notes/a.txt",
        "notes/b.txt",
    ]
    done = program("rerun", first["id"])
    assert done.code == 0, done
    message = "not here, though let pass untracked in the first run: notes/a.txt, notes/b.txt"
    assert message in done.err
    again = json.loads(program("executions", "list", "--json").out)[0]
    assert again["rerun_of"] == first["id"]
    assert message in [warning["message"] for warning in again["warnings"]]


def test_a_link_that_stands_in_the_users_own_tree_by_now_changes_nothing(
    script: Any, first: Any, program: Program, tmp_path: Path
) -> None:
    (script.path / "src" / "train.py").rename(tmp_path / "train.py")
    (script.path / "src" / "train.py").symlink_to(tmp_path / "train.py")
    done = program("rerun", first["id"])
    assert done.code == 0, done.err


class TestRefused:
    def refused(self, repo: Any, program: Program, execution_id: str) -> str:
        count = len(json.loads(program("executions", "list", "--json").out))
        done = program("rerun", execution_id)
        assert (done.code, done.out) == (125, "")
        assert done.err.count("fix: ") == 1
        assert len(json.loads(program("executions", "list", "--json").out)) == count
        assert nothing_is_left(repo)
        return str(done.err)

    def changed(self, repo: Any, first: dict[str, Any], **values: Any) -> None:
        ledger = ledger_of(repo)
        ledger.close(replace(ledger.find(first["id"]), **values))

    def test_a_commit_that_is_gone(self, script: Any, program: Program) -> None:
        script.commit("Doomed", **{"more.py": "x\n"})
        program("run", "--", "true")
        doomed = json.loads(program("executions", "list", "--json").out)[0]
        script.git("reset", "--quiet", "--hard", "HEAD~1")
        script.git("reflog", "expire", "--expire=now", "--all")
        script.git("gc", "--quiet", "--prune=now")
        said = self.refused(script, program, doomed["id"])
        assert f"commit {doomed['commit'][:12]} is not here" in said
        assert "fix: git fetch" in said

    def test_an_unknown_execution(self, script: Any, first: Any, program: Program) -> None:
        assert "no execution" in self.refused(script, program, "ffff")

    def test_a_command_whose_secrets_were_not_recorded(self, script: Any, program: Program) -> None:
        program("run", "--", "true", "--token", "hunter2")
        masked = json.loads(program("executions", "list", "--json").out)[0]
        assert "secret" in self.refused(script, program, masked["id"])

    def test_an_untracked_file_that_was_let_pass_and_is_named(self, script: Any, program: Program) -> None:
        script.write(".deriva-ml-hooks.toml", 'untracked-ignore = ["notes/"]\n')
        script.commit("Tolerant")
        script.write("notes/a.txt")
        assert program("run", "--", "cat", "notes/a.txt").code == 0
        tolerant = json.loads(program("executions", "list", "--json").out)[0]
        assert "notes/a.txt: named by the command" in self.refused(script, program, tolerant["id"])

    def test_a_file_outside_the_repository(self, script: Any, program: Program, tmp_path: Path) -> None:
        shutil.copy(str(shutil.which("true")), tmp_path / "launch")
        assert program("run", "--entry-point", "src/train.py", "--", "../launch").code == 0
        launched = json.loads(program("executions", "list", "--json").out)[0]
        assert "launch: the command runs a file from outside" in self.refused(script, program, launched["id"])

    def test_a_path_into_the_users_own_worktree(self, script: Any, program: Program) -> None:
        script.write("results/data.csv", "1\n")
        tool = script.write("tool", "#!/bin/sh\n")
        tool.chmod(0o755)
        script.commit("Tool")
        for words in (
            ("true", f"{script.path}/src/helper.py"),
            ("true", f"--data={script.path}/results/data.csv"),
            (str(tool),),
        ):
            assert program("run", "--", *words).code == 0
            absolute = json.loads(program("executions", "list", "--json").out)[0]
            assert "your own worktree" in self.refused(script, program, absolute["id"])

    @pytest.mark.parametrize("word", ["results/old.csv", "--data=results/old.csv", "results", "../old.csv"])
    def test_what_was_there_before_the_first_run_and_is_in_no_commit(
        self, script: Any, program: Program, word: str
    ) -> None:
        script.write("results/old.csv", "1\n")
        script.write("../old.csv", "1\n")
        assert program("run", "--", "true", word).code == 0
        one = json.loads(program("executions", "list", "--json").out)[0]
        said = self.refused(script, program, one["id"])
        assert f"{word.rpartition('=')[2]}: named by the command, there before the first run" in said
        if not word.startswith(".."):
            # The way out that is printed: it is only written there.
            fix = shlex.split(said.rpartition("only written: deriva-ml-hooks ")[2])
            assert program(*fix).code == 0
        # A run that has never seen this worktree has not read it there.
        assert program("run", "--isolated", "--", "true", word).code == 0
        two = json.loads(program("executions", "list", "--json").out)[0]
        assert program("rerun", two["id"]).code == 0

    def test_a_file_of_the_commit_a_submodule_or_an_environment_is_no_such_thing(
        self, script: Any, program: Program, make_repo: Callable[..., Any]
    ) -> None:
        make_repo("lib").commit("Lib", **{"tool.py": "print('lib')\n"})
        script.git("submodule", "--quiet", "add", "../lib", "lib")
        (script.path / "link").symlink_to("src")
        script.write(".gitignore", ".venv/\n")
        script.commit("Environment")
        script.write(".venv/pyvenv.cfg", "")
        script.write(".venv/bin/tool", "")
        words = ("link/helper.py", "src", ".", "lib", ".venv/bin/tool")
        assert program("run", "--", "python3", "lib/tool.py", *words).code == 0
        one = json.loads(program("executions", "list", "--json").out)[0]
        done = program("rerun", one["id"])
        assert (done.code, done.out) == (0, "lib\n"), done.err
        assert "not in the commit" not in done.err

    def test_a_record_that_names_a_folder_or_file_that_its_commit_lacks(
        self, script: Any, first: Any, program: Program
    ) -> None:
        self.changed(script, first, cwd="nowhere")
        assert "nowhere: not a folder of the commit" in self.refused(script, program, first["id"])
        lie = {**first["entry_point"], "path": "missing.py"}
        self.changed(script, first, cwd="src", entry_point=lie)
        assert "missing.py" in self.refused(script, program, first["id"])


def test_a_run_away_from_here_is_told_what_it_has_not_got(script: Any, program: Program) -> None:
    for number in range(10):
        script.write(f"results/{number}.csv", "1\n")
    words = [f"results/{number}.csv" for number in range(10)]
    done = program("run", "--isolated", "--", "true", "src/train.py", *words)
    assert f"not in the temporary worktree: {', '.join(words[:8])} and 2 more\n" in done.err


def test_what_the_first_run_has_made_is_told_to_be_missing(script: Any, program: Program) -> None:
    make = "mkdir -p results && ls -A"
    assert program("run", "--", "sh", "-c", make, "results", "src/train.py").code == 0
    one = json.loads(program("executions", "list", "--json").out)[0]
    done = program("rerun", one["id"])
    assert done.code == 0
    assert "not in the commit, so not in the temporary worktree: results\n" in done.err
    assert "results" in done.out


def test_a_ledger_of_the_first_schema_is_read_then_brought_up(
    script: Any, first: Any, program: Program
) -> None:
    path = ledger_of(script).path
    connection = sqlite3.connect(path)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(executions)")]
    for column in columns[columns.index("changed_during_run") + 1 :]:
        connection.execute(f"ALTER TABLE executions DROP COLUMN {column}")
    connection.execute("DROP TABLE publications")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    shown = json.loads(program("executions", "show", "--json", first["id"]).out)
    new = {"environment": None, "isolated": False, "rerun_of": None}
    assert {name: shown[name] for name in new} == new
    assert program("rerun", first["id"]).code == 0
    listed = json.loads(program("executions", "list", "--json").out)
    assert [e["rerun_of"] for e in listed] == [first["id"], None]
    assert listed[1] == shown


class TestStandardInput:
    """What a rerun reads: what the first run has read, or it says so."""

    PROGRAM = (sys.executable, "-m", "deriva_ml_hooks")

    def run(self, repo: Any, *words: str, stdin: Any = subprocess.DEVNULL) -> Any:
        """The real program with this standard input: a file's path, or what subprocess takes."""
        command = [*self.PROGRAM, *words]
        with open(stdin) if isinstance(stdin, Path) else contextlib.nullcontext(stdin) as stream:
            return subprocess.run(command, cwd=repo.path, stdin=stream, capture_output=True, text=True)

    def newest(self, program: Program) -> dict[str, Any]:
        listed: list[dict[str, Any]] = json.loads(program("executions", "list", "--json").out)
        return listed[0]

    def test_a_file_of_the_commit_is_read_again_whatever_is_there_now(
        self, repo: Any, program: Program
    ) -> None:
        repo.write("data/in.csv", "1,2\n")
        repo.commit()
        assert self.run(repo, "run", "--", "cat", stdin=repo.path / "data/in.csv").stdout == "1,2\n"
        repo.commit("Later", **{"data/in.csv": "3,4\n"})
        repo.write("data/in.csv", "dirty\n")
        first = self.newest(program)
        done = self.run(repo, "rerun", first["id"], stdin=subprocess.PIPE)
        assert (done.returncode, done.stdout) == (0, "1,2\n"), done.stderr
        again = self.newest(program)
        assert again["rerun_of"] == first["id"]
        assert again["stdin"] == first["stdin"]
        assert "standard input" not in done.stderr

    def test_its_reading_begins_where_it_began(self, repo: Any, program: Program) -> None:
        repo.commit("Lines", lines="one\ntwo\n")
        script = f"{{ head -c 4 >&2; {shlex.join(self.PROGRAM)} run --quiet -- cat; }} < lines"
        done = subprocess.run(["sh", "-c", script], cwd=repo.path, capture_output=True, text=True, check=True)
        assert done.stdout == "two\n"
        assert self.run(repo, "rerun", self.newest(program)["id"]).stdout == "two\n"

    @pytest.mark.parametrize("place", ["ignored.log", "../outside.csv"])
    def test_another_file_is_read_again_if_it_is_the_same_and_refused_otherwise(
        self, repo: Any, program: Program, tmp_path: Path, place: str
    ) -> None:
        file = repo.path / place
        file.write_text("1,2\n")
        self.run(repo, "run", "--", "cat", stdin=file)
        first = self.newest(program)
        file.write_text("3,4\n")
        for given in (subprocess.DEVNULL, file):
            done = self.run(repo, "rerun", first["id"], stdin=given)
            assert (done.returncode, done.stdout) == (125, "")
            assert "standard input was " in done.stderr
            assert f"fix: give it that file: deriva-ml-hooks rerun {first['id']} < FILE" in done.stderr
        copy = tmp_path / "copy"
        copy.write_text("1,2\n")
        done = self.run(repo, "rerun", first["id"], stdin=copy)
        assert (done.returncode, done.stdout) == (0, "1,2\n"), done.stderr
        assert nothing_is_left(repo)

    def test_a_pipe_cannot_be_repeated_and_the_new_record_says_so(self, repo: Any, program: Program) -> None:
        program("run", "--", "cat", stdin="from a pipe\n")
        done = program("rerun", self.newest(program)["id"], stdin="other\n")
        assert (done.code, done.out) == (0, "other\n")
        assert "standard input was a pipe in the first run" in done.err
        assert [warning["code"] for warning in self.newest(program)["warnings"]] == ["no-remote", "stdin"]

    def test_nothing_stays_nothing(self, repo: Any, program: Program) -> None:
        assert self.run(repo, "run", "--", "cat").returncode == 0
        done = program("rerun", self.newest(program)["id"], stdin="not for it\n")
        assert (done.code, done.out) == (0, "")
        assert self.newest(program)["stdin"] == {"kind": "nothing"}
        assert "stdin" not in [warning["code"] for warning in self.newest(program)["warnings"]]


def test_ignored_data_that_a_failed_run_may_have_missed_are_named_with_what_works(
    script: Any, program: Program
) -> None:
    """What is pasted runs where the data are, at the commit."""
    script.write(
        "src/train.py", "print(open('../data.log/x').read(), open('../results/out', 'w').write(''))\n"
    )
    for name in ("data.log/x", "results/old", "__pycache__/x", ".env.log"):
        script.write(name, "42\n")
    script.commit("Reads data")
    src = script.path / "src"
    done = program("run", "--isolated", "--output", "../results", "--", "python3", "train.py", cwd=src)
    assert done.code == 1
    assert "ignored by git, so not in the temporary worktree: data.log/, .env.log\n" in done.err
    (paste,) = re.findall("fix: run it in your own worktree: (.*)$", done.err, re.MULTILINE)
    bin_first = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
    ran = subprocess.run(bin_first + paste, shell=True, cwd=src, capture_output=True, text=True, check=True)
    assert "42" in ran.stdout
    script.commit("Later")
    first = json.loads(program("executions", "list", "--json").out)[0]
    again = program("rerun", first["id"])
    (paste,) = re.findall("fix: run it in your own worktree: (.*)$", again.err, re.MULTILINE)
    subprocess.run(bin_first + paste, shell=True, cwd=script.path, check=True)
    assert script.git("rev-parse", "HEAD") == first["commit"]


@pytest.mark.parametrize("words", [("results/deep/out",), ("--out=results/deep/out",)])
def test_the_folder_of_what_is_written_is_there_again(script: Any, program: Program, words: Any) -> None:
    script.write("src/train.py", "import sys\nopen(sys.argv[1].removeprefix('--out='), 'w').write('made')\n")
    script.commit("Writes")
    (script.path / "results/deep").mkdir(parents=True)
    assert program("run", "--", "python3", "src/train.py", *words).code == 0
    first = json.loads(program("executions", "list", "--json").out)[0]
    done = program("rerun", "--output", "results", first["id"])
    assert (done.code, "not copied" in done.err) == (0, False), done.err
    assert program("run", "--isolated", "--", "python3", "src/train.py", *words).code == 0
