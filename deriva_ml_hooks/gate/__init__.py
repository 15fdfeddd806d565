"""May an execution be recorded here and now? A verdict with reasons, never a bare boolean.

`reasons` lists every reason with its text and fix, `verdict` asks, `fixes` words the commands that help, and
`image` answers where there is no repository.
"""

from __future__ import annotations

from deriva_ml_hooks.gate.verdict import RefusedError, Verdict, judge, require_accepted

__all__ = ["RefusedError", "Verdict", "judge", "require_accepted"]
