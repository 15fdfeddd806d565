"""`deriva-ml-hooks hook`: the help of a command that `cli` otherwise dispatches without typer."""

from __future__ import annotations

from typing import Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.hooks import hook_ids, run_hook


def _begun(incomplete: str) -> list[str]:
    return [name for name in hook_ids() if name.startswith(incomplete)]


def hook(
    hook_id: str | None = typer.Argument(
        None, metavar="ID", help="The hook; without one they are listed.", autocompletion=_begun
    ),
    words: Optional[list[str]] = typer.Argument(None, metavar="ARG", help="Its arguments."),
) -> None:
    """Run one hook by its id, as pre-commit would; `hook ID --help` for its options."""
    if hook_id is None:
        output.text("\n".join(hook_ids()))
        return
    raise typer.Exit(run_hook(hook_id, words or []))
