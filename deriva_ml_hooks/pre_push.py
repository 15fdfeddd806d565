"""What the native pre-push hook runs: the hook that was there before, then every ref update judged.

pre-commit looks at one ref of a push and runs nothing for tags alone; git gives the native hook all of
them on its standard input (githooks(5), pre-push).
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from deriva_ml_hooks import programs
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.git.pushes import push_of_git
from deriva_ml_hooks.hooks import check_large_files, check_version_tags
from deriva_ml_hooks.hooks._hook import report

_BOTH = ("stdout", "stderr")


def main(argv: Sequence[str]) -> int:
    """Judge the push on stdin; `argv`: the hook to hand it on to (or ""), then git's own words.

    Returns 0 when both let it pass. Both are asked, so that one push shows all there is to fix.
    """
    if len(argv) != 3:
        raise UsageError("native-pre-push: not called by git", fix="deriva-ml-hooks install, then git push")
    kept, remote, url = argv
    stdin = sys.stdin.buffer.read()
    code = 0
    if os.access(kept, os.X_OK) and not os.path.isdir(kept):
        code = _handed_on([kept, remote, url], stdin)
    push = push_of_git(stdin, remote, url)
    findings = [*check_version_tags.judge_push(push), *check_large_files.judge_push(push)]
    return report(findings) or abs(code)


def _handed_on(words: Sequence[str], stdin: bytes) -> int:
    try:
        return programs.run(words, stdin=stdin, shown=_BOTH).returncode
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # A script without a first line that names its interpreter: git has the shell run it (execvp(3)).
        return programs.run(["sh", *words], stdin=stdin, shown=_BOTH).returncode
