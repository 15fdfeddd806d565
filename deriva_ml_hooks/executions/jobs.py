"""What schedulers say of submitted jobs: asked for all at once, and never waited for long.

Only a scheduler that answers can say that a job is gone; without an answer its record stays open. It is asked
on the host, and by the account, that has submitted the job: elsewhere it may be another's, and not know it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from deriva_ml_hooks import programs
from deriva_ml_hooks.errors import NoSuchExecutionError
from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import LOST, NOT_STARTED, Execution, now

PATIENCE = 3.0
"""Seconds that a scheduler is given for its answer."""
_NUMBER = re.compile(r"[0-9]+")
_NAMED = re.compile(r"\bjob <?([0-9]+)", re.IGNORECASE)


class _Scheduler(NamedTuple):
    """How a scheduler is asked, what it says of a job that it has not got, and of those that have ended.

    `id_variable`: where a job finds its own id.
    """

    words: Sequence[str]
    unknown: bytes | None
    ended: Collection[str]
    id_variable: str


_SLURM = "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT"
_SCHEDULERS = {
    "sbatch": _Scheduler(
        ("squeue", "--noheader", "--states=all", "--format=%A %T", "--jobs={}"),
        b"Invalid job id specified",
        _SLURM.split(),
        "SLURM_JOB_ID",
    ),
    "qsub": _Scheduler(("qstat",), None, ("C", "F"), "PBS_JOBID"),
    "bsub": _Scheduler(
        ("bjobs", "-a", "-noheader", "-o", "jobid stat"),
        b"is not found",
        ("DONE", "EXIT", "ZOMBI"),
        "LSB_JOBID",
    ),
}
"""The schedulers, by the program that submits a job to them."""


def number_in(text: str) -> str | None:
    """The id of a job in what its submitter has said, or in the job's variable."""
    found = _NAMED.search(text) or _NUMBER.search(text)
    return found[found.lastindex or 0] if found else None


def own_id(submitter: str) -> str | None:
    """The id of the job that this process is in."""
    names = (_SCHEDULERS[submitter].id_variable, "JOB_ID")  # the second is Grid Engine's
    return next(filter(None, (number_in(os.environ.get(name, "")) for name in names)), None)


def settle(ledger: Ledger, ids: Collection[str]) -> dict[str, bool]:
    """Close those of the executions `ids` whose job has ended without a word; which of the jobs are over.

    One that closes its record has still to bring its outputs back, so only its scheduler can tell. What the
    ledger does not know is not in the answer. Raises LedgerError.
    """
    found = []
    for execution_id in ids:
        with suppress(NoSuchExecutionError):
            found.append(ledger.find(execution_id))
    is_over = {execution.id: False for execution in found}
    for submitter in _SCHEDULERS:
        of_it = [e for e in found if e.job and e.job["submitter"] == submitter and _is_ours(e)]
        states = _states(submitter, [str(e.job["id"]) for e in of_it if e.job and e.job["id"]])
        for execution in of_it:
            detail = _gone(execution, states)
            if detail is not None:
                ledger.change(execution.id, partial(_closed, detail))
                is_over[execution.id] = True
    return is_over


def _is_ours(execution: Execution) -> bool:
    job, agent = execution.job or {}, execution.agent or {}
    is_whole = _NUMBER.fullmatch(job["id"] or "0")  # else it was edited
    return bool(is_whole) and job["host"] == processes.host() and agent.get("account") == processes.account()


def _gone(execution: Execution, states: dict[str, str] | None) -> str | None:
    """What a record is closed with whose job is no more; None where it still is, or nobody has said."""
    job = execution.job or {}
    if job["id"] is None:
        is_gone = processes.is_gone(execution.pid, execution.process)
        return f"{NOT_STARTED}submit was ended before the scheduler had answered" if is_gone else None
    if states is None:
        return None
    state = states.get(job["id"])
    if state is not None and state not in _SCHEDULERS[job["submitter"]].ended:
        return None
    return f"{NOT_STARTED}the job is {state.lower()}" if state and execution.status == "Submitted" else LOST


def _closed(detail: str, row: Execution) -> Execution | None:
    is_late = detail.startswith(NOT_STARTED) and row.status != "Submitted"
    if is_late or not row.is_open:
        return None
    return replace(row, status="Aborted", detail=detail, ended_at=now())


def _states(submitter: str, ids: Sequence[str]) -> dict[str, str] | None:
    """The states of the jobs that a scheduler knows; None where it does not answer."""
    scheduler = _SCHEDULERS[submitter]
    program = shutil.which(scheduler.words[0])
    if not ids or program is None or not os.path.isabs(program):  # none of the folder we are in
        return None
    words = [program, *(word.format(",".join(ids)) for word in scheduler.words[1:])]
    words += ids if submitter == "bsub" else []
    try:
        done = programs.run(words, timeout=PATIENCE)
    except OSError:
        return None
    if done.returncode and (scheduler.unknown is None or scheduler.unknown not in done.stderr):
        return None
    found = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        first, *others = line.split() or [""]
        state = others[-2:][:1]  # the only other word; with qstat the last but one
        found[number_in(first) or ""] = state[0] if state else ""
    return found
