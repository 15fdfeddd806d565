"""What is not installed unasked: lines for .gitignore, and a filter that has git look past outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator

from deriva_ml_hooks import packages
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.install.ci import content_of, inside
from deriva_ml_hooks.install.steps import Write
from deriva_ml_hooks.untracked import ANYWHERE, FOLDERS, sort

_IGNORED = ".gitignore"


def offers(repository: Repository) -> Iterator[str]:
    """What this repository is missing, and how to have it."""
    lines = missing_lines(repository)
    if lines:
        how = "to have it: deriva-ml-hooks install --gitignore"
        yield f"what runs leave is not ignored: {' '.join(lines)} ({how})"
    filtered = repository.setting("filter", "clean", "nbstripout") is not None
    if not filtered and _listed(repository, "--", "*.ipynb"):
        how = f"{packages.running('nbstripout')} --install"
        yield f"git does not look past the outputs of notebooks (to have it: {how})"


def missing_lines(repository: Repository) -> list[str]:
    """Lines that .gitignore lacks for what is untracked and no code, and for what common tools leave."""
    tracked = _listed(repository)
    folders = [folder for folder in FOLDERS if not any(path.startswith(f"{folder}/") for path in tracked)]
    asked = "".join(f"{folder}/\0" for folder in folders).encode()
    told = process.run("check-ignore", "-z", "--stdin", "--no-index", cwd=repository.worktree, stdin=asked)
    ignored = told.stdout.decode().split("\0")
    found = sort(_listed(repository, "--others", "--exclude-standard"), tracked)
    lines = [f"/{folder}/" for folder in folders if f"{folder}/" not in ignored]
    return [*dict.fromkeys([*lines, *_everywhere(repository), *found.lines])]


def _everywhere(repository: Repository) -> list[str]:
    """Names that tools of Python leave in any folder, as far as nothing ignores them."""
    asked = "".join(f"{name}/\0" for name in ANYWHERE).encode()
    told = process.run("check-ignore", "-z", "--stdin", "--no-index", cwd=repository.worktree, stdin=asked)
    ignored = told.stdout.decode().split("\0")
    return [f"{name}/" for name in ANYWHERE if f"{name}/" not in ignored]


def gitignore_step(repository: Repository) -> Write | None:
    """What adds the lines that are missing to .gitignore; None where none is."""
    lines = missing_lines(repository)
    if not lines:
        return None
    path = inside(repository, _IGNORED)
    before = content_of(path) or b""
    end = b"\r\n" if b"\r\n" in before else b"\n"
    gap = b"" if not before or before.endswith(b"\n") else end
    added = b"".join(os.fsencode(line) + end for line in lines)
    return Write(path, before + gap + added, f"{' '.join(lines)}; commit it")


def _listed(repository: Repository, *words: str) -> list[str]:
    answer = process.run("ls-files", "-z", *words, cwd=repository.worktree).checked()
    return [os.fsdecode(name) for name in answer.split(b"\0") if name]
