"""What a command line runs: the file that it names, found by reading the words alone.

It looks whether files exist, starts nothing, asks git nothing, and never raises: what cannot be told is a
PROGRAM, the tree as a whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deriva_ml_hooks.errors import ConfigError
from deriva_ml_hooks.files import inside, read_regular
from deriva_ml_hooks.runner.command.installed import in_environment
from deriva_ml_hooks.runner.command.launchers import Step, steps
from deriva_ml_hooks.runner.command.options import Kind
from deriva_ml_hooks.runner.command.shell_words import assigned, can_be_name
from deriva_ml_hooks.toml import MAX_BYTES, parse_toml

__all__ = ["Invocation", "Kind", "invocation", "is_installed", "on_path"]

_SYSTEM = (
    *("/bin", "/sbin", "/usr", "/lib", "/lib64", "/etc"),
    *("/opt/homebrew", "/opt/local", "/nix", "/snap"),
)
"""Folders of the system, whose programs were installed by someone."""
_PACKAGES = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command runs. `path`: for a FILE, absolute, its symbolic links not followed; else None.

    A FILE that is named by a URL (papermill reads s3://) keeps it as its path. `guessed`: where a module was
    taken for the file in the tree that has its name, the folder it stands in; None where that is certain.
    """

    kind: Kind
    path: str | None = None
    guessed: str | None = None


_PROGRAM = Invocation(Kind.PROGRAM)


def invocation(argv: Sequence[str], *, cwd: str, top: str, executable: str | None) -> Invocation:
    """The code that `argv` runs; a FILE is named whether it exists or not.

    `cwd`: the absolute folder where the command will be started. `top`: the worktree, whose programs are the
    user's own, and where `python -m` looks after `cwd`, also in `src`.
    `executable`: the absolute path of `argv[0]` on PATH, None where it has none.
    """
    for step in steps(argv, cwd) if all(map(can_be_name, argv)) else ():
        if step.kind is Kind.COMMAND:
            started = executable if step.words[0] == argv[0] else on_path(step.words[0], step.cwd)
            found = _program(step, started, top)
        elif step.kind is Kind.MODULE:
            found = _module(step, argv, top)
        elif step.kind in (Kind.PYTHON, Kind.FILE):
            found = _script(step)
        else:
            found = Invocation(step.kind) if step.kind in (Kind.INLINE, Kind.STDIN) else _PROGRAM
        if found is not None:
            return found
    return _PROGRAM


def _program(step: Step, executable: str | None, top: str) -> Invocation | None:
    """What the first word of a command is: a file of the user's own, a launcher (None), or a program.

    A file of the worktree goes before a launcher of the same name: it is what starts.
    """
    name = step.words[0]
    beside = _absolute(name, step.cwd)
    started = beside if os.path.dirname(name) else executable
    if started is None and step.launcher is None and os.path.isfile(beside):
        started = beside  # srun and mpirun start a file of the current folder by its bare name
    if started is not None and os.path.isfile(started) and _is_own(started, top):
        return Invocation(Kind.FILE, started)
    if step.launcher is not None:
        return None
    if started is None or in_environment(started, os.sep):
        return _project_script(os.path.basename(name), step.cwd, top)
    return _PROGRAM if is_installed(started, top) else Invocation(Kind.FILE, started)


def _project_script(name: str, cwd: str, top: str) -> Invocation:
    """The file that a program of the project is made for, as [project.scripts] says."""
    for folder in (cwd, top):
        try:
            data = read_regular(os.path.join(folder, "pyproject.toml"), at_most=MAX_BYTES)
            target = parse_toml(data, "pyproject.toml")["project"]["scripts"][name]
            parts = target.partition(":")[0].strip().split(".")
        except (OSError, ConfigError, KeyError, TypeError, AttributeError):
            continue
        for source in (folder, os.path.join(folder, "src")):
            base = os.path.join(source, *parts)
            for file in (os.path.join(base, "__init__.py"), f"{base}.py"):
                if all(part.isidentifier() for part in parts) and os.path.isfile(file):
                    return Invocation(Kind.FILE, file, guessed=source)
    return _PROGRAM


