"""Runs an accepted command and keeps its record: written down, run, measured again, closed.

The order is the promise: the row is on the disk before the command starts, and there is no row unless
the gate has accepted. Prints nothing; tells its caller what to say.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from deriva_ml_hooks.errors import HooksError, LedgerError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import NOT_STARTED, Execution, Status, now
from deriva_ml_hooks.gate import image
from deriva_ml_hooks.git import process
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import printable
from deriva_ml_hooks.runner import child, deriva_ml, recording
from deriva_ml_hooks.runner.child import Ending
from deriva_ml_hooks.runner.inside_python import Worktrees
from deriva_ml_hooks.runner.interpreter import interpreter
from deriva_ml_hooks.runner.publication import prepared
from deriva_ml_hooks.runner.recording import (
    DRY_RUN_VARIABLE,
    EXECUTION_VARIABLE,
    MOST_TOLD,
    PROVENANCE_VARIABLE,
    Say,
)
from deriva_ml_hooks.runner.request import Accepted
from deriva_ml_hooks.runner.witness import OTHER_WORKTREE, Witness, refuse_other_worktrees, worktrees_of

REFUSAL = "refused"
"""The file in an execution's folder that says why the guard has refused to go on."""


@dataclass(frozen=True, slots=True)
class Start:
    """What is started for an execution where that is not the words of its request."""

    execution: Execution
    argv: Sequence[str]
    stdin: bytes


