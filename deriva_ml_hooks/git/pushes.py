"""What a push is: the ref updates, from git itself (stdin of pre-push, githooks(5)) or from pre-commit.

What they bring is told by `outgoing`. Must never guess: a line that cannot be read is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deriva_ml_hooks.errors import GitError, UsageError
from deriva_ml_hooks.git.objects import look_up
from deriva_ml_hooks.git.repository import Repository

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One line of pre-push stdin: what is sent (`local_*`) and what it replaces (`remote_*`).

    Names and oids are as git gives them: `local_ref` is `(delete)` for a deletion, and as the user
    typed it where it is not the name of a ref (`HEAD~1`); an oid of zeros means "there is none".
    """

    local_ref: str
    local_oid: str
    remote_ref: str
    remote_oid: str

    @property
    def is_deletion(self) -> bool:
        """Whether the remote ref goes away: nothing is sent."""
        return is_zero(self.local_oid)

    @property
    def is_tag(self) -> bool:
        """Whether the remote ref is a tag."""
        return self.remote_ref.startswith("refs/tags/")

    @property
    def is_branch(self) -> bool:
        """Whether the remote ref is a branch."""
        return self.remote_ref.startswith("refs/heads/")

    @property
    def name(self) -> str:
        """The remote ref as people say it: without `refs/tags/` or `refs/heads/`."""
        return self.remote_ref.removeprefix("refs/tags/").removeprefix("refs/heads/")


def is_zero(oid: str) -> bool:
    """Whether `oid` stands for "there is none": zeros, 40 (SHA-1) or 64 (SHA-256) of them."""
    return not oid.strip("0")


def parse_ref_updates(stdin: bytes) -> list[RefUpdate]:
    """The ref updates on pre-push stdin: `<local ref> SP <local oid> SP <remote ref> SP <remote oid> LF`.

    Read from the right: a local ref that the user typed as a revision may hold spaces. Raises UsageError
    for a line of any other form: what cannot be read must not pass unchecked.
    """
    updates = []
    for line in os.fsdecode(stdin).split("\n"):
        words = line.removesuffix("\r").rsplit(" ", 3)
        if words == [""]:
            continue
        if len(words) != 4 or not words[0] or not all(_OID.fullmatch(oid) for oid in words[1::2]):
            raise UsageError(
                f"not a ref update: {line!r}",
                fix="hand on the stdin of git's pre-push hook as it is: LOCAL-REF OID REMOTE-REF OID",
            )
        updates.append(RefUpdate(*words))
    return updates


def updates_from_pre_commit(repository: Repository, environ: Mapping[str, str]) -> list[RefUpdate]:
    """The one ref update, or the range, that pre-commit tells its hooks of; empty where it tells of none.

    PRE_COMMIT_FROM_REF and PRE_COMMIT_TO_REF may be any revision, and TO a tag object. Where a push
    contains a root commit they are not set: then all that the local branch has counts, and the refs of
    the remote say what is there already (pre-commit, hook_impl.py). Raises GitError for a revision
    that does not exist.
    """
    base, tip = environ.get("PRE_COMMIT_FROM_REF"), environ.get("PRE_COMMIT_TO_REF")
    local = environ.get("PRE_COMMIT_LOCAL_BRANCH") or tip or "HEAD"
    if not tip and not environ.get("PRE_COMMIT_REMOTE_NAME"):
        return []
    new, old = _oids(repository, [tip or local, base or ""])
    if new is None or (base and old is None):
        wanted = tip or local if new is None else base
        raise GitError(f"{wanted}", "no such revision", fix="fetch it: git fetch --all")
    zero = "0" * len(new)
    return [RefUpdate(local, new, environ.get("PRE_COMMIT_REMOTE_BRANCH", ""), old or zero)]


def _oids(repository: Repository, revisions: Sequence[str]) -> list[str | None]:
    found = look_up(repository, revisions)
    return [
        one.oid if one is not None else revision if is_zero(revision) and revision else None
        for one, revision in zip(found, revisions, strict=True)
    ]
