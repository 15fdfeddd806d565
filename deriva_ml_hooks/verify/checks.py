"""Is what the records say true? Each check of `verify` is one function here, and in one of two lists.

Objects are read in the process, each of them once however many executions name it; nothing is changed and
nothing fetched. The rows are gone through twice, to see what is asked for and to answer, and never held all
at once.
"""

from __future__ import annotations

import itertools
import posixpath
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.rows import Damaged
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import MISSING, Repository
from deriva_ml_hooks.provenance.record import NotInCommitError
from deriva_ml_hooks.provenance.version import Named
from deriva_ml_hooks.report import Finding, few
from deriva_ml_hooks.verify.consistency import contradictions, stays_inside
from deriva_ml_hooks.verify.remote_state import RemoteState
from deriva_ml_hooks.verify.repository_facts import (
    Known,
    NotFetchedError,
    RepositoryFacts,
    fetching,
)
from deriva_ml_hooks.verify.verdicts import Verdict, Verification, mismatch
from deriva_ml_hooks.verify.versions import Versions, named

Row = Execution | Damaged
Runs = Callable[[Execution], "str | None"]
"""The file that the command of an execution runs: from the top, or absolute where it is outside.

Empty where the words themselves are the code; None where they do not tell.
"""


@dataclass(frozen=True, slots=True)
class Case:
    """An execution, and what it is held against."""

    execution: Execution
    facts: RepositoryFacts
    remotes: RemoteState
    versions: Versions
    runs: Runs

    @property
    def provenance(self) -> Mapping[str, Any]:
        return self.execution.provenance

    @property
    def oid(self) -> str:
        return str(self.provenance.get("commit"))

    @property
    def commit(self) -> Known:
        """The commit, of which `missing_commit` has said nothing."""
        found = self.facts.commit(self.oid)
        if isinstance(found, GitError):
            raise found
        return found

    def mismatch(self, message: str, path: str | None = None) -> Finding:
        return mismatch(self.execution.id, message, path)

    def same(
        self, name: str, recorded: Any, actual: str | None, path: str | None = None
    ) -> Iterator[Finding]:
        """A finding where the two differ."""
        if recorded != actual:
            yield self.mismatch(f"{name} is {_short(recorded)} in the record, {_short(actual)} in fact", path)


Check = Callable[[Case], Iterator["Finding | str"]]
"""Gives findings, and as words what is worth a note and no finding."""


def verify(
    repository: Repository,
    rows: Callable[[], Iterable[Row]],
    *,
    remote: str | None,
    hosts: Mapping[str, str],
    ask: bool = False,
    runs: Runs = lambda execution: execution.entry_point.get("path"),
    tick: Callable[[int], None] = lambda _: None,
) -> Iterator[Verification]:
    """Hold each of `rows()` against the repository, in their order; they are asked for twice.

    `remote` is the one that counts today, for records whose own is not configured any more; `hosts`: forges
    by their hosts, as configured. With `ask` the remotes themselves are asked. Raises GitError where git does
    not answer.
    """
    facts = RepositoryFacts(repository, hosts)
    remote_state = RemoteState(repository, remote, ask)
    names: set[Named] = set()
    commits: dict[str, set[str]] = {}
    newest = ""
    for row in rows():
        newest = newest or row.id
        if isinstance(row, Execution) and isinstance(facts.commit(str(row.provenance.get("commit"))), Known):
            if stays_inside(row.cwd):
                names.add(named(row))
            if (where := remote_state.remote_of(row)) is not None:
                commits.setdefault(where, set()).add(str(row.provenance["commit"]))
    versions = Versions(facts, names)
    remote_state.look(commits)
    for row in itertools.dropwhile(lambda row: row.id > newest, rows()):  # begun since
        tick(1)
        if isinstance(row, Damaged):
            yield Verification(row.id, None, (mismatch(row.id, row.problem),), ())
            continue
        said = [*_checked(Case(row, facts, remote_state, versions, runs))]
        found = tuple(each for each in said if isinstance(each, Finding))
        notes = tuple(each for each in said if isinstance(each, str))
        yield Verification(row.id, row.provenance.get("commit"), found, notes)


def _checked(case: Case) -> Iterator[Finding | str]:
    is_here = isinstance(case.facts.commit(case.oid), Known)
    for check in (*CHECKS, *(CHECKS_OF_COMMIT if is_here else ())):
        try:
            yield from check(case)
        except NotFetchedError as error:
            yield Verdict.UNKNOWN.finding(str(error), error.fix)
        except GitError as error:
            message = f"a part of commit {case.oid[:12]} is not here: {error}"
            yield Verdict.MISSING_COMMIT.finding(message, error.fix)
        except (AttributeError, TypeError, KeyError, ValueError):  # values of other types than are written
            yield case.mismatch("the record is not as it was written")


