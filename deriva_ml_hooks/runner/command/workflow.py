"""What an execution names as its code: the file its command runs, or the tree as a whole.

A program that is in no table may run any file that it is given, so no word of its command may be code that
the commit does not hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from deriva_ml_hooks import packages
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner.command.entry_point import Invocation, Kind, invocation
from deriva_ml_hooks.runner.command.installed import installed_from, sites
from deriva_ml_hooks.runner.command.launchers import launcher_of
from deriva_ml_hooks.runner.command.loose import (
    YAML,
    Loose,
    has_code_name,
    is_code,
    is_compiled,
    loose_code,
)

CODE = "entry-point"
NAME_IT = "name the tracked file that is the workflow: --entry-point PATH"
"""The fix for what is in no commit."""
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
    name_it: str = NAME_IT,
) -> Resolved:
    """The entry point of the command `argv` started in `cwd`, or why it cannot be recorded.

    `explicit` is the file that the user names as the workflow, relative to `cwd`; `name_it` the fix where
    that is none.
    """
    worktree = provenance.source.repository.worktree
    found = invocation(argv, cwd=cwd, roots=[worktree], executable=executable)
    whole = Resolved(EntryPoint(None, None, provenance.tree, provenance.tree_url()))
    # What runs has to be in the commit first, whatever is named as the workflow.
    if found.kind is Kind.STDIN:
        return Resolved(None, _standard_input(None))
    if found.kind is Kind.FILE and found.path is not None:
        seen = _file(found.path, _word_for(found, argv, cwd), provenance, worktree)
        if seen.entry_point is None and (explicit is None or not _is_excused(found.path)):
            return seen
        warning = _guess(found, cwd, executable) or _argument(argv, found.path, cwd, provenance)
        seen = replace(seen, warning=warning)
    else:
        loose = loose_code(argv, cwd, provenance)
        if any(following == "-" and _reads_code(word) for word, following in pairwise(argv)):
            return Resolved(None, _standard_input(None))
        refused = [c for c in loose if not c.is_given and (not c.compiled or explicit is None)]
        if refused:
            return Resolved(None, _not_committed(refused[0], cwd, provenance))
        given = _given(loose[0], cwd, provenance) if loose else None
        seen = replace(whole, warning=_INLINE if found.kind is Kind.INLINE else given)
    if explicit is None:
        return seen
    named = os.path.join(cwd, explicit)
    warning = _other(found, named, cwd) or seen.warning
    return replace(_file(named, explicit, provenance, worktree, name_it), warning=warning)


def _reads_code(word: str) -> bool:
    """Whether a program runs what it reads from standard input."""
    launcher = launcher_of(word)
    return launcher is not None and launcher.alone is Kind.STDIN


_BRING = "put it into the repository and commit it"
_INLINE = Finding(
    CODE,
    None,
    "the code stands in the command itself and is recorded only there",
    "put it into a file and commit it",
)


def _other(found: Invocation, named: str, cwd: str) -> Finding | None:
    """A warning, kept in the record, where the user names one file as the workflow and runs another."""
    if found.kind is not Kind.FILE or found.path is None:
        return None
    if os.path.realpath(found.path) == os.path.realpath(named):
        return None
    shown = os.path.relpath(found.path, cwd)
    message = "the command runs it, and you have named another file as the workflow"
    return Finding(CODE, shown, message, "nothing, if that is what you mean; else leave --entry-point out")


def _standard_input(shown: str | None) -> Finding:
    message = "the code comes from standard input, so it is in no commit"
    return Finding(CODE, shown, message, "put it into a file and commit it")


def _not_committed(code: Loose, cwd: str, provenance: Provenance) -> Finding:
    worktree, path = provenance.source.repository.worktree, Path(code.path)
    if inside(code.path, worktree) is None:
        message = f"code outside the repository {worktree}, so no commit of it holds it"
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


def _argument(argv: Sequence[str], entry: str, cwd: str, provenance: Provenance) -> Finding | None:
    """A warning where a script is given code that the commit does not hold: it may run it, or write it."""
    for code in loose_code(argv, cwd, provenance):
        is_entry = code.path == os.path.realpath(entry)
        # not the notebook that papermill writes
        if not is_entry and not (code.path.endswith(".ipynb") and entry.endswith(".ipynb")):
            return _given(code, cwd, provenance)
    return None


def _given(code: Loose, cwd: str, provenance: Provenance) -> Finding:
    finding = _not_committed(code, cwd, provenance)
    how = "sourced by" if Path(code.path).name.startswith(".") else "given to"
    return finding._replace(message=f"{how} the command, and {finding.message}")


def _is_excused(path: str) -> bool:
    """Whether the user may know better than what was read from the words: a file that is no code, or none.

    Or one that was compiled: no commit holds that, and what it was made of is what the user names.
    """
    if "://" in path or _STREAM.fullmatch(path) or os.path.isdir(path):
        return False
    real = os.path.realpath(path)
    if not os.path.exists(real) or is_compiled(real):
        return True
    is_perhaps = Path(real).suffix.lower() in {"", *YAML}
    return os.path.isfile(real) and not is_perhaps and not is_code(path, real)


def _guess(found: Invocation, cwd: str, executable: str | None) -> Finding | None:
    """A warning where nothing shows that the module which Python finds is the file in the tree."""
    if found.guessed is None or found.path is None:
        return None
    if executable is not None and os.path.basename(executable).startswith("python"):
        places = sites(os.path.join(cwd, executable))
        if any(_is_editable(site, found.guessed, found.path) for site in places):
            return None
    how = "uv sync" if packages.is_of_uv(cwd) else "pip install -e ."
    message = "taken for the module that runs; it is, if the project is installed from here"
    return Finding(CODE, os.path.relpath(found.path, cwd), message, f"install it editable: {how}")


def _is_editable(site: str, source: str, module: str) -> bool:
    """Whether the packages in `site` take the module from `source`."""
    top = os.path.relpath(module, source).split(os.sep)[0]
    taken = {source, os.path.join(source, top.removesuffix(".py"))}
    return not os.path.exists(os.path.join(site, top)) and not taken.isdisjoint(installed_from(site))


def _word_for(found: Invocation, argv: Sequence[str], cwd: str) -> str:
    path = found.path or ""
    if path in argv:
        return path
    return os.path.relpath(path, cwd) if os.path.isabs(path) else path


def _file(path: str, shown: str, provenance: Provenance, worktree: str, name_it: str = NAME_IT) -> Resolved:
    if "://" in path and not os.path.lexists(path):
        message = "not in the repository, so no commit of it holds this code"
        return Resolved(None, Finding(CODE, shown, message, _BRING))
    if _STREAM.fullmatch(path):
        return Resolved(None, _standard_input(shown))
    real = os.path.realpath(path)
    if os.path.exists(real) and not os.path.isfile(real):
        message = "not a regular file, so no commit holds this code"
        return Resolved(None, Finding(CODE, shown, message, "put it into a file and commit it"))
    if not os.path.isfile(real):
        return Resolved(None, Finding(CODE, shown, "no such file", "see how it is spelled"))
    if inside(real, worktree) is None:
        message = f"outside the repository {worktree}, so no commit of it holds this code"
        return Resolved(None, Finding(CODE, shown, message, _BRING))
    try:
        found = provenance.file(real)
    except NotInCommitError as error:
        message = f"not a file of commit {provenance.commit[:12]} (untracked or ignored)"
        return Resolved(None, Finding(CODE, shown, message, error.fix))
    return Resolved(EntryPoint(found.path, found.blob, found.checksum, found.url))
