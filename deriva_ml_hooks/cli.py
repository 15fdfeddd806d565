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
UNREAD = 141
"""Exit code when nobody reads our output any more, as a shell has it: 128 and the number of SIGPIPE."""
DEFECT = 70
"""Exit code of an error that nobody has foreseen: EX_SOFTWARE of sysexits.h."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with the words `argv` (default: this process's); returns the exit code."""
    _make_streams_robust()
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _dispatched(words))


def _dispatched(words: list[str]) -> int:
    if words[:1] == ["hook"] and words[1:] and not words[1].startswith("-"):
        from deriva_ml_hooks.hooks import run_hook

        return run_hook(words[1], words[2:])
    if words[:1] == ["native-pre-push"]:
        from deriva_ml_hooks import pre_push

        return pre_push.main(words[1:])
    from deriva_ml_hooks.commands import app

    return app(words)


def guarded(action: Callable[[], int]) -> int:
    """The exit code of `action`; an error that a user can mend is told on stderr and becomes its code.

    Any other error is a defect: it keeps its traceback, without the secrets it may quote.
    """
    try:
        code = action()
        if sys.stdout is not None:
            sys.stdout.flush()
    except HooksError as error:
        sys.stderr.write(as_error(error) + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left (`| head`); nothing more can be told to them.
        sys.stdout = None
        return UNREAD
    except Exception:
        import traceback

        from deriva_ml_hooks.redact import redact

        sys.stderr.write(redact(traceback.format_exc()))
        return DEFECT
    return code


def _make_streams_robust() -> None:
    """A file name in another encoding, or a terminal without UTF-8, must not end in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
