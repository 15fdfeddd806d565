"""`deriva-ml-hooks provenance`: what is known of the commit, and the forms it is handed on in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Optional

import typer

from deriva_ml_hooks import api
from deriva_ml_hooks.commands import output
from deriva_ml_hooks.errors import GitError, NotARepositoryError, UsageError
from deriva_ml_hooks.report import few

if TYPE_CHECKING:
    from deriva_ml_hooks.git.repository import Repository


class Form(str, Enum):
    """The forms of an export."""

    json = "json"
    env = "env"
    docker = "docker"
    ro_crate = "ro-crate"


def provenance(
    execution_id: Optional[str] = typer.Argument(
        None, metavar="ID", help="With --format ro-crate: an id, enough of its beginning, or `last`."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
    refresh: bool = typer.Option(False, "--refresh", help="Read it anew instead of from the cache."),
    form: Optional[Form] = typer.Option(
        None,
        "--format",
        help="Hand it on: a file to bake into an image, shell lines, build arguments, a crate.",
    ),
    target: Optional[str] = typer.Option(
        None,
        "--output",
        metavar="FILE",
        help="Write it there instead of to stdout (a crate: a folder, or .zip).",
    ),
    left_out: Optional[list[str]] = typer.Option(
        None,
        "--left-out",
        metavar="GLOB",
        help="With --format json: what the image leaves out (.dockerignore); may be given several times.",
    ),
) -> None:
    """What is known of the commit that is checked out, whatever state the files are in.

    An export says whether the worktree was exactly the commit; docker arguments are given only then.
    """
    if (execution_id is not None) != (form is Form.ro_crate):
        fix = "deriva-ml-hooks provenance --format ro-crate ID (see: deriva-ml-hooks executions list)"
        raise UsageError("an ID goes with --format ro-crate, and with nothing else", fix=fix)
    if target is not None and form is None:
        raise UsageError("--output says where, but not what", fix="--format json, env, docker or ro-crate")
    if target is not None and execution_id is None:
        from deriva_ml_hooks.commands.conclusion import require_replaceable

        require_replaceable(target, "--output", streams=True)
    if left_out and form is not Form.json:
        raise UsageError("--left-out goes with --format json", fix="leave it out, or: --format json")
    if execution_id is not None:
        _crate(execution_id, target)
    elif form is not None:
        _write(_exported(form, left_out or (), refresh=refresh), target)
    else:
        _show(as_json=as_json, refresh=refresh)


_IN_LINES = ("schema", "submodules", "lockfiles", "no_version")


def _show(*, as_json: bool, refresh: bool) -> None:
    record = api.provenance(refresh=refresh)
    document = record.as_json()
    if as_json:
        output.data(document)
        return
    pairs = [(name, value) for name, value in document.items() if name not in _IN_LINES]
    if record.no_version is not None:
        reason = f"{record.no_version['reason']} (fix: {record.no_version['fix']})"
        pairs.append(("no_version", reason))
    pairs += [("submodule", f"{module['path']} at {module['commit']}") for module in record.submodules]
    pairs += [("lockfile", f"{lockfile['path']} ({lockfile['blob']})") for lockfile in record.lockfiles]
    output.text(output.fields(pairs))


def _exported(form: Form, left_out: Sequence[str], *, refresh: bool) -> str:
    from deriva_ml_hooks.export import code as export
    from deriva_ml_hooks.gate import judge, require_accepted
    from deriva_ml_hooks.git.discovery import measured

    if form is Form.json:
        measured()  # what an image was given cannot be made from the image
    # Read first and judged afterwards: what changes in between makes it unclean, and never goes along unseen.
    record = api.provenance(refresh=refresh)
    try:
        files = [*export.files_of(record, left_out)] if form is Form.json else []
    except ValueError as error:
        raise UsageError(f"--left-out: {error}", fix="globs as in .gitignore") from None
    verdict = judge()
    if form is Form.docker:
        require_accepted(verdict)
    if verdict.provenance is not None and verdict.provenance.commit != record.commit:
        raise GitError("HEAD", "moved while this was read", fix="call again")
    if not verdict.accepted:
        first = verdict.reasons[0]
        where = f"{first.path}: " if first.path else ""
        output.note(
            f"deriva-ml-hooks: exported as not clean, so no image will take it: {where}{first.message}"
        )
    if form is Form.docker:
        return "\n".join(export.as_docker(record)) + "\n"
    if form is Form.env:
        return "\n".join(export.as_shell(record, clean=verdict.accepted)) + "\n"
    return json.dumps(export.as_document(record, files, clean=verdict.accepted), indent=1) + "\n"


def _crate(execution_id: str, target: str | None) -> None:
    from deriva_ml_hooks.executions.location import ledger_here
    from deriva_ml_hooks.export import crate

    execution = ledger_here().find(execution_id)
    repository = _repository()
    if target is None:
        document, left_out = crate.metadata(execution, repository)
        output.data(document)
    else:
        left_out = crate.write(execution, target, repository)
    if left_out:
        what = few(left_out, most=8)
        output.note(f"deriva-ml-hooks: left out, since not to be had as it was recorded: {what}")


def _repository() -> Repository | None:
    from deriva_ml_hooks.git.discovery import measured

    try:
        return measured()
    except NotARepositoryError:  # an image
        return None


def _write(text: str, target: str | None) -> None:
    from deriva_ml_hooks.runner.output_paths import put

    if target is None:
        output.as_is(text.rstrip("\n"))
        return
    try:
        put(target, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        fix = "name a file in a folder that exists"
        raise UsageError(f"{target}: not written: {error.strerror}", fix=fix) from None
