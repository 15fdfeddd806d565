"""Is what the records say true? Each execution is held against the repository as it is now.

Objects are read in the process, each of them once however many executions name it; nothing is changed
and nothing fetched. What a remote has is what its remote-tracking refs say, or the remote itself. The rows
are gone through twice, to see what is asked for and to answer, and never held all at once.
"""

from __future__ import annotations

import itertools
import posixpath
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.rows import Damaged
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.record import NotInCommitError
from deriva_ml_hooks.provenance.versions import Named, scm_versions
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import Finding, few
from deriva_ml_hooks.verify.remote_state import Claim, RemoteState
from deriva_ml_hooks.verify.repository_facts import Facts, Known, NotFetchedError, fetching, intact_tag

Verdict = Literal["verified", "unknown", "unpushed", "moved-tag", "missing-commit", "mismatch"]

GRAVEST_FIRST: tuple[Verdict, ...] = ("missing-commit", "mismatch", "moved-tag", "unpushed", "unknown")
"""An execution has the verdict of its gravest finding."""

Row = Execution | Damaged
Runs = Callable[[Execution], "str | None"]
"""Tells the file, from the top, that the command of an execution runs, where the words alone tell it."""

_BATCH = 1000
_SKEW = 300
"""Seconds that clocks of two machines may differ by."""

Tick = Callable[[str, int, int], None]
"""Called with what is looked at, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of one row. `notes` say what is not as one might expect, and still no finding."""

    id: str
    commit: str | None
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
            "id": self.id,
            "commit": self.commit,
            "verdict": self.verdict,
            "findings": [finding.as_json() for finding in self.findings],
            "notes": [*self.notes],
        }


@dataclass(frozen=True, slots=True)
class _Case:
    """A row, and what is found of it little by little."""

    row: Row
    findings: list[Finding]
    notes: list[str]
    comparable: bool = True

    def holds(self, code: Verdict) -> bool:
        return any(finding.code == code for finding in self.findings)

    def verification(self) -> Verification:
        commit = self.row.provenance.get("commit") if isinstance(self.row, Execution) else None
        return Verification(self.row.id, commit, tuple(self.findings), tuple(self.notes))


def verify(
    repository: Repository,
    rows: Callable[[], Iterable[Row]],
    *,
    remote: str | None,
    hosts: Mapping[str, str],
    ask: bool = False,
    runs: Runs = lambda _: None,
    tick: Tick = lambda *_: None,
) -> Iterator[Verification]:
    """Hold each of `rows()` against the repository, in their order; they are asked for twice.

    `remote` is the one that counts today, for records whose own is not configured any more; `hosts`: forges
    by their hosts, as configured. With `ask` the remotes themselves are asked. Raises GitError where git does
    not answer.
    """
    facts = Facts(repository, hosts)
    remote_state = RemoteState(repository, remote, ask, lambda done, total: tick("remotes", done, total))
    names: set[Named] = set()
    claims: set[Claim] = set()
    total, newest = 0, None
    for row in rows():
        newest = newest or row.id
        total += 1
        if isinstance(row, Execution) and isinstance(facts.commit(_commit(row)), Known):
            names.add(_named(row))
            claims.add(remote_state.claim(row))
    today = _versions(facts, names, tick)
    remote_state.look(claims)
    asked = itertools.dropwhile(lambda row: newest is not None and row.id > newest, rows())  # begun since
    for start in itertools.count(0, _BATCH):
        cases = []
        for number, row in enumerate(itertools.islice(asked, _BATCH), start):
            tick("objects", number, total)
            cases.append(_case(facts, row, runs))
        here = [case for case in cases if case.comparable]
        _compare_versions(facts, here, today)
        for case in here:
            if isinstance(case.row, Execution):
                case.findings.extend(remote_state.findings(case.row))
                case.notes.extend(_elsewhere(facts, remote_state.remote_of(case.row), case.row))
                case.notes.extend(_not_looked_at(facts, case.row))
                case.notes.extend(_changed(case.row))
        yield from (case.verification() for case in cases)
        if len(cases) < _BATCH:
            return


