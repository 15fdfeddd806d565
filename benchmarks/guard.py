"""What the guard adds to the start of a Hydra application: where it is off, and where it is on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.repositories import git, with_files
from benchmarks.timing import Command, in_turn, milliseconds, table

_APP = """\
import hydra

@hydra.main(version_base=None)
def main(_):
    pass

main()
"""
_WITHOUT = "import hydra_plugins; hydra_plugins.__path__ = []\n"
"""What has Hydra find no plugin at all."""


def main(folder: Path, runs: int) -> None:
    """Print the start of the same application without the plugin, with it, and gated."""
    work = with_files(folder, 100)
    (work / "app.py").write_text(_APP)
    (work / "bare.py").write_text(_WITHOUT + _APP)
    (work / ".gitignore").write_text("outputs/\n")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "An application")
    root = {"PYTHONPATH": os.getcwd()}
    bare, ours = (sys.executable, "bare.py"), (sys.executable, "app.py")
    timed = in_turn(
        {"no plugin": Command(bare, str(work), env=root), "off": Command(ours, str(work), env=root)}, runs
    )
    git(work, "config", "deriva-ml-hooks.guard", "true")
    timed |= in_turn({"on": Command(ours, str(work), env=root)}, runs)
    base = timed["no plugin"].seconds
    rows = [("start of a Hydra application", "time", "added", "ratio")]
    for name, found in timed.items():
        added = f"{(found.seconds - base) * 1000:.0f} ms"
        rows.append((name, milliseconds(found), added, f"{found.seconds / base:.2f}"))
    print(table(rows))
