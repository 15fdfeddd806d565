"""`deriva-ml-hooks sync`: publish what is not yet in the catalog."""

from __future__ import annotations

from typing import Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.config import load
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.report import printable


def sync(
    catalog: Optional[str] = typer.Option(
        None, "--catalog", metavar="HOST/ID", help="The catalog (default: as configured)."
    ),
    limit: Optional[int] = typer.Option(None, "--limit", min=1, help="At most this many executions."),
    as_json: bool = typer.Option(False, "--json", help="Print what was done as JSON."),
) -> None:
    """Publish every execution that is not yet in the catalog, oldest first.

    Can be repeated, and run beside others: an execution is published once. Exit 1 when any is left.
    """
    from deriva_ml_hooks.catalog.commit_files import CommitFiles
    from deriva_ml_hooks.catalog.errors import CatalogError
    from deriva_ml_hooks.catalog.publish import Publisher
    from deriva_ml_hooks.catalog.settings import required
    from deriva_ml_hooks.catalog.sync import sync as publish_all
    from deriva_ml_hooks.catalog.sync import unreached

    repository = measured()
    config = load(repository.worktree)
    files = CommitFiles(repository, config.hosts)
    publisher = Publisher(required(config, catalog), ledger_of(repository, config), files)
    try:
        with output.progress("published", publisher.publications.waiting()) as progress:
            report = publish_all(publisher, limit=limit, progress=progress)
    except CatalogError as error:
        if as_json:
            output.data(unreached(publisher, error).as_json())
        raise
    if as_json:
        output.data(report.as_json())
    else:
        words = f"{report.published} published to {report.catalog}, {report.left} left"
        if report.failed:
            words += f", {report.failed} of them failed"
        if report.running:
            words += f" ({report.running} still running)"
        output.text(words)
    for line in report.notes:
        output.note(printable(line))
    reasons = {(reason["message"], reason["fix"]): reason["id"] for reason in reversed(report.reasons)}
    for (message, fix), first in reasons.items():
        output.note(f"\n{first}: {printable(message)}\nfix: {printable(fix)}")
    raise typer.Exit(1 if report.left else 0)
