"""Asks the gate whether an execution may be recorded here: its verdict as a hook and as a step of CI.

Measures the repository of the working directory and no other, whatever GIT_* variables say. pre-commit
sets unstaged changes aside before it runs any hook: those are not seen under it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from deriva_ml_hooks.gate import judge
from deriva_ml_hooks.hooks._hook import Hook, report
from deriva_ml_hooks.report import as_annotations, as_text, wants_annotations

HOOK = Hook("check-clean-tree", stages=("pre-push", "manual"))


def main(argv: Sequence[str] | None = None) -> int:
    """Tell the gate's reasons against an execution, and its warnings on stderr; 1 when it refuses."""
    parser = HOOK.parser(__doc__)
    parser.add_argument(
        "--paranoid", action="store_true", help="rehash every tracked file: trust no size and no time stamp"
    )
    args = parser.parse_args(argv)
    verdict = judge(paranoid=args.paranoid)
    if verdict.warnings:
        blocks = as_text(verdict.warnings).split("\n\n")
        sys.stderr.write("\n\n".join(f"warning: {block}" for block in blocks) + "\n")
        if wants_annotations() and not args.json:
            sys.stderr.write(as_annotations(verdict.warnings, level="warning") + "\n")
    return report(verdict.reasons, as_json=args.json)
