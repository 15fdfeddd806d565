"""One execution: what ran, at which commit, when and how it ended. A value with a fixed JSON form.

A field is never renamed; new ones may come.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any, Literal

from deriva_ml_hooks.executions import processes

Status = Literal["Submitted", "Running", "Completed", "Failed", "Aborted"]

LOST = "lost"
"""The detail of an execution whose process is gone without a word."""
NOT_STARTED = "not started: "
"""What the detail of an execution begins with whose command was given up before it ran."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a command. `duration` is in seconds; times are ISO 8601 in UTC; `command` is redacted.

    `environment`: the names, never the values, of the variables that were set (None: not recorded).
    `isolated`: it ran in a temporary worktree of its own. `rerun_of`: the id of the execution it repeats.
    `notebook`: its parameters, kernel, output (a path, and its `sha256`) and `failed_cell`.
    `agent`: who began it: `name` and `email` as git knows them, and the `account`.
    `stdin`: the `kind` of its standard input; of a file the `path`, `sha256` and the `offset` it began at.
    `results`: files it made or changed, as far as known: `path`, from the top, and `sha256`.
    `interpreter`: the `executable` and `version` of the first Python that its command starts.
    `job`: of one that a scheduler starts: the `submitter`, the job's `id`, and on which `host` and `at` what
    time it was submitted.
    `parent`: the id of the execution whose command began this one.
    """

    id: str
    status: Status
    exit_code: int | None
    signal: int | None
    detail: str | None
    started_at: str
    ended_at: str | None
    duration: float | None
    description: str | None
    command: Sequence[str]
    cwd: str
    host: str
    pid: int
    process: str | None
    entry_point: Mapping[str, Any]
    provenance: Mapping[str, Any]
    warnings: Sequence[Mapping[str, Any]]
    changed_during_run: Sequence[Mapping[str, Any]]
    environment: Sequence[str] | None = None
    isolated: bool = False
    rerun_of: str | None = None
    notebook: Mapping[str, Any] | None = None
    agent: Mapping[str, Any] | None = None
    stdin: Mapping[str, Any] | None = None
    results: Sequence[Mapping[str, Any]] = ()
    job: Mapping[str, Any] | None = None
    parent: str | None = None
    interpreter: Mapping[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.status in ("Submitted", "Running")

    def as_json(self) -> dict[str, Any]:
        """The execution as JSON; `commit` repeats the provenance's, since everybody asks for it."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _SHOWN}
        return values | {"commit": self.provenance["commit"], "command": [*self.command]}


_SHOWN = tuple(f.name for f in fields(Execution) if f.name != "process")


def begun(
    *, command: Sequence[str], entry_point: Mapping[str, Any], provenance: Mapping[str, Any], **told: Any
) -> Execution:
    """An execution that this process begins now, with an id of its own; `told`: any other field."""
    pid = os.getpid()
    values: dict[str, Any] = {
        "id": new_id(),
        "status": "Running",
        "exit_code": None,
        "signal": None,
        "detail": None,
        "started_at": now(),
        "ended_at": None,
        "duration": None,
        "description": None,
        "cwd": ".",
        "host": processes.host(),
        "pid": pid,
        "process": processes.identity(pid),
        "warnings": [],
        "changed_during_run": [],
        "results": [],
    }
    return Execution(command=command, entry_point=entry_point, provenance=provenance, **(values | told))


def new_id() -> str:
    """A UUID of version 7 (RFC 9562, 5.7): it sorts by the millisecond it was made in."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def now() -> str:
    """The time, ISO 8601 in UTC to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
