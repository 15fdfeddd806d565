"""What the remote of a version has, what is fetched from it, and the one push that goes there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import refs_of_remote
from deriva_ml_hooks.redact import redact

Say = Callable[[str], None]

_OF_GIT = re.compile(r"[ +*!=-]\t[^\t]*:[^\t]*\t|To |Done$|error: failed to push")
"""How git's own lines begin (git-push(1), --porcelain); a pre-push hook shares its streams."""


def for_user(repository: Repository) -> Repository:
    """The repository with the user's own environment: signing and pushing need their agents and keys."""
    return replace(repository, env=process.command_environment())


def remote_refs(repository: Repository, remote: str) -> dict[str, str]:
    """The branches and tags of `remote` as it says itself; git may ask for a password. Raises GitError."""
    try:
        return refs_of_remote(repository, remote, env=process.command_environment(), timeout=process.TIMEOUT)
    except GitError as error:
        raise GitError(str(error), fix=f"{error.fix}; or --no-push") from None


def fetch(repository: Repository, remote: str, refs: Iterable[str]) -> None:
    """Fetch the branches and tags `refs` (full names); tags come under their own names. Raises GitError."""
    wanted = [f"{ref}:{ref}" if ref.startswith("refs/tags/") else ref for ref in refs]
    if not wanted:
        return
    stdin = "".join(f"{refspec}\n" for refspec in wanted).encode("utf-8", "surrogateescape")
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--stdin", "--", remote)
    done = for_user(repository).git(*words, stdin=stdin)
    if done.returncode:
        command = shlex.join(["git", "fetch", "--", remote])
        raise GitError(command, done.said, fix=f"see what git says: {command}")


def push(repository: Repository, remote: str, refs: Mapping[str, str], *, say: Say) -> None:
    """Push oids to refs of `remote`, all of them or none; `say` is given what hooks print meanwhile.

    Raises GitError with the remote's, or a hook's, reason.
    """
    words = (
        *("-c", f"remote.{remote}.mirror=false"),  # a mirror's setting allows no refspecs (git-config(1))
        *("push", "--atomic", "--porcelain", "--no-follow-tags", *_for_submodules(repository)),
        *("--", remote, *(f"{oid}:{ref}" for ref, oid in refs.items())),
    )

    def heard(line: bytes) -> None:
        text = redact(os.fsdecode(line)).rstrip()
        if text and not _OF_GIT.match(text):
            say(text)

    env = process.command_environment()
    try:
        done = process.followed(*words, cwd=repository.worktree, env=env, heard=heard)
    except KeyboardInterrupt:
        say(f"interrupted: no new tag here; should {remote} have it already, the next call fetches it")
        raise
    if done.returncode:
        reason = _rejection(redact(os.fsdecode(done.stdout))) or fatal(done.said)
        fix = "fix that and call again; no tag was made, here or there"
        if reason and "--atomic" in reason:
            fix = "--no-push, then push the branch and the tag yourself"
        what = f"git push {shlex.quote(remote)}"
        raise GitError(what, reason or "a hook refused it, or there was no answer", fix=fix)


def _for_submodules(repository: Repository) -> tuple[str, ...]:
    """Have git check that submodules are pushed, where it would push them: it cannot with oids in a push."""
    wanted = repository.setting("push", "recurseSubmodules")
    if wanted is None and repository.is_set("submodule", "recurse", default=False):
        wanted = "on-demand"  # what it means for a push (git-config(1), submodule.recurse)
    return ("--recurse-submodules=check",) if wanted in ("on-demand", "only") else ()


def _rejection(stdout: str) -> str | None:
    """Why a ref was rejected: one that is to blame itself before one that only shares its fate."""
    rows = [line.split("\t") for line in stdout.splitlines() if line.startswith("!\t")]
    reasons = [f"{row[1].rpartition(':')[2]} {row[2]}" for row in rows if len(row) > 2]
    return min(reasons, key=lambda reason: "atomic" in reason, default=None)


def fatal(said: str) -> str | None:
    """What git itself gave up for, before what only follows from that."""
    lines = (line.removeprefix("fatal: ") for line in said.splitlines() if line.startswith("fatal: "))
    return next(lines, None)
