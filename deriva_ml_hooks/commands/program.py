"""The commands by name, each in a module that is imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.errors import UsageError

_WordsDoNotFit: Any = typer.BadParameter.__mro__[2]
"""click's ClickException, of the click that typer uses: it may be one of its own."""


class _Command(NamedTuple):
    """Where a command is: a function of a module beside this one, or a program with commands of its own.

    `example`: words after the program's name that its help ends with.
    """

    module: str
    name: str
    example: str = ""
    settings: Mapping[str, Any] = {}


_WORDS_FOLLOW = {"allow_interspersed_args": False}
COMMANDS: Mapping[str, _Command] = {
    "run": _Command("run", "run", "run --description 'first try' -- python train.py", _WORDS_FOLLOW),
    "submit": _Command("submit", "submit", "submit -- sbatch job.sh", _WORDS_FOLLOW),
    "run-notebook": _Command("run_notebook", "run_notebook", "run-notebook train.ipynb -p epochs 10"),
    "check": _Command("check", "check", "check --json"),
    "provenance": _Command("provenance", "provenance", "provenance --format json --output provenance.json"),
    "executions": _Command("executions", "program"),
    "rerun": _Command("rerun", "rerun", "rerun last --output results"),
    "verify": _Command("verify", "verify_", "verify last --remote"),
    "sync": _Command("sync", "sync", "sync --limit 10"),
    "catalog": _Command("catalog", "program"),
    "trust": _Command("trust", "program"),
    "hook": _Command(
        "hook", "hook", "hook check-clean-tree", {**_WORDS_FOLLOW, "ignore_unknown_options": True}
    ),
    "install": _Command("setup", "install", "install --dry-run"),
    "uninstall": _Command("setup", "uninstall"),
    "doctor": _Command("setup", "doctor"),
    "bump-version": _Command("release", "bump_version", "bump-version minor --dry-run"),
    "version": _Command("release", "version"),
    "demo": _Command("demo", "demo"),
}
"""Every command, in the order of the help."""


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("deriva-ml-hooks"))
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version of this program.", is_eager=True, callback=_version
    ),
) -> None:
    pass


def program(names: Collection[str]) -> typer.Typer:
    """The typer program with the commands `names`."""
    made = typer.Typer(
        name="deriva-ml-hooks",
        help="Run under a gate: an execution record never names a commit that did not run.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    for name in names:
        command = COMMANDS[name]
        module = importlib.import_module(f"deriva_ml_hooks.commands.{command.module}")
        found = getattr(module, command.name)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            epilog = f"Example: deriva-ml-hooks {command.example}" if command.example else None
            made.command(name, epilog=epilog, context_settings=dict(command.settings))(found)
    return made


def app(words: Sequence[str]) -> int:
    """Run the program with `words`; its exit code. Errors of ours pass through; usage errors are told."""
    words = list(words)
    if words[:1] == ["run-notebook"]:
        from deriva_ml_hooks.commands.run_notebook import joined

        words = joined(words)
    # Only the command that is asked for is loaded; help and slips of the pen are told with all of them.
    wanted = words[:1] if words and words[0] in COMMANDS else COMMANDS
    try:
        result = program(wanted)(words, standalone_mode=False, prog_name="deriva-ml-hooks")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        output.note(str(ended.code))
        return 1
    except typer.Abort:
        return 1
    except _WordsDoNotFit as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # that has told all there is
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "deriva-ml-hooks"
            raise UsageError(error.format_message(), fix=f"{command} --help") from None
        return 2
    return int(result or 0)
