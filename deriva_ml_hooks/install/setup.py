"""Installs, uninstalls and examines: the native hooks, the framework's hooks, and the cache.

What installation changed beyond our own files is written down beside the cache, so that it can be
undone to the byte.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.git import own
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.install import ci, frameworks, native, offers
from deriva_ml_hooks.install.steps import InstallError, Move, Remove, Step, Write, do
from deriva_ml_hooks.provenance.cache import cache_path, provenance_of
from deriva_ml_hooks.report import Finding, printable

Say = Callable[[str], None]
_INSTALL = "deriva-ml-hooks install"
_UNSET = "deriva-ml-hooks uninstall && git config --unset-all core.hooksPath"


class File(NamedTuple):
    """A file of the worktree as we have written it, and as it was before that; None: it was not there."""

    name: str
    written: bytes
    before: bytes | None


@dataclass(frozen=True, slots=True)
class Undo:
    """What was there before: hook types that the framework did not serve, files of the worktree, and the
    native hooks that had to make room."""

    types: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    kept: tuple[str, ...] = ()


def install(
    start: str = ".",
    *,
    pre_commit: bool = False,
    gitignore: bool = False,
    services: Sequence[str] = (),
    dry_run: bool = False,
    say: Say,
) -> None:
    """Put everything in place that is missing; `say` is told each step, or that there was none.

    `pre_commit` writes a configuration with the recommended ids, or tells what to add to the one that is
    there; `gitignore` brings the lines that are missing into .gitignore, and `services` the files of CI. All
    is planned, and what stands against it is raised as InstallError, before anything is done.
    """
    repository = discover(start)
    undo = _remembered(repository)
    text = frameworks.config_text(repository)
    files, left = ci.steps(repository, services)
    config = frameworks.config_step(repository) if pre_commit and text is None else None
    if config is not None:
        text = config.data.decode("utf-8")
    elif pre_commit and (lines := frameworks.snippet(text)):
        left += [f"add this to the repos of {frameworks.CONFIG}:", *lines.splitlines()]
    written = [config, offers.gitignore_step(repository) if gitignore else None, *files]
    plan: list[Step] = [step for step in written if step is not None]
    undo = replace(undo, files=_with_written(repository, undo.files, plan))
    hooks = list(native.install_steps(repository, sys.executable, undo.kept))
    plan += hooks + _exclude(repository)
    kept = {os.path.basename(step.target).removesuffix(".kept") for step in hooks if isinstance(step, Move)}
    undo = replace(undo, kept=tuple(sorted({*undo.kept, *kept})))
    types = frameworks.missing_types(repository, text)
    if text is not None and types:
        if native.hooks_path(repository) is None:
            plan.append(frameworks.install_step(repository, text, types))
            undo = replace(undo, types=(*undo.types, *types))
        else:
            fix = _with_hooks_path(repository, types)
            left.append(f"left out: pre-commit's own hooks, since core.hooksPath is set. fix: {fix}")
    for line in left:
        say(printable(line))
    if not dry_run:
        _remember(repository, undo)
    _take(plan, dry_run=dry_run, say=say, none="everything is in place already")
    if not dry_run and repository.head() is not None:
        provenance_of(repository, load(repository.worktree))


def offer(start: str = ".", *, say: Say) -> None:
    """Tell `say` what is not installed unasked, where it is missing."""
    for line in offers.offers(discover(start)):
        say(printable(line))


def _with_written(repository: Repository, known: Sequence[File], steps: Sequence[Step]) -> tuple[File, ...]:
    """What is `known` of files, and those that `steps` write; what was before us stays known as that."""
    files = {file.name: file for file in known}
    for step in steps:
        if isinstance(step, Write):
            name = os.path.relpath(step.path, repository.worktree).replace(os.sep, "/")
            there = _read(repository, name)
            earlier = files.get(name)
            before = earlier.before if earlier is not None and earlier.written == there else there
            files[name] = File(name, step.data, before)
    return tuple(files.values())


def uninstall(start: str = ".", *, dry_run: bool = False, say: Say) -> None:
    """Take away what `install` put in place, and put back what was there; the cache and the ledger stay.

    Raises InstallError.
    """
    repository = discover(start)
    undo = _remembered(repository)
    plan = list(native.uninstall_steps(repository, undo.types, undo.kept))
    plan += _include(repository)
    for file in undo.files:
        plan += _restored(repository, file, say)
    _take(plan, dry_run=dry_run, say=say, none="nothing of ours is installed")
    if not dry_run:
        _forget(repository)


def examine(start: str = ".", *, say: Say) -> list[Finding]:
    """What is installed (told to `say`) and what is missing (returned)."""
    repository = discover(start)
    missing: list[Finding] = []
    for place in native.places(repository):
        found = _examine(place, repository)
        missing += [found] if found else []
        if not found:
            say(f"{place.hook}: {_does(place)}")
    text = frameworks.config_text(repository)
    for name, framework in frameworks.installed_types(repository).items():
        say(f"{name}: {framework} runs the hooks of {frameworks.CONFIG}")
        if native.Place(name, native.hooks_folder(repository)).two_frameworks():
            message = "pre-commit and prek run each other here, which both refuse"
            missing.append(Finding("two", name, message, f"{framework} install -f --hook-type {name}"))
    by_hand = native.hooks_path(repository) is not None
    types = frameworks.missing_types(repository, text)
    for name in types:
        message = f"{frameworks.CONFIG} asks for {name} hooks, and nothing runs them"
        fix = _with_hooks_path(repository, types) if by_hand else _INSTALL
        missing.append(Finding("not-installed", None, message, fix))
    if text is None:
        say(f"no {frameworks.CONFIG}: only the native hooks run (to have one: {_INSTALL} --pre-commit)")
    offer(start, say=say)
    if repository.head() is not None and not os.path.exists(cache_path(repository)):
        missing.append(Finding("no-cache", None, "what is known of the commit is not cached", _INSTALL))
    return missing


def _with_hooks_path(repository: Repository, types: Sequence[str]) -> str:
    """How the framework's hooks of `types` come to run where core.hooksPath is set; pre-commit refuses there.

    A folder among the checked-out files is left alone: hooks written there would make the tree unclean.
    """
    folder = native.hooks_folder(repository)
    unset = f"{_UNSET} && {_INSTALL} (git then runs nothing in {folder})"
    if native.exclusion(repository):
        return unset
    flags = " ".join(f"--hook-type {name}" for name in types)
    return f"prek install {flags} (writes them into {folder}), or: {unset}"


def _examine(place: native.Place, repository: Repository) -> Finding | None:
    shown = os.path.relpath(place.wanted(), repository.worktree)
    ours, (python, site) = place.ours(), place.told()
    if ours is None:
        if place.calls_us():
            return None
        return Finding("not-installed", shown, f"no native {place.hook} hook", _INSTALL)
    if ours != place.wanted():
        message = f"the native hook stands where {place.framework() or 'git'} does not run it"
        return Finding("not-run", shown, message, _INSTALL)
    if not place.as_installed():
        return Finding("changed", shown, "not as this release installs it, or not executable", _INSTALL)
    if not _works(python, site):
        return Finding("no-interpreter", shown, f"its interpreter does not have us: {python}", _INSTALL)
    return None


@cache
def _works(python: str | None, site: str) -> bool:
    """Whether the interpreter of a native hook is there and imports this package; None is for PATH."""
    if python == sys.executable:
        return True
    probe = "import site, sys; p = sys.argv[1]; p and site.addsitedir(p); import deriva_ml_hooks"
    words = [python, "-I", "-c", probe, site] if python else ["deriva-ml-hooks", "--version"]
    try:
        return subprocess.run(words, cwd=os.sep, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _does(place: native.Place) -> str:
    does = "checks version tags and large files" if place.hook == "pre-push" else "caches the provenance"
    if place.ours() is None:
        return f"{does}, called by the hook that is there"
    after = f", then runs {os.path.basename(place.kept)}" if os.access(place.kept, os.X_OK) else ""
    return f"{does} ({shlex.quote(place.interpreter() or 'deriva-ml-hooks')}){after}"


def _take(plan: Sequence[Step], *, dry_run: bool, say: Say, none: str) -> None:
    for step in plan:
        if not dry_run:
            do(step)
        say(printable(f"would {step}" if dry_run else str(step)))
    if not plan:
        say(none)


def _exclude(repository: Repository) -> list[Step]:
    path, before, lines = _exclusion(repository)
    if not lines or lines in before:
        return []
    return [Write(path, before + lines, "hooks in the worktree must not make it unclean")]


def _include(repository: Repository) -> list[Step]:
    path, before, lines = _exclusion(repository)
    if not lines or lines not in before:
        return []
    after = before.replace(lines, b"")
    return [Write(path, after, "as it was before") if after else Remove(path, "it was not here before")]


def _exclusion(repository: Repository) -> tuple[str, bytes, bytes]:
    path = os.path.join(repository.common_dir, "info", "exclude")
    try:
        with open(path, "rb") as file:
            before = file.read()
    except FileNotFoundError:
        before = b""
    return path, before, native.exclusion(repository)


def _restored(repository: Repository, file: File, say: Say) -> list[Step]:
    there = _read(repository, file.name)
    if there is None:
        return []
    if there != file.written:
        say(f"left as it is: {file.name} (it was edited since)")
        return []
    if _committed(repository, file):
        say(f"left as it is: {file.name} (it was committed since)")
        return []
    path = os.path.join(repository.worktree, file.name)
    if file.before is None:
        return [Remove(path, "it was not here before")]
    return [Write(path, file.before, "as it was before")]


def _read(repository: Repository, name: str) -> bytes | None:
    try:
        with open(os.path.join(repository.worktree, name), "rb") as file:
            return file.read()
    except OSError:
        return None


def _committed(repository: Repository, file: File) -> bool:
    head = repository.head()
    entry = repository.entry(repository.commit(head).tree, file.name) if head else None
    return entry is not None and repository.blob(entry[1]).data == file.written


def _undo_path(repository: Repository) -> str:
    return os.path.join(own.folder(repository.common_dir), "installed.json")


def _remembered(repository: Repository) -> Undo:
    try:
        with open(_undo_path(repository), "rb") as file:
            found = json.loads(file.read())
        files = found.get("files", {})
        if found.get("written") is not None:  # as earlier releases wrote it
            files = {frameworks.CONFIG: [found["written"], found["before"]]}
        read = (File(name, _bytes(data) or b"", _bytes(before)) for name, (data, before) in files.items())
        return Undo(tuple(found["types"]), tuple(read), tuple(found["kept"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Undo()


def _bytes(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text is not None else None


def _text(data: bytes | None) -> str | None:
    return base64.b64encode(data).decode("ascii") if data is not None else None


def _remember(repository: Repository, undo: Undo) -> None:
    path = _undo_path(repository)
    if undo == _remembered(repository):
        return
    shown = {
        "types": list(undo.types),
        "kept": list(undo.kept),
        "files": {file.name: [_text(file.written), _text(file.before)] for file in undo.files},
    }
    try:
        own.write(repository, path, json.dumps(shown).encode("ascii"))
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}", fix="see the owner of the git directory") from None


def _forget(repository: Repository) -> None:
    try:
        os.unlink(_undo_path(repository))
    except FileNotFoundError:
        return
    except OSError as error:
        raise HooksError(str(error), fix="see the owner of the git directory") from None
