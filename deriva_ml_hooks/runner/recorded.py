"""Runs an accepted command and keeps its record: written down, run, measured again, closed.

The order is the promise: the row is on the disk before the command starts, and there is no row unless
the gate has accepted. Prints nothing; tells its caller what to say.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from deriva_ml_hooks.config import load, policy_on
from deriva_ml_hooks.errors import ConfigError, HooksError, LedgerError
from deriva_ml_hooks.executions import circumstances
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.places import ledger_path
from deriva_ml_hooks.executions.publications import RID_VARIABLE
from deriva_ml_hooks.executions.record import NOT_STARTED, Execution, Status, begun, new_id, now
from deriva_ml_hooks.files import inside, write_atomically
from deriva_ml_hooks.gate import image
from deriva_ml_hooks.git import own, process
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.status import measure
from deriva_ml_hooks.git.traces import Traces
from deriva_ml_hooks.redact import redact, redact_command, redacted
from deriva_ml_hooks.report import as_line, few, printable
from deriva_ml_hooks.runner import child, deriva_ml, publishing
from deriva_ml_hooks.runner.acceptance import Accepted
from deriva_ml_hooks.runner.child import Ending
from deriva_ml_hooks.runner.inside_python import Worktrees
from deriva_ml_hooks.runner.interpreter import interpreter
from deriva_ml_hooks.runner.results import made, named
from deriva_ml_hooks.runner.witness import OTHER_WORKTREE, Witness, refuse_other_worktrees, worktrees_of

EXECUTION_VARIABLE = "DERIVA_ML_HOOKS_EXECUTION"
PROVENANCE_VARIABLE = "DERIVA_ML_HOOKS_PROVENANCE"
DRY_RUN_VARIABLE = "DERIVA_ML_HOOKS_DRY_RUN"
REFUSAL = "refused"
"""The file in an execution's folder that says why the guard has refused to go on."""
# With the first four deriva-ml skips its own check of the tree, or parts of it, and takes the run for a
# notebook; the others are of the run around this one.
_NEVER_PASSED_ON = (
    "DERIVA_ML_WORKFLOW_URL",
    "DERIVA_ML_ALLOW_DIRTY",
    "DERIVA_ML_DIRTY_CHECK_IGNORE",
    "DERIVA_ML_DRY_RUN",
    DRY_RUN_VARIABLE,
    RID_VARIABLE,
)

_MOST_TOUCHED = 100
_AS_SUBMITTED = ("id", "command", "entry_point", "provenance", "description", "agent", "job")

Say = Callable[[str], None]


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
    ledger = ledger_for(accepted)
    env = process.command_environment()
    for name in _NEVER_PASSED_ON:
        env.pop(name, None)
    execution = begun_for(accepted, env, reads=task is None)
    env[EXECUTION_VARIABLE] = execution.id
    env[PROVENANCE_VARIABLE] = _provenance_file(ledger, execution)
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
        during = publishing.part_in_run(
            accepted.request.catalog, config, repository, ledger, execution, complain
        )
    except BaseException:
        _forget(env)
        raise
    with child.held_signals() as mask:
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
            _forget(env)
            raise
        if during is not None:
            with _closing(ledger, complain, lambda error: _withheld(execution, error), lambda _: None):
                env |= publishing.begin(during, mask)
        say(_opening_line(accepted, execution))
        started = time.monotonic()
        with _closing(
            ledger,
            complain,
            lambda error: _unstarted(execution, error),
            lambda failed: publishing.finish(during, failed, mask),
        ):
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
        changes = child.interruptible(lambda: changed_since(accepted), mask)
        if changes is None:
            changes = [_unmeasured("interrupted before the worktree was measured again")]
        if witness is not None:
            changes += _loaded_elsewhere(accepted, witness)
        results = child.interruptible(lambda: _results(accepted, changes), mask) or []
        execution = replace(execution, changed_during_run=changes, results=results)
        _close(ledger, execution, complain)
        publishing.finish(during, execution, mask)
    if execution.notebook is not None and execution.notebook["output"] is not None:
        say(f"the executed notebook: {printable(execution.notebook['output'])}")
    say(_closing_line(execution))
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
    for path in witness.told()[:_MOST_TOUCHED]:
        yield {"code": OTHER_WORKTREE, "path": path, "message": f"code from {which} was loaded"}


