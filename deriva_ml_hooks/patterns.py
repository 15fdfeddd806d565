"""Matches regular expressions that a repository has written, under a limit: some take longer than the sun.

In a process of its own, which can be ended whatever thread asks. `re` is the one that the pattern was
written for, so no other engine will do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Literal

from deriva_ml_hooks import programs
from deriva_ml_hooks.errors import HooksError

SECONDS = 1
"""CPU time that a pattern has for all its texts."""
_WALL = 60.0  # on a machine that is busy, a second of CPU time can take a while
_BYTES = 256 << 20
_MATCH = f"""
import json, re, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS + 1}))
    resource.setrlimit(resource.RLIMIT_AS, ({_BYTES}, {_BYTES}))
except (ImportError, ValueError, OSError):
    pass
pattern, how, texts = json.load(sys.stdin)
try:
    method = getattr(re.compile(pattern), how)
except (re.error, OverflowError, RecursionError) as error:
    print(json.dumps(str(error)))
else:
    print(json.dumps([method(text) is not None for text in texts]))
"""


class PatternError(HooksError):
    """A pattern is none, or takes too long; `problem` says which."""

    exit_code = 2

    def __init__(self, pattern: str, problem: str) -> None:
        shown = pattern if len(pattern) <= 80 else pattern[:77] + "..."
        fix = 'a pattern without repetitions inside repetitions, such as "(feature|fix)/[a-z0-9-]+"'
        super().__init__(f"pattern {shown!r}: {problem}", fix=fix)
        self.problem = problem


def fits(
    pattern: str, texts: Sequence[str], how: Literal["match", "fullmatch", "search"] = "fullmatch"
) -> list[bool]:
    """Whether `pattern` fits each of the texts, as the method `how` of a compiled pattern has it.

    Raises PatternError where it is no pattern, or has not told within SECONDS.
    """
    try:
        words = [sys.executable, "-I", "-S", "-c", _MATCH]  # -S: the standard library alone, and that at once
        asked = json.dumps([pattern, how, [*texts]]).encode("ascii")
        done = programs.run(words, cwd=os.sep, stdin=asked, timeout=_WALL)
        told = json.loads(done.stdout)
    except (OSError, ValueError):
        raise PatternError(pattern, f"no answer within {SECONDS} s") from None
    if isinstance(told, str):
        raise PatternError(pattern, f"not a regular expression: {told}")
    return [answer is True for answer in told]
