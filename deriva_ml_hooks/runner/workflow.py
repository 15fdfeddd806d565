"""What an execution names as its code: the file its command runs, or the tree as a whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner.entry_point import Invocation, Kind, invocation

CODE = "entry-point"
_NAME_IT = "name the tracked file that is the workflow: --entry-point PATH"


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """The code of an execution: a file of the commit, or the tree (`path` and `blob` None).

    `checksum` is DerivaML's: of the file, of the stripped notebook, or the tree's own id.
    """

    path: str | None
    blob: str | None
    checksum: str
    url: str

    def as_json(self) -> dict[str, Any]:
        """The entry point as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Resolved:
    """An entry point, or the reason why there is none; a warning where it says little."""

    entry_point: EntryPoint | None
    reason: Finding | None = None
    warning: Finding | None = None


def resolve(
    argv: Sequence[str], *, cwd: str, executable: str | None, explicit: str | None, provenance: Provenance
) -> Resolved:
    """The entry point of the command `argv` started in `cwd`, or why it cannot be recorded.

    `explicit` is the file that the user names as the workflow, relative to `cwd`.
    """
    worktree = provenance.source.repository.worktree
    if explicit is not None:
        return _file(os.path.join(cwd, explicit), explicit, provenance, worktree)
    found = invocation(argv, cwd=cwd, roots=[worktree], executable=executable)
    if found.kind is Kind.FILE and found.path is not None:
        return _file(found.path, _word_for(found, cwd), provenance, worktree)
    if found.kind is Kind.STDIN:
        message = "the code comes from standard input, so it is in no commit"
        return Resolved(
            None, Finding(CODE, None, message, f"put it into a file and commit it, or {_NAME_IT}")
        )
    whole = EntryPoint(None, None, provenance.tree, provenance.tree_url())
    if found.kind is Kind.INLINE:
        message = "the code stands in the command itself and is recorded only there"
        return Resolved(whole, warning=Finding(CODE, None, message, "put it into a file and commit it"))
    return Resolved(whole)


def _word_for(found: Invocation, cwd: str) -> str:
    path = found.path or ""
    return os.path.relpath(path, cwd) if os.path.isabs(path) else path


def _file(path: str, shown: str, provenance: Provenance, worktree: str) -> Resolved:
    shown = redact(shown)  # it may be an address with a password in it
    if "://" in path and not os.path.lexists(path):
        message = "not in the repository, so no commit of it holds this code"
        return Resolved(None, Finding(CODE, shown, message, _NAME_IT))
    real = os.path.realpath(path)
    if not os.path.isfile(real):
        return Resolved(None, Finding(CODE, shown, "no such file", "see how it is spelled"))
    inside = os.path.relpath(real, worktree)
    if inside == os.pardir or inside.startswith(os.pardir + os.sep):
        message = f"outside the repository {worktree}, so no commit of it holds this code"
        return Resolved(None, Finding(CODE, shown, message, _NAME_IT))
    try:
        found = provenance.file(inside.replace(os.sep, "/"))
    except NotInCommitError as error:
        message = f"not a file of commit {provenance.commit[:12]} (untracked or ignored)"
        return Resolved(None, Finding(CODE, shown, message, error.fix))
    return Resolved(EntryPoint(found.path, found.blob, found.checksum, found.url))
