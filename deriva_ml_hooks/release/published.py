"""What the remote of a version has, what is fetched from it, and the one push that goes there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import refs_of_remote
from deriva_ml_hooks.redact import redact

Say = Callable[[str], None]

_OF_GIT = re.compile(r"[ +*!=-]\t[^\t]*:[^\t]*\t|To |Done$|error: failed to push")
"""How git's own lines begin (git-push(1), --porcelain); a pre-push hook shares its streams."""


def remote_refs(repository: Repository, remote: str) -> dict[str, str]:
    """The branches and tags of `remote` as it says itself; git may ask for a password. Raises GitError."""
    try:
        return refs_of_remote(repository, remote, env=process.command_environment(), timeout=process.TIMEOUT)
    except GitError as error:
        raise GitError(str(error), fix=f"{error.fix}; or --no-push") from None


def fetch(repository: Repository, remote: str, refs: Iterable[str]) -> None:
    """Fetch the branches and tags `refs` (full names); tags come under their own names."""
    wanted = [f"{ref}:{ref}" if ref.startswith("refs/tags/") else ref for ref in refs]
    if not wanted:
        return
    stdin = "".join(f"{refspec}\n" for refspec in wanted).encode("utf-8", "surrogateescape")
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--stdin", "--", remote)
    env = process.command_environment()
    done = process.run(*words, cwd=repository.worktree, env=env, stdin=stdin)
    if done.returncode:
        raise GitError(
            f"git fetch {shlex.quote(remote)}",
            done.said,
            fix=f"see what git says: git fetch -- {shlex.quote(remote)}",
        )


def push(repository: Repository, remote: str, refs: Mapping[str, str], *, say: Say) -> None:
    """Push oids to refs of `remote`, all of them or none; what hooks say meanwhile is told by `say`.

    Raises GitError with the remote's, or a hook's, reason.
    """
    refspecs = [f"{oid}:{ref}" for ref, oid in refs.items()]
    # A mirror's setting allows no refspecs, and is about what `git push` alone does (git-config(1)).
    only_these = (
        "-c",
        f"remote.{remote}.mirror=false",
        "push",
        "--no-follow-tags",
        *_of_submodules(repository),
    )
    words = (*only_these, "--atomic", "--porcelain", "--", remote, *refspecs)
    # The user's own environment: pushing needs their agents, keys and helpers, and so do hooks.
    env = process.command_environment()

    def heard(line: bytes) -> None:
        words = redact(os.fsdecode(line)).rstrip()
        if words and not _OF_GIT.match(words):
            say(words)

    try:
        done = process.followed(*words, cwd=repository.worktree, env=env, heard=heard)
    except KeyboardInterrupt:
        say(f"interrupted: no new tag here; should {remote} have it already, the next call fetches it")
        raise
    if done.returncode:
        reason = _rejection(redact(os.fsdecode(done.stdout))) or _fatal(done.said)
        fix = "mend that and call again; no tag was made, here or there"
        if reason and "--atomic" in reason:
            fix = "--no-push, then push the branch and the tag yourself"
        raise GitError(
            f"git push {shlex.quote(remote)}", reason or "a hook refused it, or there was no answer", fix=fix
        )


def _of_submodules(repository: Repository) -> tuple[str, ...]:
    """Where git would push submodules first, by names that oids are not, see that they are pushed already."""
    wanted = repository.setting("push", "recurseSubmodules")
    if wanted is None and repository.is_set("submodule", "recurse", default=False):
        wanted = "on-demand"  # what it means for a push (git-config(1), submodule.recurse)
    return ("--recurse-submodules=check",) if wanted in ("on-demand", "only") else ()


def _rejection(stdout: str) -> str | None:
    """Why a ref was rejected, one that is to blame itself before one that only shares its fate."""
    rows = [line.split("\t") for line in stdout.splitlines() if line.startswith("!\t")]
    reasons = [f"{row[1].rpartition(':')[2]} {row[2]}" for row in rows if len(row) > 2]
    return min(reasons, key=lambda reason: "atomic" in reason, default=None)


def _fatal(said: str) -> str | None:
    """What git itself gave up for, before what only follows from that."""
    return next(
        (line.removeprefix("fatal: ") for line in said.splitlines() if line.startswith("fatal: ")), None
    )
