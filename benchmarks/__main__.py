"""`python -m benchmarks [TOPIC ...]`: the tables, on standard output."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

TOPICS = ("gate", "guard", "hooks", "verify", "executions", "catalog")


def main() -> None:
    """Run the topics that are asked for, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"{', '.join(TOPICS)}; default: all")
    parser.add_argument("--runs", type=int, default=9, help="counted runs of each command (default 9)")
    wanted = parser.parse_args()
    for topic in wanted.topics or TOPICS:
        if topic not in TOPICS:
            parser.error(f"{topic}: no such topic; there are: {', '.join(TOPICS)}")
        print(f"\n## {topic}\n", flush=True)
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
            importlib.import_module(f"benchmarks.{topic}").main(Path(folder), wanted.runs)


main()
