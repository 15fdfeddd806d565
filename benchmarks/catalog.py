"""What a catalog costs a run, and what a sync sends; on the tests' own server, which answers in 5 ms."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gate import OURS
from benchmarks.repositories import with_files
from benchmarks.timing import Command, in_turn, milliseconds, once, table
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import begun, now

ANSWER = 0.005
"""Seconds."""
_SERVER = Path(__file__).parent.parent / "tests" / "catalog" / "server.py"
_COMMITS = 20


def main(folder: Path, runs: int) -> None:
    """Print the cost of a run, and the requests and the memory of syncs."""
    if importlib.util.find_spec("deriva") is None:
        print("deriva is not installed: pip install 'deriva-ml-hooks[catalog]'")
        return
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    module = _server_module()
    server = module.Server(folder, {"1": module.Catalog(latest=True, leases=True)}, delay=ANSWER)
    home = folder / "home"
    (home / ".deriva").mkdir(parents=True)
    store = {server.host: {"cookie": "webauthn=good"}}
    (home / ".deriva" / "credential.json").write_text(json.dumps(store))
    work = with_files(folder, 100)
    env = {"HOME": str(home)}
    address = f"{server.host}/1"
    timed = in_turn(
        {
            "run -- true": Command((*OURS, "run", "--quiet", "--", "true"), str(work), env=env),
            "run --catalog -- true": Command(
                (*OURS, "run", "--quiet", "--catalog", address, "--", "true"), str(work), env=env
            ),
        },
        runs,
    )
    bare, published = timed.values()
    rows = [("command", "median", "added", "memory")]
    rows.append(("run -- true", milliseconds(bare), "", f"{bare.megabytes:.0f} MB"))
    added = f"+{(published.seconds - bare.seconds) * 1000:.0f} ms"
    rows.append(("run --catalog -- true", milliseconds(published), added, f"{published.megabytes:.0f} MB"))
    print(table(rows) + "\n")
    _syncs(folder, work, server, env)
    server.stop()


def _syncs(folder: Path, work: Path, server: Any, env: dict[str, str]) -> None:
    rows = [("executions", "sync", "requests", "per 100 rows", "memory")]
    for count in (1_000, 4_000):
        ledger = folder / f"ledger-{count}" / "executions.sqlite3"
        _fill(ledger, work, count)
        (work / ".deriva-ml-hooks.toml").write_text(f'ledger = "{ledger}"\n')
        server.seen.clear()
        timed = once(Command((*OURS, "sync", "--catalog", f"{server.host}/1"), str(work), env=env))
        sent = len(server.seen)
        cells = (
            f"{timed.seconds:.1f} s",
            f"{sent}",
            f"{sent * 100 / count:.1f}",
            f"{timed.megabytes:.0f} MB",
        )
        rows.append((f"{count:,}", *cells))
    print(table(rows))


def _fill(path: Path, work: Path, count: int) -> None:
    """A ledger of `count` executions of a few commits."""
    record = json.loads(_ours(work, "provenance", "--json"))
    file = "part0000/file000000.py"
    ledger = Ledger(str(path))
    for number in range(count):
        commit = f"{number % _COMMITS:040x}"
        url = f"https://github.com/org/model/blob/{commit}/{file}"
        ledger.add(
            begun(
                command=["python", file, "--number", str(number)],
                entry_point={"path": file, "blob": "b" * 40, "checksum": "b" * 40, "url": url},
                provenance=record | {"commit": commit},
                status="Completed",
                exit_code=0,
                ended_at=now(),
                duration=1.5,
                description=f"Number {number}",
            )
        )


def _ours(work: Path, *words: str) -> bytes:
    return subprocess.run([*OURS, *words], cwd=work, capture_output=True, check=True).stdout


def _server_module() -> Any:
    spec = importlib.util.spec_from_file_location("catalog_server", _SERVER)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_SERVER)
    module = importlib.util.module_from_spec(spec)
    sys.modules["catalog_server"] = module
    spec.loader.exec_module(module)
    return module
