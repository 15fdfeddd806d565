"""Gates and records in place where a process cannot be started again: in a kernel of Jupyter.

`%load_ext deriva_ml_hooks` asks the gate and begins the record; the end of the kernel closes it. `%gate` asks
again. What counts is the notebook as it would be committed: outputs are no change.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.guard import restart

if TYPE_CHECKING:
    from deriva_ml_hooks.gate import Verdict
    from deriva_ml_hooks.runner.in_process import Recording

PATH_VARIABLE = "DERIVA_ML_NOTEBOOK_PATH"
"""DerivaML's own; with the next two its Workflow takes what it is given instead of asking git."""
_URL, _CHECKSUM = "DERIVA_ML_WORKFLOW_URL", "DERIVA_ML_WORKFLOW_CHECKSUM"


def shell() -> Any:
    """IPython's shell in this process; None where there is none."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def is_here() -> bool:
    """Whether this process is a kernel; a terminal of IPython is none."""
    return getattr(shell(), "kernel", None) is not None


def require_accepted() -> Verdict:
    """The gate's verdict, outputs of notebooks left out. Raises RefusedError with every reason."""
    from deriva_ml_hooks import gate

    return gate.require_accepted(gate.judge(ignore_outputs=True))


class Session:
    """What a kernel has to do with the gate: at most one record, closed when the kernel ends."""

    def __init__(self, ipython: Any) -> None:
        self._shell = ipython
        self._record: Recording | None = None
        self._commit = ""
        self._problem: str | None = None

    def gate(self, _line: str = "") -> None:
        """Ask the gate, and show what it says; begin the record where there is none yet.

        Raises RefusedError, and UsageError where nobody says which notebook this is.
        """
        if self._record is not None:
            self._show(self._unchanged(), f"recorded as {self._record.id}")
        elif restart.is_around():
            self._show(require_accepted(), "recorded by the run around this kernel")
        else:
            self._begin()

    def _begin(self) -> None:
        from deriva_ml_hooks.runner.in_process import Recording, accept_here
        from deriva_ml_hooks.runner.request import Request

        path = _notebook(self._shell)
        name = os.path.relpath(path)
        request = Request(
            ["jupyter", "notebook", name], entry_point=name, executable=sys.executable, ignore_outputs=True
        )
        accepted = accept_here(request)
        self._record = Recording(accepted, say=lambda _: None, complain=_complain)
        self._commit = accepted.provenance.commit
        fields = accepted.provenance.workflow_fields(os.path.realpath(path))
        os.environ |= {
            _URL: fields["url"] or "",
            _CHECKSUM: fields["checksum"] or "",
            PATH_VARIABLE: path,
        }
        self._shell.events.register("post_run_cell", self._ran)
        atexit.register(self._close)
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._killed)
        self._show(accepted.verdict, f"recorded as {self._record.id}")

    def _unchanged(self) -> Verdict:
        """The verdict, on the commit of the record. Raises RefusedError."""
        from dataclasses import replace

        from deriva_ml_hooks.gate import RefusedError
        from deriva_ml_hooks.gate.reasons import Reason

        verdict = require_accepted()
        if verdict.provenance is None or verdict.provenance.commit != self._commit:
            said = f"HEAD is no longer {self._commit[:12]}, on which the record of this kernel began"
            moved = Reason.GIT_ERROR.finding(said, fix="restart the kernel")
            raise RefusedError(replace(verdict, reasons=(moved,)))
        return verdict

    def _ran(self, result: Any) -> None:
        from deriva_ml_hooks.runner.in_process import described

        error = result.error_before_exec or result.error_in_exec
        self._problem = described(error) if error is not None else None

    def _close(self) -> None:
        record, self._record = self._record, None
        if record is not None:
            failed = self._problem is not None
            record.close("Failed" if failed else "Completed", exit_code=int(failed), detail=self._problem)

    def _killed(self, number: int, _: object) -> None:
        record, self._record = self._record, None
        if record is not None:
            record.close("Aborted", exit_code=128 + number, detail=f"signal {number}")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _show(self, verdict: Verdict, how: str) -> None:
        from IPython.display import display

        display(_Table(verdict, how))  # type: ignore[no-untyped-call]


class _Table:
    """A verdict as a notebook shows it."""

    def __init__(self, verdict: Verdict, how: str) -> None:
        known = verdict.provenance
        self._rows = [("accepted", how)]
        if known is not None:
            self._rows += [("commit", known.commit), ("branch", known.branch or "detached HEAD")]
            self._rows += [("version", known.tag or known.version or "none")]
        self._rows += [("warning", f"{found.message} (fix: {found.fix})") for found in verdict.warnings]

    def __repr__(self) -> str:
        from deriva_ml_hooks.report import printable

        return "\n".join(f"{name:10}{printable(value)}" for name, value in self._rows)

    def _repr_html_(self) -> str:
        import html  # its table of entities takes a while, and every Hydra application loads this module

        rows = (f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in self._rows)
        return f"<table>{''.join(rows)}</table>"


def _notebook(session: Any) -> str:
    """The file of the notebook that the shell `session` runs. Raises UsageError where nobody says."""
    said: list[str | None] = [
        os.environ.get("JPY_SESSION_NAME"),  # Jupyter's own server
        session.user_ns.get("__vsc_ipynb_file__"),  # Visual Studio Code
        os.environ.get(PATH_VARIABLE),
    ]
    for path in filter(None, said):
        for found in (os.path.abspath(path), os.path.abspath(os.path.basename(path))):
            if found.endswith(".ipynb") and os.path.isfile(found):
                return found
    from deriva_ml_hooks.errors import UsageError

    fix = f"name it in the cell before: %env {PATH_VARIABLE}=NAME.ipynb"
    raise UsageError(f"nobody says which notebook this is; {fix}", fix=fix)


def _complain(line: str) -> None:
    sys.stderr.write(f"deriva-ml-hooks: {line}\n")


_sessions: list[Session] = []
"""The one of this kernel, once there is one: `%reload_ext` finds it."""


def load(ipython: Any) -> None:
    """What `%load_ext deriva_ml_hooks` does."""
    if not _sessions:
        _sessions.append(Session(ipython))
    session = _sessions[0]
    ipython.register_magic_function(session.gate, "line", "gate")
    session.gate()
