"""`deriva-ml-hooks verify`: whether what the ledger says is true."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.commands.executions import ids as known
from deriva_ml_hooks.commands.executions import look_after_jobs
from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.redact import redacted
from deriva_ml_hooks.report import Finding, as_text, few, printable
from deriva_ml_hooks.verify.verdicts import VERDICTS, Row, Verdict, Verification, verify

if TYPE_CHECKING:
    from deriva_ml_hooks.executions.record import Execution

SCHEMA = 1
_SHOWN = 1000
"""Findings of a verdict, and notes, that people are shown; JSON has all."""


def verify_(
    ids: Optional[list[str]] = typer.Argument(
        None, metavar="ID", help="Ids, enough of each, or `last`.", autocompletion=known
    ),
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
    repository = measured()
    config = load(repository.worktree)
    ledger = ledger_of(repository, config)
    look_after_jobs(ledger)
    rows: Callable[[], Iterable[Row]] = ledger.rows
    if ids:
        wanted = list({found.id: found for found in map(ledger.row_of, ids)}.values())
        rows = lambda: wanted  # noqa: E731
    chosen = remotes.chosen(repository, configured=config.remote, hosts=config.hosts)
    counts: Counter[Verdict] = Counter()
    total = len(wanted) if ids else ledger.count()
    with output.progress("objects", total, quiet=as_json and sys.stdout.isatty()) as tick:
        found = verify(
            repository,
            rows,
            remote=chosen.name if chosen else None,
            hosts=config.hosts,
            ask=remote,
            runs=lambda execution: _runs(execution, repository.worktree),
            tick=tick,
        )
        gathered = _gathered(_counted(found, counts)) if not as_json else None
        if gathered is None:
            _stream(_counted(found, counts), counts)
    if gathered is not None:
        _tell(gathered, counts)
    raise typer.Exit(0 if counts["verified"] == counts.total() else 1)


def _counted(found: Iterable[Verification], counts: Counter[Verdict]) -> Iterator[Verification]:
    for verification in found:
        counts[verification.verdict] += 1
        yield verification


def _runs(execution: Execution, worktree: str) -> str | None:
    """What a command runs, by its words alone, as `Runs` has it."""
    from deriva_ml_hooks.runner.command.invocation import Kind, invocation

    if execution.notebook is not None:
        return None
    cwd = os.path.join(worktree, execution.cwd)
    found = invocation(execution.command, cwd=cwd, top=worktree, executable=None)
    if found.kind is Kind.INLINE:
        return ""
    if found.kind is not Kind.FILE or found.path is None or found.guessed is not None:
        return None
    if "://" in found.path:
        return found.path
    way = inside(os.path.realpath(found.path), os.path.realpath(worktree))
    return None if os.path.islink(found.path) else way or found.path


def _stream(found: Iterable[Verification], counts: Counter[Verdict]) -> None:
    """JSON as it is found out: what is printed is not kept."""
    mark = f'{{"schema": {SCHEMA},\n "executions": ['
    for verification in found:
        sys.stdout.write(mark + "\n  " + json.dumps(redacted(verification.as_json())))
        mark = ","
    end = {
        "verified": counts["verified"] == counts.total(),
        "counts": {verdict: counts[verdict] for verdict in VERDICTS},
    }
    sys.stdout.write(("" if mark == "," else mark) + f"],\n {json.dumps(end)[1:]}\n")


@dataclass
class _Gathered:
    """What people are shown: findings by verdict, and of each note how many have it and who is first."""

    grave: dict[Verdict, list[Finding]]
    notes: dict[str, list[str]]
    left_out: int = 0


def _gathered(found: Iterable[Verification]) -> _Gathered:
    """Findings and notes, as many as people are shown; and how many more there are."""
    gathered = _Gathered({verdict: [] for verdict in reversed([*VERDICTS])}, {})
    for verification in found:
        lines = gathered.grave[verification.verdict]
        for f in verification.findings:
            if len(lines) < _SHOWN:
                where = _where(verification, f)
                lines.append(Finding(f.code, where, f.message, _fix(verification, f)))
            else:
                gathered.left_out += 1
        for note in verification.notes:
            if note in gathered.notes or len(gathered.notes) < _SHOWN:
                gathered.notes.setdefault(note, []).append(verification.id)
            else:
                gathered.left_out += 1
    return gathered


def _tell(gathered: _Gathered, counts: Counter[Verdict]) -> None:
    """What was found for people: findings and notes on stderr; the sum on stdout."""
    everything = [finding for lines in gathered.grave.values() for finding in lines]
    if everything:
        output.note(as_text(everything) + "\n")
    for note, ids in gathered.notes.items():
        output.note(f"note: {few(ids)}: {printable(note)}")
    if gathered.left_out:
        output.note(f"and {gathered.left_out:,} more findings and notes: deriva-ml-hooks verify --json\n")
    total = counts.total()
    if not total:
        output.text("no executions")
        return
    parts = [f"{counts[v]:,} {v}" for v in VERDICTS if counts[v]]
    plural = "" if total == 1 else "s"
    output.text(f"{total:,} execution{plural}: {', '.join(parts)}")


def _where(verification: Verification, finding: Finding) -> str:
    where = f"{verification.id} {finding.code}"
    return f"{where}: {finding.path}" if finding.path is not None else where


def _fix(verification: Verification, finding: Finding) -> str:
    """The way out without the id, so that findings with the same one are told together."""
    return finding.fix.replace(verification.id, "ID")
