"""`deriva-ml-hooks submit`: a job that a scheduler runs, accepted now, with its record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional

import typer

from deriva_ml_hooks.commands.conclusion import complain, concluded, require_json
from deriva_ml_hooks.commands.run import CATALOG, DESCRIPTION, ENTRY_POINT, PARANOID, TAG_REQUIRED
from deriva_ml_hooks.executions.location import ledger_here
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.install.native import package_folder
from deriva_ml_hooks.runner.isolation.submission import Submission, run_job, settle
from deriva_ml_hooks.runner.isolation.submission import submit as submitted
from deriva_ml_hooks.runner.request import Request

# As the native hooks do: never a module of the folder that the job is started in.
_MAIN = (
    "import site, sys; p = sys.argv.pop(1); p and site.addsitedir(p); "
    "from deriva_ml_hooks.cli import main; sys.exit(main())"
)


def submit(
    command: list[str] = typer.Argument(
        ..., metavar="SUBMITTER", help="sbatch, qsub or bsub with its options and a committed script."
    ),
    description: Optional[str] = DESCRIPTION,
    entry_point: Optional[str] = ENTRY_POINT,
    tag_required: bool = TAG_REQUIRED,
    paranoid: bool = PARANOID,
    catalog: Optional[str] = CATALOG,
    isolated: bool = typer.Option(
        False, "--isolated", help="Submit HEAD, whatever is changed in your worktree."
    ),
    output_paths: Optional[list[str]] = typer.Option(
        None, "--output", metavar="PATH", help="Copy this, or all of a glob, back at its end; repeatable."
    ),
    worktree_root: Optional[str] = typer.Option(
        None,
        "--worktree-root",
        metavar="FOLDER",
        help="Pin the worktree in FOLDER, which the job has to see too (default: beside yours).",
    ),
    json_file: Optional[str] = typer.Option(None, "--json", metavar="FILE", help="Write the record to FILE."),
    quiet: bool = typer.Option(False, "--quiet", help="Only what the submitter says."),
) -> None:
    """Submit a job if the working tree is exactly the commit, and begin its record.

    The job runs later in a worktree of the commit that is pinned now, and closes the record. No job arrays.

    Exit: 0 submitted (with `sbatch --wait`: the job's own code); 125 refused, here or by the submitter;
    2 usage or configuration error.
    """

    def say(line: str) -> None:
        if not quiet:
            complain(line)

    require_json(json_file)
    home = measured()
    settle(home, ledger_here(), say)
    request = Request((), description, entry_point, tag_required, catalog, paranoid=paranoid)
    callback = [sys.executable, "-I", "-c", _MAIN, package_folder(home.worktree), "job"]
    wanted = Submission(command, request, callback, output_paths or (), worktree_root, isolated)

    def answer(text: str) -> None:
        sys.stdout.write(text)

    code = concluded(lambda: submitted(wanted, say=say, complain=complain, answer=answer), json_file)
    raise typer.Exit(code)


def job(words: Sequence[str]) -> int:
    """What a submitted job calls: its command, in the worktree that was pinned for it; the exit code."""
    return concluded(lambda: run_job(words[0], words[1:], say=complain, complain=complain), None)
