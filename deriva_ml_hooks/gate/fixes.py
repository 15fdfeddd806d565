"""Words each difference of a worktree from its commit, with commands that work as they are pasted."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence

from deriva_ml_hooks import packages, untracked
from deriva_ml_hooks.config import hook_settings
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.gate.reasons import of_change
from deriva_ml_hooks.git.filters import nbstripout_keys
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.status import Change, Measurement
from deriva_ml_hooks.notebooks.strip import options_of, strip
from deriva_ml_hooks.report import Finding

_STRIP = "strip-notebook-outputs"
_REWRITTEN = {"uv.lock": "uv run", "pixi.lock": "pixi run"}
"""Lock files that a start may rewrite, and what starts so."""
_MOST = 1 << 28
"""Bytes of a file that are read to find its fix."""


def findings(repository: Repository, changes: Sequence[Change], measured: Measurement) -> list[Finding]:
    """A finding for each of `changes`: where the fix depends on what the file is, with that one."""
    if len(changes) == 1 and changes[0].path in _REWRITTEN and changes[0].code in ("staged", "unstaged"):
        return [_lock_file(repository, of_change(changes[0]))]
    of_untracked = _for_untracked(repository, changes, measured)
    worded: dict[str, Callable[[Finding, str], Finding | None]] = {
        "submodule": lambda found, path: _of_submodule(repository, found, path),
        "untracked": of_untracked,
    }
    result = []
    for change in changes:
        found, word = of_change(change), worded.get(change.code)
        if word is not None and change.path is not None:
            better = word(found, change.path)
        else:
            better = executed(repository, change)
        result.append(better or found)
    return result


def is_rewritten_lock(reasons: Sequence[Finding]) -> bool:
    """Whether a lock file that a tool rewrites is the first of `reasons`, and no other file is changed."""
    changed = [found for found in reasons if found.path is not None]
    if len(changed) != 1 or reasons[0] is not changed[0]:
        return False
    return changed[0].path in _REWRITTEN and changed[0].code in ("staged", "unstaged")


def _lock_file(repository: Repository, found: Finding) -> Finding:
    """What is said of a lock file that is all that has changed: the tool itself has rewritten it."""
    tool, name = _REWRITTEN[found.path or ""], shlex.quote(_from_here(repository, found.path or ""))
    said = f"{found.message}; nothing else is changed: {tool} has rewritten it (not so: {tool} --frozen)"
    update = shlex.quote(f"Update {found.path}")
    return found._replace(message=said, fix=f"git commit -m {update} -- {name}")


def _for_untracked(
    repository: Repository, changes: Sequence[Change], measured: Measurement
) -> Callable[[Finding, str], Finding]:
    """Words untracked files: one command adds what is code, another has git ignore the rest."""
    paths = [change.path for change in changes if change.code == "untracked" and change.path is not None]
    stamps = measured.traces.stamps if measured.traces is not None else None
    kinds = untracked.sort(paths, None if stamps is None else [*map(os.fsdecode, stamps)])
    file = _from_here(repository, ".gitignore")
    names = [_from_here(repository, path) for path in kinds.code]
    add, ignore = (
        untracked.fixes(kinds, file=file, ends=_ends(repository), names=names) if paths else ("", "")
    )
    code = {*kinds.code}

    def worded(found: Finding, path: str) -> Finding:
        if path.endswith("/") and _is_checked_out(repository, path):
            said = "a repository of its own, in no commit of this one (to record it: git submodule add)"
            above = os.path.relpath(os.path.dirname(repository.worktree))
            away = shlex.join(["mv", "--", _from_here(repository, path), above])
            return found._replace(message=said, fix=away)
        return found._replace(fix=add if path in code else ignore)

    return worded


def _of_submodule(repository: Repository, found: Finding, path: str) -> Finding | None:
    """What sets aside or records what was changed in a submodule; None where another commit is there."""
    within = [top for top in untracked.folders_above(path) if _is_checked_out(repository, top)]
    if not within:
        return None
    steps = [["add", "--all"]]
    for top in reversed(within):
        where = ["git", "-C", _from_here(repository, top)]
        steps = [*steps[:-1], [*where, *steps[-1]], [*where, "commit"]]
        parent = next((one for one in reversed(within) if len(one) < len(top)), None)
        below = _from_here(repository, top) if parent is None else os.path.relpath(top, parent)
        steps.append(["add", "--", below])
    steps = [*steps[:-1], ["git", *steps[-1]], ["git", "commit"]]
    aside = shlex.join(["git", "-C", _from_here(repository, within[-1]), "stash", "--include-untracked"])
    commit = " && ".join(map(shlex.join, steps))
    return found._replace(fix=f"set it aside: {aside}; or commit it: {commit}")


def _is_checked_out(repository: Repository, folder: str) -> bool:
    return os.path.lexists(os.path.join(repository.worktree, folder, ".git"))


def _from_here(repository: Repository, path: str) -> str:
    """The path of a file in the worktree as a command names it that is typed in the current folder."""
    return os.path.relpath(os.path.join(repository.worktree, path))


def _ends(repository: Repository) -> bool:
    """Whether a line that is added to .gitignore is one of its own."""
    try:
        text = read_regular(os.path.join(repository.worktree, ".gitignore"), at_most=_MOST)
    except OSError:
        return True
    return text[-1:] in (b"", b"\n")


def executed(repository: Repository, change: Change) -> Finding | None:
    """What is said of a notebook whose cells are the commit's, and whose outputs are not; None for others."""
    path = change.path or ""
    if change.code not in ("staged", "unstaged") or not path.endswith(".ipynb"):
        return None
    found = of_change(change)
    head = repository.head()
    entry = repository.entry(repository.commit(head).tree, path) if head is not None else None
    file = os.path.join(repository.worktree, path)
    if entry is None or os.path.islink(file):
        return None
    keys = nbstripout_keys(repository)
    try:
        options = options_of(hook_settings(repository.worktree, _STRIP), *keys)
        committed = repository.blob(entry[1]).data
        left = strip(read_regular(file, at_most=_MOST), options)
        if left != committed and left != strip(committed, options):
            return None
    except (OSError, HooksError):
        return None
    name = shlex.quote(_from_here(repository, path))
    unstage = f"git restore --staged -- {name} && " if found.code == "staged" else ""
    said = "executed; only its outputs differ from the commit"
    if left != committed:  # the commit holds outputs too
        said += f" (to keep the new ones: {unstage}git commit -- {name})"
        return found._replace(message=said, fix=f"{unstage}git checkout -- {name}")
    said += f" (to have git look past outputs: {packages.running('nbstripout')} --install)"
    return found._replace(message=said, fix=f"{unstage}deriva-ml-hooks hook {_STRIP} -- {name}")
