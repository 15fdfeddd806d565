"""`bump-version`: which version comes next, and whether anything stands in its way (`create` makes it)."""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import dataclass, replace
from typing import Any

from deriva_ml_hooks.config import hook_settings
from deriva_ml_hooks.errors import HooksError, UsageError
from deriva_ml_hooks.gate import Verdict, judge, require_accepted
from deriva_ml_hooks.gate.fixes import is_rewritten_lock
from deriva_ml_hooks.git import process, remotes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.versions import Version, semver
from deriva_ml_hooks.hooks import check_version_tags
from deriva_ml_hooks.release import unfinished
from deriva_ml_hooks.release.numbers import PRE_RELEASES, Part, following, spelled
from deriva_ml_hooks.release.push import fetch, remote_refs
from deriva_ml_hooks.release.version_tags import VersionTags, is_contained

SCHEMA = 1
HOOK = "check-version-tags"
_UPSTREAM = "its upstream"


class BumpError(HooksError):
    """There is a reason, `code` for programs, not to make a version here and now."""

    def __init__(self, code: str, what: str, *, fix: str) -> None:
        super().__init__(what, fix=fix)
        self.code = code


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks for. `prefix` None: as check-version-tags has it; `sign` None: as git has it."""

    part: Part = "patch"
    initial: str = "0.1.0"
    pre: str | None = None
    prefix: str | None = None
    message: str | None = None
    sign: bool | None = None
    remote: str | None = None
    push: bool = True
    force_new: bool = False
    commit_lock: bool = False


@dataclass(frozen=True, slots=True)
class Bump:
    """The version that is to be made, and what it follows; `target` is the remote's name for the branch."""

    tag: str
    version: str
    previous: str | None
    commit: str
    branch: str | None
    remote: str | None
    target: str | None
    pushed: bool

    def as_json(self) -> dict[str, Any]:
        """The bump as JSON, schema 1."""
        names = ("tag", "version", "previous", "commit", "branch", "remote", "pushed")
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in names}}


def plan(wanted: Wanted, start: str = ".", *, fetching: bool = True) -> tuple[Repository, Bump]:
    """What `create` would do. The remote is asked; with `fetching` its new versions come here too.

    Raises RefusedError where the gate refuses, BumpError where something else stands in the way,
    UsageError for words that fit nothing, and GitError.
    """
    measured(start)  # an image may be accepted without a repository; nothing can be tagged there
    verdict = judge(start)
    if wanted.commit_lock and is_rewritten_lock(verdict.reasons):
        verdict = _with_lock(verdict, start, may_commit=fetching)
    verdict = require_accepted(_without_what_a_bump_fixes(verdict, wanted))
    if verdict.repository is None or verdict.provenance is None:
        raise AssertionError("an accepted verdict names its commit")
    repository, commit, branch = verdict.repository, verdict.provenance.commit, verdict.provenance.branch
    if verdict.provenance.shallow:
        message = "a shallow clone: the highest version tag may be missing"
        raise BumpError("shallow", message, fix="git fetch --unshallow --tags")
    prefix = _prefix(repository, wanted)
    _check_pre_release(repository, wanted)
    remote = _remote(repository, verdict, wanted)
    target = _target(repository, branch, remote) if remote is not None else None
    _settle(repository, may_settle=remote is not None and fetching)
    there = remote_refs(repository, remote) if remote is not None else {}
    if remote is not None:
        tags = VersionTags(repository, prefix, there)
        _require_same_tags(tags, remote)
        theirs = f"refs/heads/{target}"
        if fetching:
            is_news = theirs in there and not is_contained(repository, there[theirs])
            fetch(repository, remote, [*tags.only_there(), *([theirs] if is_news else [])])
            repository = replace(repository)  # with the refs as they are now
        _require_current(repository, there.get(theirs), f"{remote}/{target}", branch)
    _require_current(repository, _upstream(repository), _UPSTREAM, branch)
    bump = _numbered(VersionTags(repository, prefix, there), wanted, commit, remote)
    if wanted.push and _is_checked(repository):
        _require_passing(repository, bump)
    return repository, replace(bump, branch=branch, remote=remote, target=target)


