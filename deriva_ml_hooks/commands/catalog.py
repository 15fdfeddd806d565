"""`deriva-ml-hooks catalog`: what can be told of the catalog that executions are published to."""

from __future__ import annotations

from typing import Optional

import typer

from deriva_ml_hooks.commands import output, trust
from deriva_ml_hooks.config import load
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.report import printable

program = typer.Typer(help="The catalog that executions are published to.", no_args_is_help=True)

_WORDS = {True: "ok", False: "FAILED", None: "without"}


@program.callback()
def _options() -> None:
    pass


program.command("trust")(trust.host)


@program.command("check")
def check(
    catalog: Optional[str] = typer.Option(
        None, "--catalog", metavar="HOST/ID", help="The catalog (default: as configured)."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print an array, one object for each point."),
) -> None:
    """Is the catalog fit to take executions? Point by point, each with its fix.

    Exit 1 when something is missing that a publication needs.
    """
    from deriva_ml_hooks.catalog.check import examine
    from deriva_ml_hooks.catalog.settings import required

    settings = required(load(measured().worktree), catalog)
    points = []
    for point in examine(settings):
        points.append(point)
        if not as_json:
            output.text(f"{_WORDS[point.fine]:<8} {point.name}: {printable(point.found)}")
            if point.fix is not None:
                output.text(f"         fix: {printable(point.fix)}")
    if as_json:
        output.data([point.as_json() for point in points])
    raise typer.Exit(1 if any(point.fine is False for point in points) else 0)
