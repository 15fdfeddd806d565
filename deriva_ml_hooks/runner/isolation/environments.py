"""The environment of `uv run` in a temporary worktree: not built anew each time, and with the same Python.

It is the user's own where that holds what uv.lock of the commit names: nothing is written there, and the
project is led to the temporary worktree (`runner.witness`). Else it is one that is kept by the digest of
uv.lock, into which uv installs the project from the temporary worktree.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from deriva_ml_hooks.errors import ConfigError
from deriva_ml_hooks.files import make_folder, read_regular
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner.command.installed import sites
from deriva_ml_hooks.runner.command.shell_words import split_words
from deriva_ml_hooks.runner.inside_python import Worktrees
from deriva_ml_hooks.runner.interpreter import (
    asked,
    environment_of,
    project_of,
    selected_by_uv_run,
    version_in,
)
from deriva_ml_hooks.runner.recording import Say
from deriva_ml_hooks.runner.request import Accepted
from deriva_ml_hooks.runner.witness import (
    OtherWorktreeError,
    refuse_other_worktrees,
    worktrees_of,
)
from deriva_ml_hooks.toml import parse_toml

_MOST = 5
"""Environments that are kept."""
_LARGEST = 64 << 20
"""Bytes of a lock file that are read."""
_CHECK = ("sync", "--check", "--frozen", "--offline", "--inexact", "--no-install-local", "--quiet")


@contextlib.contextmanager
def provided(
    accepted: Accepted, home: Repository, before: Mapping[str, str], python: str | None, say: Say
) -> Iterator[dict[str, str | None]]:
    """The variables that tell `uv run`, in what was accepted, which environment it has in the current folder.

    `home`, `before`: the user's own worktree and variables; `python`: the version that the first run had, of
    a run again. `say` is told which one it is. Empty where uv is not run, or keeps no project here.
    """
    words, worktree = accepted.request.argv, accepted.repository.worktree
    selected, uv = selected_by_uv_run(words), shutil.which("uv")
    top = project_of(os.path.realpath(os.getcwd()), worktree)
    if selected is None or uv is None or top is None or any(map(_is_script, split_words(words))):
        yield {}
        return
    home_top = os.path.normpath(os.path.join(home.worktree, os.path.relpath(top, worktree)))
    own = environment_of(home_top, before)
    trees = Worktrees(worktree, [other for other in worktrees_of(home) if other != worktree])
    version = version_in(own)
    if (
        version is not None
        and python in (None, version)
        and _fits(uv, own, top, home_top, selected, words, trees)
    ):
        say(f"isolated: the packages of {own} (Python {version}), as uv.lock of the commit has them")
        yield {"UV_PROJECT_ENVIRONMENT": own, "UV_NO_SYNC": "1"}
        return
    pinned = os.path.isfile(os.path.join(top, ".python-version"))
    wanted = python or (None if pinned else version)
    chosen = _available(uv, wanted) if wanted else None
    named = f"Python {chosen}" if chosen else "the Python that uv chooses"
    if python is not None and chosen != python:
        named += f" (the first run had {python}, which is not here)"
    variables: dict[str, str | None] = {"UV_PYTHON": chosen} if chosen else {}
    with _kept(os.path.join(top, "uv.lock"), chosen or "") as folder:
        if folder is not None:
            how = "kept from an earlier run" if os.path.isdir(folder) else "made now, and kept"
            say(f"isolated: an environment for uv.lock of the commit, {named}; {how} in {folder}")
            variables |= {"UV_PROJECT_ENVIRONMENT": folder, "UV_NO_SYNC": None}
        yield variables


def _is_script(path: str) -> bool:
    """Whether a file says itself what it needs (PEP 723): uv has an environment of its own for it then."""
    try:
        return path.endswith(".py") and b"# /// script" in read_regular(path, at_most=1 << 20)
    except OSError:
        return False


def _available(uv: str, version: str) -> str | None:
    """`version`, or the one that is here of the same minor version; None without either."""
    for wanted in (version, ".".join(version.split(".")[:2])):
        python = asked([uv, "python", "find", "--system", "--no-project", wanted], os.sep, os.environ)
        said = asked([python, "-V"], os.sep, os.environ) if python else None
        if said:
            return said.removeprefix("Python ")
    return None


def _fits(
    uv: str,
    own: str,
    top: str,
    home_top: str,
    selected: Sequence[str],
    words: Sequence[str],
    trees: Worktrees,
) -> bool:
    """Whether the user's environment `own` is the commit's, but for the project, which is led to `top`."""
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if asked([uv, *_CHECK, *selected], top, env | {"UV_PROJECT_ENVIRONMENT": own}) is None:
        return False
    local = _local_packages(top)
    installed = _installed(own)
    if local is None or any(is_copy for path, (_, is_copy) in installed.items() if trees.inside(path)):
        return False
    for path, version in local.items():
        entry = installed.get(os.path.normpath(os.path.join(home_top, path)))
        if entry is None or not _is_same(entry[0], os.path.join(top, path, "pyproject.toml"), version):
            return False
    if local:  # generated modules and extensions stand beside the code, and are not led
        listed = process.run(
            *("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"), cwd=home_top
        )
        if any(name.endswith((b".py", b".so", b".pyd")) for name in listed.stdout.split(b"\0")):
            return False
    path = os.pathsep.join([os.path.join(own, "bin"), env.get("PATH", "")])
    try:  # a Python that reads no PYTHONPATH cannot be led
        refuse_other_worktrees(words, env | {"PATH": path}, trees, led=True)
    except OtherWorktreeError:
        return False
    return True


def _local_packages(top: str) -> dict[str, str | None] | None:
    """The packages of the project by their folder, with their fixed version; None where unreadable."""
    try:
        packages = _toml(os.path.join(top, "uv.lock"))["package"]
        return {
            where: package.get("version")
            for package in packages
            for where in (package["source"].get("editable"), package["source"].get("directory"))
            if where is not None
        }
    except (ConfigError, OSError, KeyError, TypeError, AttributeError):
        return None


def _toml(path: str) -> dict[str, Any]:
    return parse_toml(read_regular(path, at_most=_LARGEST), path)


def _installed(environment: str) -> dict[str, tuple[Path, bool]]:
    """What is installed from folders: by the folder its metadata, and whether it is a copy (PEP 610)."""
    found = {}
    for place in sites(os.path.join(environment, "bin", "python"))[:4]:
        for file in Path(place).glob("*.dist-info/direct_url.json"):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                about = json.loads(file.read_bytes())
                url = urlsplit(about["url"])
                if url.scheme == "file":
                    editable = about.get("dir_info", {}).get("editable") is True
                    found[os.path.normpath(unquote(url.path))] = (file.parent, not editable)
    return found


def _is_same(metadata: Path, pyproject: str, version: str | None) -> bool:
    """Whether what is installed has the programs and plugins, and the version, that the commit says."""
    try:
        project: dict[str, Any] = _toml(pyproject)["project"]
        wanted = {**project.get("entry-points", {})}
        wanted |= {f"{kind}_scripts": project[key] for kind, key in _SCRIPTS.items() if key in project}
        entries = configparser.ConfigParser(delimiters=("=",), interpolation=None)
        entries.optionxform = str  # type: ignore[assignment,method-assign]
        entries.read(metadata / "entry_points.txt", encoding="utf-8")
        there = {name: dict(entries[name]) for name in entries.sections()}
        says = (metadata / "METADATA").read_text(encoding="utf-8", errors="replace")
    except (ConfigError, OSError, KeyError, TypeError, configparser.Error):
        return False
    is_dynamic = {"scripts", "gui-scripts", "entry-points"} & {*project.get("dynamic", ())}
    return (
        not is_dynamic and there == wanted and (version is None or f"\nVersion: {version}\n" in f"\n{says}")
    )


_SCRIPTS = {"console": "scripts", "gui": "gui-scripts"}


@contextlib.contextmanager
def _kept(lock: str, python: str) -> Iterator[str | None]:
    """The folder of an environment for the lock file `lock` and a Python, held by this process alone.

    Only the newest are kept. None where nothing can be written.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    root = os.path.join(base, "deriva-ml-hooks", "environments")
    held = None
    try:
        digest = hashlib.sha256(read_regular(lock, at_most=_LARGEST) + python.encode()).hexdigest()[:16]
        make_folder(root, mode=0o600)
        names = itertools.chain([digest], (f"{digest}-{number}" for number in range(2, 100)))
        for name in names:
            held = _held(os.path.join(root, f"{name}.lock"))
            if held is not None:
                os.utime(held)
                _prune(root)
                break
    except OSError:
        held = None
    try:
        yield os.path.join(root, name) if held is not None else None
    finally:
        if held is not None:
            os.close(held)


def _held(path: str) -> int | None:
    """The file at `path`, locked until it is closed; None where another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError:  # held, or removed meanwhile
        pass
    os.close(descriptor)
    return None


def _prune(root: str) -> None:
    """Remove all but the newest environments; one that is in use stays."""
    locks = sorted(Path(root).glob("*.lock"), key=lambda path: path.stat().st_mtime, reverse=True)
    for lock in locks[_MOST:]:
        held = _held(str(lock))
        if held is not None:
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
            os.close(held)
