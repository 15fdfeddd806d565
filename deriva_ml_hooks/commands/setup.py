"""`deriva-ml-hooks install`, `uninstall` and `doctor`: the hooks of a repository."""

from __future__ import annotations

from enum import Enum

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.report import as_text

_DRY_RUN = typer.Option(False, "--dry-run", help="Only say what would be done.")


class Service(str, Enum):
    """Where continuous integration runs."""

    github = "github"
    gitlab = "gitlab"


def install(
    pre_commit: bool = typer.Option(
        False, "--pre-commit", help="Write .pre-commit-config.yaml, or print what to add to it."
    ),
    gitignore: bool = typer.Option(
        False, "--gitignore", help="Add the lines to .gitignore that this project is missing."
    ),
    ci: list[Service] = typer.Option(
        [], "--ci", help="Write a workflow that checks pushes and pull requests; a file is never replaced."
    ),
    guard: bool = typer.Option(
        False, "--guard", help="Gate Hydra applications in this clone: they run as under `run`."
    ),
    dry_run: bool = _DRY_RUN,
) -> None:
    """Put the hooks in place: the native ones, pre-commit's where it has none yet, and the cache.

    What is there already is kept and still runs. Can be repeated.
    """
    from deriva_ml_hooks.git.discovery import measured
    from deriva_ml_hooks.install import files, setup

    setup.install(
        pre_commit=pre_commit,
        gitignore=gitignore,
        services=[service.value for service in ci],
        guard=guard,
        dry_run=dry_run,
        say=output.line,
    )
    for offer in files.offers(measured()):
        output.line(offer)


def uninstall(dry_run: bool = _DRY_RUN) -> None:
    """Take the hooks away, and put back what was there before, byte for byte."""
    from deriva_ml_hooks.install import setup

    setup.uninstall(dry_run=dry_run, say=output.line)


def doctor() -> None:
    """What is installed, what runs when, and what is missing.

    Exit 1 when something is missing.
    """
    from deriva_ml_hooks.install.doctor import examine

    missing = examine(say=output.line)
    if missing:
        output.note("\n" + as_text(missing))
        raise typer.Exit(1)
