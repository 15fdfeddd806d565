"""The entry point of the program, and the only place that turns errors into exit codes.

Hooks run on every commit, so `hook ID` goes straight to its module; the typer program is loaded for
everything else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.report import as_error

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it: 128 and the number of SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with the words `argv` (default: this process's); returns the exit code."""
    _make_streams_robust()
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["hook"] and words[1:] and not words[1].startswith("-"):
        from deriva_ml_hooks.hooks import run_hook

        return guarded(lambda: run_hook(words[1], words[2:]))
    from deriva_ml_hooks.commands import app

    return guarded(lambda: app(words))


def guarded(action: Callable[[], int]) -> int:
    """The exit code of `action`; an error that a user can mend is told on stderr and becomes its code."""
    try:
        return action()
    except HooksError as error:
        sys.stderr.write(as_error(error) + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left (`| head`); nothing more can be told to them.
        sys.stdout = None
        return 0


def _make_streams_robust() -> None:
    """A file name in another encoding, or a terminal without UTF-8, must not end in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