def itself(case: Case) -> Iterator[Finding]:
    """Whether the record contradicts itself."""
    yield from map(case.mismatch, contradictions(case.execution))


def missing_commit(case: Case) -> Iterator[Finding]:
    """Whether the commit is here."""
    facts, error = case.facts, case.facts.commit(case.oid)
    if isinstance(error, Known):
        return
    message, fix = f"commit {case.oid[:12]}", error.fix
    recorded = case.provenance.get("repository_url")
    if facts.has(case.oid) or error.detail != MISSING:
        message += f": {error.detail}"
    elif facts.repository.shallow():
        message, fix = f"{message} is not in this shallow clone", "git fetch --unshallow --tags"
    else:
        message += " is not here"
        fix = fetching(case.provenance.get("remote"), facts.addresses, case.oid)
        if recorded is not None and recorded not in facts.addresses.values():  # a ledger can be of several
            message += f"; the record is of {recorded}"
    yield Verdict.MISSING_COMMIT.finding(message, fix)


def command(case: Case) -> Iterator[Finding | str]:
    """Whether the command runs the file that is named as its code, unless the user has named another."""
    execution, path = case.execution, case.runs(case.execution)
    code = execution.entry_point.get("path")
    if path is None:
        if execution.notebook is None and code is not None:
            yield "the words of its command do not tell which file it runs"
        return
    if (path or None) == code or f"{path}/__main__.py" == code:
        return
    warned = [str(w.get("path")) for w in execution.warnings if w.get("code") == "entry-point"]
    if not path:
        excused = bool(warned)
    elif path.startswith("/") or "://" in path:
        # where this or another worktree was then, or what the user has named another file for
        excused = bool(code) and path.endswith(f"/{code}")
        excused = excused or posixpath.basename(path) in map(posixpath.basename, warned)
    else:
        excused = path in [posixpath.normpath(f"{execution.cwd}/{name}") for name in warned]
        known = case.facts.commit(case.oid)  # may have a link there, whatever the worktree has today
        excused = excused or (isinstance(known, Known) and case.facts.is_linked(known.tree, path))
    if not excused:
        what = path or "no file"
        yield case.mismatch(f"the command runs {what}, and the record names {code or 'the whole tree'}")


def commit(case: Case) -> Iterator[Finding]:
    """Whether the commit has the recorded tree and time."""
    yield from case.same("tree", case.provenance.get("tree"), case.commit.tree.decode("ascii"))
    committed_at = case.provenance.get("committed_at")
    if committed_at != case.commit.committed_at:
        yield case.mismatch(f"committed_at is {committed_at}, not when it was committed")


def addresses(case: Case) -> Iterator[Finding]:
    """Whether the addresses are those that the record's own remote gives its commit.

    Which forge a host runs is configured, and may not have been then; of the well known ones it is certain.
    """
    oid, recorded = case.oid, case.execution.entry_point.get("url")
    url, path = case.provenance.get("repository_url"), case.execution.entry_point.get("path")
    host = (url or "").partition("://")[2].partition("/")[0].lower()
    sure = remotes.FORGES.get(host)
    forges: Sequence[str | None] = [sure] if sure else [None, *remotes.FORGES_KNOWN]
    possible = [Remote("", url, forge) for forge in forges] if url else []
    commit_url = case.provenance.get("commit_url")
    if commit_url not in ({remote.commit_url(oid) for remote in possible} or {None}):
        yield case.mismatch(f"commit_url is not that of the commit: {commit_url}")
    links = {remotes.permalink(remote, repository="", oid=oid, path=path) for remote in possible}
    if not possible:  # a place on a disk; if it is an address of a remote, that is missing in the record
        local = f"@{oid}" + (f"#{quote(path, errors='surrogateescape')}" if path is not None else "")
        if str(recorded).startswith("git+file://") and str(recorded).endswith(local):
            known = [Remote("", address, None) for address in case.facts.addresses.values() if address]
            of_remotes = {remotes.permalink(remote, repository="", oid=oid, path=path) for remote in known}
            links = {str(recorded)} - of_remotes
    if recorded not in links:
        yield case.mismatch(f"url is not that of the entry point at the commit: {recorded}")


