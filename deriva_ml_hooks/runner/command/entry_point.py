"""Entry point: the file that a command line runs, found by reading the words alone.

A record names the code that ran; this says which file that is. It looks whether files exist, starts
nothing, asks git nothing, and never raises: what cannot be told is a PROGRAM, the tree as a whole.
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
from deriva_ml_hooks.runner.command.launchers import MODULES, launcher_of
from deriva_ml_hooks.runner.command.options import Kind, Launcher, Operand, operand
from deriva_ml_hooks.runner.command.quoted import assigned
from deriva_ml_hooks.toml import MAX_BYTES, parse_toml

__all__ = ["Invocation", "Kind", "invocation", "is_installed", "on_path"]

_PYTHON_SUFFIXES = (".py", ".pyw", ".pyz", ".zip")
_SYSTEM_FOLDERS = (
    *("/bin", "/sbin", "/usr", "/lib", "/lib64", "/etc"),
    *("/opt/homebrew", "/opt/local", "/nix", "/snap"),
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command runs. `path`: for a FILE, absolute, its symbolic links not followed; else None.

    A FILE that is named by a URL (papermill reads s3://) keeps it as its path. `guessed`: where a module was
    taken for the file in the tree that has its name, the folder it stands in; None where that is certain.
    """

    kind: Kind
    path: str | None = None
    guessed: str | None = None


def invocation(argv: Sequence[str], *, cwd: str, roots: Sequence[str], executable: str | None) -> Invocation:
    """The code that `argv` runs; a FILE is named whether it exists or not.

    `cwd`: the absolute folder where the command will be started. `roots`: absolute folders whose programs
    are the user's own, and where `python -m` looks after `cwd`, in each one and its `src`.
    `executable`: the absolute path of `argv[0]` on PATH, None where it has none.
    """
    words = argv
    found = _program(words[0], executable, cwd, roots)
    while isinstance(found, Launcher):
        launcher = found
        runs, words, cwd = operand(launcher, words[1:], cwd)
        if isinstance(runs, Kind):
            return Invocation(runs)
        if not words:
            return Invocation(launcher.alone)
        name = words[0]
        if runs is Operand.TARGET:
            runs = Operand.PYTHON if _is_python(name, cwd) else Operand.COMMAND
        if runs is Operand.COMMAND:
            found = _program(name, on_path(name, cwd), cwd, roots)
        elif runs is Operand.MODULE:
            found = _module(name, argv, cwd, roots)
        else:
            found = _script(name, cwd, python=runs is Operand.PYTHON)
    return found


def _program(name: str, executable: str | None, cwd: str, roots: Sequence[str]) -> Invocation | Launcher:
    """What the first word of a command is: a file of the user's own, a launcher to read on, or a program.

    A file in `roots` goes before a launcher of the same name: it is what starts.
    """
    beside = _absolute(name, cwd)
    explicit = os.path.dirname(name) != ""
    if explicit and os.path.isfile(beside) and _is_own(beside, roots):
        return Invocation(Kind.FILE, beside)
    if not explicit and executable is not None and _is_own(_absolute(executable, cwd), roots):
        return Invocation(Kind.FILE, _absolute(executable, cwd))
    launcher = launcher_of(name)
    if launcher is not None:
        return launcher
    started = beside if explicit else executable
    if started is None or in_environment(os.path.dirname(_absolute(started, cwd)), os.sep):
        script = _project_script(os.path.basename(name), (cwd, *roots))
        if script is not None:
            return script
    if explicit:
        own = not is_installed(beside, roots)
    else:  # srun and mpirun start a file of the current folder by its bare name
        own = executable is None and os.path.isfile(beside) and _is_own(beside, roots)
    return Invocation(Kind.FILE, beside) if own else Invocation(Kind.PROGRAM)


def _project_script(name: str, folders: Sequence[str]) -> Invocation | None:
    """The file that a program of the project is made for, as [project.scripts] says; that it is from here
    is a guess, as with a module."""
    for folder in folders:
        try:
            data = read_regular(os.path.join(folder, "pyproject.toml"), at_most=MAX_BYTES)
            target = parse_toml(data, "pyproject.toml")["project"]["scripts"][name]
            parts = target.partition(":")[0].strip().split(".")
        except (OSError, ConfigError, KeyError, TypeError, AttributeError):
            continue
        for top in (folder, os.path.join(folder, "src")):
            base = os.path.join(top, *parts)
            for file in (os.path.join(base, "__init__.py"), f"{base}.py"):
                if all(part.isidentifier() for part in parts) and os.path.isfile(file):
                    return Invocation(Kind.FILE, file, guessed=top)
    return None


