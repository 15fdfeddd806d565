"""Is what the records say true? Each execution is held against the repository as it is now.

Objects are read in the process, each of them once however many executions name it; nothing is changed
and nothing fetched. What a remote has is what its remote-tracking refs say, or the remote itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.executions.facts import Facts, intact_tag
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.whereabouts import Whereabouts
from deriva_ml_hooks.git.content import GITLINK
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.record import NotInCommitError
from deriva_ml_hooks.provenance.versions import Named, scm_versions
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import Finding

Verdict = Literal["verified", "unpushed", "moved-tag", "missing-commit", "mismatch"]

GRAVEST_FIRST: tuple[Verdict, ...] = ("missing-commit", "mismatch", "moved-tag", "unpushed")
"""An execution has the verdict of its gravest finding."""

Tick = Callable[[str, int, int], None]
"""Called with what is looked at, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of one execution. `notes` say what is not as one might expect, and still no finding."""

    execution: Execution
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict of the gravest finding; `verified` without any."""
        codes = {finding.code for finding in self.findings}
        return next((verdict for verdict in GRAVEST_FIRST if verdict in codes), "verified")

    def as_json(self) -> dict[str, Any]:
        """The verification as JSON."""
        return {
            "id": self.execution.id,
            "commit": self.execution.provenance.get("commit"),
            "verdict": self.verdict,
            "findings": [finding.as_json() for finding in self.findings],
            "notes": [*self.notes],
        }


@dataclass(frozen=True, slots=True)
class _Case:
    """An execution, and what is found of it little by little."""

    execution: Execution
    findings: list[Finding]
    notes: list[str]
    comparable: bool = True

    def holds(self, code: Verdict) -> bool:
        return any(finding.code == code for finding in self.findings)


def verify(
    repository: Repository,
    executions: Sequence[Execution],
    *,
    remote: str | None,
    hosts: Mapping[str, str],
    ask: bool = False,
    tick: Tick = lambda *_: None,
) -> list[Verification]:
    """Hold each execution against the repository, in the order they are given.

    `remote` is the one that counts today, for records whose own is not configured any more; `hosts`: forges
    by their hosts, as configured. With `ask` the remotes themselves are asked. Raises GitError where git, or
    a remote, does not answer.
    """
    facts = Facts(repository, hosts)
    cases = []
    for number, execution in enumerate(executions):
        tick("objects", number, len(executions))
        try:
            cases.append(_Case(execution, [*_objects(facts, execution)], []))
        except (
            AttributeError,
            TypeError,
            KeyError,
            ValueError,
        ):  # values of other types than it is written with
            lie = _lie(execution, "the record is not as it was written")
            cases.append(_Case(execution, [lie], [], comparable=False))
    here = [case for case in cases if case.comparable and not case.holds("missing-commit")]
    _compare_versions(facts, here, tick)
    whereabouts = Whereabouts(repository, remote, ask, lambda done, total: tick("remotes", done, total))
    for case, findings in zip(here, whereabouts.findings([c.execution for c in here]), strict=True):
        case.findings.extend(findings)
        case.notes.extend(_elsewhere(facts, whereabouts.remote_of(case.execution), case.execution))
    return [Verification(case.execution, tuple(case.findings), tuple(case.notes)) for case in cases]


def _objects(facts: Facts, execution: Execution) -> Iterator[Finding]:
    """What the repository's own objects and refs say against a record."""
    provenance = execution.provenance
    oid = str(provenance.get("commit"))
    commit = facts.commit(oid)
    if isinstance(commit, GitError):
        yield Finding("missing-commit", None, *_missing(facts, provenance, oid, commit))
        return
    tree = commit.tree.decode("ascii")
    yield from _same(execution, "tree", provenance.get("tree"), tree)
    if _seconds(provenance.get("committed_at")) != commit.commit_time:
        yield _lie(execution, f"committed_at is {provenance.get('committed_at')}, not when it was committed")
    for field, url in (
        ("commit_url", provenance.get("commit_url")),
        ("url", execution.entry_point.get("url")),
    ):
        if url is not None and oid not in str(url):
            yield _lie(execution, f"{field} names another commit: {url}")
    try:
        yield from _entry_point(facts, execution, commit.tree, tree)
        yield from _pinned(facts, execution, commit.tree)
    except GitError as error:
        yield Finding("missing-commit", None, f"a part of commit {oid[:12]} is not here: {error}", error.fix)
    yield from _tag(facts, execution, oid)


def _missing(facts: Facts, provenance: Mapping[str, Any], oid: str, error: GitError) -> tuple[str, str]:
    if facts.has(oid) or "KeyError" not in error.detail:  # which is what dulwich says of an absent one
        return f"commit {oid[:12]}: {error.detail}", error.fix
    where = provenance.get("remote")
    if facts.repository.shallow():
        return f"commit {oid[:12]} is not in this shallow clone", "git fetch --unshallow --tags"
    remote = where if isinstance(where, str) else "REMOTE"
    fix = f"git fetch {shlex.quote(remote)} {shlex.quote(oid)}, from wherever it still is"
    recorded = provenance.get("repository_url")
    if recorded is not None and recorded not in facts.addresses.values():  # a ledger can be of several
        return f"commit {oid[:12]} is not here; the record is of {redact(str(recorded))}", fix
    return f"commit {oid[:12]} is not here", fix