def entry_point(case: Case) -> Iterator[Finding]:
    """Whether the commit has the recorded file, or tree."""
    recorded, tree = case.execution.entry_point, case.commit.tree
    path = recorded.get("path")
    if path is None:
        yield from case.same("entry point's blob", recorded.get("blob"), None)
        yield from case.same("checksum of the tree", recorded.get("checksum"), tree.decode("ascii"))
        return
    try:
        blob, checksum = case.facts.file(case.oid, tree, str(path))
    except NotInCommitError:
        yield case.mismatch(f"not a file of commit {case.oid[:12]}", path)
        return
    except NotFetchedError:
        raise
    except HooksError as error:  # in a submodule that is not checked out, or lacks the commit
        fix = "git submodule update --init --recursive"
        yield Verdict.MISSING_COMMIT.finding(f"cannot be read: {error}", fix, path)
        return
    yield from case.same("blob", recorded.get("blob"), blob, path)
    yield from case.same("checksum", recorded.get("checksum"), checksum, path)


def lockfiles(case: Case) -> Iterator[Finding]:
    """Whether the record names the lockfiles of the commit, and they are here."""
    locked, _ = case.facts.pinned(case.commit.tree)
    yield from _listed(case, "lockfiles", "blob", locked)
    for path, blob in locked.items():
        if not case.facts.partial and not case.facts.has(blob):
            fix = "git fsck, then fetch it again: git fetch --all"
            yield Verdict.MISSING_COMMIT.finding(f"its blob {blob[:12]} is not here", fix, path)


def submodules(case: Case) -> Iterator[Finding | str]:
    """Whether the record names the submodules of the commit, and they have what it names."""
    _, linked = case.facts.pinned(case.commit.tree)
    yield from _listed(case, "submodules", "commit", linked)
    for path, oid in linked.items():
        is_here = case.facts.submodule_has(path, oid)
        if is_here is None:
            yield f"the submodule {path} is not checked out here, so its commit was not looked for"
        elif not is_here:
            message = f"commit {oid[:12]} of the submodule is not here"
            fix = f"git -C {shlex.quote(path)} fetch origin {shlex.quote(oid)}"
            yield Verdict.MISSING_COMMIT.finding(message, fix, path)


def _listed(case: Case, key: str, kind: str, actual: Mapping[str, str]) -> Iterator[Finding]:
    entries = case.provenance.get(key) or ()
    recorded = {each.get("path"): each.get(kind) for each in entries}
    for path in dict.fromkeys((*actual, *recorded)):
        yield from case.same(f"{kind} of the {key[:-1]}", recorded.get(path), actual.get(path), path)
    if len(recorded) != len(entries):
        yield case.mismatch(f"{key} names one of them twice")


def tag(case: Case) -> Iterator[Finding]:
    """Whether the version tag still is that object on that commit."""
    moved = _moved_tag(case)
    if moved is not None:
        yield Verdict.MOVED_TAG.finding(*moved)
    if case.provenance.get("tag") is None:
        yield from case.same("tag object", case.provenance.get("tag_object"), None)


def version(case: Case) -> Iterator[Finding | str]:
    """Whether the version is what setuptools-scm gives the commit."""
    if _moved_tag(case) is not None:
        yield "the version is not compared, since its tag is not what it was"
    elif stays_inside(case.execution.cwd):
        yield from case.versions.check(case.execution)


def _moved_tag(case: Case) -> tuple[str, str] | None:
    name, recorded = case.provenance.get("tag"), case.provenance.get("tag_object")
    if name is None:
        return None
    return case.facts.moved_tag(str(name), recorded, case.oid, case.provenance.get("remote"))


def remote(case: Case) -> Iterator[Finding | str]:
    """Whether the remote has the commit and the tag."""
    yield from case.remotes.check(case.execution)
    name, recorded = case.remotes.remote_of(case.execution), case.provenance.get("repository_url")
    if name is not None and recorded != (address := case.facts.addresses.get(name)):
        yield f"looked for on {address}, while the record names {recorded}"


def changes(case: Case) -> Iterator[str]:
    """What the record itself says of its run: the commit holds, and still not all of it ran."""
    changed = case.execution.changed_during_run
    if changed:
        shown = [f"{change['path'] or change['message']} ({change['code']})" for change in changed]
        yield f"changed during the run: {few(shown)}"


CHECKS: tuple[Check, ...] = (itself, command, missing_commit)
CHECKS_OF_COMMIT: tuple[Check, ...] = (
    *(commit, addresses, entry_point, lockfiles, submodules, tag, version, remote, changes),
)
"""Made where the commit is here."""


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]
