"""Submitted jobs: accepted now, run later at that commit and nothing else, and never lost without a word."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks import cli
from deriva_ml_hooks.executions.jobs import number_in
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import Execution
from tests.conftest import Ran

Program = Callable[..., Any]
JOB = """#!/bin/bash
#SBATCH --time=1
# what is trained

#SBATCH --output=out.log
cd "$SLURM_SUBMIT_DIR"
python3 src/train.py "$@"
"""
_SUBMITTER = """#!/bin/sh
[ "$1" != --quiet ] || exit 0
[ ! -e "$QUEUE/refuses" ] || { echo 'error: invalid partition' >&2; exit 3; }
while [ "${1#-}" != "$1" ]; do [ "$1" != --wait ] || waits=1; shift; done
n=1; while ! mkdir "$QUEUE/$n" 2>/dev/null; do n=$((n + 1)); done
cp "$1" "$QUEUE/$n/script"; shift
: > "$QUEUE/$n/args"; [ $# = 0 ] || printf '%s\\0' "$@" > "$QUEUE/$n/args"
env -0 > "$QUEUE/$n/env"; pwd > "$QUEUE/$n/cwd"
[ ! -e "$QUEUE/kills" ] || kill -9 $PPID
echo PENDING > "$QUEUE/$n/state"
[ -z "$waits" ] || { SLURM_JOB_ID=$n sh "$QUEUE/$n/script" "$@"; code=$?; }
"""
_ASKED = """#!/bin/sh
[ ! -e "$QUEUE/down" ] || { echo 'error: Unable to contact controller' >&2; exit 1; }
for f in "$QUEUE"/*/state; do n=${f%/state}; echo "${n##*/} $(cat "$f") x"; done
"""


class Queue:
    """A scheduler that takes jobs, and runs one when it is told to, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def script(self, job: int = 1) -> str:
        return (self.folder / str(job) / "script").read_text()

    def says(self, state: str, job: int = 1) -> None:
        (self.folder / str(job) / "state").write_text(state)

    def is_(self, what: str) -> None:
        (self.folder / what).touch()

    def run(self, job: int = 1, **variables: str) -> subprocess.CompletedProcess[str]:
        about = self.folder / str(job)
        told = (pair.split("=", 1) for pair in (about / "env").read_text().split("\0")[:-1])
        cwd = (about / "cwd").read_text().strip()
        env = {**dict(told), "SLURM_JOB_ID": str(job), "SLURM_SUBMIT_DIR": cwd, **variables}
        words = ["/bin/sh", str(about / "script"), *(about / "args").read_text().split("\0")[:-1]]
        self.says("RUNNING", job)
        done = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
        self.says("COMPLETED" if done.returncode == 0 else "FAILED", job)
        return done


@pytest.fixture
def call(repo: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    """Calls the program in this process, in the worktree of `repo`; what a submitter says is there too."""

    def call(*words: str) -> Ran:
        monkeypatch.chdir(repo.path)
        capfd.readouterr()
        code = cli.main(words)
        return Ran(code, *capfd.readouterr())

    return call


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    programs, folder = tmp_path / "programs", tmp_path / "queue"
    folder.mkdir()
    programs.mkdir()
    said = {"sbatch": "Submitted batch job $n", "qsub": "$n.server", "bsub": "Job <$n> is submitted."}
    texts = {name: f'{_SUBMITTER}echo "{text}"; exit ${{code:-0}}\n' for name, text in said.items()}
    texts |= dict.fromkeys(("squeue", "qstat", "bjobs"), _ASKED)
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(folder))
    return Queue(folder)


@pytest.fixture
def project(repo: Any, queue: Queue) -> Any:
    """`repo` with a job, whose script prints what its helper says and writes a result."""
    helper = "import sys; print('first', *sys.argv[1:]); open('results.txt', 'w').write('1')\n"
    repo.write(".gitignore", "*.log\nresults.txt\n")
    repo.commit("Job", **{"job.sh": JOB, "src/train.py": "import helper\n", "src/helper.py": helper})
    return repo


