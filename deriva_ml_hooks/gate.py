"""May an execution be recorded here and now? A verdict with reasons, never a bare boolean.

Fails closed: whatever cannot be measured is a reason to refuse. Nothing is remembered from one
question to the next; only facts of the commit itself come from the cache.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deriva_ml_hooks.config import Config, Policy, committed, load, policy_on, stricter
from deriva_ml_hooks.errors import (
    BareRepositoryError,
    GitError,
    HooksError,
    NotARepositoryError,
)
from deriva_ml_hooks.git import lfs, remotes
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.status import Change, ForeignOwnerError, Measurement, measure
from deriva_ml_hooks.git.traces import Traces
from deriva_ml_hooks.globs import matcher
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.provenance.record import Provenance
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import Finding, few
from deriva_ml_hooks.ways_out import as_finding, ways_out

SCHEMA = 1
CREDENTIAL = "remote-credential"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an execution may be recorded: it may when there is no reason against it.

    `repository`, `config` and `traces` are what was measured, for those who go on from here; None where the
    question did not get that far.
    """

    reasons: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    provenance: Provenance | None
    repository: Repository | None
    config: Config
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


def judge(start: str = ".", *, paranoid: bool = False, require_tag: bool = False) -> Verdict:
    """The gate's verdict on the repository whose worktree holds the folder `start`.

    `paranoid` rehashes every tracked file; `require_tag` refuses a commit without a version tag
    whatever the configuration says. Raises ConfigError; everything else is a reason.
    """
    try:
        repository = discover(start)
    except HooksError as error:
        return Verdict((_reason(error),), (), None, None, Config())
    config = load(repository.worktree)
    reasons: list[Finding] = []
    warnings: list[Finding] = []

    def settle(policy: Policy, *found: Finding) -> None:
        if policy != "ignore":
            (reasons if policy == "refuse" else warnings).extend(found)

    try:
        config = stricter(config, committed(_reader(repository)))
    except GitError as error:
        reasons.append(_reason(error))
    measured: Measurement | None = None
    try:
        measured = measure(repository, paranoid=paranoid or config.paranoid)
    except HooksError as error:
        reasons.append(_reason(error))
    else:
        tolerated, refused = _tolerated(measured.changes, config.untracked_ignore)
        fix_of = ways_out(repository, refused, measured)
        for change in refused:
            found = fix_of.get((change.code, change.path)) or as_finding(change)
            settle(policy_on(config, change.code), found)
        warnings += [as_finding(change) for change in tolerated]
        if config.lfs_pointer != "ignore":
            settle(config.lfs_pointer, *_pointers(repository, measured))
        if measured.head is None:
            reasons.insert(
                0, Finding("no-commit", None, "there is no commit yet", "git add -A && git commit")
            )
    provenance = None
    if measured is None or measured.head is not None:
        try:
            provenance = provenance_of(repository, config)
            warnings += [_credential(name) for name in remotes.with_credentials(repository)]
        except GitError as error:
            reasons += [_reason(error)] if _reason(error) not in reasons else []
    if provenance is not None:
        if measured is not None and provenance.commit != measured.head:
            moved = "HEAD moved while the worktree was being measured"
            reasons.append(Finding("git-error", None, moved, "wait until nothing else uses the repository"))
        if provenance.no_version is not None and not provenance.shallow:
            none = provenance.no_version
            warnings.append(Finding("no-version", None, f"no version: {none['reason']}", none["fix"]))
        tag_policy: Policy = "refuse" if require_tag else config.untagged
        for policy, finding in _policies(provenance, config, tag_policy):
            settle(policy, finding)
    traces = measured.traces if measured is not None else None
    return Verdict(tuple(reasons), tuple(warnings), provenance, repository, config, traces)


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


def require_accepted(verdict: Verdict) -> Verdict:
    """`verdict` when it accepts; raises RefusedError with its reasons otherwise."""
    if not verdict.accepted:
        raise RefusedError(verdict)
    return verdict


def _reason(error: HooksError) -> Finding:
    codes: Sequence[tuple[type[HooksError], str]] = (
        (NotARepositoryError, "not-a-repository"),
        (BareRepositoryError, "bare-repository"),
        (ForeignOwnerError, "foreign-owner"),
    )
    code = next((code for kind, code in codes if isinstance(error, kind)), "git-error")
    return Finding(code, None, str(error), error.fix)


def _tolerated(changes: Iterable[Change], patterns: Sequence[str]) -> tuple[list[Change], list[Change]]:
    """Changes let pass because they are untracked and the configuration names them, and the others."""
    everything = list(changes)
    if not patterns or all(change.code != "untracked" for change in everything):
        return [], everything
    named_by_a_glob = matcher(map(os.fsencode, patterns))
    tolerated: list[Change] = []
    refused: list[Change] = []
    for change in everything:
        path = change.path if change.code == "untracked" else None
        named = path is not None and named_by_a_glob(os.fsencode(path))
        (tolerated if named else refused).append(change)
    return tolerated, refused


def _pointers(repository: Repository, measured: Measurement) -> list[Finding]:
    """The files whose data git-lfs has not put there: what runs reads a few lines of text instead."""
    tracked = measured.traces.stamps if measured.traces is not None else ()
    paths = lfs.pointers(repository.worktree, tracked)
    if not paths:
        return []
    what = "a git-lfs pointer, not the data" if len(paths) == 1 else "git-lfs pointers, not the data"
    fix = "git lfs install --skip-repo && git lfs pull"
    if b".gitmodules" in tracked:
        fix += " && git submodule foreach --recursive git lfs pull"
    return [Finding("lfs-pointer", None, f"{few(paths, most=3)}: {what}", fix)]


def _credential(remote: str) -> Finding:
    message = f"the URL of the remote {remote} holds a credential, which DerivaML would publish"
    fix = f"git remote set-url {shlex.quote(remote)} URL, without it (git help credentials)"
    return Finding(CREDENTIAL, None, message, fix)


def _no_remote(configured: str | None) -> tuple[str, str]:
    if configured is None:
        return "no remote: nobody else can find this commit", "git remote add origin URL"
    name = redact(configured)  # somebody may have written an address there, password and all
    add = f"git remote add {shlex.quote(name)} URL, or set remote to the name of one that is here"
    return f"the configured remote {name} is not here", add


def _policies(provenance: Provenance, config: Config, untagged: Policy) -> Iterable[tuple[Policy, Finding]]:
    short = provenance.commit[:12]
    if provenance.remote is None:
        yield (
            config.no_remote,
            Finding("no-remote", None, *_no_remote(config.remote)),
        )
    elif provenance.pushed is None:
        target = provenance.branch or f"HEAD:refs/heads/run-{short}"
        push = f"git push {shlex.quote(provenance.remote)} {shlex.quote(target)}"
        message = f"commit {short} is on no branch of the remote {provenance.remote}"
        yield config.unpushed, Finding("unpushed", None, message, push)
    if provenance.tag is None:
        message = f"commit {short} carries no version tag"
        here = "" if provenance.remote is not None and provenance.branch is not None else " --no-push"
        fix = f"deriva-ml-hooks bump-version{here}"
        yield untagged, Finding("untagged", None, message, fix)
    if provenance.shallow:
        message = "a shallow clone: its version and its ancestors cannot be told for certain"
        yield config.shallow, Finding("shallow", None, message, "git fetch --unshallow --tags")
