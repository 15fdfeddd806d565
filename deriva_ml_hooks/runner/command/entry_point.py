"""What an execution names as its code: the file its command runs, or the tree as a whole.

A program that is in no table may run any file that it is given, so no word of its command may be code that
the commit does not hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from deriva_ml_hooks import packages
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner.command.installed import installed_from, sites
from deriva_ml_hooks.runner.command.invocation import Invocation, Kind, invocation
from deriva_ml_hooks.runner.command.launchers import is_interpreter
from deriva_ml_hooks.runner.command.named_code import (
    NamedCode,
    has_code_name,
    is_code,
    is_compiled,
    named_code,
)

CODE = "entry-point"
NAME_IT = "name the tracked file that is the workflow: --entry-point PATH"
"""The fix for what is in no commit."""
_COMMIT_IT = "put it into a file and commit it"
_BRING = "put it into the repository and commit it"
_INLINE = "the code stands in the command itself and is recorded only there"
_STANDARD_INPUT = "the code comes from standard input, so it is in no commit"
_STREAM = re.compile(r"/dev/(?:stdin|fd/\d+)|/proc/(?:self|\d+)/fd/\d+")


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
    argv: Sequence[str],
    *,
    cwd: str,
    executable: str | None,
    explicit: str | None,
    provenance: Provenance,
) -> Resolved:
    """The entry point of the command `argv` started in `cwd`, or why it cannot be recorded.

    `explicit` is the file that the user names as the workflow, relative to `cwd`.
    """
    top = provenance.source.repository.worktree
    found = invocation(argv, cwd=cwd, top=top, executable=executable)
    # What runs has to be in the commit first, whatever is named as the workflow.
    entry_point: EntryPoint | Finding = EntryPoint(None, None, provenance.tree, provenance.tree_url())
    named = named_code(argv, cwd, provenance)
    warning = None
    if found.kind is Kind.FILE and found.path is not None:
        shown = found.path if found.path in argv or "://" in found.path else os.path.relpath(found.path, cwd)
        entry_point = _file(found.path, shown, provenance)
        if isinstance(entry_point, Finding) and (explicit is None or not _is_excused(found.path)):
            return Resolved(None, entry_point)
        warning = _guess(found, cwd, executable)
        given = [code for code in named if not _is_part(code, found.path)]
        if explicit is not None and not _is_same(found.path, os.path.join(cwd, explicit)):
            message = "the command runs it, and you have named another file as the workflow"
            warning = Finding(CODE, shown, message, "leave --entry-point out, unless you mean that")
    else:
        is_read = any(word == "-" and is_interpreter(before) for before, word in pairwise(argv))
        if found.kind is Kind.STDIN or is_read:
            return Resolved(None, Finding(CODE, None, _STANDARD_INPUT, _COMMIT_IT))
        refused = [code for code in named if not code.is_given and (not code.compiled or explicit is None)]
        if refused:
            return Resolved(None, _not_committed(refused[0], cwd, provenance))
        given = named
        if found.kind is Kind.INLINE:
            warning = Finding(CODE, None, _INLINE, _COMMIT_IT)
    if given and warning is None:
        warning = _given(given[0], cwd, provenance)
    if explicit is not None:
        entry_point = _file(os.path.join(cwd, explicit), explicit, provenance)
    if isinstance(entry_point, Finding):
        return Resolved(None, entry_point, warning)
    return Resolved(entry_point, None, warning)


def _guess(found: Invocation, cwd: str, executable: str | None) -> Finding | None:
    """A warning where nothing shows that the module which Python finds is the file in the tree."""
    if found.guessed is None or found.path is None:
        return None
    top = os.path.relpath(found.path, found.guessed).split(os.sep)[0]
    taken = {found.guessed, os.path.join(found.guessed, top.removesuffix(".py"))}
    is_python = executable is not None and os.path.basename(executable).startswith("python")
    for site in sites(os.path.join(cwd, executable or "")) if is_python else ():
        # An installed copy goes before the editable one.
        if not os.path.exists(os.path.join(site, top)) and not taken.isdisjoint(installed_from(site)):
            return None
    how = "uv sync" if packages.is_of_uv(cwd) else "pip install -e ."
    message = "taken for the module that runs; it is, if the project is installed from here"
    return Finding(CODE, os.path.relpath(found.path, cwd), message, f"install it editable: {how}")


def _is_same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _is_part(code: NamedCode, entry: str) -> bool:
    """Whether code that is named is the entry point itself, or the notebook that is written from it."""
    return _is_same(code.path, entry) or (code.path.endswith(".ipynb") and entry.endswith(".ipynb"))


def _is_excused(path: str) -> bool:
    """Whether the user may know better than what was read from the words: a file that is no code, or none.

    Or one that was compiled: no commit holds that, and what it was made of is what the user names.
    """
    if "://" in path or _STREAM.fullmatch(path) or os.path.isdir(path):
        return False
    real = os.path.realpath(path)
    if not os.path.exists(real) or is_compiled(real):
        return True
    return os.path.isfile(real) and Path(real).suffix != "" and not is_code(path, real)


def _not_committed(code: NamedCode, cwd: str, provenance: Provenance) -> Finding:
    top, path = provenance.source.repository.worktree, Path(code.path)
    if inside(code.path, top) is None:
        message = f"code outside the repository {top}, so no commit of it holds it"
        return Finding(CODE, code.path, message, _BRING)
    shown = os.path.relpath(code.path, cwd)
    message = f"code that is not a file of commit {provenance.commit[:12]} (untracked or ignored)"
    if code.compiled:
        fix = NAME_IT
    elif (path.suffix and not path.name.startswith(".")) or has_code_name(code.path):
        fix = provenance.source.adding(shown)
    else:  # git ignores such a file on purpose, as often as not
        fix = "put what it holds into a committed file, or into the environment"
    return Finding(CODE, shown, message, fix)


def _given(code: NamedCode, cwd: str, provenance: Provenance) -> Finding:
    finding = _not_committed(code, cwd, provenance)
    how = "sourced by" if Path(code.path).name.startswith(".") else "given to"
    return finding._replace(message=f"{how} the command, and {finding.message}")


def _file(path: str, shown: str, provenance: Provenance) -> EntryPoint | Finding:
    """The file at `path` as an entry point, or why it is none; `shown`: as the user has named it."""
    top, real = provenance.source.repository.worktree, os.path.realpath(path)
    if "://" in path and not os.path.lexists(path):
        message, fix = "not in the repository, so no commit of it holds this code", _BRING
    elif _STREAM.fullmatch(path):
        message, fix = _STANDARD_INPUT, _COMMIT_IT
    elif not os.path.exists(real):
        message, fix = "no such file", "see how it is spelled"
    elif not os.path.isfile(real):
        message, fix = "not a regular file, so no commit holds this code", _COMMIT_IT
    elif inside(real, top) is None:
        message, fix = f"outside the repository {top}, so no commit of it holds this code", _BRING
    else:
        try:
            found = provenance.file(real)
            return EntryPoint(found.path, found.blob, found.checksum, found.url)
        except NotInCommitError as error:
            message = f"not a file of commit {provenance.commit[:12]} (untracked or ignored)"
            fix = error.fix
    return Finding(CODE, shown, message, fix)
