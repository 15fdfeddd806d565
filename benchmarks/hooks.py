"""The hooks beside their peers: nbstripout, pre-commit-hooks (where it is installed), and git alone."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.repositories import git, with_files
from benchmarks.timing import Command, Timed, in_turn, milliseconds, table

OURS = (sys.executable, "-m", "deriva_ml_hooks", "hook")
_NBSTRIPOUT = (sys.executable, "-m", "nbstripout")
_LARGE_FILES_PEER = (sys.executable, "-m", "pre_commit_hooks.check_added_large_files")

Row = tuple[str, str, str, str]


def main(folder: Path, runs: int) -> None:
    """Print one table for everything that the hooks are held against."""
    rows: list[Row] = [("what", "ours", "peer", "ours / peer")]
    rows += _notebooks(folder, runs)
    rows += _staged_files(folder, runs)
    rows += _native(folder, runs)
    rows += _first_push(folder, runs)
    print(table(rows))


def _row(what: str, ours: Timed, name: str, peer: Timed) -> Row:
    ratio = f"{ours.seconds / peer.seconds:.2f}"
    return (what, milliseconds(ours), f"{milliseconds(peer)} ({name})", ratio)


def _notebooks(folder: Path, runs: int) -> list[Row]:
    work = folder / "notebooks"
    work.mkdir()
    stripped, executed = work / "stripped", work / "executed"
    names = [f"{number:03d}.ipynb" for number in range(500)]
    for place, outputs in ((stripped, False), (executed, True)):
        place.mkdir()
        for number, name in enumerate(names):
            (place / name).write_text(json.dumps(_notebook(number, outputs=outputs), indent=1) + "\n")
    original = shutil.copytree(executed, work / "original")

    def put_back() -> None:
        shutil.copytree(original, executed, dirs_exist_ok=True)

    strip = (*OURS, "strip-notebook-outputs", *names)
    peer = (*_NBSTRIPOUT, *names)
    timed = in_turn(
        {
            "clean": Command(strip, str(stripped)),
            "clean, peer": Command(peer, str(stripped)),
            "strip": Command(strip, str(executed), put_back),
            "strip, peer": Command(peer, str(executed), put_back),
        },
        runs,
    )
    return [
        _row("strip-notebook-outputs, 500 clean", timed["clean"], "nbstripout", timed["clean, peer"]),
        _row("strip-notebook-outputs, 500 to strip", timed["strip"], "nbstripout", timed["strip, peer"]),
    ]


def _notebook(number: int, *, outputs: bool) -> dict[str, object]:
    """A notebook of 30 cells, as a model's exploration has them."""
    cells = []
    for index in range(30):
        text = [
            f"frame_{index} = load('part-{number}-{index}')\n",
            *["frame = frame.dropna()\n"] * 10,
            "frame",
        ]
        cell: dict[str, object] = {"cell_type": "code", "id": str(index), "metadata": {}, "source": text}
        stream = {"name": "stdout", "output_type": "stream", "text": ["0.123 0.456 0.789\n"] * 60}
        cell |= {"execution_count": index + 1 if outputs else None, "outputs": [stream] if outputs else []}
        cells.append(cell)
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def _staged_files(folder: Path, runs: int) -> list[Row]:
    work = folder / "staged"
    work.mkdir()
    git(work, "init", "--quiet")
    names = []
    for number in range(5_000):
        name = f"part{number // 100:03d}/file{number:05d}.py"
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(f"VALUE = {number}\n" * 20)
        names.append(name)
    git(work, "add", "--all")
    commands = {"ours": Command((*OURS, "check-large-files", *names), str(work))}
    if importlib.util.find_spec("pre_commit_hooks") is None:
        timed = in_turn(commands, runs)
        return [("check-large-files, 5,000 staged", milliseconds(timed["ours"]), "not installed", "")]
    commands["peer"] = Command((*_LARGE_FILES_PEER, *names), str(work))
    timed = in_turn(commands, runs)
    return [_row("check-large-files, 5,000 staged", timed["ours"], "check-added-large-files", timed["peer"])]


def _native(folder: Path, runs: int) -> list[Row]:
    """What the native hooks add to a commit and to a push, version included."""
    where = folder / "native"
    where.mkdir()
    work = with_files(where, 1_000)
    author = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgSign=false")
    bare = ("-c", f"core.hooksPath={os.devnull}")
    subprocess.run([*OURS[:-1], "install"], cwd=work, check=True, capture_output=True)

    def one_commit() -> None:
        git(work, *bare, "commit", "--quiet", "--allow-empty", "--message", "One")

    commit = ("commit", "--quiet", "--allow-empty", "--message", "Timed")
    push = ("push", "--quiet", "origin", "HEAD")
    timed = in_turn(
        {
            "commit": Command(("git", *author, *commit), str(work)),
            "bare commit": Command(("git", *author, *bare, *commit), str(work)),
            "push": Command(("git", *push), str(work), one_commit),
            "bare push": Command(("git", *bare, *push), str(work), one_commit),
        },
        runs,
    )
    return [
        _added("git commit with the native hooks", timed["commit"], timed["bare commit"]),
        _added("git push of one commit with the native hooks", timed["push"], timed["bare push"]),
    ]


def _added(what: str, ours: Timed, bare: Timed) -> Row:
    added = f"+{(ours.seconds - bare.seconds) * 1000:.0f} ms"
    return (what, milliseconds(ours), f"{milliseconds(bare)} (git without them)", added)


def _first_push(folder: Path, runs: int) -> list[Row]:
    work = folder / "history"
    work.mkdir()
    git(work, "init", "--quiet", "--bare", "--initial-branch=main")
    git(work, "fast-import", "--quiet", stdin=_history(20_000))
    head = git(work, "rev-parse", "main").decode().strip()
    told = work / "told"
    told.write_text(f"refs/heads/main {head} refs/heads/main {'0' * 40}\n")
    ours = " ".join((*OURS, "check-large-files", "--pre-push", "origin", "url"))
    plain = "git rev-list --objects main | git cat-file --batch-check"
    timed = in_turn(
        {
            "ours": Command(("sh", "-c", f"exec {ours} < {told}"), str(work)),
            "plain": Command(("sh", "-c", plain), str(work)),
        },
        runs,
    )
    return [_row("check-large-files, first push of 20,000 commits", timed["ours"], plain, timed["plain"])]


def _history(count: int) -> bytes:
    """A stream for git-fast-import(1): `count` commits, each of which changes one of 200 files."""
    chance = random.Random(1)  # the same history every time
    lines = []
    for number in range(count):
        content = f"VALUE = {chance.random()}\n" * 10
        lines.append(
            f"commit refs/heads/main\ncommitter Bench <bench@example.org> {1_600_000_000 + number} +0000\n"
            f"data 3\nOne\nM 100644 inline part{number % 20}/file{number % 200}.py\n"
            f"data {len(content)}\n{content}\n"
        )
    return "".join(lines).encode()
