"""What is to be run for a recorded execution to happen again, or why it cannot."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.files import inside
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.redact import MASK
from deriva_ml_hooks.report import Finding, few
from deriva_ml_hooks.runner.command.invocation import Kind, invocation
from deriva_ml_hooks.runner.isolation.isolated import IsolationError
from deriva_ml_hooks.runner.isolation.outputs import below_top
from deriva_ml_hooks.runner.isolation.redirect import Redirect, is_held, tree_of, uncommitted
from deriva_ml_hooks.runner.recorded import Task
from deriva_ml_hooks.runner.recording import EXECUTION_VARIABLE, PROVENANCE_VARIABLE
from deriva_ml_hooks.runner.request import Accepted, Request
from deriva_ml_hooks.runner.results import named
from deriva_ml_hooks.verify.repository_facts import fetching

# Of a session, not of a run.
_OF_NO_INTEREST = frozenset({"_", "OLDPWD", "SHLVL", "PWD", EXECUTION_VARIABLE, PROVENANCE_VARIABLE})


def request_of(first: Execution, home: Repository, outputs: Collection[str] = ()) -> Request:
    """The request that runs `first` again from its commit; `outputs`: what it only writes, from here.

    Raises IsolationError where the commit is missing, or the command used what is not in it; UsageError for
    an output that is nowhere below the top.
    """
    commit = first.provenance["commit"]
    try:
        tree = tree_of(home, commit)
    except GitError as error:
        raise IsolationError(
            f"commit {commit[:12]} is not here, so it cannot run: {error}",
            fix=fetching(first.provenance.get("remote"), remotes.remote_names(home), commit),
        ) from None
    masked = [word for word in (*first.command[:1], *given(first)) if MASK in word]
    if masked:
        how = "run --isolated -- COMMAND" if first.notebook is None else "run-notebook NOTEBOOK"
        raise IsolationError(
            f"the record does not hold the whole command: {masked[0]} stands for a secret",
            fix=f"hand secrets over in the environment, and run it anew: deriva-ml-hooks {how}",
        )
    _refuse_outside(first, home, tree)
    _refuse_uncommitted(first, home, [below_top(path, home.worktree) for path in outputs])
    path = first.entry_point.get("path")
    explicit = os.path.join(home.worktree, path) if path is not None else None
    if path is not None and home.entry(tree, path.split("/")[0]) is None:
        raise IsolationError(
            f"{path}: not in commit {commit[:12]}, whatever the record says",
            fix=f"deriva-ml-hooks verify {shlex.quote(first.id)}",
        )
    if first.notebook is None:
        return Request([*first.command], first.description, explicit)
    return Request(_without_output(first.command), first.description, explicit, executable=sys.executable)


def task_of(first: Execution, *, progress: bool) -> Callable[[Accepted], Task] | None:
    """What makes the notebook run again that `first` ran, with its parameters and kernel; None for a command.

    Raises NotebookRunError where it cannot be executed here.
    """
    about = first.notebook
    if about is None:
        return None
    from deriva_ml_hooks.runner.notebook.task import NotebookTask, committed, read

    def task(accepted: Accepted) -> NotebookTask:
        path = accepted.entry_point.path or ""
        file = os.path.join(accepted.repository.worktree, path)
        return NotebookTask(
            read(path, committed(file, accepted), kernel=about["kernel"]), about["parameters"], None, progress
        )

    return task


def left_out(first: Execution) -> tuple[Finding, ...]:
    """What is not there this time: files that no commit holds, and that were let pass in the first run."""
    let_pass = [str(warning.get("path")) for warning in first.warnings if warning.get("code") == "untracked"]
    if not let_pass:
        return ()
    message = f"not here, though let pass untracked in the first run: {few(let_pass, most=8)}"
    return (Finding("left-out", None, message, "commit what the command reads, and run it anew"),)


def _without_output(words: Sequence[str]) -> list[str]:
    """The words of a run-notebook, but for where the executed notebook went: that one stays as it is."""
    at = words.index("--output") if "--output" in words else len(words)
    return [*words[:at], *words[at + 2 :]]


def given(first: Execution) -> list[str]:
    """What the program was given that may name files: its words, or the parameters of a notebook."""
    if first.notebook is None:
        return [*first.command[1:]]
    return [*_texts(first.notebook["parameters"])]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts([*value.values()])
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _refuse_outside(first: Execution, home: Repository, tree: bytes) -> None:
    absolute = Redirect(home).absolute([*first.command[:1], *given(first)])
    if absolute:
        raise IsolationError(
            f"{absolute[0]}: named by its place in your own worktree, which may hold anything",
            fix="run it anew with paths relative to the folder that you are in",
        )
    if first.notebook is not None:
        return
    cwd = os.path.join(home.worktree, first.cwd)
    found = invocation(first.command, cwd=cwd, top=home.worktree, executable=None)
    if found.kind is Kind.STDIN:
        raise IsolationError("the code came from standard input", fix="put it into a file and commit it")
    if found.kind is not Kind.FILE:
        return
    path = os.path.normpath(found.path or home.worktree)
    name = inside(path, home.worktree)
    # As the commit has it, whatever stands there now: a link that the commit holds leads where it leads.
    is_committed = name is not None and is_held(home, tree, name, links=False)
    if not is_committed and inside(os.path.realpath(path), home.worktree) in (None, os.curdir):
        raise IsolationError(
            f"{found.path}: the command runs a file from outside the repository, so no commit holds it",
            fix="commit it, and run it anew",
        )


def _refuse_uncommitted(first: Execution, home: Repository, outputs: Collection[str]) -> None:
    """What was there before the first run, and named by it, may have been read; what is newer, made by it."""
    if first.isolated:  # it has seen nothing of the user's own worktree
        return
    for word, name in uncommitted(given(first), first.cwd, first.provenance["commit"], home).items():
        if any(named(output)(name) for output in outputs):
            continue
        if not _is_older(os.path.join(home.worktree, name), first.started_at):
            continue
        fix = "commit it, or name it by an absolute path outside the repository, and run it anew"
        if not name.startswith("../"):
            output = os.path.relpath(os.path.join(home.worktree, name), os.path.realpath(os.curdir))
            written = shlex.join(["deriva-ml-hooks", "rerun", "--output", output, first.id])
            fix = f"{fix}; where it is only written: {written}"
        commit = first.provenance["commit"][:12]
        raise IsolationError(
            f"{word}: named by the command, there before the first run, and not in commit {commit}", fix=fix
        )


def _is_older(path: str, started_at: str) -> bool:
    """Whether what is at `path` is as it was when a run started: its ctime, which nobody can set back."""
    try:
        return os.stat(path).st_ctime < datetime.fromisoformat(started_at).timestamp()
    except (OSError, TypeError, ValueError):  # a time that was edited in the record proves nothing
        return True


def lost_variables(first: Execution, env: Mapping[str, str]) -> list[str]:
    """Names of variables that were set for the first run and are not now."""
    return sorted(set(first.environment or ()) - set(env) - _OF_NO_INTEREST)
