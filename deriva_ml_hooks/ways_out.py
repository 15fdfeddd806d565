"""What to do about each difference of a worktree from its commit: commands that work as they are pasted."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from deriva_ml_hooks import notebooks, packages, untracked
from deriva_ml_hooks.config import hook_settings
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.git.filters import nbstripout_keys
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.status import Change, Measurement
from deriva_ml_hooks.git.unseen import EXCLUDED, HIDDEN, OUTSIDE
from deriva_ml_hooks.report import Finding

_STRIP = "strip-notebook-outputs"
_MOST = 1 << 28
"""Bytes of a file that are read to tell the way out."""

_COMMIT_IT = "git add --force -- {path} && git commit, or have the commit ignore it: .gitignore"
_FIXES = {
    "operation-in-progress": "conclude it or give it up: git {operation} --continue, git {operation} --abort",
    "unmerged": "settle the conflicts, then: git add -A && git commit",
    "staged": "git commit",
    "unstaged": "git commit -a, or set the changes aside: git stash",
    "untracked": "git add -- PATH && git commit, or have git ignore it: .gitignore",
    "submodule": "commit inside it and record that here, or: git submodule update --init --recursive",
    # git heeds only the first of the two options in one call.
    "hidden-change": "git update-index --no-assume-unchanged -- {whole};"
    " git update-index --no-skip-worktree -- {whole}",
    "foreign-filter": "commit the attributes: .gitattributes, or put the file back: git checkout -- {path}",
    HIDDEN: _COMMIT_IT,
    EXCLUDED: _COMMIT_IT,
    OUTSIDE: "commit a copy of what it leads to in its place; a link to data may stay",
    "git-error": "see what git says: git status",
}


def as_finding(change: Change) -> Finding:
    """A change of the worktree with the way out of it."""
    if change.code == "operation-in-progress":
        fix = _FIXES[change.code].format(operation=change.detail)
        return Finding(change.code, None, f"a {change.detail} is in progress", fix)
    fix = _FIXES[change.code].replace("{path}", shlex.quote(f":(top,literal){change.path}"))
    fix = fix.replace("{whole}", '"$(git rev-parse --show-toplevel)"' + shlex.quote(f"/{change.path}"))
    return Finding(change.code, change.path, change.detail, fix)


def ways_out(
    repository: Repository, changes: Sequence[Change], measured: Measurement
) -> dict[tuple[str, str | None], Finding]:
    """Findings, by code and path, for changes whose way out depends on what the file is."""
    found = {
        (change.code, change.path): ran
        for change in changes
        if change.code in ("unstaged", "staged") and (ran := _executed(repository, change)) is not None
    }
    for change in changes:
        if change.code == "submodule" and (fix := _of_submodule(repository, change)) is not None:
            found[change.code, change.path] = as_finding(change)._replace(fix=fix)
    paths = [change.path for change in changes if change.code == "untracked" and change.path is not None]
    if not paths:
        return found
    stamps = measured.traces.stamps if measured.traces is not None else None
    kinds = untracked.sort(paths, None if stamps is None else [*map(os.fsdecode, stamps)])
    file = _from_here(repository, ".gitignore")
    names = [_from_here(repository, path) for path in kinds.code]
    add, ignore = untracked.fixes(kinds, file=file, ends=_ends(repository), names=names)
    code = {*kinds.code}
    for path in paths:
        if path.endswith("/") and _is_checked_out(repository, path):
            said = "a repository of its own, in no commit of this one (to record it: git submodule add)"
            here = _from_here(repository, path)
            away = shlex.join(["mv", "--", here, os.path.relpath(os.path.dirname(repository.worktree))])
            found["untracked", path] = Finding("untracked", path, said, away)
    return {
        (change.code, change.path): as_finding(change)._replace(fix=add if change.path in code else ignore)
        for change in changes
        if change.code == "untracked"
    } | found


def _of_submodule(repository: Repository, change: Change) -> str | None:
    """What sets aside or records what was changed in a submodule; None where another commit is there."""
    path = change.path or ""
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
    return "set it aside: " + aside + "; or commit it: " + " && ".join(map(shlex.join, steps))


def _is_checked_out(repository: Repository, folder: str) -> bool:
    return os.path.lexists(os.path.join(repository.worktree, folder, ".git"))


def _from_here(repository: Repository, path: str) -> str:
    """The path of a file in the worktree as a command names it that is typed in the current folder."""
    return os.path.relpath(os.path.join(repository.worktree, path))


def _ends(repository: Repository) -> bool:
    """Whether a line that is added to .gitignore is one of its own."""
    try:
        return read_regular(os.path.join(repository.worktree, ".gitignore"), at_most=_MOST)[-1:] in (
            b"",
            b"\n",
        )
    except OSError:
        return True


def _executed(repository: Repository, change: Change) -> Finding | None:
    """What is said of a notebook whose cells are the commit's, and whose outputs are not; None for others."""
    if change.path is None or not change.path.endswith(".ipynb"):
        return None
    head = repository.head()
    entry = repository.entry(repository.commit(head).tree, change.path) if head is not None else None
    path = os.path.join(repository.worktree, change.path)
    if entry is None or os.path.islink(path):
        return None
    keys = nbstripout_keys(repository)
    try:
        options = notebooks.options_of(hook_settings(repository.worktree, _STRIP), *keys)
        committed_as = repository.blob(entry[1]).data
        left = notebooks.strip(read_regular(path, at_most=_MOST), options)
        if left != committed_as and left != notebooks.strip(committed_as, options):
            return None
    except (OSError, HooksError):
        return None
    name = shlex.quote(_from_here(repository, change.path))
    unstage = f"git restore --staged -- {name} && " if change.code == "staged" else ""
    said = "executed; only its outputs differ from the commit"
    if left != committed_as:  # the commit holds outputs too
        said += f" (to keep the new ones: {unstage}git commit -- {name})"
        way = f"{unstage}git checkout -- {name}"
    else:
        said += f" (to have git look past outputs: {packages.running('nbstripout')} --install)"
        way = f"{unstage}deriva-ml-hooks hook {_STRIP} -- {name}"
    return Finding(change.code, change.path, said, way)
