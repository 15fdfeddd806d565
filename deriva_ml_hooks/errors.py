"""Every error that a user can cause: one root, small leaves, and the way out in each of them.

Library code raises these and never prints or exits; the command line turns them into a message and
an exit code. Anything else that escapes is a defect and keeps its traceback.
"""

from __future__ import annotations

import os
import shlex

IMAGE_VARIABLE = "DERIVA_ML_HOOKS_PROVENANCE_FILE"
"""Names the file with the record of an image's build, where there is no repository."""


class HooksError(Exception):
    """Something a user can mend; `str()` is one line of what and where, `fix` one line of how.

    Leaves set `exit_code` to what the command line returns for them.
    """

    exit_code = 1

    def __init__(self, what: str, *, fix: str) -> None:
        super().__init__(what)
        self.fix = fix

    def __str__(self) -> str:
        """What and where, without secrets: a caller's own traceback may print it."""
        from deriva_ml_hooks.redact import redact  # not before there is an error

        return redact(super().__str__())


class UsageError(HooksError):
    """The words of a command, or what they name, do not fit."""

    exit_code = 2


class ConfigError(HooksError):
    """A configuration file that cannot be taken at its word: `file`, `key` (or None) and the problem."""

    exit_code = 2

    def __init__(self, file: str, key: str | None, problem: str, *, fix: str) -> None:
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {problem}", fix=fix)
        self.file = file
        self.key = key


class NotARepositoryError(HooksError):
    """No git repository contains `path`."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: not inside a git repository", fix=_to_a_repository())
        self.path = path


def _to_a_repository() -> str:
    import shutil

    if os.environ.get(IMAGE_VARIABLE):
        return "an image has none: do this where its repository is"
    # deriva-ml's own mark of an image; and a repository that is made in one would name no commit anybody has
    if os.environ.get("DERIVA_MCP_IN_DOCKER") == "true" or shutil.which("git") is None:
        return f"change into the repository; in an image, set {IMAGE_VARIABLE} to the record of its build"
    return "change into the repository, or make one: git init && git add . && git commit"


class BareRepositoryError(HooksError):
    """`path` is a repository without a worktree, or a place inside a git directory.

    `git_dir` is that directory, and `worktree` one that the repository has, where they are known.
    """

    def __init__(self, path: str, git_dir: str | None = None, worktree: str | None = None) -> None:
        above, dot_git, _ = f"{path}/".partition("/.git/")
        if worktree is not None or dot_git:
            into = f"cd {shlex.quote(worktree or above)}"
        else:
            new = os.path.join(os.path.dirname(git_dir or path), "work")
            into = f"git -C {shlex.quote(path)} worktree add {shlex.quote(new)} && cd {shlex.quote(new)}"
        super().__init__(
            f"{path}: a git directory without checked-out files", fix=f"run from a worktree: {into}"
        )
        self.path = path
        self.git_dir = git_dir


class GitError(HooksError):
    """git, or the repository it reads, did not answer; `detail` is what it said, secrets removed."""

    def __init__(self, what: str, detail: str = "", *, fix: str = "see what git says: git status") -> None:
        super().__init__(f"{what}: {detail}" if detail else what, fix=fix)
        self.detail = detail


class GitMissingError(GitError):
    """There is no git program on PATH."""

    def __init__(self) -> None:
        super().__init__("git: not found on PATH", fix="install git, or put it on PATH")


class LedgerError(HooksError):
    """The ledger cannot be read or written."""


class NoSuchExecutionError(HooksError):
    """No execution, or more than one, has an id that begins with what was asked for."""