def _entry_point(facts: Facts, execution: Execution, tree: bytes, tree_name: str) -> Iterator[Finding]:
    recorded = execution.entry_point
    path = recorded.get("path")
    if path is None:
        yield from _same(execution, "entry point's blob", recorded.get("blob"), None)
        yield from _same(execution, "checksum of the tree", recorded.get("checksum"), tree_name)
        return
    commit = execution.provenance["commit"]
    try:
        blob, checksum = facts.file(commit, tree, str(path))
    except NotInCommitError:
        yield _lie(execution, f"not a file of commit {commit[:12]}", path)
        return
    except HooksError as error:  # in a submodule that is not checked out, or lacks the commit
        fix = "git submodule update --init --recursive"
        yield Finding("missing-commit", path, f"cannot be read: {error}", fix)
        return
    yield from _same(execution, "blob", recorded.get("blob"), blob, path)
    yield from _same(execution, "checksum", recorded.get("checksum"), checksum, path)


def _pinned(facts: Facts, execution: Execution, tree: bytes) -> Iterator[Finding]:
    """Lockfiles and submodules: what the record says they were at."""
    for lockfile in execution.provenance.get("lockfiles") or ():
        path, entry = lockfile.get("path"), facts.entry(tree, str(lockfile.get("path")))
        blob = entry[1].decode("ascii") if entry is not None else None
        yield from _same(execution, "blob of the lockfile", lockfile.get("blob"), blob, path)
        if blob is not None and not facts.has(blob):
            message = f"its blob {blob[:12]} is not here"
            yield Finding("missing-commit", path, message, "git fsck, then fetch it again: git fetch --all")
    for module in execution.provenance.get("submodules") or ():
        path, entry = module.get("path"), facts.entry(tree, str(module.get("path")))
        linked = entry[1].decode("ascii") if entry is not None and entry[0] == GITLINK else None
        yield from _same(execution, "commit of the submodule", module.get("commit"), linked, path)


def _tag(facts: Facts, execution: Execution, oid: str) -> Iterator[Finding]:
    tag, recorded = execution.provenance.get("tag"), execution.provenance.get("tag_object")
    if tag is None:
        yield from _same(execution, "tag object", recorded, None)
        return
    moved = intact_tag(facts, str(tag), recorded, oid, execution.provenance.get("remote"))
    if moved is not None:
        yield Finding("moved-tag", None, *moved)


def _compare_versions(facts: Facts, cases: Sequence[_Case], tick: Tick) -> None:
    """Put what is wrong with the recorded versions into the cases.

    A tag that was made after the run changes what the version is today, not what it was.
    """
    asked: list[tuple[_Case, Named, str]] = []
    for case in cases:
        version = case.execution.provenance.get("version")
        if version is None:  # nothing is claimed: it could not be told then
            continue
        if case.holds("moved-tag"):
            case.notes.append("the version is not compared, since its tag is not what it was")
            continue
        branch = case.execution.provenance.get("branch")
        commit = str(case.execution.provenance["commit"]).encode("ascii")
        name = Named(commit, branch, "" if case.execution.cwd == "." else case.execution.cwd)
        asked.append((case, name, str(version)))
    wanted = {name for _, name, _ in asked}
    known = 0

    def one_more() -> None:
        nonlocal known
        tick("versions", known, len(wanted))
        known += 1

    today = scm_versions(facts.repository, sorted(wanted, key=str), tick=one_more)
    differing = [(case, name, version) for case, name, version in asked if today[name] != version]
    for without, made in ((facts.tags_since, "made since"), (facts.tags_perhaps_since, "that has no date")):
        groups: dict[frozenset[str], list[tuple[_Case, Named, str]]] = {}
        for case, name, version in differing:
            groups.setdefault(without(_seconds(case.execution.started_at)), []).append((case, name, version))
        differing = groups.pop(frozenset(), [])
        for tags, group in groups.items():
            then = scm_versions(facts.repository, {name for _, name, _ in group}, without=tags)
            for case, name, version in group:
                if then[name] == version:
                    case.notes.append(f"the version would be {today[name]} today, by a tag {made}")
                else:
                    differing.append((case, name, version))
    for case, name, version in differing:
        if today[name] is None:
            case.notes.append("the version cannot be told here, so it is not compared")
        else:
            message = f"version is {version}, setuptools-scm says {today[name]}"
            fix = "if a tag is missing or was moved here: git fetch --tags --force; else the record is wrong"
            case.findings.append(Finding("mismatch", None, message, fix))


def _elsewhere(facts: Facts, remote: str | None, execution: Execution) -> Iterator[str]:
    """Where the commit was looked for, if the record names another address: the remote may have moved."""
    recorded = execution.provenance.get("repository_url")
    if remote is not None and recorded != facts.addresses.get(remote):
        yield f"looked for on {facts.addresses.get(remote)}, while the record names {redact(str(recorded))}"


def _same(
    execution: Execution, name: str, recorded: Any, actual: str | None, path: str | None = None
) -> Iterator[Finding]:
    if recorded != actual:
        yield _lie(execution, f"{name} is {_short(recorded)} in the record, {_short(actual)} in fact", path)


def _lie(execution: Execution, message: str, path: str | None = None) -> Finding:
    see = f"deriva-ml-hooks executions show {shlex.quote(execution.id)}"
    fix = f"not to be trusted; see the whole record: {see}"
    return Finding("mismatch", path, message, fix)


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]


def _seconds(time: Any) -> int | None:
    """An ISO 8601 time in whole seconds since 1970; None for anything else."""
    try:
        if time.startswith("@"):
            return int(time[1:].partition(" ")[0])
        return int(datetime.fromisoformat(time).timestamp() // 1)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
