"""The process that executes a notebook: papermill, with signals that leave what was done so far.

Started by `run-notebook` and by nothing else. What it is to do comes through its standard input, which a
kernel does not get.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.redact import redact

# A file of the user's folder must not stand in for a module of ours; an empty entry in PYTHONPATH is that
# folder too. os is there since Python started.
MAIN = (
    "import os, sys; sys.path = [p for p in sys.path if p and os.path.realpath(p) != os.getcwd()]; "
    "from deriva_ml_hooks.runner.notebook.executing import main; sys.exit(main())"
)
ERROR_MARK = "papermill-error-cell-tag"
"""papermill's tag of the cells that it puts before a cell that has failed."""

PROBLEM = "deriva_ml_hooks_problem"
"""Where the executed notebook's metadata say why no cell can tell of the end."""

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _EndedError(KeyboardInterrupt):
    """A signal asked for the end; of this family, since asyncio lets nothing else out of its tasks."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> int:
    """Execute the notebook that standard input tells of; 0, or 1 when a cell or the kernel fails."""
    wanted = json.loads(sys.stdin.buffer.read())
    for ending in _ENDINGS:
        if signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, _end)
    try:
        return _execute(wanted)
    except _EndedError as ended:
        number = ended.number
    finally:
        _tidy(wanted)
    # As any command would end, so that whoever waits for it is told of the signal.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _end(number: int, _: Any) -> None:
    for other in _ENDINGS:  # whoever asks again does not want to wait for the kernel
        if signal.getsignal(other) == _end:
            signal.signal(other, signal.SIG_DFL)
    raise _EndedError(number)


def _execute(wanted: dict[str, Any]) -> int:
    # As papermill's own command does: the debugger warns of Python's frozen modules otherwise.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    from nbclient.exceptions import DeadKernelError
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    # It reads parameters line by line, and complains of what it cannot; they have been looked at already.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    _write_whole(wanted)
    try:
        execute_notebook(
            _plain(wanted["source"]),
            _plain(wanted["output"]) if wanted["output"] else None,
            parameters=wanted["parameters"],
            kernel_name=wanted["kernel"],
            language=wanted["language"],
            progress_bar=wanted["progress"],
            extra_arguments=_quiet(wanted["kernel"]),
        )
    except PapermillExecutionError as error:
        traceback = redact("\n".join(error.traceback))
        sys.stderr.write((traceback if sys.stderr.isatty() else _COLOUR.sub("", traceback)) + "\n")
        return 1
    except DeadKernelError as error:
        _amend(wanted["output"], _mark_dead)
        sys.stderr.write(f"deriva-ml-hooks: the kernel died: {error}\n")
        return 1
    except Exception as error:  # a kernel that does not start, a language without parameters
        problem = redact(f"{type(error).__name__}: {error}")
        _amend(wanted["output"], lambda notebook: notebook["metadata"].update({PROBLEM: problem}))
        sys.stderr.write(f"deriva-ml-hooks: the notebook could not be executed: {problem}\n")
        return 1
    return 0


def _quiet(kernel: str) -> list[str]:
    """What silences the log of an IPython kernel, pages on lost sockets whenever it is ended by a signal."""
    from jupyter_client.kernelspec import KernelSpecManager

    argv = KernelSpecManager().get_kernel_spec(kernel).argv
    return ["--IPKernelApp.log_level=50"] if argv[1:3] == ["-m", "ipykernel_launcher"] else []


def _mark_dead(notebook: dict[str, Any]) -> None:
    """Have the cell that ran last say that its kernel died, as it would of any exception."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    ran = [cell for cell in code if cell["metadata"].get("papermill", {}).get("start_time")]
    error = {"output_type": "error", "ename": "DeadKernelError", "evalue": "the kernel died", "traceback": []}
    for cell in ran[-1:]:
        cell["metadata"]["papermill"] |= {"status": "failed", "exception": True}
        cell["outputs"].append(error)
    notebook["metadata"]["papermill"]["exception"] = True


def _write_whole(wanted: dict[str, Any]) -> None:
    """Have papermill write the notebook beside and rename it, as often as it writes it."""
    if wanted["output"] is None:
        return
    from papermill.iorw import LocalHandler, papermill_io

    class WholeFiles(LocalHandler):  # type: ignore[misc]  # papermill has no types
        def write(self, text: str, path: str) -> None:
            write_atomically(path, text.encode("utf-8", "surrogatepass"))

    papermill_io.register(wanted["output"], WholeFiles())  # for what begins with it


def _plain(path: str) -> str:
    """A path in which papermill replaces nothing."""
    return path.replace("{", "{{").replace("}", "}}")


def _tidy(wanted: dict[str, Any]) -> None:
    """Name the notebook, not the copy it was read from; take untrue marks out."""

    def mend(notebook: dict[str, Any]) -> None:
        about = notebook["metadata"]["papermill"]
        about["input_path"] = wanted["path"]
        for cell in notebook["cells"]:
            seen = cell["metadata"].get("papermill", {})
            if seen.get("status") == "completed" and not seen.get("start_time"):
                seen["status"] = "pending"  # papermill has it that whatever is left at the end was run

    _amend(wanted["output"], mend)


def _amend(path: str | None, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what papermill has written at `path`, if it has written anything."""
    if path is None:
        return
    try:
        with open(path, encoding="utf-8") as file:
            notebook = json.load(file)
        notebook["metadata"]["papermill"]["start_time"]
    except (OSError, ValueError, KeyError):
        return
    change(notebook)
    data = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, data.encode("utf-8", "surrogatepass"))
