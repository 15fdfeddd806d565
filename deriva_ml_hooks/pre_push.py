"""What the native pre-push hook runs: every ref update judged, then handed to the hook that was there before.

pre-commit looks at one ref of a push and runs nothing for tags alone; git tells the native hook of all of
them on its standard input (githooks(5), pre-push).
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Sequence

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.hooks import run_hook

CHECKS = ("check-version-tags", "check-large-files")


def main(argv: Sequence[str]) -> int:
    """Judge the push that stdin tells of; `argv`: the hook to hand it on to (or ""), then git's own words.

    Returns 0 when everyone lets it pass. Everyone is heard, so that one push tells all there is to mend.
    """
    if len(argv) != 3:
        raise UsageError("native-pre-push: not called by git", fix="deriva-ml-hooks install, then git push")
    kept, *remote = argv
    told = sys.stdin.buffer.read()
    codes = [_checked(check, remote, told) for check in CHECKS]
    if os.access(kept, os.X_OK) and not os.path.isdir(kept):
        codes.append(_handed_on([kept, *remote], told))
    return max(abs(code) for code in codes)


def _handed_on(words: Sequence[str], told: bytes) -> int:
    try:
        return subprocess.run(words, input=told, check=False).returncode
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # A script without a first line that names its interpreter: git has the shell run it (execvp(3)).
        return subprocess.run(["sh", *words], input=told, check=False).returncode


def _checked(check: str, remote: Sequence[str], told: bytes) -> int:
    # Each reads the same updates from its standard input, as it would if git had called it alone.
    sys.stdin = io.TextIOWrapper(io.BytesIO(told))
    return run_hook(check, ["--pre-push", *remote])
