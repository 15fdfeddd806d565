"""Which remotes have the commits of executions, by their remote-tracking refs or by asking them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.git import process, remotes
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import PATIENCE, parse_remote_refs
from deriva_ml_hooks.report import Finding


@dataclass(frozen=True, slots=True)
class _Remote:
    """What a remote has: commits here that its refs lead to, how many of its refs are not here, its tags."""

    tips: tuple[bytes, ...]
    unknown: int
    tags: dict[str, str] | None


class Whereabouts:
    """Tells what is not on its remote. With `ask` the remotes say so themselves; nothing is fetched.

    `remote` stands in for the remote of a record that is not configured any more.
    """

    def __init__(
        self, repository: Repository, remote: str | None, ask: bool, tick: Callable[[int, int], None]
    ) -> None:
        self._repository = repository
        self._remote = remote
        self._ask = ask
        self._tick = tick
        self._configured = frozenset(remotes.remote_names(repository))

    def findings(self, executions: Sequence[Execution]) -> list[list[Finding]]:
        """For each execution, whose commit has to be here, what its remote lacks."""
        places = [self.remote_of(execution) for execution in executions]
        commits = [str(execution.provenance["commit"]) for execution in executions]
        names = sorted({name for name in places if name is not None})
        found: dict[tuple[str | None, str], list[Finding]] = {}
        known: dict[str, _Remote] = {}
        for number, name in enumerate(names):
            self._tick(number, len(names))
            known[name] = self._asked(name) if self._ask else self._tracked(name)
            wanted = {commit for place, commit in zip(places, commits, strict=True) if place == name}
            missing = self._beyond(wanted, known[name].tips)
            for commit, fix in self._pushes(name, missing, executions).items():
                found[name, commit] = [self._unpushed(name, commit, fix, known[name].unknown)]
        answers = []
        for execution, place, commit in zip(executions, places, commits, strict=True):
            if place is None:
                answers.append([_nowhere(commit, execution.provenance.get("branch"))])
            else:
                answers.append([*found.get((place, commit), ()), *_tag(execution, place, known[place].tags)])
        return answers

    def remote_of(self, execution: Execution) -> str | None:
        """The name of the remote that should have the commit."""
        name = execution.provenance.get("remote")
        return name if name in self._configured else self._remote

    def _tracked(self, name: str) -> _Remote:
        refs = dict(self._repository.refs_under(f"refs/remotes/{name}/"))
        return self._sorted(refs.values(), None)

    def _asked(self, name: str) -> _Remote:
        done = process.run(
            *("ls-remote", "--quiet", "--heads", "--tags", "--", name),
            cwd=self._repository.worktree,
            # ssh and proxies as the user has set them up for git
            env=process.hook_environment(process.command_environment()),
            timeout=PATIENCE,
        )
        fix = f"see why it does not answer: git ls-remote {shlex.quote(name)}"
        if done.returncode:
            raise GitError(
                f"remote {name}", done.said.splitlines()[-1] if done.said else "no answer", fix=fix
            )
        refs = parse_remote_refs(done.stdout)
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
        wanted = set(commits) - {tip.decode("ascii") for tip in tips}
        if not wanted or not tips:
            return wanted
        lines = [*sorted(wanted), *(f"^{tip.decode('ascii')}" for tip in tips)]
        stdin = "".join(f"{line}\n" for line in lines).encode("ascii")
        listed = process.run("rev-list", "--stdin", cwd=self._repository.worktree, stdin=stdin).checked()
        return wanted & set(listed.decode("ascii").split())

    def _pushes(self, remote: str, missing: set[str], executions: Sequence[Execution]) -> dict[str, str]:
        """For each of the commits, what pushes it: its branch, where that still is here and contains it."""
        branches: dict[str, set[str]] = {}
        for execution in executions:
            commit = execution.provenance["commit"]
            branch = execution.provenance.get("branch") or self._repository.branch()
            if commit in missing and branch is not None:
                branches.setdefault(str(branch), set()).add(commit)
        heads = {
            ref.removeprefix("refs/heads/"): oid for ref, oid in self._repository.refs_under("refs/heads/")
        }
        where = shlex.quote(remote)
        fixes = {commit: f"git push {where} {shlex.quote(commit)}:refs/heads/NAME" for commit in missing}
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


def _nowhere(commit: str, branch: str | None) -> Finding:
    message = f"no remote: nobody else can find commit {commit[:12]}"
    target = shlex.quote(branch) if branch is not None else f"{shlex.quote(commit)}:refs/heads/NAME"
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