def _with_lock(verdict: Verdict, start: str, *, may_commit: bool) -> Verdict:
    """The verdict once the lock file that is all that has changed is committed, with the user's own hooks."""
    if verdict.repository is None or not may_commit:
        return replace(verdict, reasons=verdict.reasons[1:])
    path = str(verdict.reasons[0].path)
    words = ("commit", "--quiet", "--message", f"Update {path}", "--", path)
    process.run(*words, cwd=verdict.repository.worktree, env=process.command_environment()).checked()
    return judge(start)


def _settle(repository: Repository, *, may_settle: bool) -> None:
    note = unfinished.left_behind(repository)
    if note is None:
        return
    if not may_settle:
        message = f"a call that was to push {note.tag} to {note.remote} has not ended, or was killed"
        raise BumpError("unfinished", message, fix="deriva-ml-hooks bump-version finishes or removes it")
    unfinished.settle(repository, note)


def _without_what_a_bump_fixes(verdict: Verdict, wanted: Wanted) -> Verdict:
    """A policy that wants a version tag, or a pushed commit, is what this is called for."""
    fixed = {"untagged", "unpushed"} if wanted.push else {"untagged"}
    return replace(verdict, reasons=tuple(found for found in verdict.reasons if found.code not in fixed))


def _prefix(repository: Repository, wanted: Wanted) -> str:
    prefix = wanted.prefix
    if prefix is None:
        prefix = str(hook_settings(repository.worktree, HOOK).get("prefix", "v"))
    # A digit or a dot at its end would run into the version.
    usable = not prefix.startswith("-") and not prefix[-1:].isdigit() and not prefix.endswith(".")
    if not usable or repository.git("check-ref-format", f"refs/tags/{prefix}0.1.0").returncode:
        raise UsageError(f"--prefix {prefix}: no tag can begin with it", fix="such as --prefix v")
    return prefix


def _check_pre_release(repository: Repository, wanted: Wanted) -> None:
    """What our own pre-push hook would refuse is refused before anything is made."""
    if wanted.pre is None:
        return
    if wanted.pre not in PRE_RELEASES:
        names = ", ".join(PRE_RELEASES)
        raise UsageError(
            f"--pre {wanted.pre}: no name of pre-releases that Python knows too", fix=f"one of {names}"
        )
    allowed = hook_settings(repository.worktree, HOOK).get("allow-pre-releases")
    if allowed is False or (allowed is None and wanted.push and _is_checked(repository)):
        raise BumpError(
            "pre-release",
            f"pre-releases are not tagged here: {HOOK} does not let them pass",
            fix=f"allow-pre-releases = true in [tool.deriva-ml-hooks.{HOOK}], and commit that",
        )


def _require_passing(repository: Repository, bump: Bump) -> None:
    """See that our own pre-push hook would let the new tag pass."""
    found = check_version_tags.of_new(repository, bump.tag, bump.commit)
    if not found:
        return
    code, _, message, fix = found[0]
    fixes = {
        "several-versions": "git commit first: a new version needs a new commit",
        "tag-spelling": f"leave out --prefix, or set it in [tool.deriva-ml-hooks.{HOOK}], and commit that",
    }
    raise BumpError(code, f"{HOOK} would refuse it: {message}", fix=fixes.get(code, fix))


def _is_checked(repository: Repository) -> bool:
    """Whether git's pre-push hook here is ours."""
    done = repository.git("rev-parse", "--git-path", "hooks")
    folder = os.path.join(repository.worktree, os.fsdecode(done.checked()).rstrip("\n"))
    for name in ("pre-push", "pre-push.legacy"):
        with contextlib.suppress(OSError), open(os.path.join(folder, name), "rb") as file:
            if b"native-pre-push" in file.read():
                return True
    return False


def _remote(repository: Repository, verdict: Verdict, wanted: Wanted) -> str | None:
    """The remote to push to; None where nothing is pushed."""
    if wanted.remote is not None and wanted.remote not in remotes.remote_names(repository):
        raise UsageError(f"{wanted.remote}: no such remote", fix="see their names: git remote")
    if not wanted.push:
        return None
    configured = wanted.remote or verdict.config.remote or _push_remote(repository)
    remote = remotes.chosen(repository, configured=configured, hosts=verdict.config.hosts)
    if remote is None:
        message = "no remote to push to"
        raise BumpError("no-remote", message, fix="git remote add origin URL, or --no-push")
    return remote.name


