"""How a run is concluded: what is said of it, its record in a file, its exit code.

Loads no command line of typer's: a guarded program is started again at the cost of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.errors import HooksError, UsageError
from deriva_ml_hooks.gate import RefusedError
from deriva_ml_hooks.report import as_error, as_text
from deriva_ml_hooks.runner.child import EndedBySignalError
from deriva_ml_hooks.runner.output_paths import put, require_apart, require_free
from deriva_ml_hooks.runner.recorded import run_recorded
from deriva_ml_hooks.runner.request import Request, accept

if TYPE_CHECKING:
    from deriva_ml_hooks.executions.record import Execution

REFUSED = 125
"""Exit code when nothing was started: one that a command itself hardly ever returns (env(1))."""


def guarded(command: Sequence[str]) -> int:
    """What `run -- COMMAND` does, for a program that the guard starts again."""
    request = Request(command)
    return concluded(lambda: run_recorded(accept(request), say=complain, complain=complain), None)


def complain(line: str) -> None:
    """Tell what went wrong with a record."""
    output.note(f"deriva-ml-hooks: {line}")


def concluded(action: Callable[[], tuple[int, Execution]], json_file: str | None) -> int:
    """The exit code of a recorded run; its record, or the verdict that refused it, goes to `json_file`."""
    try:
        code, execution = action()
    except RefusedError as refused:
        output.note(as_text(refused.reasons))
        output.note("\nderiva-ml-hooks: refused; nothing was started, nothing is recorded")
        _write(json_file, refused.verdict.as_json())
        return REFUSED
    except EndedBySignalError as ended:
        return ended.exit_code
    except HooksError as error:
        if error.exit_code != 1:  # which means something else here: that the command failed
            raise
        output.note(as_error(error))
        return REFUSED
    if json_file is not None:
        _write(json_file, _with_publications(execution))
    return code


def _with_publications(execution: Execution) -> dict[str, Any]:
    from deriva_ml_hooks.commands import records
    from deriva_ml_hooks.executions.location import ledger_here

    try:
        return records.document(execution, records.published(ledger_here(), [execution]))
    except HooksError:  # what it ran has broken the ledger or the repository: that is told elsewhere
        return execution.as_json()


def require_json(path: str | None) -> None:
    """See, before anything runs, that `--json` can be written. What is there stays until there is another.

    Raises UsageError where it cannot, or must not be replaced.
    """
    if path is not None:
        require_replaceable(path, "--json", streams=True)


def require_replaceable(path: str, option: str, *, streams: bool = False) -> None:
    """Raises UsageError where writing `path`, given with `option`, would replace what has to stay.

    With `streams` a device or a pipe may be written to.
    """
    from deriva_ml_hooks.executions.location import ledger_here

    require_free(path, option, streams=streams)
    try:
        ledger = ledger_here().path
    except HooksError:  # what is wrong there is told by the gate
        return
    require_apart(path, option, ledger)


def _write(path: str | None, document: Any) -> None:
    if path is None:
        return
    try:
        put(path, output.document_of(document).encode("ascii") + b"\n")
    except OSError as error:
        problem = UsageError(
            f"{path}: not written: {error.strerror}", fix="name a file in a folder that exists"
        )
        output.note(as_error(problem))
