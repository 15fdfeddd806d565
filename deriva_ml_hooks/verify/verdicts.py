"""Is what the records say true? Each execution is held against the repository as it is now.

Objects are read in the process, each of them once however many executions name it; nothing is changed
and nothing fetched. What a remote has is what its remote-tracking refs say, or the remote itself. The rows
are gone through twice, to see what is asked for and to answer, and never held all at once.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.executions.rows import Damaged
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.version import Named, scm_versions
from deriva_ml_hooks.report import Finding, few
from deriva_ml_hooks.verify.consistency import contradictions, seconds, stays_inside
from deriva_ml_hooks.verify.objects import against_objects, mismatch
from deriva_ml_hooks.verify.remote_state import Claim, RemoteState
from deriva_ml_hooks.verify.repository_facts import Facts, Known

Verdict = Literal["verified", "unknown", "unpushed", "moved-tag", "missing-commit", "mismatch"]

_DIFFERS = (
    "tree, entry point, checksum, address, tag, version, lockfile or submodule is not what was recorded,"
    " or was left out; the record contradicts itself (completed with exit code 7, begun before its commit,"
    " another file in the command, a duration that does not fit the times); its row cannot be read"
)
VERDICTS: Mapping[Verdict, tuple[str, str]] = {
    "verified": ("all of it holds", ""),
    "unknown": (
        "it cannot be told: a remote does not answer, or a partial clone lacks what has to be read",
        "see why; the command that has git fetch it",
    ),
    "unpushed": ("the commit is not on its remote, or there is no remote", "`git push REMOTE BRANCH`"),
    "moved-tag": (
        "the version tag is gone, or is another object, or on another commit",
        "`git tag --force TAG OBJECT`",
    ),
    "mismatch": (
        _DIFFERS,
        "see the record",
    ),
    "missing-commit": ("the commit, or a part of it, is not here", "`git fetch REMOTE COMMIT`"),
}
"""Every verdict, the gravest last: what it means, and the usual fix. The docs' table is made from it.

An execution has the verdict of its gravest finding.
"""

Row = Execution | Damaged
Runs = Callable[[Execution], "str | None"]
"""The file that the command of an execution runs: from the top, or absolute where it is outside.

Empty where the words themselves are the code; None where they do not tell.
"""

_BATCH = 1000


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
        return next((verdict for verdict in reversed([*VERDICTS]) if verdict in codes), "verified")

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
    runs: Runs = lambda execution: execution.entry_point.get("path"),
    tick: Callable[[int], None] = lambda _: None,
) -> Iterator[Verification]:
    """Hold each of `rows()` against the repository, in their order; they are asked for twice.

    `remote` is the one that counts today, for records whose own is not configured any more; `hosts`: forges
    by their hosts, as configured. With `ask` the remotes themselves are asked. Raises GitError where git does
    not answer.
    """
    facts = Facts(repository, hosts)
    remote_state = RemoteState(repository, remote, ask)
    names: set[Named] = set()
    claims: set[Claim] = set()
    newest = None
    for row in rows():
        newest = newest or row.id
        if isinstance(row, Execution) and _is_comparable(facts, row):
            names.add(_named(row))
            claims.add(remote_state.claim(row))
    today = _versions(facts, names)
    remote_state.look(claims)
    asked = itertools.dropwhile(lambda row: newest is not None and row.id > newest, rows())  # begun since
    while True:
        cases = []
        for row in itertools.islice(asked, _BATCH):
            tick(1)
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
        return _Case(row, [mismatch(row, row.problem)], [], comparable=False)
    try:
        found = [
            *(mismatch(row, message) for message in contradictions(row)),
            *against_objects(facts, row),
            *_command(facts, row, path := runs(row)),
        ]
    except (AttributeError, TypeError, KeyError, ValueError):  # values of other types than it is written with
        return _Case(row, [mismatch(row, "the record is not as it was written")], [], comparable=False)
    notes = []
    if path is None and row.notebook is None and row.entry_point.get("path") is not None:
        notes.append("the words of its command do not tell which file it runs")
    return _Case(row, found, notes, comparable=_is_comparable(facts, row))


def _is_comparable(facts: Facts, execution: Execution) -> bool:
    """Whether there is a commit, and a folder of it, to compare the version of."""
    return stays_inside(execution.cwd) and isinstance(facts.commit(_commit(execution)), Known)


def _commit(execution: Execution) -> str:
    return str(execution.provenance.get("commit"))


def _named(execution: Execution) -> Named:
    branch = execution.provenance.get("branch")
    folder = "" if execution.cwd == "." else execution.cwd
    return Named(_commit(execution).encode("ascii"), branch if isinstance(branch, str) else None, folder)


def _command(facts: Facts, execution: Execution, path: str | None) -> Iterator[Finding]:
    """Whether the command runs the file that is named as its code, unless the user has named another."""
    told = execution.entry_point.get("path")
    if path is None or (path or None) == told or f"{path}/__main__.py" == told:
        return
    is_outside = path.startswith("/") or "://" in path
    warned = [str(w.get("path")) for w in execution.warnings if w.get("code") == "entry-point"]
    if is_outside:  # where this or another worktree was then, or what the user has named another file for
        excused = bool(told) and path.endswith(f"/{told}")
        excused = excused or posixpath.basename(path) in map(posixpath.basename, warned)
    else:
        excused = bool(warned) if not path else path in _from_top(execution.cwd, warned)
        excused = excused or _is_linked(facts, execution, path)
    if not excused:
        what = path or "no file"
        yield mismatch(execution, f"the command runs {what}, and the record names {told or 'the whole tree'}")


def _is_linked(facts: Facts, execution: Execution, path: str) -> bool:
    """Whether the commit has a link on the way to `path`, whatever the worktree has there today."""
    commit = facts.commit(_commit(execution))
    return isinstance(commit, Known) and facts.is_linked(commit.tree, path)


def _from_top(cwd: str, paths: Iterable[str]) -> list[str]:
    return [posixpath.normpath(f"{cwd}/{path}") for path in paths]


def _not_looked_at(facts: Facts, execution: Execution) -> Iterator[str]:
    for module in execution.provenance.get("submodules") or ():
        path, commit = module.get("path"), module.get("commit")
        if isinstance(path, str) and isinstance(commit, str) and facts.submodule_has(path, commit) is None:
            yield f"the submodule {path} is not checked out here, so its commit was not looked for"


def _versions(facts: Facts, names: set[Named]) -> dict[Named, str | None]:
    """Today's version of each; None also where a partial clone would have to fetch something first."""
    wanted = sorted(names, key=str)
    try:
        return scm_versions(facts.repository, wanted)
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
            if version is None and (provenance.get("no_version") or provenance.get("shallow")):
                message = f"it says that there was no version; here it is {today[name]}"
                case.findings.append(
                    Finding("unknown", None, message, "see no_version in the record for the reason")
                )
            else:
                differing.append((case, execution, name, version))
        elif version is not None and provenance.get("tag") is None:
            for tag in facts.version_tags_before(_commit(execution), seconds(execution.started_at))[:1]:
                case.findings.append(mismatch(execution, f"the tag {tag} of the commit is not in the record"))
    for without, made in ((facts.tags_since, "made since"), (facts.tags_perhaps_since, "that has no date")):
        groups: dict[frozenset[str], list[tuple[_Case, Execution, Named, str | None]]] = {}
        for each in differing:
            groups.setdefault(without(seconds(each[1].started_at)), []).append(each)
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
        yield f"looked for on {facts.addresses.get(remote)}, while the record names {recorded}"
