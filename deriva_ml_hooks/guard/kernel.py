"""Gates in place where a process cannot be started again: in a kernel of Jupyter."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deriva_ml_hooks.gate import Verdict


def is_here() -> bool:
    """Whether this process is a kernel; a terminal of IPython is none."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def require_accepted() -> Verdict:
    """The gate's verdict, outputs of notebooks left out. Raises RefusedError with every reason."""
    from deriva_ml_hooks import gate

    return gate.require_accepted(gate.judge(ignore_outputs=True))