class Task(Protocol):
    """More than a command: it prepares what is started, and adds to the record what came of it."""

    def within(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """The words, and the variables, of the program that the started one starts in its turn."""

    def start(self, execution: Execution, folder: str) -> Start:
        """What to start; `folder` is the execution's own. A HooksError means that nothing is."""

    def ended(self, execution: Execution) -> Execution:
        """The record, with what is known now."""


def run_recorded(
    accepted: Accepted, *, say: Say, complain: Say, task: Task | None = None
) -> tuple[int, Execution]:
    """Run what was accepted; the exit code for the caller, and the closed record.

    `say` is given one line before the command and one after it, with where an executed notebook is;
    `complain` what went wrong with the record afterwards; `task` is what is run where that is not the
    words of the request. Raises LedgerError when the record cannot be begun: nothing has been started then.
    """
    ledger = recording.ledger_for(accepted)
    env = process.command_environment()
    recording.clear(env)
    execution = recording.begun_for(accepted, env, reads=task is None)
    env[EXECUTION_VARIABLE] = execution.id
    env[PROVENANCE_VARIABLE] = recording.provenance_file(ledger, execution)
    argv, stdin = accepted.request.argv, None
    try:
        if task is not None:
            start = task.start(execution, os.path.dirname(env[PROVENANCE_VARIABLE]))
            execution, argv, stdin = start.execution, start.argv, start.stdin
        witness = _witness(accepted, argv, env)
        if witness is not None:
            env |= witness.variables(env)
        config = accepted.verdict.config
        repository = accepted.home or accepted.repository
        publication = prepared(accepted.request.catalog, config, repository, ledger, execution, complain)
    except BaseException:
        recording.forget(env)
        raise
    with child.held_signals() as mask:

        def published(ended: Execution) -> None:
            if publication is not None:
                publication.finish(ended, mask)

        try:
            if accepted.submitted is None:
                ledger.add(execution)
            elif not ledger.change(
                execution.id, lambda row: execution if row.status == "Submitted" else None
            ):
                raise LedgerError(
                    f"{execution.id}: closed, or begun by another job, so the command is not run",
                    fix=f"deriva-ml-hooks executions show {shlex.quote(execution.id)}",
                )
        except LedgerError:
            recording.forget(env)
            raise
        if publication is not None:
            with _closing(ledger, complain, lambda error: _withheld(execution, error), lambda _: None):
                env |= publication.begin(mask)
        say(recording.opening_line(accepted, execution))
        started = time.monotonic()
        with _closing(ledger, complain, lambda error: _unstarted(execution, error), published):
            ending = child.run(accepted.executable, argv, env, mask, stdin)
        refused = _refusal(os.path.dirname(env[PROVENANCE_VARIABLE]))
        execution = _ended(execution, ending, time.monotonic() - started, refused)
        if task is not None:
            execution = task.ended(execution)
        else:  # only now: uv may have made it
            started_by = child.interruptible(
                lambda: interpreter(argv, env, accepted.repository.worktree), mask
            )
            execution = replace(execution, interpreter=started_by)
        changes = child.interruptible(lambda: recording.changed_since(accepted), mask)
        if changes is None:
            changes = [recording.unmeasured("interrupted before the worktree was measured again")]
        if witness is not None:
            changes += _loaded_elsewhere(accepted, witness)
        results = child.interruptible(lambda: recording.results_of(accepted, changes), mask) or []
        execution = replace(execution, changed_during_run=changes, results=results)
        recording.close(ledger, execution, complain)
        published(execution)
    if execution.notebook is not None and execution.notebook["output"] is not None:
        say(f"the executed notebook: {printable(execution.notebook['output'])}")
    say(recording.closing_line(execution))
    return ending.exit_code, execution


def _witness(accepted: Accepted, argv: Sequence[str], env: Mapping[str, str]) -> Witness | None:
    """What has to be seen of the Pythons of this run: there is nothing where there is one worktree only.

    Raises OtherWorktreeError where it is known by now that code of another one would be imported.
    """
    if isinstance(accepted.provenance, image.ImageProvenance):
        return None
    here, isolated = accepted.repository.worktree, accepted.home is not None
    others = [top for top in worktrees_of(accepted.home or accepted.repository) if top != here]
    if not others:
        return None
    worktrees = Worktrees(here, others)
    if not isolated:
        refuse_other_worktrees(argv, env, worktrees, led=False)
    folder = os.path.dirname(env[PROVENANCE_VARIABLE])
    return Witness(os.path.join(os.path.realpath(folder), "python"), worktrees, leads=isolated)


def _loaded_elsewhere(accepted: Accepted, witness: Witness) -> Iterator[dict[str, Any]]:
    which = "outside the temporary worktree" if accepted.home is not None else "another worktree"
    for path in witness.told()[:MOST_TOLD]:
        yield {"code": OTHER_WORKTREE, "path": path, "message": f"code from {which} was loaded"}


def run_unrecorded(argv: Sequence[str], *, say: Say, stdin: bytes | None = None) -> int:
    """Run a command without a record, and tell it so (DERIVA_ML_HOOKS_DRY_RUN); its exit code.

    DerivaML's own programs are told by a word of theirs; any other may record by itself.
    `stdin`: what it reads there, where that is not our own standard input.
    """
    executable = child.located(argv[0])
    env = process.command_environment()
    recording.clear(env)
    env[DRY_RUN_VARIABLE] = "true"
    if deriva_ml.starts(argv):
        argv = [*argv, deriva_ml.DRY_RUN]
        say(f"dry run: nothing is recorded, and {deriva_ml.DRY_RUN} is added to the command")
    else:
        say("dry run: nothing is recorded here; the command itself may record")
    with child.held_signals() as mask:
        return child.run(executable, argv, env, mask, stdin).exit_code


@contextmanager
def _closing(
    ledger: Ledger,
    complain: Say,
    failed: Callable[[HooksError], Execution],
    told: Callable[[Execution], object],
) -> Iterator[None]:
    """Close the record, as `failed` has it, also when the command is not started after all."""
    try:
        yield
    except HooksError as error:
        ended = replace(failed(error), ended_at=now(), duration=0.0)
        recording.close(ledger, ended, complain)
        told(ended)
        raise


def _unstarted(execution: Execution, error: HooksError) -> Execution:
    """What could not be executed has failed, with the code that a shell gives it."""
    return replace(execution, status="Failed", exit_code=error.exit_code, detail=str(error))


def _withheld(execution: Execution, error: HooksError) -> Execution:
    """A command that must not start without its row in the catalog was given up."""
    return replace(execution, status="Aborted", detail=f"{NOT_STARTED}{error}")


def _ended(execution: Execution, ending: Ending, duration: float, refused: str | None) -> Execution:
    status: Status = "Aborted" if ending.aborted else "Failed" if ending.exit_code else "Completed"
    by_signal = f"signal {ending.asked or ending.killed_by}" if ending.asked or ending.killed_by else None
    return replace(
        execution,
        status=status,
        exit_code=ending.exit_code,
        signal=ending.killed_by,
        detail=by_signal or refused,
        ended_at=now(),
        duration=round(duration, 3),
    )


def _refusal(folder: str) -> str | None:
    """Why the guard has ended a sweep, if it has; `folder` is the execution's own."""
    try:
        with open(os.path.join(folder, REFUSAL), encoding="utf-8", errors="surrogateescape") as file:
            return redact(file.read())
    except OSError:
        return None