def _case(facts: Facts, row: Row, runs: Runs) -> _Case:
    """A row with what can be said of it by itself."""
    if isinstance(row, Damaged):
        return _Case(row, [_lie(row, row.problem)], [], comparable=False)
    try:
        found = [*_itself(row), *_objects(facts, row), *_command(row, runs)]
    except (AttributeError, TypeError, KeyError, ValueError):  # values of other types than it is written with
        return _Case(row, [_lie(row, "the record is not as it was written")], [], comparable=False)
    return _Case(row, found, [], comparable=isinstance(facts.commit(_commit(row)), Known))


def _commit(execution: Execution) -> str:
    return str(execution.provenance.get("commit"))


def _named(execution: Execution) -> Named:
    branch = execution.provenance.get("branch")
    folder = "" if execution.cwd == "." else execution.cwd
    return Named(_commit(execution).encode("ascii"), branch if isinstance(branch, str) else None, folder)


def _itself(execution: Execution) -> Iterator[Finding]:
    """What a record says against itself."""
    status, code = execution.status, execution.exit_code
    ended = execution.ended_at is not None
    told = f"{status}, but exit code {code}, signal {execution.signal}"
    if status == "Completed" and (code != 0 or execution.signal is not None):
        yield _lie(execution, told)
    if status == "Failed" and code == 0:
        yield _lie(execution, told)
    if execution.is_open and (ended or code is not None):
        yield _lie(execution, f"{told}, ended {execution.ended_at}")
    if status in ("Completed", "Failed") and not ended:
        yield _lie(execution, f"{status}, but it has not ended")
    committed = _seconds(execution.provenance.get("committed_at"))
    started, end = _seconds(execution.started_at), _seconds(execution.ended_at)
    if started is None or (ended and end is None):
        yield _lie(execution, "it began, or ended, at no time that can be read")
    elif end is not None and end < started - _SKEW:
        yield _lie(execution, f"it ended at {execution.ended_at}, before it began at {execution.started_at}")
    if started is not None and committed is not None and started < committed - _SKEW:
        yield _lie(execution, f"it began at {execution.started_at}, before the commit was made")


def _command(execution: Execution, runs: Runs) -> Iterator[Finding]:
    """Whether the command runs the file that is named as its code, unless the user has named another."""
    path, told = runs(execution), execution.entry_point.get("path")
    warned = [w.get("path") for w in execution.warnings if w.get("code") == "entry-point"]
    if path in (None, told) or path in [posixpath.normpath(f"{execution.cwd}/{w}") for w in warned]:
        return
    yield _lie(execution, f"the command runs {path}, and the record names {told or 'the tree as a whole'}")


def _objects(facts: Facts, execution: Execution) -> Iterator[Finding]:
    """What the repository's own objects and refs say against a record."""
    provenance = execution.provenance
    oid = _commit(execution)
    commit = facts.commit(oid)
    if isinstance(commit, GitError):
        yield Finding("missing-commit", None, *_missing(facts, provenance, oid, commit))
        return
    tree = commit.tree.decode("ascii")
    yield from _same(execution, "tree", provenance.get("tree"), tree)
    if _seconds(provenance.get("committed_at")) != commit.commit_time:
        yield _lie(execution, f"committed_at is {provenance.get('committed_at')}, not when it was committed")
    yield from _urls(facts, execution, oid)
    for part in (_entry_point, _pinned):
        try:
            yield from part(facts, execution, commit.tree)
        except NotFetchedError as error:
            yield Finding("unknown", None, str(error), error.fix)
        except GitError as error:
            message = f"a part of commit {oid[:12]} is not here: {error}"
            yield Finding("missing-commit", None, message, error.fix)
    yield from _tag(facts, execution, oid)


