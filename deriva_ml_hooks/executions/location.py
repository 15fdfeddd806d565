"""Where a repository's ledger may be: in our folder, in the worktree, or where the user has agreed to.

The configuration is the repository's, so it is input: a file that is somebody else's is never chosen by it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from itertools import takewhile

from deriva_ml_hooks.config import Config, load
from deriva_ml_hooks.errors import (
    IMAGE_VARIABLE,
    BareRepositoryError,
    ConfigError,
    LedgerError,
    NotARepositoryError,
)
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.gate.image import LEDGER_VARIABLE, state_folder
from deriva_ml_hooks.git import own, process
from deriva_ml_hooks.git.consent import agreed
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository

_OTHERWISE = 'name another: ledger = "runs/executions.sqlite3"'


def ledger_of(repository: Repository, config: Config) -> Ledger:
    """The ledger of a repository. Raises ConfigError for a place that it may not choose, and LedgerError."""
    return Ledger(ledger_path(repository, config), own.mode(repository))


def ledger_here() -> Ledger:
    """The ledger of the working directory's repository; of the image, where there is none."""
    try:
        repository = measured()
    except NotARepositoryError:
        if not os.environ.get(IMAGE_VARIABLE):
            raise
        named = os.environ.get(LEDGER_VARIABLE)
        return Ledger(os.path.abspath(named) if named else default_path(state_folder()))
    except BareRepositoryError as bare:  # beside its worktrees, which share the ledger
        path = default_path(bare.git_dir or bare.path)
        if not os.path.isfile(path):
            raise
        return Ledger(path)
    return ledger_of(repository, load(repository.worktree))


def ledger_path(repository: Repository, config: Config) -> str:
    """Where a repository's ledger is: shared by its worktrees, or where `ledger` says (from the worktree).

    Raises ConfigError for a place that the repository may not choose.
    """
    if config.ledger is None:
        path = default_path(repository.common_dir)
    else:
        path = os.path.join(repository.worktree, os.path.expanduser(config.ledger))
        if config.ledger == os.environ.get(LEDGER_VARIABLE):
            return path
    if "\0" in path:
        raise _refused("no path: it holds a NUL", _OTHERWISE)
    try:
        real = os.path.realpath(path)
        _require_allowed(real, repository)
        beside = os.path.join(os.path.dirname(real), "executions")
        if os.path.realpath(beside) != beside:  # the files of executions would go elsewhere
            _require_allowed(os.path.realpath(beside), repository)
    except ConfigError as error:
        if config.ledger is None:  # a symbolic link in our own folder
            raise LedgerError(f"{path}: a symbolic link leads elsewhere: {error}", fix=error.fix) from None
        raise
    return path


def default_path(common: str) -> str:
    """Where the ledger of a repository with this common directory is, unless it is configured."""
    return os.path.join(own.folder(common), "executions.sqlite3")


def _require_allowed(real: str, repository: Repository) -> None:
    """Raises ConfigError where `real`, a path without symbolic links, is not the repository's to choose."""
    git_dirs = [os.path.realpath(folder) for folder in (repository.common_dir, repository.git_dir)]
    if any(inside(real, own.folder(folder)) not in (None, ".") for folder in git_dirs):
        return
    worktree = os.path.realpath(repository.worktree)
    is_inside = inside(real, worktree) not in (None, ".")
    # A worktree may itself stand in a bare repository.
    above = takewhile(lambda folder: folder != worktree, _above(real)) if is_inside else _above(real)
    if any(map(_is_git_dir, above)):
        raise _refused(f"{real} is inside a git directory", _OTHERWISE)
    if is_inside:
        if os.path.lexists(real) and is_tracked(real):
            raise _refused(f"{real} is a file of the repository itself", _OTHERWISE)
    elif all(inside(real, os.path.realpath(place)) is None for place in agreed("place")):
        fix = f"if that is your wish: deriva-ml-hooks trust place {shlex.quote(real)}"
        raise _refused(f"{real} is outside of the repository, and you have not agreed to it", fix)


def _refused(problem: str, fix: str) -> ConfigError:
    return ConfigError("the configuration", "ledger", problem, fix=fix)


def _above(path: str) -> Iterator[str]:
    while (folder := os.path.dirname(path)) != path:
        yield folder
        path = folder


def _is_git_dir(folder: str) -> bool:
    """Whether git would take `folder` for a git directory (gitrepository-layout(5)), whatever its name."""
    bare = all(os.path.exists(os.path.join(folder, name)) for name in ("HEAD", "objects", "refs"))
    return bare or os.path.basename(folder).lower() == ".git"


def is_tracked(path: str) -> bool:
    """Whether `path` is a file that git tracks; also where git cannot tell."""
    folder, name = os.path.split(path)
    found = process.run("ls-files", "-z", "--", f":(literal){name}", cwd=folder)
    return bool(found.stdout) or bool(found.returncode)
