"""What a record says against itself: each rule that every record of a run keeps, stated once.

What no rule here and no object of the repository can show is listed in docs/verify.md.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from deriva_ml_hooks.executions import circumstances
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.provenance.record import SCHEMA

SKEW = 300
"""Seconds that clocks of two machines may differ by."""
OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f-]{8,64}")
_FILE_KEYS = {"path", "sha256", "offset"}
_STDIN_KINDS = {
    kind: _FILE_KEYS if kind == circumstances.FILE else set()
    for kind in (
        circumstances.TERMINAL,
        circumstances.NOTHING,
        circumstances.PIPE,
        circumstances.FILE,
        circumstances.DEVICE,
    )
}


def contradictions(execution: Execution) -> Iterator[str]:
    """The rules that a record breaks, in words; raises TypeError and its like for values of other types."""
    for rules in (_ending, _times, _provenance, _circumstances):
        yield from (message for holds, message in rules(execution) if not holds)


def _ending(e: Execution) -> Iterator[tuple[bool, str]]:
    ended = e.ended_at is not None
    said = f"{e.status}, but exit code {e.exit_code}, signal {e.signal}"
    if e.status == "Completed":
        yield e.exit_code == 0 and e.signal is None, said
    elif e.status == "Failed":
        yield e.exit_code not in (None, 0), said
    elif e.status == "Aborted":  # a command that was asked to end may do so with 0
        yield e.exit_code != 0 or (e.detail or "").startswith("signal "), said
    else:
        open_ = (e.exit_code, e.signal, e.duration, e.ended_at) == (None,) * 4
        yield open_, f"{said}, ended {e.ended_at}"
    yield ended or e.status not in ("Completed", "Failed"), f"{e.status}, but it has not ended"
    yield e.signal is None or e.exit_code == 128 + e.signal, said
    yield e.exit_code is None or (ended and e.duration is not None), f"{said}, without an end or a duration"


def _times(e: Execution) -> Iterator[tuple[bool, str]]:
    committed = seconds(e.provenance.get("committed_at"))
    started, ended = seconds(e.started_at), seconds(e.ended_at)
    readable = started is not None and (e.ended_at is None or ended is not None)
    yield readable, "it began, or ended, at no time that can be read"
    if started is None:
        return
    before = f"it began at {e.started_at}, before the commit was made"
    yield committed is None or started >= committed - SKEW, before
    if ended is not None:
        span = f"it began at {e.started_at} and ended at {e.ended_at}"
        yield ended >= started - SKEW, span
        fits = e.duration is None or 0 <= e.duration <= max(ended - started, 0) + SKEW
        yield fits, f"{span}, but took {e.duration} seconds"


def _provenance(e: Execution) -> Iterator[tuple[bool, str]]:
    known, entry = e.provenance, e.entry_point
    yield known.get("schema") == SCHEMA, f"schema is {known.get('schema')}, not {SCHEMA}"
    oids = {name: known.get(name) for name in ("tree", "tag_object")}
    oids |= {name: entry.get(name) for name in ("blob", "checksum")}
    for name, oid in oids.items():
        yield oid is None or bool(OID.fullmatch(oid)), f"{name} is not the id of an object: {oid}"
    reason = known.get("no_version", known.get("version") is None)  # earlier releases gave no reason
    yield bool(reason) != bool(known.get("version")), "it has a version and no_version, or neither"
    pushed, remote = known.get("pushed"), known.get("remote")
    follows = pushed is None or pushed.startswith(f"refs/remotes/{remote}/")
    yield follows, f"pushed is {pushed}, and the remote {remote}"
    yield stays_inside(e.cwd), f"its working directory is outside the repository: {e.cwd}"


def _circumstances(e: Execution) -> Iterator[tuple[bool, str]]:
    yield e.rerun_of is None or bool(_ID.fullmatch(e.rerun_of)), "rerun_of is no id"
    yield e.rerun_of != e.id, "it is a rerun of itself"
    yield e.pid > 0 and bool(e.host), "it ran in no process, or on no host"
    names = [*(e.environment or ())]
    yield names == sorted({n for n in names if n and "=" not in n}), "environment does not hold names"
    yield e.agent is None or any(e.agent.values()), "its agent is nobody"
    if e.stdin is not None:
        kind = e.stdin.get("kind")
        fits = e.stdin.keys() - {"kind"} == _STDIN_KINDS.get(str(kind))
        yield fits and (e.stdin.get("offset") or 0) >= 0, f"stdin is no standard input: {dict(e.stdin)}"
    if e.notebook is not None:
        complete = {"parameters", "kernel", "output"} <= e.notebook.keys()
        yield complete, f"notebook says nothing of one: {sorted(e.notebook)}"
        path = e.entry_point.get("path") or ""
        yield path.endswith(".ipynb"), f"it ran a notebook, and names {path or 'the tree as a whole'}"
    hashed: list[Mapping[str, Any]] = [*e.results, e.stdin or {}, e.notebook or {}]
    for each in hashed:
        sha256 = each.get("sha256")
        yield sha256 is None or bool(_SHA256.fullmatch(sha256)), f"sha256 is no SHA-256: {sha256}"


def stays_inside(cwd: str) -> bool:
    """Whether a recorded folder is one of the worktree, as the runner writes it."""
    return posixpath.normpath(cwd) == cwd and not f"{cwd}/".startswith(("/", "../"))


def seconds(time: Any) -> int | None:
    """An ISO 8601 time in whole seconds since 1970; None for anything else."""
    try:
        if time.startswith("@"):
            return int(time[1:].partition(" ")[0])
        return int(datetime.fromisoformat(time).timestamp() // 1)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
