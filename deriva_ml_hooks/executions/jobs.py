"""What schedulers say of submitted jobs: asked for all at once, and never waited for long.

Only a scheduler that answers can say that a job is gone; without an answer its record stays open. It is asked
on the host, and by the account, that has submitted the job: elsewhere it may be another's, and not know it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from deriva_ml_hooks.errors import NoSuchExecutionError
from deriva_ml_hooks.executions import circumstances, processes
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import LOST, NOT_STARTED, Execution, now

PATIENCE = 3.0
"""Seconds that a scheduler is given for its answer."""
_NUMBER = re.compile(r"[0-9]+")
_NAMED = re.compile(r"\bjob <?([0-9]+)", re.IGNORECASE)


class _Asked(NamedTuple):
    """How the scheduler behind a submitter is asked, what it says of a job it has not got, and of ended ones.

    `id_variable`: where a job finds its own id.
    """

    words: Sequence[str]
    unknown: bytes
    ended: frozenset[str]
    id_variable: str


_SLURM = "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT"
_ASKED = {
    "sbatch": _Asked(
        ("squeue", "--noheader", "--states=all", "--format=%A %T", "--jobs={}"),
        b"Invalid job id specified",
        frozenset(_SLURM.split()),
        "SLURM_JOB_ID",
    ),
    "qsub": _Asked(("qstat",), b"", frozenset("CF"), "PBS_JOBID"),
    "bsub": _Asked(
        ("bjobs", "-a", "-noheader", "-o", "jobid stat"),
        b"is not found",
        frozenset({"DONE", "EXIT", "ZOMBI"}),
        "LSB_JOBID",
    ),
}


def number_in(text: str) -> str | None:
    """The id of a job in what its submitter has said, or in the job's variable."""
    found = _NAMED.search(text) or _NUMBER.search(text)
    return found[found.lastindex or 0] if found else None


def own_id(submitter: str) -> str | None:
    """The id of the job that this process is in."""
    names = (_ASKED[submitter].id_variable, "JOB_ID")  # the second is Grid Engine's
    return next(filter(None, (number_in(os.environ.get(name, "")) for name in names)), None)


def settle(ledger: Ledger, ids: Collection[str]) -> dict[str, bool]:
    """Close those of the executions `ids` whose job has ended without a word; which of the jobs are over.

    One that closes its record has still to bring its outputs back, so only its scheduler can tell. What the
    ledger does not know is not in the answer. Raises LedgerError.
    """
    over, ours = {}, []
    for execution_id in ids:
        with suppress(NoSuchExecutionError):
            execution = ledger.find(execution_id)
            over[execution_id] = False
            if execution.job is not None and _is_ours(execution):
                ours.append((execution.job, execution))
    for submitter in {job["submitter"] for job, _ in ours}:
        of_it = [(job["id"], execution) for job, execution in ours if job["submitter"] == submitter]
        states = _states(submitter, [job_id for job_id, _ in of_it if job_id])
        for job_id, execution in of_it:
            detail = _gone(job_id, execution, states, _ASKED[submitter].ended)
            if detail is not None:
                ledger.change(execution.id, partial(_closed, detail))
                over[execution.id] = True
    return over


def _is_ours(execution: Execution) -> bool:
    job, agent = execution.job or {}, execution.agent or {}
    if job["submitter"] not in _ASKED or not _NUMBER.fullmatch(job["id"] or "0"):
        return False  # edited
    return job["host"] == processes.host() and agent.get("account") == circumstances.account()


def _gone(
    job_id: str | None, execution: Execution, states: dict[str, str] | None, ended: Collection[str]
) -> str | None:
    """What a record is closed with whose job is no more; None where it still is, or nobody has said."""
    if job_id is None:
        is_gone = processes.is_gone(execution.pid, execution.process)
        return f"{NOT_STARTED}submit was ended before the scheduler had answered" if is_gone else None
    state = states.get(job_id, "") if states is not None else None
    if state is None or (state and state not in ended):
        return None
    return f"{NOT_STARTED}the job is {state.lower()}" if state and execution.status == "Submitted" else LOST


def _closed(detail: str, row: Execution) -> Execution | None:
    is_late = detail.startswith(NOT_STARTED) and row.status != "Submitted"
    return (
        replace(row, status="Aborted", detail=detail, ended_at=now()) if row.is_open and not is_late else None
    )


def _states(submitter: str, ids: Sequence[str]) -> dict[str, str] | None:
    """The states of the jobs that a scheduler knows; None where it does not answer."""
    asked = _ASKED[submitter]
    program = shutil.which(asked.words[0])
    if program is None or not os.path.isabs(program) or not ids:  # none of the folder we are in
        return None
    words = [word.format(",".join(ids)) for word in asked.words[1:]]
    words += ids if submitter == "bsub" else []
    try:
        done = subprocess.run(
            [program, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and not (asked.unknown and asked.unknown in done.stderr):
        return None
    found = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        first, *others = line.split() or [""]
        state = others[-2:][:1]  # the only other word; with qstat the last but one
        found[number_in(first) or ""] = state[0] if state and state[0] in asked.ended else "listed"
    return found
