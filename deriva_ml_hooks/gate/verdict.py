"""Asks whether an execution may be recorded: measures everything that can change, and weighs it.

Fails closed: whatever cannot be measured is a reason to refuse. Nothing is remembered from one
question to the next; only facts of the commit itself come from the cache.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from deriva_ml_hooks.config import Config, Policy, committed, load, policy_on, stricter
from deriva_ml_hooks.errors import (
    IMAGE_VARIABLE,
    BareRepositoryError,
    GitError,
    HooksError,
    NotARepositoryError,
)
from deriva_ml_hooks.gate.fixes import executed, findings
from deriva_ml_hooks.gate.reasons import Reason
from deriva_ml_hooks.git import lfs, remotes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.status import Change, ForeignOwnerError, Measurement, measure
from deriva_ml_hooks.git.traces import Traces
from deriva_ml_hooks.globs import matcher
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.provenance.record import Provenance
from deriva_ml_hooks.report import Finding, as_text, few

SCHEMA = 1
_UNCONFIGURED = Config()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an execution may be recorded: it may when there is no reason against it.

    `repository`, `config` and `traces` are what was measured, for those who go on from here; None where the
    question did not get that far.
    """

    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()
    provenance: Provenance | None = None
    repository: Repository | None = None
    config: Config = _UNCONFIGURED
    traces: Traces | None = None

    @property
    def accepted(self) -> bool:
        """Whether there is no reason to refuse."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON, schema 1."""
        return {
            "schema": SCHEMA,
            "accepted": self.accepted,
            "reasons": [finding.as_json() for finding in self.reasons],
            "warnings": [finding.as_json() for finding in self.warnings],
            "provenance": self.provenance.as_json() if self.provenance else None,
        }


class RefusedError(HooksError):
    """The gate refuses; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        first = verdict.reasons[0]
        more = f" (and {len(verdict.reasons) - 1} more)" if len(verdict.reasons) > 1 else ""
        where = f"{first.path}: " if first.path is not None else ""
        super().__init__(f"{where}{first.message}{more}", fix=first.fix)
        self.verdict = verdict
        self.reasons = verdict.reasons

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in the place of a traceback."""
        return [*as_text(self.reasons).split("\n"), "", "deriva-ml-hooks: refused"]


@dataclass(slots=True)
class _Scales:
    """What speaks against an execution, and what is only said."""

    reasons: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def weigh(self, policy: Policy, found: Finding) -> None:
        if policy == "refuse" and found not in self.reasons:
            self.reasons.append(found)
        elif policy == "warn":
            self.warnings.append(found)


def judge(
    start: str = ".", *, paranoid: bool = False, require_tag: bool = False, ignore_outputs: bool = False
) -> Verdict:
    """The gate's verdict on the repository whose worktree holds the folder `start`.

    Without a repository the image's own record counts, where there is one. `paranoid` rehashes every tracked
    file; `require_tag` refuses a commit without a version tag whatever the configuration says;
    `ignore_outputs` takes notebooks as they would be committed. Raises ConfigError; everything else is a
    reason.
    """
    try:
        repository = measured(start)
    except HooksError as error:
        if isinstance(error, NotARepositoryError) and os.environ.get(IMAGE_VARIABLE):
            from deriva_ml_hooks.gate.image import judge_image

            return judge_image(start, require_tag=require_tag)
        return Verdict((_unmeasured(error),))
    scales = _Scales()
    config = load(repository.worktree)
    try:
        config = stricter(config, committed(_reader(repository)))
    except GitError as error:
        scales.weigh("refuse", _unmeasured(error))
    if require_tag:
        config = config._replace(untagged="refuse")
    measurement = _measured(
        repository,
        config,
        scales,
        paranoid=paranoid or config.paranoid,
        ignore_outputs=ignore_outputs,
    )
    has_commit = measurement is None or measurement.head is not None
    provenance = _known(repository, config, scales) if has_commit else None
    if measurement and provenance and provenance.commit != measurement.head:
        moved = "HEAD moved while the worktree was being measured"
        fix = "wait until nothing else uses the repository"
        scales.weigh("refuse", Reason.GIT_ERROR.finding(moved, fix=fix))
    return Verdict(
        tuple(scales.reasons),
        tuple(scales.warnings),
        provenance,
        repository,
        config,
        measurement.traces if measurement else None,
    )


def require_accepted(verdict: Verdict) -> Verdict:
    """`verdict` when it accepts; raises RefusedError with its reasons otherwise."""
    if not verdict.accepted:
        raise RefusedError(verdict)
    return verdict


