"""The commands by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from deriva_ml_hooks.commands import (
    catalog,
    check,
    demo,
    executions,
    hook,
    provenance,
    release,
    rerun,
    run,
    run_notebook,
    setup,
    sync,
    verify,
)

_program = typer.Typer(
    name="deriva-ml-hooks",
    help="Run under a gate: an execution record never names a commit that did not run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_program.command("run", context_settings={"allow_interspersed_args": False})(run.run)
_program.command("run-notebook")(run_notebook.run_notebook)
_program.command("check")(check.check)
_program.command("provenance")(provenance.provenance)
_program.add_typer(executions.program, name="executions")
_program.command("rerun")(rerun.rerun)
_program.command("verify")(verify.verify_)
_program.command("sync")(sync.sync)
_program.add_typer(catalog.program, name="catalog")
_program.command("hook", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})(
    hook.hook
)
_program.command("install")(setup.install)
_program.command("uninstall")(setup.uninstall)
_program.command("doctor")(setup.doctor)
_program.command("bump-version")(release.bump_version)
_program.command("version")(release.version)
_program.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("deriva-ml-hooks"))
        raise typer.Exit


@_program.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version of this program.", is_eager=True, callback=_version
    ),
) -> None:
    pass


def app(words: Sequence[str]) -> int:
    """Run the program with `words`; its exit code. Errors of ours pass through; usage errors are told."""
    words = run_notebook.joined(words) if words[:1] == ["run-notebook"] else list(words)
    try:
        result = _program(words, standalone_mode=True, prog_name=_program.info.name)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        sys.stderr.write(f"{ended.code}\n")
        return 1
    return int(result or 0)
