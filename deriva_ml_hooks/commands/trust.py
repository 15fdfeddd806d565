"""`deriva-ml-hooks trust`: what the user agrees to, whatever a repository asks for."""

from __future__ import annotations

import os
import re
from typing import Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.git import consent
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.report import printable

program = typer.Typer(help="What you agree to, whatever a repository asks for.", invoke_without_command=True)

_REMOVE = typer.Option(False, "--remove", help="Take the consent back.")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?")


@program.callback()
def _list(context: typer.Context) -> None:
    """Without a command: list what you have agreed to."""
    if context.invoked_subcommand is None:
        for kind in consent.KINDS:
            for value in sorted(consent.agreed(kind)):
                output.text(f"{kind:<6} {printable(value)}")


@program.command("code")
def code(
    folder: Optional[str] = typer.Argument(None, help="A folder of the repository (default: this one)."),
    remove: bool = _REMOVE,
) -> None:
    """Let a repository's own programs run where only its facts are asked for (setuptools-scm's settings)."""
    _settle("code", os.path.realpath(measured(folder or ".").common_dir), remove)


@program.command("host")
def host(
    name: str = typer.Argument(metavar="HOST", help="The server's name, with its port where it has one."),
    remove: bool = _REMOVE,
) -> None:
    """Let a catalog's server be sent the credential that deriva-py keeps for it."""
    if not _HOST.fullmatch(name):
        raise UsageError(f"{printable(name)}: not the name of a server", fix="write it as HOST or HOST:PORT")
    _settle("host", name.lower(), remove)


@program.command("place")
def place(
    path: str = typer.Argument(metavar="PATH", help="The file, or a folder for everything below it."),
    remove: bool = _REMOVE,
) -> None:
    """Let a repository keep its ledger outside its own folders, at PATH."""
    _settle("place", os.path.realpath(os.path.expanduser(path)), remove)


def _settle(kind: consent.Kind, value: str, remove: bool) -> None:
    (consent.withdraw if remove else consent.agree)(kind, value)
    output.text(f"{kind} {printable(value)}: {'not trusted any more' if remove else 'trusted'}")
