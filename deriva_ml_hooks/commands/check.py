"""`deriva-ml-hooks check`: the gate's verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.report import as_text, printable

if TYPE_CHECKING:
    from deriva_ml_hooks.gate import Verdict


def check(
    as_json: bool = typer.Option(False, "--json", help="Print the verdict as JSON."),
    paranoid: bool = typer.Option(
        False, "--paranoid", help="Rehash every tracked file: trust no size and no time stamp."
    ),
) -> None:
    """May an execution be recorded here and now?

    Exit 0: accepted. 1: refused. 2: usage or configuration error.
    """
    from deriva_ml_hooks.gate import judge

    verdict = judge(paranoid=paranoid)
    if as_json:
        output.data(verdict.as_json())
    else:
        tell(verdict)
    raise typer.Exit(0 if verdict.accepted else 1)


def tell(verdict: Verdict) -> None:
    """A verdict for people: the findings on stderr, the answer on stdout."""
    if verdict.reasons:
        output.note(as_text(verdict.reasons) + "\n")
    if verdict.warnings:
        output.note(
            "\n\n".join(f"warning: {block}" for block in as_text(verdict.warnings).split("\n\n")) + "\n"
        )
    provenance = verdict.provenance
    if not verdict.accepted or provenance is None:
        output.text("refused")
        return
    words = [
        provenance.commit[:12],
        provenance.branch or "detached HEAD",
        provenance.tag or provenance.version,
    ]
    output.text("accepted: " + "  ".join(printable(word) for word in words if word))