def _module(name: str, argv: Sequence[str], cwd: str, roots: Sequence[str]) -> Invocation | Launcher:
    """What `python -m name` runs: `cwd` and PYTHONPATH go before everything that is installed.

    What is found below `roots` alone is a guess: that the project is installed from there. Where the command
    itself sets PYTHONPATH, what is there was chosen for it; else it may be an installation.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return Invocation(Kind.PROGRAM)
    told = [value for variable, value in assigned(argv) if variable == "PYTHONPATH"]
    value = os.pathsep.join(told) if told else os.environ.get("PYTHONPATH", "")
    python_path = [_absolute(folder, cwd) for folder in value.split(os.pathsep)] if value else []
    first = next(filter(None, (_module_file(folder, parts) for folder in (cwd, *python_path))), None)
    is_told = first is not None and bool(told) and not _is_package(first, roots)
    if first is not None and (is_told or _is_own(first, roots) or _module_file(cwd, parts) == first):
        return Invocation(Kind.FILE, first)
    if name in MODULES:
        return MODULES[name]
    for folder in (
        os.path.join(cwd, "src"),
        *(f for root in roots for f in (root, os.path.join(root, "src"))),
    ):
        file = _module_file(folder, parts)
        if file is not None:
            return Invocation(Kind.FILE, first) if first else Invocation(Kind.FILE, file, guessed=folder)
    return Invocation(Kind.PROGRAM)


def _is_package(path: str, roots: Sequence[str]) -> bool:
    """Whether a module was installed, in an environment or into a folder of packages."""
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(path).parts) or is_installed(path, roots)


def _module_file(folder: str, parts: Sequence[str]) -> str | None:
    """The file of a module below `folder`: a package, then a module, then a namespace package."""
    base = os.path.normpath(os.path.join(folder, *parts))
    package = os.path.join(base, "__main__.py")
    files = [f"{base}.py", package]
    if os.path.isfile(os.path.join(base, "__init__.py")):
        files.reverse()
    return next(filter(os.path.isfile, files), None)


def _script(name: str, cwd: str, *, python: bool) -> Invocation:
    if name == "-":
        return Invocation(Kind.STDIN)
    if "://" in name:
        return Invocation(Kind.FILE, name)
    file = _absolute(name, cwd)
    if python and os.path.isdir(file):
        file = os.path.join(file, "__main__.py")
    return Invocation(Kind.FILE, file)


def _is_python(name: str, cwd: str) -> bool:
    """Whether `uv run` and its like hand `name` to Python instead of looking for a program."""
    return (
        name == "-"
        or name.lower().endswith(_PYTHON_SUFFIXES)
        or os.path.isfile(os.path.join(cwd, name, "__main__.py"))
    )


def _is_own(path: str, roots: Sequence[str]) -> bool:
    """Whether `path` is in one of `roots` and not part of an environment that stands there."""
    return any(_within(path, root) for root in roots) and not is_installed(path, roots)


def is_installed(path: str, roots: Sequence[str]) -> bool:
    """Whether `path` is a program that was installed: in an environment, on PATH, or with the system."""
    if "node_modules/.bin" in path.replace(os.sep, "/"):
        return True
    within = [found for root in roots if (found := _within(path, root))]
    if within:
        return any(in_environment(os.path.dirname(found), top) for found, top in within)
    folder = os.path.dirname(path)
    return (
        folder in map(os.path.normpath, os.get_exec_path())
        or any(inside(folder, system) is not None for system in _SYSTEM_FOLDERS)
        or in_environment(folder, os.sep)
    )


def _within(path: str, root: str) -> tuple[str, str] | None:
    """`path` and `root`, spelled alike, where it is in there: /tmp may be /private/tmp."""
    folder, name = os.path.split(path)
    for below, top in ((folder, root), (_resolved(folder), _resolved(root))):
        if inside(below, top) is not None:
            return os.path.join(below, name), top
    return None


def _resolved(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a NUL, or what the file system's encoding cannot hold
        return path


def on_path(name: str, cwd: str) -> str | None:
    """Where PATH finds the bare `name`; its relative folders start at `cwd`."""
    if os.path.dirname(name):
        return None
    return shutil.which(name, path=os.pathsep.join(_absolute(folder, cwd) for folder in os.get_exec_path()))


def _absolute(name: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, name))
