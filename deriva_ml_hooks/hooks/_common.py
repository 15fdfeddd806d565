"""What every hook does the same way: its arguments, its settings, and how it tells what it found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deriva_ml_hooks.config import Settings, hook_settings
from deriva_ml_hooks.errors import BareRepositoryError, NotARepositoryError
from deriva_ml_hooks.report import Finding, as_annotations, as_text, wants_annotations

if TYPE_CHECKING:
    from deriva_ml_hooks.git.repository import Repository


def arguments(hook_id: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with what all hooks take: file names come after it, added by those that want some."""
    parser = argparse.ArgumentParser(
        prog=f"deriva-ml-hooks hook {hook_id}", description=description, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print the findings as a JSON array")
    return parser


def repository_here() -> Repository | None:
    """The repository of the working directory; None outside of one, where hooks work on file names too."""
    from deriva_ml_hooks.git.discovery import discover

    try:
        return discover()
    except (NotARepositoryError, BareRepositoryError):
        return None


def settings(hook_id: str, repository: Repository | None) -> Settings:
    """[tool.deriva-ml-hooks.ID] of `repository`; empty without one."""
    return hook_settings(repository.worktree, hook_id) if repository is not None else {}


def tell(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print the findings in the form that is wanted; the exit code: 1 when there are any."""
    if as_json:
        import json

        sys.stdout.write(json.dumps([finding.as_json() for finding in findings], indent=2) + "\n")
    elif findings:
        sys.stdout.write(as_text(findings) + "\n")
        if wants_annotations():
            sys.stdout.write(as_annotations(findings) + "\n")
    sys.stdout.flush()
    return 1 if findings else 0