def run_unrecorded(argv: Sequence[str], *, say: Say, stdin: bytes | None = None) -> int:
    """Run a command without a record, and tell it so (DERIVA_ML_HOOKS_DRY_RUN); its exit code.

    DerivaML's own programs are told by a word of theirs; any other may record by itself.
    `stdin`: what it reads there, where that is not our own standard input.
    """
    executable = child.located(argv[0])
    env = process.command_environment()
    for name in _NEVER_PASSED_ON:
        env.pop(name, None)
    env[DRY_RUN_VARIABLE] = "true"
    if deriva_ml.starts(argv):
        argv = [*argv, deriva_ml.DRY_RUN]
        say(f"dry run: nothing is recorded, and {deriva_ml.DRY_RUN} is added to the command")
    else:
        say("dry run: nothing is recorded here; the command itself may record")
    with child.held_signals() as mask:
        return child.run(executable, argv, env, mask, stdin).exit_code


def changed_since(accepted: Accepted) -> list[dict[str, Any]]:
    """What is no longer as it was accepted: HEAD, and the worktree, measured again."""
    if isinstance(accepted.provenance, image.ImageProvenance):
        found = image.differences(accepted.provenance)
        return [{"code": f.code, "path": f.path, "message": f.message} for f in found]
    try:
        repository = discover(accepted.repository.worktree)
        if repository != accepted.repository:
            return [_unmeasured("the repository is no longer there")]
        paranoid = accepted.request.paranoid or accepted.verdict.config.paranoid
        measured = measure(repository, paranoid=paranoid)
    except Exception as error:  # whatever became of the repository, the record has to be closed
        reason = str(error) if isinstance(error, HooksError) else f"{type(error).__name__}: {error}"
        return [_unmeasured(redact(reason))]
    before = {(finding.code, finding.path) for finding in accepted.verdict.warnings}
    changes = [
        {"code": change.code, "path": change.path, "message": change.detail}
        for change in measured.changes
        if (change.code, change.path) not in before
        and policy_on(accepted.verdict.config, change.code) != "ignore"
    ]
    if measured.head != accepted.provenance.commit:
        message = f"HEAD moved from {accepted.provenance.commit} to {measured.head}"
        changes.insert(0, {"code": "head", "path": None, "message": message})
    if measured.traces is not None and accepted.verdict.traces is not None:
        changes += _undone(measured.traces, accepted.verdict.traces, changes)
    return changes