def _urls(facts: Facts, execution: Execution, oid: str) -> Iterator[Finding]:
    """Whether the addresses are those that the record's own remote gives its commit.

    Which forge a host runs is configured, and may not have been then; of the well known ones it is certain.
    """
    provenance, entry = execution.provenance, execution.entry_point
    url, path = provenance.get("repository_url"), entry.get("path")
    host = (url or "").partition("://")[2].partition("/")[0].lower()
    sure = remotes.FORGES.get(host)
    forges: Sequence[str | None] = [sure] if sure else [None, *remotes.FORGES_KNOWN]
    at = [Remote("", url, forge) for forge in forges] if url else []
    commits = {remote.commit_url(oid) for remote in at} or {None}
    if provenance.get("commit_url") not in commits:
        yield _lie(execution, f"commit_url is not that of the commit: {provenance.get('commit_url')}")
    told = entry.get("url")
    links = {remotes.permalink(r, repository="", oid=oid, path=path) for r in at}
    local = f"@{oid}" + (f"#{quote(path, errors='surrogateescape')}" if path is not None else "")
    is_local = not at and str(told).startswith("git+file://") and str(told).endswith(local)
    if told not in links and not is_local:
        yield _lie(execution, f"url is not that of the entry point at the commit: {told}")


def _missing(facts: Facts, provenance: Mapping[str, Any], oid: str, error: GitError) -> tuple[str, str]:
    if facts.has(oid) or "KeyError" not in error.detail:  # which is what dulwich says of an absent one
        return f"commit {oid[:12]}: {error.detail}", error.fix
    where = provenance.get("remote")
    if facts.repository.shallow():
        return f"commit {oid[:12]} is not in this shallow clone", "git fetch --unshallow --tags"
    fix = fetching(where, facts.addresses, oid)
    recorded = provenance.get("repository_url")
    if recorded is not None and recorded not in facts.addresses.values():  # a ledger can be of several
        return f"commit {oid[:12]} is not here; the record is of {redact(str(recorded))}", fix
    return f"commit {oid[:12]} is not here", fix


def _entry_point(facts: Facts, execution: Execution, tree: bytes) -> Iterator[Finding]:
    recorded = execution.entry_point
    path = recorded.get("path")
    if path is None:
        yield from _same(execution, "entry point's blob", recorded.get("blob"), None)
        yield from _same(execution, "checksum of the tree", recorded.get("checksum"), tree.decode("ascii"))
        return
    commit = execution.provenance["commit"]
    try:
        blob, checksum = facts.file(commit, tree, str(path))
    except NotInCommitError:
        yield _lie(execution, f"not a file of commit {commit[:12]}", path)
        return
    except NotFetchedError:
        raise
    except HooksError as error:  # in a submodule that is not checked out, or lacks the commit
        fix = "git submodule update --init --recursive"
        yield Finding("missing-commit", path, f"cannot be read: {error}", fix)
        return
    yield from _same(execution, "blob", recorded.get("blob"), blob, path)
    yield from _same(execution, "checksum", recorded.get("checksum"), checksum, path)


def _pinned(facts: Facts, execution: Execution, tree: bytes) -> Iterator[Finding]:
    """Lockfiles and submodules: what the record says they were at, and which of them it does not name."""
    locked, linked = facts.pinned(tree)
    for key, oid, name, actual in (
        ("lockfiles", "blob", "blob of the lockfile", locked),
        ("submodules", "commit", "commit of the submodule", linked),
    ):
        recorded = {each.get("path"): each.get(oid) for each in execution.provenance.get(key) or ()}
        for path in dict.fromkeys((*actual, *recorded)):
            yield from _same(execution, name, recorded.get(path), actual.get(path), path)
    for path, blob in locked.items():
        if not facts.partial and not facts.has(blob):
            message = f"its blob {blob[:12]} is not here"
            yield Finding("missing-commit", path, message, "git fsck, then fetch it again: git fetch --all")
    for path, commit in linked.items():
        if facts.submodule_has(path, commit) is False:
            message = f"commit {commit[:12]} of the submodule is not here"
            fix = f"git -C {shlex.quote(path)} fetch origin {shlex.quote(commit)}"
            yield Finding("missing-commit", path, message, fix)


