"""`deriva-ml-hooks verify`: whether what the ledger says is true."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.executions.places import ledger_of
from deriva_ml_hooks.executions.verification import GRAVEST_FIRST, Verdict, Verification, verify
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.report import Finding, as_text

if TYPE_CHECKING:
    from rich.progress import TaskID

SCHEMA = 1
_VERDICTS: tuple[Verdict, ...] = ("verified", *reversed(GRAVEST_FIRST))
_STEP = 100
"""How many executions are passed between two drawings of the progress bar."""


def verify_(
    ids: Optional[list[str]] = typer.Argument(None, metavar="[ID]...", help="Ids, or enough of each."),
    everything: bool = typer.Option(False, "--all", help="Every execution, which is also the default."),
    as_json: bool = typer.Option(False, "--json", help="Print what was found as JSON."),
    remote: bool = typer.Option(
        False, "--remote", help="Ask the remotes themselves, not what is known of them here."
    ),
) -> None:
    """Hold the executions in the ledger against the repository as it is now.

    Exit 0: all verified. 1: one at least is not, or it cannot be told. 2: usage or configuration error.
    """
    if ids and everything:
        raise UsageError("ids and --all exclude each other", fix="deriva-ml-hooks verify --all")
    repository = discover()
    config = load(repository.worktree)
    ledger = ledger_of(repository, config)
    if ids:
        executions = list({found.id: found for found in map(ledger.find, ids)}.values())
    else:
        executions = ledger.newest()
    chosen = remotes.chosen(repository, configured=config.remote, hosts=config.hosts)
    with _progress() as tick:
        name = chosen.name if chosen else None
        found = verify(repository, executions, remote=name, hosts=config.hosts, ask=remote, tick=tick)
    counts = Counter(verification.verdict for verification in found)
    if as_json:
        output.data(
            {
                "schema": SCHEMA,
                "verified": counts["verified"] == len(found),
                "counts": {verdict: counts[verdict] for verdict in _VERDICTS},
                "executions": [verification.as_json() for verification in found],
            }
        )
    else:
        _tell(found, counts)
    raise typer.Exit(0 if counts["verified"] == len(found) else 1)


def _tell(found: list[Verification], counts: Counter[Verdict]) -> None:
    """What was found for people: findings and notes on stderr, the gravest first; the sum on stdout."""
    lines = [
        Finding(finding.code, _where(verification, finding), finding.message, _fix(verification, finding))
        for verification in sorted(found, key=lambda v: -_VERDICTS.index(v.verdict))
        for finding in verification.findings
    ]
    if lines:
        output.note(as_text(lines) + "\n")
    notes = [
        Finding("note", verification.execution.id, note, "nothing: this is no finding")
        for verification in found
        for note in verification.notes
    ]
    if notes:
        output.note(as_text(notes).rpartition("\nfix: ")[0].replace("\n", "\nnote: ").join(("note: ", "\n")))
    if not found:
        output.text("no executions")
        return
    parts = [f"{counts[v]:,} {v}" for v in _VERDICTS if counts[v]]
    plural = "" if len(found) == 1 else "s"
    output.text(f"{len(found):,} execution{plural}: {', '.join(parts)}")


def _where(verification: Verification, finding: Finding) -> str:
    where = f"{verification.execution.id} {finding.code}"
    return f"{where}: {finding.path}" if finding.path is not None else where


def _fix(verification: Verification, finding: Finding) -> str:
    """The way out without the id, so that findings with the same one are told together."""
    return finding.fix.replace(verification.execution.id, "ID")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr where that is a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def tick(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            if done % _STEP == 0 or done + 1 >= total:
                bar.update(tasks[what], completed=done + 1)

        yield tick