def _measured(
    repository: Repository, config: Config, scales: _Scales, *, paranoid: bool, ignore_outputs: bool
) -> Measurement | None:
    """The worktree, and what of it speaks against an execution; None where it cannot be measured."""
    try:
        measurement = measure(repository, paranoid=paranoid)
    except HooksError as error:
        scales.weigh("refuse", _unmeasured(error))
        return None
    if measurement.head is None:
        scales.weigh("refuse", Reason.NO_COMMIT.finding())
    tolerated, refused = _tolerated(measurement.changes, config.untracked_ignore)
    if ignore_outputs:
        refused = [change for change in refused if executed(repository, change) is None]
    for found in findings(repository, refused, measurement):
        scales.weigh(policy_on(config, found.code), found)
    scales.warnings += findings(repository, tolerated, measurement)
    if config.lfs_pointer != "ignore":
        for found in _pointers(repository, measurement):
            scales.weigh(config.lfs_pointer, found)
    return measurement


def _known(repository: Repository, config: Config, scales: _Scales) -> Provenance | None:
    """What is known of the commit, and what of it speaks against an execution."""
    try:
        provenance = provenance_of(repository, config)
        for name in remotes.with_credentials(repository):
            scales.weigh("warn", Reason.CREDENTIAL.finding(remote=name))
    except GitError as error:
        scales.weigh("refuse", _unmeasured(error))
        return None
    if provenance.no_version is not None and not provenance.shallow:
        none = provenance.no_version
        scales.weigh("warn", Finding("no-version", None, f"no version: {none['reason']}", none["fix"]))
    for found in _of_commit(provenance, config):
        scales.weigh(policy_on(config, found.code), found)
    return provenance


def _of_commit(provenance: Provenance, config: Config) -> Iterator[Finding]:
    short = provenance.commit[:12]
    if provenance.remote is None:
        yield _no_remote(config.remote)
    elif provenance.pushed is None:
        target = provenance.branch or f"HEAD:refs/heads/run-{short}"
        yield Reason.UNPUSHED.finding(short, remote=provenance.remote, target=target)
    if provenance.tag is None:
        can_push = provenance.remote is not None and provenance.branch is not None
        yield Reason.UNTAGGED.finding(
            short, fix=None if can_push else "deriva-ml-hooks bump-version --no-push"
        )
    if provenance.shallow:
        yield Reason.SHALLOW.finding()


def _no_remote(configured: str | None) -> Finding:
    found = Reason.NO_REMOTE.finding()
    if configured is None:
        return found
    return found._replace(
        message=f"the configured remote {configured} is not here",
        fix=f"git remote add {shlex.quote(configured)} URL, or set remote to the name of one that is here",
    )


def _reader(repository: Repository) -> Callable[[str], bytes | None]:
    """Reads a file at the top of HEAD's commit, through links that stay in the commit."""
    head = repository.head()
    if head is None:
        return lambda _name: None
    tree = repository.commit(head).tree

    def read(path: str) -> bytes | None:
        try:
            blob = repository.file(tree, path)
        except ValueError:
            return None
        return repository.blob(blob).data if blob is not None else None

    return read


def _unmeasured(error: HooksError) -> Finding:
    kinds = (
        (NotARepositoryError, Reason.NOT_A_REPOSITORY),
        (BareRepositoryError, Reason.BARE_REPOSITORY),
        (ForeignOwnerError, Reason.FOREIGN_OWNER),
    )
    reason = next((reason for kind, reason in kinds if isinstance(error, kind)), Reason.GIT_ERROR)
    return reason.finding(str(error), fix=error.fix)


def _tolerated(changes: Sequence[Change], patterns: Sequence[str]) -> tuple[list[Change], list[Change]]:
    """Changes let pass because they are untracked and the configuration names them, and the others."""
    tolerated: list[Change] = []
    refused: list[Change] = []
    is_named = matcher(map(os.fsencode, patterns))
    for change in changes:
        path = change.path if patterns and change.code == "untracked" else None
        (tolerated if path is not None and is_named(os.fsencode(path)) else refused).append(change)
    return tolerated, refused


def _pointers(repository: Repository, measurement: Measurement) -> Iterator[Finding]:
    """The files whose data git-lfs has not put there: what runs reads a few lines of text instead."""
    tracked = measurement.traces.stamps if measurement.traces is not None else ()
    paths = lfs.pointers(repository.worktree, tracked)
    if not paths:
        return
    what = "a git-lfs pointer, not the data" if len(paths) == 1 else "git-lfs pointers, not the data"
    fix = "git lfs install --skip-repo && git lfs pull"
    if b".gitmodules" in tracked:
        fix += " && git submodule foreach --recursive git lfs pull"
    yield Reason.LFS_POINTER.finding(f"{few(paths, most=3)}: {what}", fix=fix)
