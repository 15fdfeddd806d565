"""Which remotes have the commits of executions, by their remote-tracking refs or by asking them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.git import process, remotes
from deriva_ml_hooks.git.outgoing import Outgoing
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import beyond, refs_of_remote
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.verify.verdicts import Verdict


class _Remote(NamedTuple):
    """What a remote has: `unknown` of its refs are not here; `tags` is None where it was not asked."""

    missing: frozenset[str]
    unknown: int
    tags: Mapping[str, str] | None


class RemoteState:
    """Tells what is not on its remote. With `ask` the remotes say so themselves; nothing is fetched.

    `remote` stands in for the remote of a record that is not configured any more.
    """

    def __init__(self, repository: Repository, remote: str | None, ask: bool) -> None:
        self._repository = repository
        self._remote = remote
        self._ask = ask
        self._known: dict[str, _Remote | GitError] = {}
        self._configured = frozenset(remotes.remote_names(repository))
        self._heads = {
            ref.removeprefix("refs/heads/"): oid for ref, oid in repository.refs_under("refs/heads/")
        }
        self._current = repository.branch()
        self._not_on = lru_cache(None)(self._missing_on_branch)

    def remote_of(self, execution: Execution) -> str | None:
        """The name of the remote that should have the commit."""
        name = execution.provenance.get("remote")
        return name if name in self._configured else self._remote

    def look(self, commits: Mapping[str, Collection[str]]) -> None:
        """See which of the commits the remotes have. One that does not answer spoils no other's."""
        for name, wanted in commits.items():
            try:
                self._known[name] = self._looked_at(name, wanted)
            except GitError as error:
                self._known[name] = error

    def check(self, execution: Execution) -> Iterator[Finding]:
        """What its remote lacks of an execution whose commit was looked for."""
        commit = str(execution.provenance["commit"])
        branch = execution.provenance.get("branch")
        remote = self.remote_of(execution)
        if remote is None:
            target = shlex.quote(branch) if branch is not None else _as_branch(commit)
            message = f"no remote: nobody else can find commit {commit[:12]}"
            yield Verdict.UNPUSHED.finding(message, f"git remote add origin URL && git push origin {target}")
            return
        known = self._known[remote]
        if isinstance(known, GitError):
            yield Verdict.UNKNOWN.finding(f"not asked for: {known}", known.fix)
            return
        if commit in known.missing:
            yield self._unpushed(remote, known, commit, branch)
        yield from _tag(execution, remote, known.tags)

    def _looked_at(self, name: str, wanted: Collection[str]) -> _Remote:
        tags = None
        if self._ask:
            # ssh and proxies as the user has set them up for git
            env = process.hook_environment(process.command_environment())
            refs = refs_of_remote(self._repository, name, env=env)
            oids = [oid.encode("ascii") for oid in refs.values()]
            prefix = "refs/tags/"
            tags = {ref.removeprefix(prefix): oid for ref, oid in refs.items() if ref.startswith(prefix)}
        else:
            oids = [oid for _, oid in self._repository.refs_under(f"refs/remotes/{name}/")]
        tips, unknown = set(), set()
        for oid in oids:
            try:
                tips.add(self._repository.peel(oid))
            except GitError:
                unknown.add(oid)
        return _Remote(self._beyond(wanted, filter(self._is_commit, tips)), len(unknown), tags)

    def _is_commit(self, oid: bytes) -> bool:
        """False for what a tag of a tree or a blob leads to."""
        try:
            self._repository.commit(oid)
        except GitError:
            return False
        return True

    def _beyond(self, commits: Collection[str], tips: Iterable[bytes]) -> frozenset[str]:
        """Those of `commits` that none of `tips` contains."""
        known = tuple(sorted(tip.decode("ascii") for tip in tips))
        return frozenset(beyond(self._repository, commits, Outgoing((), known, ())))

    def _missing_on_branch(self, missing: frozenset[str], branch: str) -> frozenset[str]:
        return self._beyond(missing, [self._heads[branch]])

    def _unpushed(self, remote: str, known: _Remote, commit: str, branch: str | None) -> Finding:
        own = branch or self._current
        if own in self._heads and commit not in self._not_on(known.missing, own):
            target = shlex.quote(own)
        else:  # of no branch that is here any more
            target = _as_branch(commit)
        fix = push = f"git push {shlex.quote(remote)} {target}"
        where = "branch or tag" if self._ask else "branch"
        message = f"commit {commit[:12]} is on no {where} of the remote {remote}"
        if known.unknown:
            message += f" that is here; {known.unknown} of its branches and tags are not"
            fix = f"git fetch {shlex.quote(remote)}, then verify again; else: {push}"
        elif not self._ask:
            message += ", as far as is known here"
        return Verdict.UNPUSHED.finding(message, fix)


def _as_branch(commit: str) -> str:
    """What `git push` is given for a commit of no branch: it makes one that is called after it."""
    return shlex.quote(f"{commit}:refs/heads/run-{commit[:12]}")


def _tag(execution: Execution, remote: str, tags: Mapping[str, str] | None) -> Iterator[Finding]:
    """What a remote that was asked has instead of the tag of a record."""
    tag = execution.provenance.get("tag")
    if tag is None or tags is None:
        return
    target = execution.provenance.get("tag_object") or execution.provenance["commit"]
    words = f"{shlex.quote(remote)} {shlex.quote('refs/tags/' + tag)}"
    if tag not in tags:
        yield Verdict.UNPUSHED.finding(f"tag {tag} is not on the remote {remote}", f"git push {words}")
    elif tags[tag] != target:
        message = f"tag {tag} is another on the remote {remote}: {tags[tag][:12]}, it was {target[:12]}"
        yield Verdict.MOVED_TAG.finding(message, f"if yours is the right one: git push --force {words}")
