"""pre-commit and prek: which of them serves which hooks, and our ids in their configuration.

A configuration that is there is neither read nor edited: the lines to add are printed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from importlib.metadata import version

from deriva_ml_hooks import packages
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.hooks import recommended
from deriva_ml_hooks.install.native import Hook, hooks_folder, is_ours
from deriva_ml_hooks.install.steps import InstallError, Step, run

CONFIG = ".pre-commit-config.yaml"
REPOSITORY = "https://github.com/informatics-isi-edu/deriva-ml-hooks"


def entry() -> str:
    """The lines of a configuration that bring the recommended ids."""
    ids = "".join(f"  - id: {name}\n" for name in recommended())
    return f"- repo: {REPOSITORY}\n  rev: {release_of(version('deriva-ml-hooks'))}\n  hooks:\n{ids}"


def configuration() -> str:
    """A whole configuration with the recommended ids."""
    return f"default_install_hook_types: [pre-commit, pre-push]\nrepos:\n{entry()}"


def release_of(own: str) -> str:
    """The newest tag that the version `own` contains: one between releases is named after the next."""
    numbers = [int(part) for part in re.findall(r"\d+", own.partition(".dev")[0])[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return f"v{major}.{minor}.{patch - 1 if '.dev' in own and patch else patch}"


def served(repository: Repository) -> dict[str, str]:
    """The git hooks that pre-commit or prek serve here, and which of the two."""
    folder = hooks_folder(repository)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = ((name, Hook(name, folder).framework) for name in names if "." not in name)
    return {name: framework for name, framework in found if framework is not None}


def install_step(repository: Repository) -> Step:
    """What has pre-commit or prek install its hooks, of the types that the configuration names.

    Raises InstallError where neither of them is to be found, and where they would run or replace a file.
    """
    program = _program(repository)
    folder = hooks_folder(repository)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        stray = os.path.join(folder, name)
        if name.endswith(".legacy") and not is_ours(stray):
            what = f"{stray}: {os.path.basename(program)} would run or overwrite it"
            raise InstallError(what, fix="rename or remove it")
    # A branch without the configuration is no reason to refuse its commits.
    words = [program, "install", "--allow-missing-config"]
    return run(words, repository.worktree, "its hooks")


def _program(repository: Repository) -> str:
    for name in ("pre-commit", "prek"):
        found = shutil.which(name) or shutil.which(name, path=os.path.dirname(sys.executable))
        if found is not None:
            return found
    fix = "uv add --dev pre-commit" if packages.is_of_uv(repository.worktree) else "pip install pre-commit"
    raise InstallError(f"{CONFIG}: neither pre-commit nor prek is installed", fix=fix)
