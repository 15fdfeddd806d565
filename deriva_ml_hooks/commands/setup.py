"""`deriva-ml-hooks install`, `uninstall` and `doctor`: the hooks of a repository."""

from __future__ import annotations

from enum import Enum

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.report import as_text


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
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be done."),
) -> None:
    """Put the hooks in place: the native ones, pre-commit's for the stages in use, and the cache.

    What is there already is kept and still runs. Can be repeated.
    """
    from deriva_ml_hooks.install import setup

    setup.install(
        pre_commit=pre_commit,
        gitignore=gitignore,
        services=[service.value for service in ci],
        dry_run=dry_run,
        say=output.text,
    )
    setup.offer(say=output.text)


def uninstall(
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be done."),
) -> None:
    """Take the hooks away, and put back what was there before, byte for byte."""
    from deriva_ml_hooks.install import setup

    setup.uninstall(dry_run=dry_run, say=output.text)


def doctor() -> None:
    """What is installed, what runs when, and what is missing.

    Exit 1 when something is missing.
    """
    from deriva_ml_hooks.install import setup

    missing = setup.examine(say=output.text)
    if missing:
        output.note(("\n" if missing else "") + as_text(missing))
        raise typer.Exit(1)
