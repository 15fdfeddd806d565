"""Judged, written down, run, measured again, closed: on real repositories with the real program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.git import consent
from deriva_ml_hooks.git.discovery import measured

Program = Callable[..., Any]


def records(program: Program, cwd: Path | None = None) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(program("executions", "list", "--json", cwd=cwd).out)
    return listed


def ledger_of(repo: Any) -> Path:
    return Path(measured(str(repo.path)).common_dir) / "deriva-ml-hooks" / "executions.sqlite3"


def configure(repo: Any, text: str) -> None:
    repo.write(".deriva-ml-hooks.toml", text)
    repo.commit()


def told(repo: Any, program: Program, script: str) -> set[tuple[str, str | None]]:
    """What a record says of a run that left the worktree as it was: code and path."""
    repo.git("branch", "other", "HEAD~1")
    before = repo.git("rev-parse", "HEAD")
    assert program("run", "--", "sh", "-c", f"{{ {script}; }} >/dev/null 2>&1").code == 0
    assert repo.git("status", "--porcelain") == ""
    assert repo.git("rev-parse", "HEAD") == before
    return {(c["code"], c["path"]) for c in records(program)[0]["changed_during_run"]}


TRAIN = "src/train.py"
EDIT = f"cp {TRAIN} ../kept; echo x >> {TRAIN}"
UNDONE = [
    ("git checkout other; git checkout main", {("head", None), ("touched", TRAIN)}),
    (f"{EDIT}; git commit -qam x; git reset --hard HEAD~1", {("head", None), ("touched", TRAIN)}),
    ("git commit -q --allow-empty -m x; git reset --soft HEAD~1", {("head", None)}),
    (f"{EDIT}; cat ../kept > {TRAIN}", {("touched", TRAIN)}),
    (f"{EDIT}; cat ../kept > {TRAIN}; touch -d @1000000000 {TRAIN}", {("touched", TRAIN)}),
    (f"{EDIT}; git stash; git stash pop; git stash; git stash drop", {("head", None), ("touched", TRAIN)}),
    (f"mv {TRAIN} ../kept; cp ../kept {TRAIN}", {("touched", TRAIN)}),
]


@pytest.mark.parametrize(("script", "expected"), UNDONE, ids=[script for script, _ in UNDONE])
def test_what_a_run_undid_is_in_its_record(
    repo: Any, program: Program, script: str, expected: set[tuple[str, str | None]]
) -> None:
    assert told(repo, program, script) == expected


@pytest.mark.parametrize(
    "script",
    [
        f"cat {TRAIN}; git status; git update-index --refresh; git add -A",
        "git gc; git pack-refs --all; git reflog expire --expire=now refs/heads/other",
        "git fetch; git branch third; git tag v9; git stash list; git diff HEAD~1",
        f"cp {TRAIN} ../elsewhere; echo x > new.log",
        "mkdir src/made src/b; echo x > src/made/a.log; echo x > src/a.log; rmdir src/b",
        "chmod 700 src; chmod 755 src; touch src",
    ],
)
def test_what_leaves_head_and_files_alone_is_not_told(repo: Any, program: Program, script: str) -> None:
    assert told(repo, program, script) == set()


class TestRefused:
    @pytest.fixture
    def marker(self, tmp_path: Path) -> Path:
        return tmp_path / "started"

    def nothing_was_done(self, repo: Any, marker: Path) -> None:
        assert not marker.exists()
        assert not ledger_of(repo).exists()
        assert not (ledger_of(repo).parent / "executions").exists()

    def test_nothing_is_started_and_nothing_recorded(self, repo: Any, program: Program, marker: Path) -> None:
        repo.write("src/train.py", "print('changed')\n")
        repo.write("new.py")
        done = program("run", "--", "touch", str(marker))
        assert done.code == 125
        assert done.out == ""
        assert "src/train.py: " in done.err
        assert "new.py: " in done.err
        self.nothing_was_done(repo, marker)

    def test_after_twenty_paths_the_rest_is_counted_and_the_fix_told_once(
        self, repo: Any, program: Program, marker: Path
    ) -> None:
        for number in range(35):
            repo.write(f"new{number:02}.py")
        done = program("run", "--", "touch", str(marker))
        assert done.code == 125
        assert done.err.count(".py: ") == 20
        assert "... and 15 more" in done.err
        assert done.err.count("fix: ") == 1
        self.nothing_was_done(repo, marker)

    @pytest.mark.parametrize("words", [["--tag-required"], ["--entry-point", "no.py"], ["--quiet"]])
    def test_no_option_records_what_is_not_a_commit(
        self, repo: Any, program: Program, marker: Path, words: list[str]
    ) -> None:
        repo.write("new.py")
        assert program("run", *words, "--", "touch", str(marker)).code == 125
        self.nothing_was_done(repo, marker)

    def test_where_there_is_no_repository_or_no_commit(
        self, make_repo: Callable[..., Any], program: Program, marker: Path, tmp_path: Path
    ) -> None:
        empty = make_repo("empty")
        for folder in (tmp_path, empty.path):
            assert program("run", "--", "touch", str(marker), cwd=folder).code == 125
        self.nothing_was_done(empty, marker)

    def test_a_command_that_is_not_there_leaves_no_record(self, repo: Any, program: Program) -> None:
        repo.write("plain.sh", "exit 0\n")
        repo.commit()
        for words, code in (
            ("no-such-program", 127),
            ("./missing", 127),
            ("./plain.sh", 126),
            ("./src", 126),
        ):
            done = program("run", "--", words)
            assert done.code == code, words
            assert "fix: " in done.err
        assert not ledger_of(repo).exists()

    def test_a_configuration_error_is_2(self, repo: Any, program: Program, marker: Path) -> None:
        configure(repo, 'untaged = "refuse"\n')
        done = program("run", "--", "touch", str(marker))
        assert done.code == 2
        assert "untagged" in done.err
        self.nothing_was_done(repo, marker)

    @pytest.mark.parametrize("kind", ["folder", "text", "newer", "unwritable"])
    def test_an_unusable_ledger_is_125_and_nothing_is_started(
        self, repo: Any, program: Program, marker: Path, kind: str
    ) -> None:
        path = ledger_of(repo)
        path.parent.mkdir()
        if kind == "folder":
            path.mkdir()
        elif kind == "text":
            path.write_text("words " * 1000)
        elif kind == "newer":
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA user_version = 99")
            connection.close()
        else:
            path.symlink_to("/proc/self/cmdline" if os.path.exists("/proc/self/cmdline") else "/dev/null")
        before = path.read_bytes() if kind in ("text", "newer") else None
        done = program("run", "--", "touch", str(marker))
        assert done.code == 125, done.err
        assert "fix: " in done.err
        assert "Traceback" not in done.err
        assert not marker.exists()
        assert before is None or path.read_bytes() == before
        assert not any((path.parent / "executions").glob("*"))

    @pytest.mark.parametrize("path", ["{}/folder", "{}/nowhere/", "/dev/null"])
    def test_a_ledger_that_is_no_file_is_125_and_leaves_nothing(
        self, repo: Any, program: Program, marker: Path, tmp_path: Path, path: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        for place in (str(tmp_path), "/dev/null"):
            consent.agree("place", place)
        configure(repo, f'ledger = "{path.format(tmp_path)}"\n')
        before = sorted([*tmp_path.iterdir(), *(tmp_path / "folder").iterdir()])
        done = program("run", "--", "touch", str(marker))
        assert (done.code, marker.exists()) == (125, False)
        assert "the ledger is to be a file\nfix: name one, such as " in done.err
        assert "the ledger is to be a file" in program("executions", "list").err
        assert sorted([*tmp_path.iterdir(), *(tmp_path / "folder").iterdir()]) == before

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
    def test_a_ledger_that_may_not_be_written_is_125(self, repo: Any, program: Program, marker: Path) -> None:
        program("run", "--", "true")
        ledger_of(repo).chmod(0o400)
        assert program("run", "--", "touch", str(marker)).code == 125
        assert not marker.exists()


class TestTags:
    def test_an_important_run_can_be_made_to_sit_on_a_version(
        self, repo: Any, program: Program, tmp_path: Path
    ) -> None:
        marker = tmp_path / "ran"
        done = program("run", "--tag-required", "--", "touch", str(marker))
        assert done.code == 125
        assert "version tag" in done.err
        assert not marker.exists()
        repo.git("tag", "-a", "-m", "First", "v1.2.0")
        done = program("run", "--tag-required", "--", "touch", str(marker))
        assert done.code == 0
        assert "v1.2.0" in done.err
        assert records(program)[0]["provenance"]["tag"] == "v1.2.0"

    def test_a_policy_can_say_so_for_every_run(self, repo: Any, program: Program) -> None:
        configure(repo, 'untagged = "refuse"\n')
        assert program("run", "--", "true").code == 125
        repo.git("tag", "v1.0")
        assert program("run", "--", "true").code == 0


class TestEnvironment:
    SHOW = "import json, os; print(json.dumps(dict(os.environ)))"

    def environment(self, program: Program, *words: str, **env: str) -> dict[str, str]:
        done = program("run", *words, "--", sys.executable, "-c", self.SHOW, env=env)
        assert done.code == 0, done.err
        shown: dict[str, str] = json.loads(done.out)
        return shown

    def test_the_command_is_told_its_execution_and_its_provenance(self, repo: Any, program: Program) -> None:
        env = self.environment(program)
        (record,) = records(program)
        assert env["DERIVA_ML_HOOKS_EXECUTION"] == record["id"]
        written = json.loads(Path(env["DERIVA_ML_HOOKS_PROVENANCE"]).read_text())
        assert written == record["provenance"]
        assert written["commit"] == repo.git("rev-parse", "HEAD")

    def test_nothing_points_git_or_derivaml_elsewhere_and_the_rest_is_kept(
        self, repo: Any, program: Program, make_repo: Callable[..., Any]
    ) -> None:
        other = make_repo("other")
        other.commit()
        given = {
            "GIT_DIR": str(other.git_dir),
            "GIT_WORK_TREE": str(other.path),
            "GIT_INDEX_FILE": "/nowhere",
            "DERIVA_ML_WORKFLOW_URL": "https://example.org/x",
            "DERIVA_ML_ALLOW_DIRTY": "true",
            "DERIVA_ML_DIRTY_CHECK_IGNORE": "src",
            "DERIVA_ML_DRY_RUN": "true",
            "GIT_SSH_COMMAND": "ssh -i key",
            "MINE": "caf\udce9",
        }
        for words in ((), ("--dry-run",)):
            env = self.environment(program, *words, **given)
            kept = {"GIT_SSH_COMMAND", "MINE"}
            assert {name: env.get(name) for name in given} == {
                name: value if name in kept else None for name, value in given.items()
            }
        assert records(program)[0]["commit"] == repo.git("rev-parse", "HEAD")

    def test_a_dry_run_starts_in_a_dirty_tree_too_and_leaves_no_record(
        self, repo: Any, program: Program
    ) -> None:
        repo.write("new.py")
        env = self.environment(program, "--dry-run")
        assert env["DERIVA_ML_HOOKS_DRY_RUN"] == "true"
        assert "DERIVA_ML_HOOKS_EXECUTION" not in env
        assert not ledger_of(repo).exists()
        assert program("run", "--dry-run", "--", "sh", "-c", "exit 9").code == 9
        assert program("run", "--dry-run", "--", "no-such-program").code == 127


class TestChangedDuringTheRun:
    def changes(self, repo: Any, program: Program, script: str) -> tuple[list[tuple[str, Any]], str]:
        repo.write("go.sh", script)
        repo.commit()
        done = program("run", "--", "sh", "go.sh")
        assert done.code == 0, done.err
        changed = records(program)[0]["changed_during_run"]
        return [(c["code"], c["path"]) for c in changed], done.err.splitlines()[-1]

    def test_nothing(self, repo: Any, program: Program) -> None:
        assert self.changes(repo, program, "echo x > ignored.log")[0] == []

    def test_edits_and_new_files(self, repo: Any, program: Program) -> None:
        found, told = self.changes(repo, program, "echo '#' >> src/train.py; echo x > new.txt")
        assert sorted(found) == [("unstaged", "src/train.py"), ("untracked", "new.txt")]
        assert "changed during the run: " in told
        assert "and 1 more" in told

    def test_a_commit(self, repo: Any, program: Program) -> None:
        found, told = self.changes(repo, program, "git commit --quiet --allow-empty -m During")
        assert found == [("head", None)]
        assert "HEAD moved" in told
        assert records(program)[0]["commit"] == repo.git("rev-parse", "HEAD~1")

    def test_a_broken_repository(self, repo: Any, program: Program) -> None:
        repo.write("go.sh", "printf garbage > .git/index; printf x > .git/HEAD")
        repo.commit()
        done = program("run", "--json", str(repo.path.parent / "record.json"), "--", "sh", "go.sh")
        assert done.code == 0, done.err
        record = json.loads((repo.path.parent / "record.json").read_text())
        assert record["status"] == "Completed"
        assert [c["code"] for c in record["changed_during_run"]] == ["git-error"]

    @pytest.mark.parametrize("inside_another", [False, True])
    def test_the_repository_itself_gone(
        self, repo: Any, program: Program, tmp_path: Path, inside_another: bool
    ) -> None:
        """What stands above it must not be measured in its place."""
        if inside_another:
            subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
        consent.agree("place", str(tmp_path / "elsewhere"))
        repo.write(".deriva-ml-hooks.toml", f'ledger = "{tmp_path}/elsewhere/ledger.sqlite3"\n')
        repo.write("go.sh", "rm -rf .git\n")
        repo.commit()
        result = tmp_path / "elsewhere" / "record.json"
        result.parent.mkdir()
        done = program("run", "--json", str(result), "--", "sh", "go.sh")
        assert done.code == 0, done.err
        record = json.loads(result.read_text())
        assert record["status"] == "Completed"
        assert [c["code"] for c in record["changed_during_run"]] == ["git-error"]
        assert "HEAD moved" not in done.err


class TestLedger:
    def test_the_command_finds_its_own_row_running(self, repo: Any, program: Program) -> None:
        script = (
            "import json, os, subprocess, sys\n"
            "out = subprocess.run([sys.executable, '-m', 'deriva_ml_hooks', 'executions', 'show', '--json',"
            " os.environ['DERIVA_ML_HOOKS_EXECUTION']], stdout=subprocess.PIPE, check=True).stdout\n"
            "print(json.dumps([json.loads(out), os.getppid()]))"
        )
        done = program("run", "--description", "why", "--", sys.executable, "-c", script)
        during, runner = json.loads(done.out)
        assert during["status"] == "Running"
        assert (during["host"], during["pid"]) == (processes.host(), runner)
        assert (during["exit_code"], during["ended_at"], during["duration"]) == (None, None, None)
        (after,) = records(program)
        assert (after["status"], after["exit_code"], after["description"]) == ("Completed", 0, "why")
        assert after["duration"] > 0
        same = {"id", "commit", "command", "pid", "host", "cwd", "entry_point", "provenance", "started_at"}
        assert {k: during[k] for k in same} == {k: after[k] for k in same}

    def test_linked_worktrees_share_one(self, repo: Any, program: Program, tmp_path: Path) -> None:
        repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
        program("run", "--", "true")
        assert program("run", "--", "true", cwd=tmp_path / "linked").code == 0
        here, there = records(program), records(program, tmp_path / "linked")
        assert here == there
        assert len(here) == 2
        assert here[0]["provenance"]["branch"] == "linked"

    def test_it_can_be_in_an_ignored_folder_of_the_worktree(self, repo: Any, program: Program) -> None:
        repo.write(".gitignore", "*.log\n/runs/\n")
        configure(repo, 'ledger = "runs/ledger.sqlite3"\n')
        (repo.path / "deep").mkdir()
        for folder in (repo.path, repo.path / "src"):
            assert program("run", "--", "true", cwd=folder).code == 0
        assert (repo.path / "runs" / "ledger.sqlite3").exists()
        assert [r["cwd"] for r in records(program)] == ["src", "."]

    @pytest.mark.parametrize(
        ("ignored", "setting"),
        [
            ("", "runs/ledger.sqlite3"),
            ("", "ledger.sqlite3"),
            ("runs/ledger.sqlite3", "runs/ledger.sqlite3"),
            ("*.sqlite3*", "runs/ledger.sqlite3"),
            ("*.sqlite3", "../repo/runs/ledger.sqlite3"),
        ],
    )
    def test_what_recording_makes_must_not_make_the_next_run_dirty(
        self, repo: Any, program: Program, tmp_path: Path, ignored: str, setting: str
    ) -> None:
        repo.write(".gitignore", f"*.log\n{ignored}\n")
        configure(repo, f'ledger = "{setting}"\n')
        done = program("run", "--", "touch", str(tmp_path / "ran"))
        assert done.code == 2
        assert "not ignored" in done.err
        assert "fix: " in done.err
        assert not (tmp_path / "ran").exists()
        assert repo.git("status", "--porcelain") == ""

    def test_a_folder_with_any_name_can_be_run_from(self, repo: Any, program: Program) -> None:
        folder = repo.path / "caf\udce9\n x"
        repo.write("caf\udce9\n x/x.sh", "exit 3\n")
        repo.commit()
        done = program("run", "--", "sh", "x.sh", cwd=folder)
        assert done.code == 3, done.err
        (record,) = records(program)
        assert record["cwd"] == "caf\udce9\n x"
        assert record["entry_point"]["path"] == "caf\udce9\n x/x.sh"
        assert program("executions", "list").code == 0
        assert program("executions", "show", record["id"]).code == 0

    @pytest.mark.slow
    def test_sixteen_at_once_are_all_recorded(self, repo: Any, program: Program) -> None:
        words = f"for i in 1 2 3; do {sys.executable} -m deriva_ml_hooks run --quiet -- true || exit 1; done"
        runners = [
            subprocess.Popen(["sh", "-c", words], cwd=repo.path, stderr=subprocess.PIPE) for _ in range(16)
        ]
        for runner in runners:
            _, said = runner.communicate()
            assert runner.returncode == 0, said.decode()
        found = records(program)
        assert len(found) == 48
        assert {r["status"] for r in found} == {"Completed"}
        assert [c for r in found for c in r["changed_during_run"]] == []

    def test_a_runner_that_was_killed_leaves_its_row_and_is_shown_as_lost(
        self, repo: Any, program: Program
    ) -> None:
        words = [sys.executable, "-m", "deriva_ml_hooks", "run", "--", "sh", "-c", "echo ready; read x"]
        with subprocess.Popen(
            words,
            cwd=repo.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as runner:
            assert runner.stdout is not None
            assert runner.stdout.readline() == b"ready\n"
            assert records(program)[0]["status"] == "Running"
            runner.send_signal(signal.SIGKILL)
        (record,) = records(program)
        assert (record["status"], record["detail"]) == ("Aborted", "lost")
        assert "Aborted (lost)" in program("executions", "list").out

    def test_a_record_that_cannot_be_closed_is_told_and_the_commands_code_counts(
        self, repo: Any, program: Program
    ) -> None:
        path = ledger_of(repo)
        done = program("run", "--quiet", "--", "sh", "-c", f"rm {path}; mkdir {path}; exit 5")
        assert done.code == 5
        assert "stays open" in done.err
        shutil.rmtree(path)


def test_the_line_before_and_the_line_after(repo: Any, program: Program) -> None:
    repo.git("tag", "v0.3.0")
    done = program("run", "--", "sh", "-c", "exit 3")
    first, second = done.err.splitlines()
    (record,) = records(program)
    for words in (record["id"], record["commit"][:12], "main", "v0.3.0", "warning", "no remote"):
        assert words in first
    for words in (record["id"], "Failed", "exit 3", f"{record['duration']:.1f} s"):
        assert words in second
    assert done.out == ""
    repo.git("checkout", "--quiet", "--detach")
    assert "detached HEAD" in program("run", "--", "true").err
    assert program("run", "--quiet", "--", "true").err == ""
