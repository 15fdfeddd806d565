"""What begins and closes a record, whoever runs: a process that we start, or this very process.

Prints nothing; tells its caller what to say.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from deriva_ml_hooks.config import load, policy_on
from deriva_ml_hooks.errors import ConfigError, HooksError, LedgerError
from deriva_ml_hooks.executions import circumstances
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.location import ledger_path
from deriva_ml_hooks.executions.publications import RID_VARIABLE
from deriva_ml_hooks.executions.record import Execution, begun, new_id
from deriva_ml_hooks.files import inside, write_atomically
from deriva_ml_hooks.gate import image
from deriva_ml_hooks.gate.fixes import executed
from deriva_ml_hooks.git import own, process
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.status import measure
from deriva_ml_hooks.git.traces import Traces
from deriva_ml_hooks.redact import redact, redact_command, redacted
from deriva_ml_hooks.report import as_line, few, printable
from deriva_ml_hooks.runner.request import Accepted
from deriva_ml_hooks.runner.results import made, named
from deriva_ml_hooks.runner.witness import OTHER_WORKTREE

EXECUTION_VARIABLE = "DERIVA_ML_HOOKS_EXECUTION"
PROVENANCE_VARIABLE = "DERIVA_ML_HOOKS_PROVENANCE"
DRY_RUN_VARIABLE = "DERIVA_ML_HOOKS_DRY_RUN"
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

MOST_TOLD = 100
"""Paths of one kind that a record names."""
_AS_SUBMITTED = ("id", "command", "entry_point", "provenance", "description", "agent", "job")

Say = Callable[[str], None]


def clear(env: MutableMapping[str, str]) -> None:
    """Take away what has deriva-ml skip its own checks, and what is another run's."""
    for name in _NEVER_PASSED_ON:
        env.pop(name, None)


def changed_since(accepted: Accepted) -> list[dict[str, Any]]:
    """What is no longer as it was accepted: HEAD, and the worktree, measured again."""
    if isinstance(accepted.provenance, image.ImageProvenance):
        found = image.differences(accepted.provenance)
        return [{"code": f.code, "path": f.path, "message": f.message} for f in found]
    try:
        repository = measured(accepted.repository.worktree)
        if repository != accepted.repository:
            return [unmeasured("the repository is no longer there")]
        paranoid = accepted.request.paranoid or accepted.verdict.config.paranoid
        measurement = measure(repository, paranoid=paranoid)
    except Exception as error:  # whatever became of the repository, the record has to be closed
        reason = str(error) if isinstance(error, HooksError) else f"{type(error).__name__}: {error}"
        return [unmeasured(redact(reason))]
    before = {(finding.code, finding.path) for finding in accepted.verdict.warnings}
    changes = [
        {"code": change.code, "path": change.path, "message": change.detail}
        for change in measurement.changes
        if (change.code, change.path) not in before
        and not (accepted.request.ignore_outputs and executed(repository, change) is not None)
        and policy_on(accepted.verdict.config, change.code) != "ignore"
    ]
    if measurement.head != accepted.provenance.commit:
        message = f"HEAD moved from {accepted.provenance.commit} to {measurement.head}"
        changes.insert(0, {"code": "head", "path": None, "message": message})
    if measurement.traces is not None and accepted.verdict.traces is not None:
        changes += _undone(measurement.traces, accepted.verdict.traces, changes)
    return changes


def results_of(accepted: Accepted, changes: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
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
    for path in touched[:MOST_TOLD]:
        message = "written, replaced or renamed during the run, ends as it began"
        yield {"code": "touched", "path": path, "message": message}
    if len(touched) > MOST_TOLD:
        more = f"{len(touched) - MOST_TOLD} more were written, replaced or renamed, and end as they began"
        yield {"code": "touched", "path": None, "message": more}


def unmeasured(message: str) -> dict[str, Any]:
    """What is said in the place of changes that could not be measured."""
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


def provenance_file(ledger: Ledger, execution: Execution) -> str:
    """Where the provenance is written down for what runs. Raises LedgerError."""
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


def forget(env: Mapping[str, str]) -> None:
    """Take away the files of an execution that does not come to be."""
    shutil.rmtree(os.path.dirname(env[PROVENANCE_VARIABLE]), ignore_errors=True)


def close(ledger: Ledger, execution: Execution, complain: Say) -> None:
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


def opening_line(accepted: Accepted, execution: Execution) -> str:
    """What is said before the start."""
    commit, branch, tag, version = map(execution.provenance.get, ("commit", "branch", "tag", "version"))
    words = [execution.id, str(commit)[:12], branch or "detached HEAD", tag or version or "no version"]
    line = "  ".join(printable(word) for word in words)
    warnings = "; ".join(as_line(finding) for finding in accepted.verdict.warnings)
    return f"{line}  (warning: {warnings})" if warnings else line


def closing_line(execution: Execution) -> str:
    """What is said at the end."""
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