def ledger_of(repo: Any) -> Ledger:
    return Ledger(str(repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3"))


def newest(repo: Any) -> Execution:
    return ledger_of(repo).newest(1)[0]


def listed(call: Program) -> dict[str, Any]:
    """The newest record, as the list has it, which also looks after jobs that are gone."""
    return dict(json.loads(call("executions", "list", "--json").out)[0])


def nothing_is_left(repo: Any) -> bool:
    known = repo.git("worktree", "list", "--porcelain").count("worktree ")
    marks = repo.git_dir / "deriva-ml-hooks" / "worktrees"
    return known == 1 and not marks.exists() and not list(repo.path.parent.glob("deriva-ml-hooks-*"))


def test_a_job_runs_the_commit_it_was_submitted_at(
    project: Any, queue: Queue, call: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVATE", "a value that nobody may store")
    words = ("submit", "--description", "why", "--output", "results.txt", "--", "sbatch", "-v")
    done = call(*words, "job.sh", "a b")
    assert (done.code, done.out) == (0, "Submitted batch job 1\n"), done.err
    commit, record = project.git("rev-parse", "HEAD"), newest(project)
    assert (record.status, record.provenance["commit"], record.job["id"]) == ("Submitted", commit, "1")
    assert record.command == ["/bin/bash", "job.sh", "a b"]
    assert queue.script().startswith(
        "#!/bin/sh\n#SBATCH --time=1\n# what is trained\n\n#SBATCH --output=out.log\nexec "
    )
    project.commit("Later", **{"src/helper.py": "print('second')\n"})
    project.write("src/helper.py", "syntax error\n")
    project.write("pyproject.toml", "not = [toml")
    ran = queue.run()
    assert (ran.returncode, ran.stdout) == (0, "first a b\n"), ran.stderr
    assert (project.path / "results.txt").read_text() == "1"
    (project.path / "pyproject.toml").unlink()
    ended = newest(project)
    assert (ended.status, ended.exit_code, ended.id, ended.job) == ("Completed", 0, record.id, record.job)
    assert (ended.provenance["commit"], ended.description, ended.changed_during_run) == (commit, "why", [])
    assert [result["path"] for result in ended.results] == ["results.txt"]
    stored = b"".join(
        file.read_bytes() for file in (project.git_dir / "deriva-ml-hooks").rglob("*") if file.is_file()
    )
    assert b"nobody may store" not in stored + queue.script().encode()
    assert nothing_is_left(project)
    assert f"job          1, by sbatch on {record.job['host']}" in call("executions", "show", record.id).out
    assert call("verify", record.id).out == "1 execution: 1 unpushed\n"  # and nothing else


def test_a_dirty_tree_is_refused_and_its_head_is_submitted_where_that_is_asked_for(
    project: Any, queue: Queue, call: Program
) -> None:
    project.write("src/helper.py", "print('dirty')\n")
    done = call("submit", "--", "sbatch", "job.sh")
    assert (done.code, ledger_of(project).newest()) == (125, [])
    assert "src/helper.py" in done.err
    assert call("submit", "--isolated", "--", "sbatch", "job.sh").code == 0
    assert queue.run().stdout == "first\n"
    assert nothing_is_left(project)


@pytest.mark.parametrize("submitter", ["qsub", "bsub"])
def test_other_submitters(project: Any, queue: Queue, call: Program, submitter: str) -> None:
    assert call("submit", "--", submitter, "./job.sh").code == 0
    assert newest(project).job["id"] == "1"
    queue.says("C" if submitter == "qsub" else "EXIT")
    assert listed(call)["detail"].startswith("not started: the job is ")


def test_a_script_that_has_the_name_of_the_repository(project: Any, queue: Queue, call: Program) -> None:
    project.commit("Name", repo=JOB)
    assert call("submit", "--", "sbatch", "./repo").code == 0
    assert queue.run(SGE_TASK_ID="undefined").stdout == "first\n"
    assert nothing_is_left(project)


def test_a_job_that_fails(project: Any, queue: Queue, call: Program) -> None:
    project.commit("Fail", **{"src/train.py": "raise SystemExit(3)\n"})
    call("submit", "--", "sbatch", "job.sh")
    assert queue.run().returncode == 3
    record = listed(call)
    assert (record["status"], record["exit_code"]) == ("Failed", 3)
    assert nothing_is_left(project)


def test_a_job_that_is_cancelled_before_it_starts(project: Any, queue: Queue, call: Program) -> None:
    call("submit", "--", "sbatch", "job.sh")
    queue.is_("down")
    assert listed(call)["status"] == "Submitted"  # without an answer nothing is known
    assert not nothing_is_left(project)
    (queue.folder / "down").unlink()
    queue.says("CANCELLED")
    record = listed(call)
    assert (record["status"], record["detail"]) == ("Aborted", "not started: the job is cancelled")
    assert nothing_is_left(project)
    ran = queue.run()
    assert (ran.returncode, ran.stdout) == (125, "")
    assert "Aborted, so it is not run" in ran.stderr


def test_a_job_that_the_scheduler_has_lost_on_another_machine(
    project: Any, queue: Queue, call: Program
) -> None:
    call("submit", "--", "sbatch", "job.sh")
    ledger, record = ledger_of(project), newest(project)
    ledger.change(record.id, lambda row: replace(row, status="Running", host="node7"))
    assert listed(call)["status"] == "Running"
    (queue.folder / "1" / "state").unlink()
    queue.is_("2")
    ended = listed(call)
    assert (ended["status"], ended["detail"], newest(project).status) == ("Aborted", "lost", "Aborted")
    assert nothing_is_left(project)


@pytest.mark.parametrize("edited", [{"host": "login2"}, {"id": "unknown"}, {"submitter": "rm"}])
def test_a_scheduler_that_cannot_know_the_job_is_not_asked(
    project: Any, queue: Queue, call: Program, edited: dict[str, str]
) -> None:
    call("submit", "--", "sbatch", "job.sh")
    record = newest(project)
    ledger_of(project).change(record.id, lambda row: replace(row, job={**row.job, **edited}))
    queue.says("CANCELLED")
    assert listed(call)["status"] == "Submitted"


def test_a_scheduler_of_the_folder_that_one_is_in_is_not_asked(
    project: Any, queue: Queue, call: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("submit", "--", "sbatch", "job.sh")
    queue.says("CANCELLED")
    asked = project.write("squeue", "#!/bin/sh\ntouch asked\n")
    asked.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([".", "/usr/bin", "/bin"]))
    assert listed(call)["status"] == "Submitted"
    assert not (project.path / "asked").exists()


def test_a_job_that_is_killed(project: Any, queue: Queue, call: Program) -> None:
    project.commit("Kill", **{"job.sh": "#!/bin/bash\nkill -9 $PPID\n"})
    call("submit", "--", "sbatch", "job.sh")
    assert queue.run().returncode == -9
    record = listed(call)
    assert (record["status"], record["detail"]) == ("Aborted", "lost")
    assert nothing_is_left(project)


def test_a_job_that_brings_its_outputs_back_keeps_its_worktree(
    project: Any, queue: Queue, call: Program
) -> None:
    call("submit", "--output", "results.txt", "--", "sbatch", "job.sh")
    record = newest(project)
    ledger_of(project).change(record.id, lambda row: replace(row, status="Completed", exit_code=0))
    queue.says("RUNNING")
    assert call("executions", "list").err == ""
    assert not nothing_is_left(project)
    queue.says("COMPLETED")
    call("executions", "list")
    assert nothing_is_left(project)


@pytest.mark.parametrize(
    ("words", "directive"),
    [
        (("sbatch", "--array=1-3"), ""),
        (("sbatch", "-a", "1-3"), ""),
        (("sbatch",), "#SBATCH -a1-3"),
        (("qsub", "-t", "1-3"), ""),
        (("qsub",), "#PBS -J 1-3"),
        (("bsub", "-J", "name[1-3]"), ""),
    ],
)
def test_a_job_array_is_refused(project: Any, call: Program, words: tuple[str, ...], directive: str) -> None:
    if directive:
        project.commit("Array", **{"job.sh": JOB.replace("# what is trained", directive)})
    done = call("submit", "--", *words, "job.sh")
    assert (done.code, ledger_of(project).newest()) == (125, [])
    assert "a job array is many runs" in done.err
    assert nothing_is_left(project)


@pytest.mark.parametrize("words", [("-M", "gpu"), ("--clusters=gpu",)])
def test_a_job_of_another_cluster_is_refused(project: Any, call: Program, words: tuple[str, ...]) -> None:
    done = call("submit", "--", "sbatch", *words, "job.sh")
    assert (done.code, ledger_of(project).newest()) == (125, [])
    assert "a job of another cluster" in done.err
    assert nothing_is_left(project)


def test_a_task_of_an_array_is_not_run(project: Any, queue: Queue, call: Program) -> None:
    call("submit", "--", "sbatch", "job.sh")
    ran = queue.run(SLURM_ARRAY_TASK_ID="1")
    assert (ran.returncode, ran.stdout) == (125, "")
    assert newest(project).detail == "not started: a job array is many runs, and a record is of one"
    assert nothing_is_left(project)


def test_a_submitter_that_refuses_leaves_nothing(project: Any, queue: Queue, call: Program) -> None:
    queue.is_("refuses")
    done = call("submit", "--", "sbatch", "job.sh")
    assert done.code == 125
    assert "error: invalid partition" in done.err
    record = newest(project)
    assert (record.status, record.exit_code) == ("Failed", 3)
    assert record.detail == "not started: sbatch has not taken the job (exit 3)"
    assert nothing_is_left(project)


def test_a_submitter_that_names_no_job_has_taken_none(project: Any, queue: Queue, call: Program) -> None:
    done = call("submit", "--", "sbatch", "--quiet", "job.sh")
    assert (done.code, newest(project).detail) == (125, "not started: sbatch has named no job")
    assert nothing_is_left(project)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Submitted batch job 7 on cluster x2", "7"),
        ("7;x2", "7"),
        ("7.server.example", "7"),
        ('Your job 7 ("job.sh") has been submitted', "7"),
        ("Memory is 4000\nJob <7> is submitted to queue <q2>.", "7"),
        ("", None),
    ],
)
def test_the_id_in_what_a_submitter_says(said: str, expected: str | None) -> None:
    assert number_in(said) == expected


def test_a_submit_that_is_killed_is_no_job(
    project: Any, queue: Queue, call: Program, program: Program
) -> None:
    queue.is_("kills")
    assert program("submit", "--", "sbatch", "job.sh").code == -9
    assert newest(project).status == "Submitted"
    assert listed(call)["detail"] == "not started: submit was ended before the scheduler had answered"
    assert nothing_is_left(project)
    assert queue.run().returncode == 125


def test_two_at_once(project: Any, queue: Queue, program: Program) -> None:
    with ThreadPoolExecutor() as threads:
        done = [*threads.map(lambda i: program("submit", "--", "sbatch", "job.sh", str(i)), (1, 2))]
        assert [one.code for one in done] == [0, 0]
        ran = sorted(one.stdout for one in threads.map(queue.run, (1, 2)))
    assert ran == ["first 1\n", "first 2\n"]
    assert [record.status for record in ledger_of(project).newest()] == ["Completed", "Completed"]
    assert nothing_is_left(project)


def test_a_worktree_that_was_changed_while_it_waited_is_refused(
    project: Any, queue: Queue, call: Program
) -> None:
    call("submit", "--", "sbatch", "job.sh")
    (pinned,) = project.path.parent.glob("deriva-ml-hooks-*/repo/src/helper.py")
    pinned.write_text("print('changed')\n")
    ran = queue.run()
    assert (ran.returncode, ran.stdout) == (125, "")
    assert newest(project).detail.startswith("not started: ")
    assert nothing_is_left(project)


def test_a_job_that_is_started_again_is_not_run_twice(project: Any, queue: Queue, call: Program) -> None:
    call("submit", "--", "sbatch", "job.sh")
    assert queue.run().returncode == 0
    ran = queue.run()
    assert (ran.returncode, ran.stdout) == (125, "")
    assert newest(project).status == "Completed"


def test_the_worktree_is_beside_the_user_s_or_where_the_user_says(
    project: Any,
    queue: Queue,
    call: Program,
    tmp_path: Path,
    make_repo: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    assert call("submit", "--worktree-root", str(shared), "--", "sbatch", "job.sh").code == 0
    assert [path.name for path in shared.glob("deriva-ml-hooks-*/*")] == ["job.sh", "repo"]
    assert queue.run().stdout == "first\n"
    assert not list(shared.iterdir())
    inner = make_repo("repo/inner.log")
    inner.commit("Job", **{"job.sh": JOB})
    monkeypatch.chdir(inner.path)
    assert cli.main(["submit", "--", "sbatch", "job.sh"]) == 125
    assert "--worktree-root FOLDER" in capfd.readouterr().err


def test_a_submitter_that_waits_gives_the_code_of_the_job(project: Any, call: Program) -> None:
    project.commit("Fail", **{"job.sh": "#!/bin/sh\nexit 4\n"})
    assert call("submit", "--", "sbatch", "--wait", "job.sh").code == 4
    assert (newest(project).status, newest(project).exit_code) == ("Failed", 4)
    assert nothing_is_left(project)


def test_a_submit_that_was_killed_before_its_record_leaves_nothing_for_long(
    project: Any, call: Program, tmp_path: Path
) -> None:
    call("submit", "--worktree-root", str(tmp_path), "--", "sbatch", "job.sh")
    (mark,) = (project.git_dir / "deriva-ml-hooks" / "worktrees").iterdir()
    gone = {"execution": "01a20fda-0000", "pid": 2**22 + 1, "process": None}
    mark.write_text(json.dumps(json.loads(mark.read_text()) | gone))
    call("executions", "list")
    assert nothing_is_left(project)


def test_a_real_slurm(project: Any, call: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(os.pathsep)[2])  # without the one made here
    answers = subprocess.run("sbatch --version && sinfo", shell=True, capture_output=True, check=False)
    if answers.returncode:
        pytest.skip("no Slurm here that answers: sbatch, and a controller for sinfo")
    done = call("submit", "--output", "results.txt", "--", "sbatch", "--wait", "job.sh", "a b")
    assert done.code == 0, done.err
    assert (project.path / "out.log").read_text().splitlines()[1] == "first a b"
    assert (newest(project).status, newest(project).exit_code) == ("Completed", 0)
    assert nothing_is_left(project)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("python3", "src/train.py"), "not one of sbatch, qsub, bsub"),
        (("sbatch", "--wrap", "python3 src/train.py"), "no script of the job"),
        (("sbatch", "none.sh"), "No such file"),
        (("sbatch", "README.md"), "names no interpreter"),
    ],
)
def test_what_is_no_job(project: Any, call: Program, words: tuple[str, ...], why: str) -> None:
    done = call("submit", "--", *words)
    assert done.code == 2
    assert why in done.err
    assert nothing_is_left(project)
