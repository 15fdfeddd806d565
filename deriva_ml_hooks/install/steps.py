"""What an installation does, as values: said before it is done, done one by one, each able to be repeated."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from deriva_ml_hooks import programs
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.git import process


class InstallError(HooksError):
    """A step that could not be done; what was done before it stays."""


class Step(NamedTuple):
    """One change: what is said of it, and what makes it."""

    said: str
    make: Callable[[], object]


def write(path: str, data: bytes, why: str, *, executable: bool = False) -> Step:
    """Put `data` at `path`, whole."""

    def make() -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(path, data)
        if executable:
            os.chmod(path, 0o755)  # noqa: S103  # what git itself gives hooks

    return Step(f"write {path} ({why})", make)


def move(path: str, target: str, why: str) -> Step:
    """Rename `path` to `target`, bytes and mode untouched; a file that is already there is never replaced."""

    def make() -> None:
        if os.path.lexists(target):
            raise InstallError(f"{target}: already there", fix=f"keep one of the two, remove {path}")
        os.rename(path, target)

    return Step(f"move {path} to {os.path.basename(target)} ({why})", make)


def remove(path: str, why: str) -> Step:
    """Delete the file at `path`."""
    return Step(f"remove {path} ({why})", lambda: os.unlink(path))


def leave(path: str, why: str) -> Step:
    """Leave a file where it is that cannot be put back."""
    return Step(f"leave {path} ({why})", lambda: None)


def run(words: Sequence[str], cwd: str, why: str) -> Step:
    """Have another program do its part in the folder `cwd`; what it says is reported when it fails."""
    name = os.path.basename(words[0])

    def make() -> None:
        done = programs.run(words, cwd=cwd, env=process.command_environment())
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
            raise InstallError(f"{name}: {said or f'exit {done.returncode}'}", fix=" ".join(words))

    return Step(f"run {' '.join([name, *words[1:]])} ({why})", make)


def take(plan: Iterable[Step], say: Callable[[str], None], *, dry_run: bool, none: str) -> None:
    """Make each step and say it; a `dry_run` only says it. `none` is said where there is no step.

    Raises InstallError.
    """
    step = None
    for step in plan:
        try:
            if not dry_run:
                step.make()
        except OSError as error:
            fix = "see the owner and mode of that file and its folder"
            raise InstallError(f"{step.said}: {error.strerror}", fix=fix) from None
        say(f"would {step.said}" if dry_run else step.said)
    if step is None:
        say(none)
