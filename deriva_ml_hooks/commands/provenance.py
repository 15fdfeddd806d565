"""`deriva-ml-hooks provenance`: what is known of the commit."""

from __future__ import annotations

import typer

from deriva_ml_hooks import api
from deriva_ml_hooks.commands import output


def provenance(
    as_json: bool = typer.Option(False, "--json", help="Print the record as JSON."),
    refresh: bool = typer.Option(False, "--refresh", help="Read it anew instead of from the cache."),
) -> None:
    """What is known of the commit that is checked out, whatever state the files are in."""
    record = api.provenance(refresh=refresh)
    document = record.as_json()
    if as_json:
        output.data(document)
        return
    pairs = [
        (name, value) for name, value in document.items() if name not in ("schema", "submodules", "lockfiles")
    ]
    pairs += [("submodule", f"{module['path']} at {module['commit']}") for module in record.submodules]
    pairs += [("lockfile", f"{lockfile['path']} ({lockfile['blob']})") for lockfile in record.lockfiles]
    output.text(output.fields(pairs))