def _results(accepted: Accepted, changes: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The files that differ from the commit now, and what was made where the user looks for outputs."""
    top = accepted.repository.worktree
    paths = [
        c["path"] for c in changes if c["path"] is not None and c["code"] not in ("touched", OTHER_WORKTREE)
    ]
    if accepted.outputs:
        wanted = [named(output) for output in accepted.outputs]
        with suppress(HooksError):  # whatever became of the repository
            made_now = made(top, accepted.provenance.commit)
            paths += [path for path in made_now if any(is_named(path) for is_named in wanted)]
    return circumstances.hashed(top, paths)


def _undone(after: Traces, before: Traces, told: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """What happened during the run, though the worktree ended as it began: it is not what ran throughout."""
    if after.moved(before) and "head" not in {change["code"] for change in told}:
        yield {"code": "head", "path": None, "message": "HEAD was moved, and moved back"}
    known = {change["path"] for change in told}
    touched = [path for path in after.touched(before) if path not in known]
    for path in touched[:_MOST_TOUCHED]:
        message = "written, replaced or renamed during the run, ends as it began"
        yield {"code": "touched", "path": path, "message": message}
    if len(touched) > _MOST_TOUCHED:
        more = f"{len(touched) - _MOST_TOUCHED} more were written, replaced or renamed, and end as they began"
        yield {"code": "touched", "path": None, "message": more}


def _unmeasured(message: str) -> dict[str, Any]:
    return {"code": "git-error", "path": None, "message": message}


def ledger_for(accepted: Accepted) -> Ledger:
    """The ledger that is to have the record. Raises ConfigError where it would make later runs dirty."""
    if accepted.submitted is not None:
        return accepted.submitted[0]
    return Ledger(_ledger_file(accepted), own.mode(accepted.home or accepted.repository))


def _ledger_file(accepted: Accepted) -> str:
    repository, config = accepted.repository, accepted.verdict.config
    if accepted.home is not None:
        repository, config = accepted.home, load(accepted.home.worktree)
    path = ledger_path(repository, config)
    real, worktree = os.path.realpath(path), repository.worktree
    name = inside(real, worktree)
    if name is None or inside(real, os.path.realpath(repository.common_dir)) is not None:
        return path
    folder = os.path.dirname(name)
    # All that recording makes: the ledger, its journal, and the folders of the executions.
    made = (name, f"{name}-journal", os.path.join(folder, "executions", new_id()))
    for name in made:
        if process.run("check-ignore", "--quiet", "--", name, cwd=worktree).returncode:
            ignore = f"echo '/{folder}/' >> .gitignore" if folder else f'ledger = "runs/{made[0]}"'
            raise ConfigError(
                "the configuration",
                "ledger",
                f"{name} would be in the worktree and not ignored, so recording would make later runs dirty",
                fix=f"{ignore}, or put the ledger outside the worktree",
            )
    return path


def begun_for(accepted: Accepted, env: Mapping[str, str], *, reads: bool) -> Execution:
    """The execution that this process begins; of a job what was said of it when it was submitted stays."""
    request, home = accepted.request, accepted.home or accepted.repository
    tops = (accepted.repository.worktree, home.worktree)
    execution = begun(
        command=redact_command(request.argv),
        entry_point=accepted.entry_point.as_json(),
        provenance=accepted.provenance.as_json(),
        cwd=os.path.relpath(os.path.realpath(os.getcwd()), accepted.repository.worktree),
        description=redact(request.description) if request.description is not None else None,
        warnings=[finding.as_json() for finding in accepted.verdict.warnings],
        environment=sorted(env),
        isolated=accepted.home is not None,
        rerun_of=accepted.rerun_of,
        parent=os.environ.get(EXECUTION_VARIABLE),
        agent=circumstances.agent(home),
        stdin=circumstances.standard_input(tops) if reads else {"kind": circumstances.NOTHING},
    )
    if accepted.submitted is None:
        return execution
    first = accepted.submitted[1]
    return replace(
        execution,
        **{name: getattr(first, name) for name in _AS_SUBMITTED},
        warnings=[*first.warnings, *(w for w in execution.warnings if w not in first.warnings)],
    )


def _provenance_file(ledger: Ledger, execution: Execution) -> str:
    path = os.path.join(ledger.folder_of(execution.id), "provenance.json")
    try:
        write_atomically(
            path,
            json.dumps(redacted(execution.provenance), indent=1).encode("ascii") + b"\n",
            mode=ledger.mode,
        )
    except OSError as error:
        raise LedgerError(
            f"{path}: {error.strerror}", fix="see its owner, and the space on its disk"
        ) from None
    return path


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
        _close(ledger, ended, complain)
        told(ended)
        raise


def _unstarted(execution: Execution, error: HooksError) -> Execution:
    """What could not be executed has failed, with the code that a shell gives it."""
    return replace(execution, status="Failed", exit_code=error.exit_code, detail=str(error))


def _withheld(execution: Execution, error: HooksError) -> Execution:
    """A command that must not start without its row in the catalog was given up."""
    return replace(execution, status="Aborted", detail=f"{NOT_STARTED}{error}")


def _forget(env: Mapping[str, str]) -> None:
    """Take away the files of an execution that does not come to be."""
    shutil.rmtree(os.path.dirname(env[PROVENANCE_VARIABLE]), ignore_errors=True)


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


def _close(ledger: Ledger, execution: Execution, complain: Say) -> None:
    """Close the record; where that fails the command's own result still counts, so only say so."""
    try:
        if not ledger.close(execution):
            complain(f"{ledger.path}: the record was gone from the ledger, and is written to it again")
            # With the repository gone too, no command reads what is there now.
            complain(f"keep it, in case that ledger is lost: {json.dumps(redacted(execution.as_json()))}")
    except LedgerError as error:
        complain(f"the record {execution.id} stays open: {error}")
        complain(f"fix: {error.fix}")
        complain(f"keep it, since no ledger has it so: {json.dumps(redacted(execution.as_json()))}")


def _opening_line(accepted: Accepted, execution: Execution) -> str:
    commit, branch, tag, version = map(execution.provenance.get, ("commit", "branch", "tag", "version"))
    words = [execution.id, str(commit)[:12], branch or "detached HEAD", tag or version or "no version"]
    line = "  ".join(printable(word) for word in words)
    warnings = "; ".join(as_line(finding) for finding in accepted.verdict.warnings)
    return f"{line}  (warning: {warnings})" if warnings else line


def _closing_line(execution: Execution) -> str:
    ended = execution.detail or f"exit {execution.exit_code}"
    line = f"{execution.id}  {execution.status}  {ended}  {execution.duration:.1f} s"
    changes = execution.changed_during_run
    for is_loaded, told in (
        (False, "changed during the run"),
        (True, "code that is not the commit's was loaded"),
    ):
        found = [c for c in changes if (c["code"] == OTHER_WORKTREE) is is_loaded]
        if found:
            line += f"  ({told}: {few([change['path'] or change['message'] for change in found])})"
    return line
