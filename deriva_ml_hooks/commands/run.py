"""`deriva-ml-hooks run`: a command under the gate, with its record."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Optional

import typer

from deriva_ml_hooks.commands.conclusion import complain, concluded, require_json
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.runner.recorded import run_recorded, run_unrecorded
from deriva_ml_hooks.runner.request import Request, accept

# What `run-notebook` and `submit` take in the same way.
DESCRIPTION: Any = typer.Option(None, "--description", help="What this run is for.")
ENTRY_POINT: Any = typer.Option(
    None, "--entry-point", metavar="PATH", help="The tracked file that is the workflow."
)
TAG_REQUIRED: Any = typer.Option(False, "--tag-required", help="Refuse a commit that carries no version tag.")
PARANOID: Any = typer.Option(
    False, "--paranoid", help="Rehash every tracked file: trust no size and no time stamp."
)
CATALOG: Any = typer.Option(
    None, "--catalog", metavar="HOST/ID", help="Publish to this catalog (default: as configured)."
)
JSON_FILE: Any = typer.Option(
    None, "--json", metavar="FILE", help="Write the record to FILE; the verdict when refused."
)


def run(
    command: list[str] = typer.Argument(..., metavar="COMMAND", help="The command, best after `--`."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Start the command without a record."),
    description: Optional[str] = DESCRIPTION,
    entry_point: Optional[str] = ENTRY_POINT,
    tag_required: bool = TAG_REQUIRED,
    paranoid: bool = PARANOID,
    catalog: Optional[str] = CATALOG,
    isolated: bool = typer.Option(
        False, "--isolated", help="Run in a temporary worktree of HEAD, whatever is changed in yours."
    ),
    output_paths: Optional[list[str]] = typer.Option(
        None,
        "--output",
        metavar="PATH",
        help="With --isolated: copy this, or all of a glob, back; repeatable.",
    ),
    keep: bool = typer.Option(False, "--keep", help="With --isolated: leave the temporary worktree behind."),
    json_file: Optional[str] = JSON_FILE,
    quiet: bool = typer.Option(False, "--quiet", help="No line before and after the command."),
) -> None:
    """Run COMMAND if the working tree is exactly the commit, and keep its record.

    Exit: the command's own code; 128+n when signal n killed it; 125 refused, nothing was started;
    126 and 127 when it cannot be executed or found; 2 usage or configuration error.
    """

    def say(line: str) -> None:
        if not quiet:
            complain(line)

    if ((output_paths or keep) and not isolated) or (isolated and dry_run):
        wrong = (
            "--isolated and --dry-run exclude each other"
            if dry_run
            else "--output and --keep are for --isolated"
        )
        raise UsageError(wrong, fix="deriva-ml-hooks run --isolated --output PATH -- COMMAND")
    require_json(json_file)
    if dry_run:
        raise typer.Exit(run_unrecorded(command, say=say))
    request = Request(command, description, entry_point, tag_required, catalog, paranoid=paranoid)
    if isolated:
        from deriva_ml_hooks.runner.isolation.isolated import Isolated, run_isolated

        wanted = Isolated(request, outputs=output_paths or (), keep=keep)
        keeps = keeper(quiet=quiet)
        code = concluded(lambda: run_isolated(wanted, say=say, complain=complain, keeps=keeps), json_file)
        raise typer.Exit(code)
    raise typer.Exit(concluded(lambda: run_recorded(accept(request), say=say, complain=complain), json_file))


def keeper(*, quiet: bool) -> Callable[[str], bool]:
    """Asks on a terminal whether to keep what would go; without an answer it is kept."""
    streams = (sys.stdin, sys.stderr)
    asks = not quiet and all(stream is not None and stream.isatty() for stream in streams)

    def keeps(told: str) -> bool:
        complain(told)
        try:
            return typer.confirm("keep the temporary worktree?", default=True, err=True)
        except typer.Abort:
            return True

    return keeps if asks else lambda _: False
