"""`verify` on 10,000 executions in a repository of 5,000 commits, beside git's own walk over them."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from benchmarks.repositories import git
from benchmarks.timing import Command, in_turn, milliseconds, table
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.location import ledger_path
from deriva_ml_hooks.executions.record import new_id
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.version import Named, scm_versions

COMMITS, EXECUTIONS, TAG_EVERY = 5_000, 10_000, 100
OURS = (sys.executable, "-m", "deriva_ml_hooks")


def main(folder: Path, runs: int) -> None:
    """Print the table; `--remote` asks a bare repository on this disk."""
    rows = [("history", "command", "median", "memory")]
    for name, tag_every in ((f"a tag every {TAG_EVERY} commits", TAG_EVERY), ("no tag", 0)):
        work = _repository(folder, f"verify-{tag_every}", tag_every)
        _fill(work)
        commands = {
            "git log": Command(("git", "log", "--format=%H %T"), str(work)),
            "verify": Command((*OURS, "verify"), str(work)),
            "verify --remote": Command((*OURS, "verify", "--remote"), str(work)),
        }
        done = subprocess.run([*OURS, "verify"], cwd=work, capture_output=True, text=True, check=False)
        if done.stdout != f"{EXECUTIONS:,} executions: {EXECUTIONS:,} verified\n":
            raise SystemExit(done.stdout + done.stderr[-2000:])
        for command, timed in in_turn(commands, runs).items():
            rows.append((name, command, milliseconds(timed), f"{timed.megabytes:.0f} MB"))
    print(table(rows))


def _repository(folder: Path, name: str, tag_every: int) -> Path:
    """5,000 commits that each change the script, and a bare remote that has them."""
    work, remote = folder / name, folder / f"{name}.git"
    work.mkdir()
    git(folder, "init", "--quiet", "--bare", str(remote))
    git(work, "init", "--quiet", "--initial-branch=main")
    stream = ["blob\nmark :1\ndata 5\nlock\n\n"]
    for number in range(COMMITS):
        when = f"Bench <bench@example.org> {1_600_000_000 + number} +0000"
        script = f"VALUE = {number}\n"
        stream.append(
            f"commit refs/heads/main\nmark :{number + 2}\ncommitter {when}\ndata 2\nC\n"
            + (f"from :{number + 1}\n" if number else "M 100644 :1 uv.lock\n")
            + f"M 100644 inline src/train.py\ndata {len(script)}\n{script}\n"
        )
        if tag_every and number % tag_every == 0:
            tag = f"tag v0.{number // tag_every}.0\nfrom :{number + 2}\ntagger {when}\ndata 2\nT\n\n"
            stream.append(tag)
    git(work, "fast-import", "--quiet", stdin="".join(stream).encode())
    git(work, "reset", "--quiet", "--hard", "main")
    git(work, "remote", "add", "origin", str(remote))
    git(work, "push", "--quiet", "--set-upstream", "origin", "main", "--tags")
    return work


def _fill(work: Path) -> None:
    """Put executions into the ledger: a real one repeated, each on the next commit."""
    subprocess.run([*OURS, "run", "--quiet", "--", sys.executable, "src/train.py"], cwd=work, check=True)
    repository = measured(str(work))
    path = ledger_path(repository, Config())
    pattern = Ledger(path).newest()[0]
    tags = {repository.peel(oid).decode(): (ref, oid) for ref, oid in repository.refs_under("refs/tags/")}
    commits = git(work, "rev-list", "main").decode().split()
    versions = scm_versions(repository, [Named(oid.encode(), "main") for oid in commits])
    connection = sqlite3.connect(path)
    row = dict(zip(*_row(connection), strict=True))
    connection.execute("DELETE FROM executions")
    for number in range(EXECUTIONS):
        oid = commits[number % COMMITS]
        tree = repository.commit(oid.encode()).tree
        entry = repository.entry(tree, "src/train.py")
        if entry is None:
            raise AssertionError("every commit has the script")
        blob = entry[1].decode()
        ref, tag = tags.get(oid, (None, None))
        told = {
            "commit": oid,
            "tree": tree.decode(),
            "committed_at": git_time(repository.commit(oid.encode()).commit_time),
            "commit_url": None,
            "tag": ref.removeprefix("refs/tags/") if ref else None,
            "tag_object": tag.decode() if tag else None,
            "version": versions[Named(oid.encode(), "main")],
        }
        code = {"blob": blob, "checksum": blob, "url": f"git+file:///x@{oid}#src/train.py"}
        changed = {
            "id": new_id(),
            "provenance": json.dumps({**pattern.provenance, **told}),
            "entry_point": json.dumps({**pattern.entry_point, **code}),
        }
        values = {**row, **changed}
        connection.execute(
            f"INSERT INTO executions ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            [*values.values()],
        )
    connection.commit()
    connection.close()


def _row(connection: sqlite3.Connection) -> tuple[list[str], tuple[object, ...]]:
    cursor = connection.execute("SELECT * FROM executions")
    return [column[0] for column in cursor.description], cursor.fetchone()


def git_time(seconds: int) -> str:
    """A commit's time as records have it."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
