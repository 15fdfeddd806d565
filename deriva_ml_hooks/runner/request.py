"""Whether what a user wants to run may be run and recorded; nothing is started here.

Nothing is written either. Bytecode that would run in the place of the commit's is taken away.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.gate import RefusedError, Verdict, judge
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.record import Provenance
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner import child, modules
from deriva_ml_hooks.runner.command.entry_point import EntryPoint, resolve
from deriva_ml_hooks.runner.command.handed_over import handed_over
from deriva_ml_hooks.runner.command.invocation import is_installed
from deriva_ml_hooks.runner.command.shell_words import assigned
from deriva_ml_hooks.runner.deriva_ml import without_credentials

SHADOW = "shadowed-module"
STALE = "stale-bytecode"
ENVIRONMENT = "code-from-environment"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be run: the words, and what the user says about them.

    `executable`: the program that is started, where the words do not name it. `paranoid`: every tracked file
    is rehashed, before and after. `ignore_outputs`: notebooks count as they would be committed.
    """

    argv: Sequence[str]
    description: str | None = None
    entry_point: str | None = None
    tag_required: bool = False
    catalog: str | None = None
    executable: str | None = None
    paranoid: bool = False
    ignore_outputs: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that the gate has let pass, with everything its record will name.

    `home`: for a run in a temporary worktree, the user's own repository, which keeps the record.
    `outputs`: where it makes what is kept of it, from the top of the repository.
    `submitted`: for a job, the record that was begun when it was submitted, and the ledger that has it.
    """

    request: Request
    executable: str
    verdict: Verdict
    repository: Repository
    provenance: Provenance
    entry_point: EntryPoint
    home: Repository | None = None
    rerun_of: str | None = None
    outputs: Sequence[str] = ()
    submitted: tuple[Ledger, Execution] | None = None


def accept(request: Request) -> Accepted:
    """Judge the request; nothing is started, and nothing but Python's stale bytecode taken away.

    Raises RefusedError with every reason at once, ConfigError, and CommandNotFoundError or
    NotExecutableError where the gate accepts but there is nothing to run.
    """
    measured = judge(
        paranoid=request.paranoid, require_tag=request.tag_required, ignore_outputs=request.ignore_outputs
    )
    verdict = _without_log(measured)
    submitter = handed_over(request.argv)
    if submitter is not None:
        verdict = replace(verdict, reasons=(*verdict.reasons, submitter))
    missing: HooksError | None = None
    try:
        executable = request.executable or child.located(request.argv[0])
    except HooksError as error:
        executable, missing = None, error
    entry_point = None
    if verdict.provenance is not None:
        found = resolve(
            request.argv,
            cwd=os.getcwd(),
            executable=executable,
            explicit=request.entry_point,
            provenance=verdict.provenance,
        )
        entry_point = found.entry_point
        # A word that names no file at all is a missing command, not a question of commits.
        reasons = (found.reason,) if found.reason is not None and missing is None else ()
        warnings = (found.warning,) if found.warning is not None else ()
        verdict = replace(verdict, reasons=verdict.reasons + reasons, warnings=verdict.warnings + warnings)
        blob = entry_point.blob if entry_point is not None else None
        verdict = without_credentials(verdict, request.argv, blob)
        verdict = _of_the_commit(verdict, request.argv)
    if not verdict.accepted:
        raise RefusedError(verdict)
    if missing is not None:
        raise missing
    if verdict.repository is None or verdict.provenance is None or entry_point is None or executable is None:
        raise AssertionError("an accepted verdict names its commit")
    return Accepted(request, executable, verdict, verdict.repository, verdict.provenance, entry_point)


def _without_log(verdict: Verdict) -> Verdict:
    """The verdict where the file that a shell has just made for our output (`> run.log 2>&1`) only warns."""
    if verdict.repository is None:
        return verdict
    logs = []
    for descriptor in (1, 2):
        with suppress(OSError):
            logs.append(os.fstat(descriptor))
    top, ours = verdict.repository.worktree, []
    for finding in verdict.reasons:
        if finding.code == "untracked" and finding.path is not None:
            with suppress(OSError):
                about = os.stat(os.path.join(top, finding.path))
                if any(os.path.samestat(about, log) for log in logs):
                    ours.append(finding)
    reasons = tuple(finding for finding in verdict.reasons if finding not in ours)
    return replace(verdict, reasons=reasons, warnings=(*verdict.warnings, *ours))


def _of_the_commit(verdict: Verdict, argv: Sequence[str]) -> Verdict:
    """The verdict, once what Python would import in the place of the commit's modules is told or gone."""
    if verdict.traces is None or verdict.repository is None or verdict.provenance is None:
        return verdict
    top, tracked = verdict.repository.worktree, {*verdict.traces.stamps}
    if verdict.provenance.submodules:
        listed = process.run("ls-files", "-z", "--recurse-submodules", cwd=top)
        tracked.update(listed.stdout.split(b"\0"))
    found = modules.modules_of(tracked)
    warnings = (
        *_shadowing(top, found, tracked, verdict.provenance),
        *_named_by_variables(argv, top, tracked),
    )
    verdict = replace(verdict, warnings=verdict.warnings + warnings)
    if not verdict.accepted:
        return verdict
    return replace(verdict, reasons=(*verdict.reasons, *_stale_after_removal(top, found, tracked)))


def _shadowing(
    top: str, found: dict[bytes, set[bytes]], tracked: Collection[bytes], provenance: Provenance
) -> Iterator[Finding]:
    beside = [*modules.shadowing(top, found, tracked)]
    if beside:
        path, hidden = beside[0]
        more = f" (and {len(beside) - 1} more like it)" if len(beside) > 1 else ""
        message = f"not in the commit, and imported in the place of {hidden}{more}"
        yield Finding(SHADOW, path, message, f"{provenance.source.adding(path)}; or take it away")


def _named_by_variables(argv: Sequence[str], top: str, tracked: Collection[bytes]) -> Iterator[Finding]:
    env = {**os.environ, **dict(assigned(argv))}
    loaded = [
        (path, variable)
        for path, variable in modules.from_environment(env, top, tracked)
        if not is_installed(os.path.abspath(path), top)
    ]
    if loaded:
        path, variable = loaded[0]
        more = f" (and {len(loaded) - 1} more)" if len(loaded) > 1 else ""
        message = f"named by {variable} in the environment, and code that is in no commit{more}"
        yield Finding(ENVIRONMENT, path, message, f"unset {variable}, or commit what it names")


def _stale_after_removal(
    top: str, found: dict[bytes, set[bytes]], tracked: Collection[bytes]
) -> Iterator[Finding]:
    """Remove bytecode older than its source, which Python takes for it; what had to stay."""
    message = "bytecode older than its source, which Python takes for it"
    elsewhere = "set PYTHONPYCACHEPREFIX to an empty folder"
    for path, is_ours in modules.stale(top, found, tracked, os.environ.get("PYTHONPYCACHEPREFIX")):
        if not is_ours:
            yield Finding(STALE, path, f"{message}: a link leads to it, outside", elsewhere)
            continue
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            fix = f"rm -f -- {shlex.quote(path)}, or {elsewhere}"
            yield Finding(STALE, path, f"{message}: {error.strerror}", fix)