def _module(step: Step, argv: Sequence[str], top: str) -> Invocation | None:
    """What `python -m NAME` runs: the current folder and PYTHONPATH go before everything that is installed.

    What is found in the worktree alone is a guess: that the project is installed from there. Where the
    command itself sets PYTHONPATH, what is there was chosen for it; else it may be an installation.
    """
    cwd, parts = step.cwd, step.words[0].split(".")
    if not all(part.isidentifier() for part in parts):
        return _PROGRAM
    told = [value for variable, value in assigned(argv) if variable == "PYTHONPATH"]
    value = os.pathsep.join(told) if told else os.environ.get("PYTHONPATH", "")
    folders = [cwd, *(_absolute(folder, cwd) for folder in value.split(os.pathsep) if value)]
    first = next(filter(None, (_module_file(folder, parts) for folder in folders)), None)
    if first is not None:
        is_package = not _PACKAGES.isdisjoint(Path(first).parts) or is_installed(first, top)
        if first == _module_file(cwd, parts) or _is_own(first, top) or (told and not is_package):
            return Invocation(Kind.FILE, first)
    if step.launcher is not None:
        return None
    for source in (os.path.join(cwd, "src"), top, os.path.join(top, "src")):
        file = _module_file(source, parts)
        if file is not None:
            return Invocation(Kind.FILE, first) if first else Invocation(Kind.FILE, file, guessed=source)
    return _PROGRAM


def _module_file(folder: str, parts: Sequence[str]) -> str | None:
    """The file of a module below `folder`: a package, then a module, then a namespace package."""
    base = os.path.normpath(os.path.join(folder, *parts))
    files = [f"{base}.py", os.path.join(base, "__main__.py")]
    if os.path.isfile(os.path.join(base, "__init__.py")):
        files.reverse()
    return next(filter(os.path.isfile, files), None)


def _script(step: Step) -> Invocation:
    name = step.words[0]
    if name == "-":
        return Invocation(Kind.STDIN)
    if "://" in name:
        return Invocation(Kind.FILE, name)
    file = _absolute(name, step.cwd)
    is_folder = step.kind is Kind.PYTHON and os.path.isdir(file)
    return Invocation(Kind.FILE, os.path.join(file, "__main__.py") if is_folder else file)


def _is_own(path: str, top: str) -> bool:
    """Whether `path` is in the worktree `top`, and not in an environment that stands there."""
    return _within(path, top) is not None and not is_installed(path, top)


def is_installed(path: str, top: str) -> bool:
    """Whether `path` is a program that was installed: in an environment, on PATH, or with the system."""
    if "node_modules/.bin" in path:
        return True
    within, folder = _within(path, top), os.path.dirname(path)
    if within is not None:
        return in_environment(within, os.path.realpath(top))
    return (
        folder in map(os.path.normpath, os.get_exec_path())
        or any(inside(folder, system) is not None for system in _SYSTEM)
        or in_environment(folder, os.sep)
    )


def _within(path: str, top: str) -> str | None:
    """`path` with the links to its folder followed, where it is in `top` as it is spelled, or then."""
    folder, name = os.path.split(path)
    real = os.path.realpath(folder)
    if inside(real, os.path.realpath(top)) is not None:
        return os.path.join(real, name)
    return path if inside(folder, top) is not None else None


def on_path(name: str, cwd: str) -> str | None:
    """Where PATH finds the bare `name`; its relative folders start at `cwd`."""
    if os.path.dirname(name):
        return None
    return shutil.which(name, path=os.pathsep.join(_absolute(folder, cwd) for folder in os.get_exec_path()))


def _absolute(name: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, name))
