"""`deriva-ml-hooks run`: a command under the gate, with its record."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.errors import HooksError, UsageError
from deriva_ml_hooks.gate import RefusedError
from deriva_ml_hooks.report import as_error, as_text
from deriva_ml_hooks.runner.child import EndedBySignalError
from deriva_ml_hooks.runner.output_paths import put, require_apart, require_free
from deriva_ml_hooks.runner.recorded import run_recorded, run_unrecorded
from deriva_ml_hooks.runner.request import Request, accept

if TYPE_CHECKING:
    from deriva_ml_hooks.executions.record import Execution

REFUSED = 125
"""Exit code when nothing was started: one that a command itself hardly ever returns (env(1))."""


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


def complain(line: str) -> None:
    """Tell what went wrong with a record."""
    output.note(f"deriva-ml-hooks: {line}")


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


def concluded(action: Callable[[], tuple[int, Execution]], json_file: str | None) -> int:
    """The exit code of a recorded run; its record, or the verdict that refused it, goes to `json_file`."""
    try:
        code, execution = action()
    except RefusedError as refused:
        output.note(as_text(refused.reasons))
        output.note("\nderiva-ml-hooks: refused; nothing was started, nothing is recorded")
        _write(json_file, refused.verdict.as_json())
        return REFUSED
    except EndedBySignalError as ended:
        return ended.exit_code
    except HooksError as error:
        if error.exit_code != 1:  # which means something else here: that the command failed
            raise
        output.note(as_error(error))
        return REFUSED
    if json_file is not None:
        _write(json_file, _with_publications(execution))
    return code


def _with_publications(execution: Execution) -> dict[str, Any]:
    from deriva_ml_hooks.commands import records
    from deriva_ml_hooks.executions.location import ledger_here

    try:
        return records.document(execution, records.published(ledger_here(), [execution]))
    except HooksError:  # what it ran has broken the ledger or the repository: that is told elsewhere
        return execution.as_json()


def require_json(path: str | None) -> None:
    """See, before anything runs, that `--json` can be written. What is there stays until there is another.

    Raises UsageError where it cannot, or must not be replaced.
    """
    if path is not None:
        require_replaceable(path, "--json", streams=True)


def require_replaceable(path: str, option: str, *, streams: bool = False) -> None:
    """Raises UsageError where writing `path`, given with `option`, would replace what has to stay.

    With `streams` a device or a pipe may be written to.
    """
    from deriva_ml_hooks.executions.location import ledger_here

    require_free(path, option, streams=streams)
    try:
        ledger = ledger_here().path
    except HooksError:  # what is wrong there is told by the gate
        return
    require_apart(path, option, ledger)


def _write(path: str | None, document: Any) -> None:
    if path is None:
        return
    try:
        put(path, output.document_of(document).encode("ascii") + b"\n")
    except OSError as error:
        problem = UsageError(
            f"{path}: not written: {error.strerror}", fix="name a file in a folder that exists"
        )
        output.note(as_error(problem))
