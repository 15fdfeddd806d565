"""Installs, uninstalls and examines: the native hooks, the framework's hooks, and the cache.

What installation changed beyond our own files is written down beside the cache, so that it can be
undone to the byte.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass

from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.git.repository import Repository, discover
from deriva_ml_hooks.install import frameworks, native
from deriva_ml_hooks.install.steps import InstallError, Remove, Step, Write, do
from deriva_ml_hooks.provenance.cache import FOLDER, cache_path, provenance_of
from deriva_ml_hooks.report import Finding

Say = Callable[[str], None]
_INSTALL = "deriva-ml-hooks install"


@dataclass(frozen=True, slots=True)
class Undo:
    """What was there before: hook types that the framework did not serve, and its configuration's bytes."""

    types: tuple[str, ...] = ()
    written: bytes | None = None
    before: bytes | None = None


def install(start: str = ".", *, pre_commit: bool = False, dry_run: bool = False, say: Say) -> None:
    """Put everything in place that is missing; `say` is told each step, or that there was none.

    `pre_commit` brings the recommended ids into pre-commit's configuration. Raises InstallError.
    """
    repository = discover(start)
    steps = _Doing(dry_run, say)
    undo = _remembered(repository)
    config = frameworks.config_step(repository, wanted=pre_commit)
    text = frameworks.config_text(repository)
    if isinstance(config, Write):
        before = text.encode("utf-8") if text is not None else None
        undo = Undo(undo.types, config.data, before if undo.written is None else undo.before)
        text = config.data.decode("utf-8")
        steps.take(config)
    types = frameworks.missing_types(repository, text)
    if repository.setting("core", "hooksPath") is not None and types:
        say(f"left out: {frameworks.CONFIG} (pre-commit installs nothing where core.hooksPath is set)")
    else:
        for step in frameworks.install_steps(repository, text):
            steps.take(step)
            undo = Undo((*undo.types, *types), undo.written, undo.before)
    for step in native.install_steps(repository, sys.executable):
        steps.take(step)
    if not dry_run:
        _remember(repository, undo)
        if repository.head() is not None:
            provenance_of(repository, load(repository.worktree))
    if not steps.taken:
        say("everything is in place already")


def uninstall(start: str = ".", *, dry_run: bool = False, say: Say) -> None:
    """Take away what `install` put in place, and put back what was there. Raises InstallError."""
    repository = discover(start)
    steps = _Doing(dry_run, say)
    undo = _remembered(repository)
    for step in native.uninstall_steps(repository):
        steps.take(step)
    for step in frameworks.uninstall_steps(repository, undo.types):
        steps.take(step)
    _restore_config(repository, undo, steps, say)
    if not dry_run:
        _forget(repository)
    if not steps.taken:
        say("nothing of ours is installed")


def examine(start: str = ".", *, say: Say) -> list[Finding]:
    """What is installed (told to `say`) and what is missing (returned)."""
    repository = discover(start)
    missing: list[Finding] = []
    for place in native.places(repository):
        shown = os.path.relpath(place.wanted(), repository.worktree)
        ours = place.ours()
        if ours is None:
            missing.append(Finding("not-installed", shown, f"no native {place.hook} hook", _INSTALL))
        elif ours != place.wanted():
            message = f"the native hook stands where {place.framework() or 'git'} does not run it"
            missing.append(Finding("not-run", shown, message, _INSTALL))
        elif not os.access(place.interpreter() or "", os.X_OK):
            message = f"its interpreter is gone: {place.interpreter()}"
            missing.append(Finding("no-interpreter", shown, message, _INSTALL))
        else:
            say(f"{place.hook}: {_does(place)}")
    text = frameworks.config_text(repository)
    served = frameworks.installed_types(repository)
    for name, framework in served.items():
        say(f"{name}: {framework} runs the hooks of {frameworks.CONFIG}")
    for name in frameworks.missing_types(repository, text):
        message = f"{frameworks.CONFIG} has hooks for {name}, and nothing runs them"
        missing.append(Finding("not-installed", None, message, _INSTALL))
    if text is None:
        say(f"no {frameworks.CONFIG}: only the native hooks run (to have one: {_INSTALL} --pre-commit)")
    if repository.head() is not None and not os.path.exists(cache_path(repository)):
        missing.append(Finding("no-cache", None, "what is known of the commit is not cached", _INSTALL))
    return missing


def _does(place: native.Place) -> str:
    does = "checks version tags and large files" if place.hook == "pre-push" else "caches the provenance"
    after = f", then runs {os.path.basename(place.kept)}" if os.path.exists(place.kept) else ""
    return f"{does} ({shlex.quote(place.interpreter() or '')}){after}"


class _Doing:
    """Takes steps, or with `dry_run` only tells them."""

    def __init__(self, dry_run: bool, say: Say) -> None:
        self._dry_run = dry_run
        self._say = say
        self.taken = 0

    def take(self, step: Step) -> None:
        if not self._dry_run:
            do(step)
        self._say(f"would {step}" if self._dry_run else str(step))
        self.taken += 1


def _restore_config(repository: Repository, undo: Undo, steps: _Doing, say: Say) -> None:
    if undo.written is None:
        return
    path = frameworks.config_path(repository)
    text = frameworks.config_text(repository)
    if text is None:
        return
    if text.encode("utf-8") != undo.written:
        say(f"left as it is: {frameworks.CONFIG} (it was edited since)")
    elif undo.before is None:
        steps.take(Remove(path, "it was not here before"))
    else:
        steps.take(Write(path, undo.before, "as it was before"))


def _undo_path(repository: Repository) -> str:
    return os.path.join(repository.common_dir, FOLDER, "installed.json")


def _remembered(repository: Repository) -> Undo:
    try:
        with open(_undo_path(repository), "rb") as file:
            found = json.loads(file.read())
        return Undo(tuple(found["types"]), *(_bytes(found[name]) for name in ("written", "before")))
    except (OSError, ValueError, KeyError, TypeError):
        return Undo()


def _bytes(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text is not None else None


def _remember(repository: Repository, undo: Undo) -> None:
    path = _undo_path(repository)
    if undo == Undo():
        return
    shown = {
        "types": list(undo.types),
        "written": base64.b64encode(undo.written).decode() if undo.written is not None else None,
        "before": base64.b64encode(undo.before).decode() if undo.before is not None else None,
    }
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, json.dumps(shown).encode("ascii"))
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}", fix="see the owner of the git directory") from None


def _forget(repository: Repository) -> None:
    try:
        os.unlink(_undo_path(repository))
    except FileNotFoundError:
        return
    except OSError as error:
        raise HooksError(str(error), fix="see the owner of the git directory") from None
