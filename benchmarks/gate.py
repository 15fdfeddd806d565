"""`check` and `run` beside git itself, and beside peers where they are installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.repositories import with_files
from benchmarks.timing import Command, Timed, in_turn, milliseconds, table

OURS = (sys.executable, "-m", "deriva_ml_hooks")
_IMPORTS = (
    "import sys; from deriva_ml_hooks.cli import main; main(['check']); "
    "sys.stderr.write(' '.join(n for n in sys.modules if n != '__main__'))"
)
# What deriva-ml 1.17.10 does before it records a script (execution/workflow.py, get_url_and_checksum).
_DERIVA_ML = (
    "import sys, pathlib, logging; logging.disable(); "
    "from deriva_ml.execution.workflow import Workflow; "
    "Workflow.get_url_and_checksum(pathlib.Path(sys.argv[1]).resolve())"
)


def main(folder: Path, runs: int) -> None:
    """Print the table for 5,000 and 50,000 files."""
    rows = [("files", "command", "median", "ratio", "to", "memory")]
    for count in (5_000, 50_000):
        work = with_files(folder, count)
        commands = _commands(work)
        timed = in_turn(commands, runs)
        base = timed["python, same imports"].seconds + timed["git status"].seconds
        for name, result in timed.items():
            rows.append(
                (f"{count:,}", name, milliseconds(result), *_ratio(name, timed, base), _memory(result))
            )
    print(table(rows))


def _commands(work: Path) -> dict[str, Command]:
    where = str(work)
    found = subprocess.run(
        [sys.executable, "-c", _IMPORTS], cwd=work, capture_output=True, text=True, check=True
    )
    imports = (
        "import importlib\n"
        f"for name in {found.stderr.split()!r}:\n"
        "    try:\n        importlib.import_module(name)\n"
        "    except ImportError:\n        pass\n"
    )
    commands = {
        "python, same imports": Command((sys.executable, "-c", imports), where),
        "git status": Command(("git", "status", "--untracked-files=all"), where),
        "check": Command((*OURS, "check"), where),
        "check --paranoid": Command((*OURS, "check", "--paranoid"), where),
        "run -- true": Command((*OURS, "run", "--quiet", "--", "true"), where),
    }
    if shutil.which("datalad"):
        commands["datalad run true"] = Command(("datalad", "run", "--explicit", "true"), where)
    if importlib.util.find_spec("deriva_ml"):
        script = "part0000/file000000.py"
        commands["deriva-ml's check"] = Command((sys.executable, "-c", _DERIVA_ML, script), where)
    return commands


def _ratio(name: str, timed: dict[str, Timed], base: float) -> tuple[str, str]:
    if name in ("python, same imports", "git status"):
        return "", ""
    if name == "run -- true":
        return f"+{(timed[name].seconds - timed['check'].seconds) * 1000:.0f} ms", "check"
    return f"{timed[name].seconds / base:.2f}", "python with the same imports + git status"


def _memory(timed: Timed) -> str:
    return f"{timed.megabytes:.0f} MB"
