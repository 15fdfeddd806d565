"""Installs and uninstalls: the native hooks, the framework's hooks, files of the worktree, and the cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from deriva_ml_hooks.config import load
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.guard import setting
from deriva_ml_hooks.install import files, frameworks, native, steps
from deriva_ml_hooks.provenance.cache import provenance_of

WITHOUT_HOOKS_PATH = (
    "deriva-ml-hooks uninstall && git config --unset-all core.hooksPath && deriva-ml-hooks install"
)
"""How pre-commit's hooks come to run where core.hooksPath is set: it refuses to install any there."""


def install(
    start: str = ".",
    *,
    pre_commit: bool = False,
    gitignore: bool = False,
    services: Sequence[str] = (),
    guard: bool = False,
    dry_run: bool = False,
    say: Callable[[str], None],
) -> None:
    """Put everything in place that is missing; `say` is told each step, or that there was none.

    `pre_commit` writes a configuration with the recommended ids, or says what to add to the one that is
    there; `gitignore` brings the lines that are missing into .gitignore, and `services` the files of CI;
    `guard` gates Hydra applications in this clone. All is planned, and what stands against it is raised as
    InstallError, before anything is done.
    """
    repository = measured(start)
    written, left = files.wanted(repository, pre_commit=pre_commit, gitignore=gitignore, services=services)
    plan = files.write_steps(repository, written)
    plan += native.install_steps(repository, sys.executable)
    config = os.path.join(repository.worktree, frameworks.CONFIG)
    configured = os.path.exists(config) or frameworks.CONFIG in (file.name for file in written)
    has_framework = configured and not frameworks.served(repository)
    if has_framework and native.hooks_path(repository) is not None:
        why = "core.hooksPath is set, where pre-commit installs none"
        left.append(f"left out: the hooks of {frameworks.CONFIG}: {why}. fix: {WITHOUT_HOOKS_PATH}")
        has_framework = False
    if has_framework:
        plan.append(frameworks.install_step(repository))
    if guard and not setting.of(repository.worktree).on:
        words = ["git", "config", "--local", setting.KEY, "true"]
        plan.append(steps.run(words, repository.worktree, "gates Hydra applications in this clone"))
    for line in left:
        say(line)
    undo = files.with_written(repository, files.remembered(repository), written)
    if not dry_run:
        files.remember(repository, undo)
    steps.take(plan, say, dry_run=dry_run, none="everything is in place already")
    if dry_run:
        return
    if has_framework:
        files.remember(repository, undo._replace(types=tuple(frameworks.served(repository))))
    if repository.head() is not None:
        provenance_of(repository, load(repository.worktree))


def uninstall(start: str = ".", *, dry_run: bool = False, say: Callable[[str], None]) -> None:
    """Take away what `install` put in place, and put back what was there; the cache and the ledger stay.

    Raises InstallError.
    """
    repository = measured(start)
    undo = files.remembered(repository)
    plan = [*native.uninstall_steps(repository, undo.types), *files.restore_steps(repository, undo, say)]
    if setting.of_clone(repository.worktree):
        words = ["git", "config", "--local", "--unset-all", setting.KEY]
        plan.append(steps.run(words, repository.worktree, "the guard of this clone"))
    steps.take(plan, say, dry_run=dry_run, none="nothing of ours is installed")
    if not dry_run:
        files.remember(repository, files.NOTHING)
