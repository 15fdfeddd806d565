"""What a push is: the ref updates, from git itself (stdin of pre-push, githooks(5)) or from pre-commit.

What they bring is told by `outgoing`. Must never guess: a line that cannot be read is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Push:
    """A push: its ref updates, and where to.

    `remote` is None for a range of commits without a remote. `complete`: these are all of its updates.
    """

    updates: tuple[RefUpdate, ...]
    remote: str | None = None
    url: str = ""
    complete: bool = True


def push_of_git(stdin: bytes, remote: str, url: str) -> Push:
    """The push that git hands to its pre-push hook. Raises UsageError."""
    return Push(tuple(parse_ref_updates(stdin)), remote, url)


def push_of_pre_commit(repository: Repository, environ: Mapping[str, str]) -> Push | None:
    """The push, or the range of commits, that pre-commit names; None where it names neither.

    It names one ref update of a push, and hides those that go along with it. PRE_COMMIT_FROM_REF and
    PRE_COMMIT_TO_REF may be any revision, and TO a tag object. Where a push contains a root commit they
    are not set: then all that the local branch has counts (pre-commit, hook_impl.py). Raises GitError for
    a revision that does not exist.
    """
    base, tip = environ.get("PRE_COMMIT_FROM_REF"), environ.get("PRE_COMMIT_TO_REF")
    remote = environ.get("PRE_COMMIT_REMOTE_NAME")
    if not tip and not remote:
        return None
    local = environ.get("PRE_COMMIT_LOCAL_BRANCH") or tip or "HEAD"
    new = _oid(repository, tip or local)
    old = _oid(repository, base) if base else "0" * len(new)
    update = RefUpdate(local, new, environ.get("PRE_COMMIT_REMOTE_BRANCH", ""), old)
    return Push((update,), remote or None, environ.get("PRE_COMMIT_REMOTE_URL", ""), complete=False)


def _oid(repository: Repository, revision: str) -> str:
    if is_zero(revision):
        return revision
    (found,) = look_up(repository, [revision])
    if found is None:
        raise GitError(revision, "no such revision", fix="fetch it: git fetch --all")
    return found.oid
