"""Whole processes timed in turn, so that a slow moment of the machine hits all of them alike."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """A command's median wall time in seconds, and the largest memory of one process in megabytes."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Command:
    """A command to be timed, and what puts things back to how each of its runs should find them."""

    argv: Sequence[str]
    cwd: str
    before: Callable[[], object] | None = None
    env: Mapping[str, str] | None = None


def in_turn(commands: Mapping[str, Command], runs: int) -> dict[str, Timed]:
    """Every command `runs` times after one warm-up, one after the other in each round."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, float] = dict.fromkeys(commands, 0.0)
    for turn in range(runs + 1):
        for name, command in commands.items():
            if command.before is not None:
                command.before()
            seconds, megabytes = _once(command)
            if turn:
                times[name].append(seconds)
                memory[name] = max(memory[name], megabytes)
    return {name: Timed(statistics.median(times[name]), memory[name]) for name in commands}


def once(command: Command) -> Timed:
    """One run of a command."""
    return Timed(*_once(command))


def _once(command: Command) -> tuple[float, float]:
    null = os.open(os.devnull, os.O_RDWR)
    here = os.getcwd()
    os.chdir(command.cwd)
    try:
        files = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]
        started = time.perf_counter()
        env = {**os.environ, **(command.env or {})}
        pid = os.posix_spawnp(command.argv[0], [*command.argv], env, file_actions=files)
        _, _, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - started
    finally:
        os.chdir(here)
        os.close(null)
    # Linux counts kilobytes, macOS bytes (getrusage(2)).
    return seconds, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first one its head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def milliseconds(timed: Timed) -> str:
    """A time as it is shown."""
    return f"{timed.seconds * 1000:.0f} ms"
