"""The entry point of the program, and the only place that turns errors into exit codes.

Hooks run on every commit, so `hook ID` goes straight to its module; the typer program is loaded for
everything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.report import as_error, shown

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it: 128 and the number of SIGINT."""
UNREAD = 141
"""Exit code when nobody reads our output any more, as a shell has it: 128 and the number of SIGPIPE."""
DEFECT = 70
"""Exit code of an error that nobody has foreseen: EX_SOFTWARE of sysexits.h."""
UNWRITABLE = 74
"""Exit code when the answer could not be written to stdout, whatever it was: EX_IOERR of sysexits.h."""


class UnwritableError(HooksError):
    """The answer cannot be written to stdout. No OSError: typer would make its own of that."""

    exit_code = UNWRITABLE

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output: {error.strerror or error}", fix="send it where it can be written")
        if isinstance(error, BrokenPipeError):
            self.exit_code = UNREAD


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with the words `argv` (default: this process's); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    with _robust_streams():
        return guarded(lambda: _dispatched(words))


def _dispatched(words: list[str]) -> int:
    if words[:1] == ["hook"] and words[1:] and not words[1].startswith("-"):
        from deriva_ml_hooks.hooks import run_hook

        return run_hook(words[1], words[2:])
    if words[:1] == ["native-pre-push"]:
        from deriva_ml_hooks import pre_push

        return pre_push.main(words[1:])
    if words[:2] == ["guarded", "--"]:
        from deriva_ml_hooks.commands.conclusion import guarded as started_again

        return started_again(words[2:])
    if words[:1] == ["job"]:
        from deriva_ml_hooks.commands.submit import job

        return job(words[1:])
    from deriva_ml_hooks.commands.program import app

    return app(words)


def guarded(action: Callable[[], int]) -> int:
    """The exit code of `action`; an error that a user can mend is told on stderr and becomes its code.

    Any other error is a defect: it keeps its traceback, without the secrets it may quote.
    """
    try:
        code = action()
        sys.stdout.flush()
    except HooksError as error:
        if error.exit_code != UNREAD:  # whoever read our output has left (`| head`): nothing is amiss
            sys.stderr.write(as_error(error) + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        import traceback

        sys.stderr.write(shown(traceback.format_exc()))
        return DEFECT
    return code


class _Stream:
    """A stream whose failures are ours: those of stdout end the program, those of stderr change nothing."""

    def __init__(self, stream: Any, *, is_answer: bool) -> None:
        self._stream = stream
        self._is_answer = is_answer
        self.is_broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`; raises UnwritableError where it is the answer, and cannot be."""
        self._tried(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """The same for what has been written so far."""
        self._tried(self._stream.flush)

    def _tried(self, action: Callable[[], object]) -> None:
        try:
            if not self.is_broken:
                action()
        except OSError as error:
            self.is_broken = True
            if self._is_answer:
                raise UnwritableError(error) from None


@contextmanager
def _robust_streams() -> Iterator[None]:
    """Standard streams of which none ends in a traceback: closed ones, full ones, in any encoding.

    A stream that is closed (`>&-`) is opened on /dev/null: else the next file that is opened takes its
    number, and a command that we start writes into it. Output stays impossible there (EBADF).
    """
    if sys.stdin is None:
        sys.stdin = open(_reserved(0, os.O_RDONLY), encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(_reserved(1, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(_reserved(2, os.O_RDWR), "w", encoding="utf-8")  # noqa: SIM115
    before = sys.stdout, sys.stderr
    for stream in before:
        # A file name in another encoding, or a terminal without UTF-8.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    streams = _Stream(sys.stdout, is_answer=True), _Stream(sys.stderr, is_answer=False)
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        # Python flushes them once more at the end, and exits with 120 where it cannot.
        sys.stdout, sys.stderr = (
            open(os.devnull, "w", encoding="utf-8") if ours.is_broken else real  # noqa: SIM115
            for ours, real in zip(streams, before, strict=True)
        )


def _reserved(descriptor: int, flags: int) -> int:
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    return descriptor