def _push_remote(repository: Repository) -> str | None:
    """The remote that is only pushed to, as `git push` takes it (git-config(1), branch.<name>.pushRemote)."""
    branch = repository.branch()
    own = repository.setting("branch", "pushRemote", branch) if branch is not None else None
    names = remotes.remote_names(repository)
    wanted = (own, repository.setting("remote", "pushDefault"))
    return next((name for name in wanted if name in names), None)


def _target(repository: Repository, branch: str | None, remote: str) -> str:
    """The remote's name for the branch; never one that `git push` alone would not push it to."""
    if branch is None:
        message = "HEAD is detached, so there is no branch to push"
        raise BumpError("detached", message, fix="git switch BRANCH, or --no-push")
    merge = repository.setting("branch", "merge", branch) or ""
    upstream = merge.removeprefix("refs/heads/")
    if not upstream or upstream == branch or repository.setting("branch", "remote", branch) != remote:
        return branch
    if repository.setting("push", "default") in ("upstream", "tracking"):
        return upstream
    push = shlex.join(["git", "push", "--set-upstream", remote, branch])
    raise BumpError(
        "other-branch",
        f"{branch} has {remote}/{upstream} for its upstream, and would be pushed to a branch of another name",
        fix=f"{push}, or git switch {shlex.quote(upstream)}",
    )


def _upstream(repository: Repository) -> str | None:
    """The commit of the branch's upstream, as far as it is known here."""
    done = repository.git("rev-parse", "--verify", "--quiet", "@{upstream}")
    return done.stdout.decode("ascii").strip() or None


def _require_current(repository: Repository, tip: str | None, name: str, branch: str | None) -> None:
    if tip is None or is_contained(repository, tip):
        return
    where = "" if name == _UPSTREAM else " " + shlex.join(name.split("/", 1))
    message = f"{branch} is behind {name}, or diverged from it"
    raise BumpError("behind", message, fix=f"git pull --rebase{where}, or merge: git pull --no-rebase{where}")


def _require_same_tags(tags: VersionTags, remote: str) -> None:
    ref = tags.other_object()
    if ref is not None:
        fix = shlex.join(["git", "fetch", remote, f"+{ref}:{ref}"])
        name = ref.removeprefix("refs/tags/")
        message = f"{name} is another object on {remote} than here, so it cannot be counted from"
        raise BumpError("moved-version", message, fix=f"take theirs: {fix}")


def _numbered(tags: VersionTags, wanted: Wanted, commit: str, remote: str | None) -> Bump:
    name = next((tagged.name for tagged in tags.all() if tagged.commit == commit), None)
    if name is not None and not wanted.force_new:
        is_pushed = remote is None or tags.is_there(name)
        use = f"use {name}" if is_pushed else f"push it: {shlex.join(['git', 'push', str(remote), name])}"
        raise BumpError(
            "tagged", f"this commit is {name} already", fix=f"{use}, or commit first, or --force-new"
        )
    previous = tags.highest_contained()
    version = following(previous.version, wanted.part, wanted.pre) if previous else _initial(wanted)
    tag = tags.prefix + spelled(version)
    if tags.is_here(tag) or tags.is_there(tag):
        first = "" if tags.is_here(tag) else shlex.join(["git", "fetch", str(remote), "tag", tag]) + " && "
        raise BumpError(
            "exists",
            f"{tag} exists already, on a commit that this one does not contain",
            fix=f"{first}git merge {shlex.quote(tag)}, or ask for another part: major, minor or patch",
        )
    return Bump(tag, spelled(version), previous.name if previous else None, commit, None, None, None, False)


def _initial(wanted: Wanted) -> Version:
    version = semver(wanted.initial)
    if version is None or (version.pre and version.pre[0] not in PRE_RELEASES):
        raise UsageError(f"--initial {wanted.initial}: not a SemVer version", fix="such as --initial 0.1.0")
    return Version(version.release, (wanted.pre, "1")) if wanted.pre else version
