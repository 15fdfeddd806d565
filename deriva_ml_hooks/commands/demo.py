"""`deriva-ml-hooks demo`: the whole of it in a throwaway repository, with the real program and real git."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer

from deriva_ml_hooks import programs
from deriva_ml_hooks.commands import output
from deriva_ml_hooks.git import process

_SCRIPT = """\
import json, os, pathlib

seed = int(os.environ.get("SEED", "7"))
score = 1 - 1 / (seed + 1)
pathlib.Path("results").mkdir(exist_ok=True)
pathlib.Path("results/metrics.json").write_text(json.dumps({"score": score}))
print(f"trained: score {score:.3f}, recorded as {os.environ['DERIVA_ML_HOOKS_EXECUTION'][:8]}...")
"""
_NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "0",
            "metadata": {"tags": ["parameters"]},
            "outputs": [],
            "source": ["seed = 7"],
        }
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
_FILES = {
    "train.py": _SCRIPT,
    "explore.ipynb": json.dumps(_NOTEBOOK, indent=1) + "\n",
    ".gitignore": "results/\n",
    "pyproject.toml": '[project]\nname = "demo-model"\ndynamic = ["version"]\n\n[tool.setuptools_scm]\n',
}


def demo(
    keep: bool = typer.Option(False, "--keep", help="Leave the throwaway repository, and say where it is."),
) -> None:
    """Show a clean run recorded and a dirty run refused, in a throwaway repository."""
    folder = tempfile.mkdtemp(prefix="deriva-ml-hooks-demo-")
    try:
        _play(Path(folder))
    finally:
        if keep:
            output.note(f"\nkept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _play(folder: Path) -> None:
    work, remote = folder / "model", folder / "remote.git"
    python = shlex.quote(os.path.basename(sys.executable))

    _say("A repository with a script, a notebook, a version tag and a remote")
    _git(folder, "init", "--quiet", "--bare", str(remote))
    _git(folder, "init", "--quiet", str(work))
    for name, content in _FILES.items():
        (work / name).write_text(content, encoding="utf-8")
    _git(work, "checkout", "--quiet", "-b", "main")
    _git(work, "add", "--all")
    _git(work, "commit", "--quiet", "--message", "A model to train")
    _git(work, "tag", "--annotate", "--message", "First version", "v0.1.0")
    _git(work, "remote", "add", "origin", str(remote))
    _git(work, "push", "--quiet", "--set-upstream", "origin", "main", "v0.1.0")
    output.text(process.run("log", "--oneline", "--decorate", cwd=str(work)).checked().decode().strip())

    _say("1. The worktree is exactly the commit: the run is recorded")
    _ours(work, "run", "--description", "first try", "--", python, "train.py")

    _say("2. One line is changed and not committed: the run is refused, nothing is started")
    script = work / "train.py"
    script.write_text(script.read_text(encoding="utf-8").replace("+ 1)", "+ 2)"), encoding="utf-8")
    _ours(work, "run", "--", python, "train.py")

    _say("3. Committed: it runs, and the record says that nobody else has this commit yet")
    _git(work, "commit", "--quiet", "--all", "--message", "Try another formula")
    _ours(work, "run", "--description", "second try", "--", python, "train.py")

    _say("What is on record")
    _ours(work, "executions", "list")
    listed = _program(work, "executions", "list", "--json")
    first = json.loads(listed.stdout)[-1]["id"]
    output.text("")
    _ours(work, "executions", "show", first)


def _say(words: str) -> None:
    output.text(f"\n== {words}")
    sys.stdout.flush()


def _ours(work: Path, *words: str) -> None:
    output.text(f"$ deriva-ml-hooks {shlex.join(words)}")
    sys.stdout.flush()
    done = _program(work, *words, shown=("stdout", "stderr"))
    if done.returncode:
        output.text(f"(exit {done.returncode})")


def _program(work: Path, *words: str, shown: Sequence[str] = ()) -> programs.Ended:
    # The interpreter that runs this may not be on PATH, and the demo's script wants it.
    env = process.command_environment()
    env["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), env.get("PATH", os.defpath)])
    command = [sys.executable, "-m", "deriva_ml_hooks", *words]
    return programs.run(command, cwd=str(work), env=env, stdin=None, shown=shown)


def _git(folder: Path, *words: str) -> None:
    author = ("-c", "user.name=Demo", "-c", "user.email=demo@example.org", "-c", "commit.gpgSign=false")
    plain = ("-c", "tag.gpgSign=false", "-c", f"core.hooksPath={os.devnull}", "-c", "core.autocrlf=false")
    process.run(*author, *plain, *words, cwd=str(folder)).checked()
