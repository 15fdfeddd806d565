"""Jobs: accepted when they are submitted, and run later in a worktree that was pinned then.

The scheduler gets a script of ours that has the directives of the job's own, and calls us back (`run_job`).
Its arguments stay with the scheduler, and so do the variables: nothing of them is stored here.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from deriva_ml_hooks import programs
from deriva_ml_hooks.errors import HooksError, NotARepositoryError, UsageError
from deriva_ml_hooks.executions import jobs
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.processes import host
from deriva_ml_hooks.executions.record import NOT_STARTED, Execution, Status, new_id, now
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.gate import RefusedError
from deriva_ml_hooks.git import own, process
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.redact import redact_command
from deriva_ml_hooks.runner import child
from deriva_ml_hooks.runner.command.handed_over import script_at
from deriva_ml_hooks.runner.command.launchers import SCHEDULERS
from deriva_ml_hooks.runner.isolation.isolated import (
    Isolated,
    IsolationError,
    accepted_within,
    run_within,
)
from deriva_ml_hooks.runner.isolation.outputs import below_top
from deriva_ml_hooks.runner.isolation.worktrees import (
    Temporary,
    clear_left_over,
    executions_of,
    reopened,
    temporary_worktree,
)
from deriva_ml_hooks.runner.recording import Say, begun_for, ledger_for
from deriva_ml_hooks.runner.request import Request, accept

_ARRAYS = {
    "sbatch": re.compile(r"(?:^| )(?:-a ?\S|--array\b)"),
    "qsub": re.compile(r"(?:^| )-[tJ] ?\d"),
    "bsub": re.compile(r"(?:^| )-J ?\S+\["),
}
_CLUSTERS = re.compile(r"(?:^| )(?:-M ?\S|--clusters?\b)")
_DIRECTIVES = ("#SBATCH", "#PBS", "#$", "#BSUB")
_TASK_VARIABLES = ("SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "PBS_ARRAYID", "SGE_TASK_ID", "LSB_JOBINDEX")
_NO_TASK = ("", "0", "undefined")


class SubmissionError(HooksError):
    """A job cannot be submitted, or not be run."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be submitted: the words of the submitter, and of `request` all but the words.

    `callback`: the words that start this program in the job. `place`: the folder for the worktree (None:
    beside the user's own). `isolated`: HEAD, whatever is changed in the user's own worktree.
    """

    argv: Sequence[str]
    request: Request
    callback: Sequence[str]
    outputs: Sequence[str] = ()
    place: str | None = None
    isolated: bool = False


def settle(home: Repository, ledger: Ledger, say: Say) -> None:
    """Close the records of jobs that are gone, and remove what they have left. Raises LedgerError."""
    pinned = executions_of(home)
    if pinned:
        over = jobs.settle(ledger, pinned)
        for folder in clear_left_over(home, say, over.get):
            say(f"removed the worktree of a job that is over: {folder}")


def submit(wanted: Submission, *, say: Say, complain: Say, answer: Say) -> tuple[int, Execution]:
    """Accept a job, pin its worktree, begin its record, and hand it to the submitter.

    Returns the submitter's exit code, which is the job's where it has waited for that, and the record.
    `answer` is given what the submitter prints. Raises SubmissionError, and what `run_isolated` raises, where
    nothing was submitted.
    """
    submitter = os.path.basename(wanted.argv[0])
    if submitter not in SCHEDULERS:
        fix = "deriva-ml-hooks submit -- sbatch JOB.sh"
        raise UsageError(f"{submitter}: not one of {', '.join(SCHEDULERS)}", fix=fix)
    executable = child.located(wanted.argv[0])
    at = script_at(wanted.argv)
    if at is None:
        fix = "put the command into a script, commit it, and: deriva-ml-hooks submit -- sbatch JOB.sh"
        raise UsageError(f"{submitter}: no script of the job is named", fix=fix)
    script, arguments = wanted.argv[at], wanted.argv[at + 1 :]
    job: dict[str, Any] = {"submitter": submitter, "id": None, "host": host(), "at": now()}
    with child.signals_raise():
        home = measured()
        wanted = replace(wanted, outputs=[below_top(path, home.worktree) for path in wanted.outputs])
        cwd = os.path.relpath(os.path.realpath(os.getcwd()), home.worktree)
        if not wanted.isolated:
            lines = _beginning(os.path.abspath(script))
            accept(replace(wanted.request, argv=[*_interpreter(lines), script, *arguments]))
        head = home.head()
        if head is None:
            raise IsolationError("there is no commit yet", fix="git add -A && git commit")
        execution_id = new_id()
        with temporary_worktree(
            home, head.decode("ascii"), complain, place=_place(wanted.place, home), execution=execution_id
        ) as temporary:
            lines = _beginning(os.path.normpath(os.path.join(temporary.repository.worktree, cwd, script)))
            _refuse_unfollowed(submitter, wanted.argv[:at], lines)
            command = [*_interpreter(lines), script]
            request = replace(wanted.request, argv=[*command, *arguments])
            with accepted_within(
                temporary, home, Isolated(request, cwd=cwd, outputs=wanted.outputs)
            ) as accepted:
                begun = begun_for(accepted, {}, reads=False)
                ledger = ledger_for(accepted)
            of_the_job: dict[str, Any] = {"stdin": None, "environment": None, "job": {**job}}
            execution = replace(begun, id=execution_id, status="Submitted", **of_the_job)
            wrapper = os.path.join(temporary.folder, os.path.basename(script))
            wrapper += ".job" if os.path.exists(wrapper) else ""  # the worktree may have that name
            _write(wrapper, lines, [*wanted.callback, _told(wanted, home, ledger, execution), *command])
            ledger.add(execution)
            say(f"{execution.id}  {head.decode('ascii')[:12]}  in {temporary.repository.worktree}")
            with _closed_unless_submitted(ledger, execution, temporary):
                done = _submitted(executable, [*wanted.argv[:at], wrapper, *arguments])
                said = done.stdout.decode(errors="replace")
                answer(said)
                number = jobs.number_in(said)
                is_taken = done.returncode == 0 and number is not None
                if not is_taken and ledger.find(execution.id).status == "Submitted":
                    raise _NotTakenError(submitter, done.returncode)
                temporary.handed_over = True
            job["id"] = number
            ledger.change(execution.id, lambda row: replace(row, job=job) if number else None)
    return done.returncode, replace(execution, job=job)


class _NotTakenError(SubmissionError):
    def __init__(self, submitter: str, code: int) -> None:
        what, fix = f"has not taken the job (exit {code})", "see what it says, above"
        if code == 0:
            what, fix = "has named no job", "leave out what keeps it from that (--quiet, --test-only)"
        super().__init__(f"{submitter} {what}", fix=fix)
        self.code = code


@contextmanager
def _closed_unless_submitted(ledger: Ledger, execution: Execution, temporary: Temporary) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, _NotTakenError) else None
        why = error if isinstance(error, HooksError) else "interrupted while it was submitted"
        # One that has begun meanwhile goes on (`sbatch --wait`).
        temporary.handed_over = not _closed_as_not_started(ledger, execution, why, code)
        raise


def _closed_as_not_started(
    ledger: Ledger, execution: Execution, why: object, code: int | None = None
) -> bool:
    """Close the record of a job that has not begun; whether it had not."""
    status: Status = "Failed" if code else "Aborted"
    detail = f"{NOT_STARTED}{why}"
    closed = replace(execution, status=status, exit_code=code, detail=detail, ended_at=now())
    return ledger.change(execution.id, lambda row: closed if row.status == "Submitted" else None)


def run_job(told: str, argv: Sequence[str], *, say: Say, complain: Say) -> tuple[int, Execution]:
    """Run the job that `told` is about, as the command `argv`; the exit code, and the closed record.

    Raises SubmissionError where the record is closed or another job's, and what `run_isolated` raises: the
    record is closed as not started then.
    """
    about = json.loads(told)
    home, outputs = measured(about.pop("home")), about.pop("outputs")
    ledger, execution_id = Ledger(about.pop("ledger"), own.mode(home)), about.pop("execution")
    first = ledger.find(execution_id)
    job = first.job or {}
    if first.status != "Submitted" or job.get("submitter") not in SCHEDULERS:
        again = "a job that is started again by its scheduler is not run twice"
        raise SubmissionError(f"{first.id}: {first.status}, so it is not run: {again}", fix="submit it again")
    own_id = jobs.own_id(job["submitter"])
    first = replace(first, job={**job, "id": own_id or job["id"]})
    if [*first.command[1:]] != [*redact_command(argv)[1:]]:
        raise SubmissionError(f"{first.id}: another command than the one accepted", fix="submit it again")
    with child.signals_raise():
        try:
            wanted = Isolated(
                Request(argv, **about),
                commit=first.provenance["commit"],
                cwd=first.cwd,
                outputs=outputs,
                submitted=(ledger, first),
            )
            with reopened(home, first.id, complain, holds_results=bool(outputs)) as temporary:
                if any(os.environ.get(name, "") not in _NO_TASK for name in _TASK_VARIABLES):
                    raise _no_arrays()
                return run_within(temporary, home, wanted, say=say, complain=complain, keeps=lambda _: False)
        except BaseException as error:
            reasons = error.reasons if isinstance(error, RefusedError) else ()
            why = "; ".join(reason.message for reason in reasons) or error
            _closed_as_not_started(ledger, first, why)
            raise


def _place(place: str | None, home: Repository) -> str:
    """The folder for the worktree, which the job has to see: that of the user's own, unless told."""
    fix = "name a folder that the job sees as well: --worktree-root FOLDER"
    folder = os.path.realpath(place or os.path.dirname(home.worktree))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise SubmissionError(f"{folder}: no worktree can be made there", fix=fix)
    try:
        around = measured(folder).worktree
    except NotARepositoryError:
        return folder
    except HooksError as error:
        raise SubmissionError(f"{folder}: inside a git directory", fix=fix) from error
    raise SubmissionError(f"{folder}: inside the repository {around}, which it would make dirty", fix=fix)


def _told(wanted: Submission, home: Repository, ledger: Ledger, execution: Execution) -> str:
    """What the job has to know, as JSON."""
    names = ("entry_point", "catalog", "tag_required", "paranoid")
    about = {name: getattr(wanted.request, name) for name in names}
    about |= {"home": home.worktree, "ledger": ledger.path, "execution": execution.id}
    about["outputs"] = [*wanted.outputs]
    return json.dumps(about)


def _beginning(path: str) -> list[str]:
    """The comments that a script begins with: its interpreter, and the directives to the scheduler.

    Slurm and PBS heed none after them (sbatch(1), qsub(1B)).
    """
    found = []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    break
                found.append(line.rstrip("\n"))
    except OSError as error:
        fix = "name the script of the job, committed, relative to the folder that you are in"
        raise UsageError(f"{path}: {error.strerror}", fix=fix) from None
    if not found or not found[0].startswith("#!") or not found[0][2:].strip():
        raise UsageError(f"{path}: its first line names no interpreter", fix="begin it with: #!/bin/bash")
    return found


def _interpreter(lines: Sequence[str]) -> list[str]:
    """The words that the first line of a script stands for: a program, and one word at most (execve(2))."""
    return lines[0][2:].strip().split(None, 1)


def _refuse_unfollowed(submitter: str, options: Sequence[str], lines: Sequence[str]) -> None:
    said = [*options, *(line.partition(" ")[2] for line in lines if line.startswith(_DIRECTIVES))]
    if _ARRAYS[submitter].search(" ".join(said)):
        raise _no_arrays()
    if submitter == "sbatch" and _CLUSTERS.search(" ".join(said)):
        raise SubmissionError(
            "a job of another cluster is not seen from here, so nothing could tell how it ended",
            fix="submit it on that cluster, without --clusters",
        )


def _no_arrays() -> SubmissionError:
    return SubmissionError(
        "a job array is many runs, and a record is of one",
        fix="submit a job for each: for i in 1 2 3; do deriva-ml-hooks submit -- sbatch JOB.sh $i; done",
    )


def _write(path: str, lines: Sequence[str], callback: Sequence[str]) -> None:
    """The script that the scheduler gets."""
    text = "\n".join(["#!/bin/sh", *lines[1:], f'exec {shlex.join(callback)} "$@"', ""])
    write_atomically(path, os.fsencode(text), mode=0o700)


def _submitted(executable: str, argv: Sequence[str]) -> programs.Ended:
    """Run the submitter, the terminal's and the user's own but for what it prints."""
    # Slurm would start it again in a worktree that its first try has changed.
    env = process.command_environment() | {"SBATCH_NO_REQUEUE": "1"}
    for name in _TASK_VARIABLES:  # of a job that submits another one
        env.pop(name, None)
    return programs.run(argv, executable=executable, env=env, stdin=None, shown=("stderr",))
