"""Which remotes have the commits of executions, by their remote-tracking refs or by asking them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.git import process, remotes
from deriva_ml_hooks.git.outgoing import Outgoing
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import beyond, refs_of_remote
from deriva_ml_hooks.report import Finding


@dataclass(frozen=True, slots=True)
class _Remote:
    """What a remote has: commits here that its refs lead to, how many of its refs are not here, its tags."""

    tips: tuple[bytes, ...]
    unknown: int
    tags: dict[str, str] | None


class Claim(NamedTuple):
    """What a record says of where it is: the remote that should have its commit, and its branch."""

    remote: str | None
    commit: str
    branch: str | None


class RemoteState:
    """Tells what is not on its remote. With `ask` the remotes say so themselves; nothing is fetched.

    `remote` stands in for the remote of a record that is not configured any more.
    """

    def __init__(self, repository: Repository, remote: str | None, ask: bool) -> None:
        self._repository = repository
        self._remote = remote
        self._ask = ask
        self._known: dict[str, _Remote | GitError] = {}
        self._found: dict[tuple[str, str], Finding] = {}
        self._configured = frozenset(remotes.remote_names(repository))

    def claim(self, execution: Execution) -> Claim:
        """What has to be known for `findings` of an execution, whose commit has to be here."""
        branch = execution.provenance.get("branch")
        commit = str(execution.provenance["commit"])
        return Claim(self.remote_of(execution), commit, str(branch) if branch is not None else None)

    def look(self, claims: Collection[Claim]) -> None:
        """See what the remotes have of all these; one that does not answer spoils no other's."""
        names = sorted({claim.remote for claim in claims if claim.remote is not None})
        for name in names:
            try:
                known = self._asked(name) if self._ask else self._tracked(name)
            except GitError as error:
                self._known[name] = error
                continue
            self._known[name] = known
            of_it = [claim for claim in claims if claim.remote == name]
            missing = self._beyond({claim.commit for claim in of_it}, known.tips)
            for commit, fix in self._pushes(name, missing, of_it).items():
                self._found[name, commit] = self._unpushed(name, commit, fix, known.unknown)

    def findings(self, execution: Execution) -> list[Finding]:
        """What its remote lacks of an execution whose claim was looked at."""
        remote, commit, branch = self.claim(execution)
        if remote is None:
            return [_nowhere(commit, branch)]
        known = self._known[remote]
        if isinstance(known, GitError):
            return [Finding("unknown", None, f"not asked for: {known}", known.fix)]
        unpushed = self._found.get((remote, commit))
        return [*([unpushed] if unpushed else []), *_tag(execution, remote, known.tags)]

    def remote_of(self, execution: Execution) -> str | None:
        """The name of the remote that should have the commit."""
        name = execution.provenance.get("remote")
        return name if name in self._configured else self._remote

    def _tracked(self, name: str) -> _Remote:
        refs = dict(self._repository.refs_under(f"refs/remotes/{name}/"))
        return self._sorted(refs.values(), None)

    def _asked(self, name: str) -> _Remote:
        # ssh and proxies as the user has set them up for git
        env = process.hook_environment(process.command_environment())
        refs = refs_of_remote(self._repository, name, env=env)
        tags = {
            ref.removeprefix("refs/tags/"): oid for ref, oid in refs.items() if ref.startswith("refs/tags/")
        }
        return self._sorted([oid.encode("ascii") for oid in refs.values()], tags)

    def _sorted(self, oids: Collection[bytes], tags: dict[str, str] | None) -> _Remote:
        tips, unknown = set(), set()
        for oid in oids:
            try:
                target = self._repository.peel(oid)
            except GitError:
                unknown.add(oid)
                continue
            try:
                self._repository.commit(target)
            except GitError:  # tags of trees and blobs
                continue
            tips.add(target)
        return _Remote(tuple(sorted(tips)), len(unknown), tags)

    def _beyond(self, commits: Collection[str], tips: Sequence[bytes]) -> set[str]:
        """Those of `commits` that none of `tips` contains."""
        known = tuple(tip.decode("ascii") for tip in tips)
        return beyond(self._repository, commits, Outgoing((), known, ()))

    def _pushes(self, remote: str, missing: set[str], claims: Sequence[Claim]) -> dict[str, str]:
        """For each of the commits, what pushes it: its branch, where that still is here and contains it."""
        branches: dict[str, set[str]] = {}
        current = self._repository.branch()
        for _, commit, own in claims:
            branch = own or current
            if commit in missing and branch is not None:
                branches.setdefault(branch, set()).add(commit)
        heads = {
            ref.removeprefix("refs/heads/"): oid for ref, oid in self._repository.refs_under("refs/heads/")
        }
        where = shlex.quote(remote)
        fixes = {commit: f"git push {where} {_as_branch(commit)}" for commit in missing}
        for branch, commits in branches.items():
            if branch in heads:
                for commit in commits - self._beyond(commits, [heads[branch]]):
                    fixes[commit] = f"git push {where} {shlex.quote(branch)}"
        return fixes

    def _unpushed(self, name: str, commit: str, fix: str, unknown: int) -> Finding:
        whose = "branch or tag" if self._ask else "branch"
        message = f"commit {commit[:12]} is on no {whose} of the remote {name}"
        if unknown:
            message = f"{message} that is here; {unknown} of its branches and tags are not"
            fix = f"git fetch {shlex.quote(name)}, then verify again; else: " + fix
        elif not self._ask:
            message += ", as far as is known here"
        return Finding("unpushed", None, message, fix)


def _as_branch(commit: str) -> str:
    """What `git push` is given for a commit of no branch: it makes one that is called after it."""
    return shlex.quote(f"{commit}:refs/heads/run-{commit[:12]}")


def _nowhere(commit: str, branch: str | None) -> Finding:
    message = f"no remote: nobody else can find commit {commit[:12]}"
    target = shlex.quote(branch) if branch is not None else _as_branch(commit)
    return Finding("unpushed", None, message, f"git remote add origin URL && git push origin {target}")


def _tag(execution: Execution, remote: str, tags: dict[str, str] | None) -> list[Finding]:
    """What a remote that was asked has instead of the tag of a record."""
    tag = execution.provenance.get("tag")
    if tag is None or tags is None:
        return []
    target = execution.provenance.get("tag_object") or execution.provenance["commit"]
    words = f"{shlex.quote(remote)} {shlex.quote('refs/tags/' + tag)}"
    if tag not in tags:
        return [Finding("unpushed", None, f"tag {tag} is not on the remote {remote}", f"git push {words}")]
    if tags[tag] != target:
        message = f"tag {tag} is another on the remote {remote}: {tags[tag][:12]}, it was {target[:12]}"
        return [Finding("moved-tag", None, message, f"if yours is the right one: git push --force {words}")]
    return []
