"""Which Python a command starts, and what `uv run` in it asks for. Versions are asked of the interpreter."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from deriva_ml_hooks import programs
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.runner.command.shell_words import split_words
from deriva_ml_hooks.runner.witness import pythons_of

_TIMEOUT = 60.0
"""Seconds that uv or an interpreter may take to answer."""
_SELECTING = frozenset({"--extra", "--no-extra", "--group", "--no-group", "--only-group"})
_FLAGS = frozenset({"--all-extras", "--all-groups", "--no-default-groups", "--dev", "--no-dev", "--only-dev"})
_OF_NO_MATTER = frozenset(
    {"-m", "--module", "-q", "--quiet", "-v", "--verbose", "--frozen", "--locked", "--"}
)


def interpreter(words: Sequence[str], env: Mapping[str, str], top: str) -> dict[str, str] | None:
    """The `executable` and `version` of the first Python that `words` start in the current folder.

    `top`: the worktree. None where there is none, or it does not say.
    """
    project = project_of(os.path.realpath(os.getcwd()), top)
    started = [python for python, _ in pythons_of([*split_words(words)], env)][:1]
    if project is not None and selected_by_uv_run(words) is not None:
        started = [os.path.join(environment_of(project, env), "bin", "python")]
    for python in started:
        said = asked([python, "-V"], os.sep, env)
        name, _, version = (said or "").partition(" ")
        if name == "Python" and version:
            return {"executable": redact(python), "version": version.strip()}
    return None


def environment_of(project: str, env: Mapping[str, str]) -> str:
    """The environment of uv's project in the folder `project` (docs.astral.sh/uv, Project environment)."""
    return os.path.join(project, env.get("UV_PROJECT_ENVIRONMENT") or ".venv")


def project_of(folder: str, top: str) -> str | None:
    """The folder of uv.lock, at or above `folder`, up to `top`."""
    while not os.path.isfile(os.path.join(folder, "uv.lock")):
        if folder in (top, os.path.dirname(folder)):
            return None
        folder = os.path.dirname(folder)
    return folder


def selected_by_uv_run(argv: Sequence[str]) -> list[str] | None:
    """The options of `uv run` that select packages; None where it is not run.

    An option that is not known here stands in the list too, where uv's own check will not take it.
    """
    words = [*split_words(argv)]
    at = next((at for at, word in enumerate(words) if os.path.basename(word) == "uv"), None)
    if at is None or "run" not in words[at + 1 :]:
        return None
    found, rest = [], iter(words[at + 1 :])
    for word in rest:
        if word in _SELECTING:
            found += [word, next(rest, "")]
        elif word.partition("=")[0] in _SELECTING or word in _FLAGS:
            found.append(word)
        elif word.startswith("-") and word not in _OF_NO_MATTER:
            return ["--not-known"]
        elif not word.startswith("-") and word != "run":
            break
    return found


def version_in(environment: str) -> str | None:
    """The version of the Python that an environment has, as its pyvenv.cfg says."""
    with contextlib.suppress(OSError):
        text = Path(environment, "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
        pairs = (line.partition("=") for line in text.splitlines())
        values = {key.strip(): value.strip() for key, _, value in pairs}
        return values.get("version_info") or values.get("version")
    return None


def asked(words: Sequence[str], cwd: str, env: Mapping[str, str]) -> str | None:
    """What a program says, stripped; None where it fails."""
    try:
        done = programs.run(words, cwd=cwd, env=env, timeout=_TIMEOUT)
    except OSError:
        return None
    return None if done.returncode else os.fsdecode(done.stdout).strip()
