"""The typer program: one module per command, each turning words into a call and its result into text."""

from __future__ import annotations

from deriva_ml_hooks.commands.program import app

__all__ = ["app"]
