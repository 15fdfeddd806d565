"""`deriva-ml-hooks run-notebook`: a notebook under the gate, with its record."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.commands.conclusion import complain, concluded, require_json, require_replaceable
from deriva_ml_hooks.commands.run import CATALOG, DESCRIPTION, JSON_FILE, PARANOID, TAG_REQUIRED
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.report import printable

if TYPE_CHECKING:
    from deriva_ml_hooks.executions.record import Execution
    from deriva_ml_hooks.runner.notebook.task import Notebook


def run_notebook(
    notebook: str = typer.Argument(
        ..., metavar="NOTEBOOK", help="The notebook; the committed one is executed."
    ),
    parameters: Optional[list[str]] = typer.Option(
        None,
        *("--parameter", "-p"),
        metavar="NAME VALUE",
        help="Set a parameter, typed as papermill types it.",
    ),
    files: Optional[list[str]] = typer.Option(
        None, "--parameters-file", "-f", metavar="FILE", help="Set the parameters in a YAML or JSON file."
    ),
    kernel: Optional[str] = typer.Option(
        None, "--kernel", help="The kernel (default: the notebook's, else this environment's own)."
    ),
    executed: Optional[str] = typer.Option(
        None, "--output", metavar="PATH", help="The executed notebook (default: in the execution's folder)."
    ),
    inspect: bool = typer.Option(False, "--inspect", help="List the notebook's parameters; run nothing."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Execute the working file without a record; kept only with --output."
    ),
    description: Optional[str] = DESCRIPTION,
    tag_required: bool = TAG_REQUIRED,
    paranoid: bool = PARANOID,
    catalog: Optional[str] = CATALOG,
    json_file: Optional[str] = JSON_FILE,
    quiet: bool = typer.Option(False, "--quiet", help="No line before and after, no progress."),
) -> None:
    """Execute NOTEBOOK, as it is committed, if the working tree is exactly the commit; keep its record.

    It runs in the current folder. Exit: 0 when every cell ran, or one ended it by sys.exit(0), which the
    record tells; 1 when one failed or its kernel died; 128+n when signal n ended it; 125 refused, nothing
    was started; 2 usage or configuration error, unknown parameters too.
    """

    from deriva_ml_hooks.runner.notebook.task import (
        NotebookTask,
        child,
        committed,
        read,
        values,
    )
    from deriva_ml_hooks.runner.output_paths import require_uncommitted
    from deriva_ml_hooks.runner.recorded import run_recorded, run_unrecorded
    from deriva_ml_hooks.runner.request import Request, accept

    pairs = [_pair(word) for word in parameters or []]
    progress = not quiet and sys.stderr is not None and sys.stderr.isatty()

    def say(line: str) -> None:
        if not quiet:
            complain(line)

    def found(path: str, data: bytes) -> Notebook:
        notebook = read(path, data, kernel=kernel)
        if notebook.kernel.note and not inspect:
            say(notebook.kernel.note)
        return notebook

    def recorded() -> tuple[int, Execution]:
        words = ["deriva-ml-hooks", "run-notebook", notebook]
        words += [word for name, value in pairs for word in ("-p", name, value)]
        words += [word for file in files or [] for word in ("-f", file)]
        words += ["--kernel", kernel] if kernel else []
        words += ["--output", executed] if executed else []
        said = (words, description, notebook, tag_required, catalog, sys.executable)
        request = Request(*said, paranoid=paranoid)
        accepted = accept(request)
        if executed is not None:
            require_uncommitted(executed, "--output", accepted.provenance)
        that = found(notebook, committed(notebook, accepted))
        that = replace(that, path=accepted.entry_point.path or notebook)
        task = NotebookTask(that, values(that, pairs, files or []), executed, progress)
        return run_recorded(accepted, say=say, complain=complain, task=task)

    if executed is not None:
        require_replaceable(executed, "--output")
    require_json(json_file)
    if inspect:
        _list(found(notebook, _working_file(notebook)))
    elif dry_run:
        that = found(notebook, _working_file(notebook))
        where = os.path.abspath(executed) if executed else None
        chosen = values(that, pairs, files or [])
        words, stdin = child(that, chosen, os.path.abspath(notebook), where, progress=progress)
        raise typer.Exit(run_unrecorded(words, say=say, stdin=stdin))
    else:
        raise typer.Exit(concluded(recorded, json_file))


def joined(words: Sequence[str]) -> list[str]:
    """Words of a command line with `-p NAME VALUE` as `-p NAME=VALUE`: typer has no options of two words."""
    rest, found = list(words), []
    while rest:
        found.append(rest.pop(0))
        if found[-1] == "--":
            break
        if found[-1] in ("-p", "--parameter") and len(rest) > 1 and "=" not in rest[0]:
            found.append(f"{rest.pop(0)}={rest.pop(0)}")
    return found + rest


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise UsageError(f"-p {name}: has no value", fix="-p NAME VALUE")
    return name, value


def _working_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        from deriva_ml_hooks.runner.notebook.kernels import NotebookRunError

        fix = "name a notebook in it" if os.path.isdir(path) else "see how it is spelled"
        raise NotebookRunError(f"{path}: {error.strerror}", fix=fix) from None


def _list(notebook: Notebook) -> None:
    if notebook.parameters is None:
        output.note(
            f"parameters cannot be told in {notebook.kernel.language}; papermill knows those of Python"
        )
        return
    if not notebook.parameters:
        output.note("no parameters; they are set in the cell with the tag parameters")
        return
    rows = [(p.name, p.type or "", p.default) for p in notebook.parameters]
    output.text("\n".join(output.columns([tuple(map(printable, row)) for row in rows])))