def _not_looked_at(facts: Facts, execution: Execution) -> Iterator[str]:
    for module in execution.provenance.get("submodules") or ():
        path, commit = module.get("path"), module.get("commit")
        if isinstance(path, str) and isinstance(commit, str) and facts.submodule_has(path, commit) is None:
            yield f"the submodule {path} is not checked out here, so its commit was not looked for"


def _tag(facts: Facts, execution: Execution, oid: str) -> Iterator[Finding]:
    tag, recorded = execution.provenance.get("tag"), execution.provenance.get("tag_object")
    if tag is None:
        yield from _same(execution, "tag object", recorded, None)
        return
    moved = intact_tag(facts, str(tag), recorded, oid, execution.provenance.get("remote"))
    if moved is not None:
        yield Finding("moved-tag", None, *moved)


def _versions(facts: Facts, names: set[Named], tick: Tick) -> dict[Named, str | None]:
    """Today's version of each; None also where a partial clone would have to fetch something first."""
    known = 0

    def one_more() -> None:
        nonlocal known
        tick("versions", known, len(names))
        known += 1

    wanted = sorted(names, key=str)
    try:
        return scm_versions(facts.repository, wanted, tick=one_more)
    except GitError:
        if not facts.partial:
            raise
    found: dict[Named, str | None] = {}
    for name in wanted:
        try:
            found |= scm_versions(facts.repository, [name])
        except GitError:
            found[name] = None
    return found


def _changed(execution: Execution) -> Iterator[str]:
    """What the record itself says of its run: the commit holds, and still not all of it ran."""
    changes = execution.changed_during_run
    if changes:
        shown = [f"{change['path'] or change['message']} ({change['code']})" for change in changes]
        yield f"changed during the run: {few(shown)}"


def _compare_versions(facts: Facts, cases: Sequence[_Case], today: Mapping[Named, str | None]) -> None:
    """Put what is wrong with the recorded versions into the cases.

    A tag that was made after the run changes what the version is today, not what it was.
    """
    differing: list[tuple[_Case, Execution, Named, str | None]] = []
    for case in cases:
        if not isinstance(execution := case.row, Execution):
            continue
        name, provenance = _named(execution), execution.provenance
        version = provenance.get("version")
        if case.holds("moved-tag"):
            case.notes.append("the version is not compared, since its tag is not what it was")
        elif today[name] != version:
            if version is not None or not (provenance.get("no_version") or provenance.get("shallow")):
                differing.append((case, execution, name, version))
        elif version is not None and provenance.get("tag") is None:
            for tag in facts.version_tags_before(_commit(execution), _seconds(execution.started_at))[:1]:
                case.findings.append(_lie(execution, f"the tag {tag} of the commit is not in the record"))
    for without, made in ((facts.tags_since, "made since"), (facts.tags_perhaps_since, "that has no date")):
        groups: dict[frozenset[str], list[tuple[_Case, Execution, Named, str | None]]] = {}
        for each in differing:
            groups.setdefault(without(_seconds(each[1].started_at)), []).append(each)
        differing = groups.pop(frozenset(), [])
        for tags, group in groups.items():
            then = scm_versions(facts.repository, {name for _, _, name, _ in group}, without=tags)
            for case, execution, name, version in group:
                if then[name] == version:
                    case.notes.append(f"the version would be {today[name]} today, by a tag {made}")
                else:
                    differing.append((case, execution, name, version))
    for case, _, name, version in differing:
        if today[name] is None:
            case.notes.append("the version cannot be told here, so it is not compared")
        else:
            message = f"version is {version or 'none'}, setuptools-scm says {today[name]}"
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


def _lie(row: Row, message: str, path: str | None = None) -> Finding:
    see = f"deriva-ml-hooks executions show {shlex.quote(row.id)}"
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
