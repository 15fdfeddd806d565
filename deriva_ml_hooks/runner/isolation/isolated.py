"""Runs a command in a temporary worktree of a commit, under the gate, while the user's own may be dirty.

The worktree is gone when this ends, however it ends; the record is kept where those of the user's own
worktree are.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.status import measure
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.redact import redact_command
from deriva_ml_hooks.report import Finding, few
from deriva_ml_hooks.runner import child
from deriva_ml_hooks.runner.isolation.environments import provided
from deriva_ml_hooks.runner.isolation.outputs import (
    Ask,
    below_top,
    bring_back,
    make_folders,
    tell_of_ignored,
)
from deriva_ml_hooks.runner.isolation.redirect import Redirect, uncommitted
from deriva_ml_hooks.runner.isolation.standard_input import given_again
from deriva_ml_hooks.runner.isolation.worktrees import Temporary, clear_left_over, temporary_worktree
from deriva_ml_hooks.runner.recorded import Task, run_recorded
from deriva_ml_hooks.runner.recording import Say
from deriva_ml_hooks.runner.request import Accepted, Request, accept
from deriva_ml_hooks.runner.witness import OtherWorktreeError, refuse_other_worktrees, unreached


class IsolationError(HooksError):
    """The command cannot run away from the user's own worktree."""


@dataclass(frozen=True, slots=True)
class Isolated:
    """What is to run away from the user's own worktree.

    `commit` None: HEAD. `cwd`: the folder to run in, relative to the repository; None: where the user is.
    `outputs`: what is copied back, as named from where the user is. `keep`: leave the worktree behind.
    `given`: what may name files, where that is not the words of the request.
    `task`: makes what is run, where that is not the words of the request.
    `stdin`: what the record `rerun_of` says of standard input, which is given to it again.
    `warnings`: in what the run differs from that of `rerun_of`. `python`: the version that ran then.
    `submitted`: for a job, the record that was begun when it was submitted, and the ledger that has it.
    """

    request: Request
    commit: str | None = None
    cwd: str | None = None
    outputs: Sequence[str] = ()
    keep: bool = False
    rerun_of: str | None = None
    given: Sequence[str] | None = None
    task: Callable[[Accepted], Task] | None = None
    stdin: Mapping[str, Any] | None = None
    warnings: tuple[Finding, ...] = ()
    python: str | None = None
    submitted: tuple[Ledger, Execution] | None = None

    @property
    def may_name_files(self) -> Sequence[str]:
        """The words or parameters in which a file may be named."""
        return self.request.argv[1:] if self.given is None else self.given


def run_isolated(
    wanted: Isolated, *, say: Say, complain: Say, keeps: Ask = lambda _: False
) -> tuple[int, Execution]:
    """Run it; the exit code for the caller, and the closed record, as `run_recorded`.

    `keeps` is told of what was made and not asked for, before it goes.

    Raises what `accept` raises, and IsolationError, RedirectError, WorktreeError or UsageError where nothing
    was started; EndedBySignalError after a signal that no command was there to get.
    """
    with child.signals_raise():
        home = measured()
        outputs = [below_top(path, home.worktree) for path in wanted.outputs]
        for folder in clear_left_over(home, say):
            say(f"removed a temporary worktree that was left over: {folder}")
        head = home.head()
        commit = wanted.commit or (head.decode("ascii") if head else None)
        if commit is None:
            raise IsolationError("there is no commit yet", fix="git add -A && git commit")
        cwd = wanted.cwd
        if cwd is None:
            cwd = os.path.relpath(os.path.realpath(os.getcwd()), home.worktree)
            _tell_of_changes(home, commit, say)
        wanted = replace(wanted, cwd=cwd, outputs=outputs)
        absent = [*uncommitted(wanted.may_name_files, cwd, commit, home)]
        if absent:
            say(f"not in the commit, so not in the temporary worktree: {few(absent, most=8)}")
        results = wanted.keep or bool(wanted.outputs)
        with temporary_worktree(home, commit, complain, holds_results=results) as temporary:
            return run_within(temporary, home, wanted, say=say, complain=complain, keeps=keeps)


def run_within(
    temporary: Temporary, home: Repository, wanted: Isolated, *, say: Say, complain: Say, keeps: Ask
) -> tuple[int, Execution]:
    """Run it in a worktree that is there, and bring its outputs, from the top, back; as `run_isolated`."""
    before = dict(os.environ)
    try:
        with accepted_within(temporary, home, wanted) as accepted:
            task = wanted.task(accepted) if wanted.task is not None else None
            if task is not None:
                Redirect(home, temporary.repository).refuse_kernel(*task.within())
            temporary.keep = wanted.keep  # from here on there is something to look at
            with provided(accepted, home, before, wanted.python, say) as variables, _moved(".", variables):
                code, execution = run_recorded(accepted, say=say, complain=complain, task=task)
        if code:
            fix = _in_place(wanted, home)
            tell_of_ignored(wanted.outputs, temporary.repository, home, fix, complain)
        temporary.keep = True  # what a copy cannot bring, or a signal stops, is not lost
        asked: Ask = (lambda _: True) if wanted.keep else keeps
        about = wanted.outputs, temporary.repository, home, execution.provenance["commit"]
        whole = bring_back(*about, say=say, complain=complain, keeps=asked)
        temporary.keep = wanted.keep or not whole
    finally:
        if temporary.keep:
            complain(f"the temporary worktree is kept; to remove it: {temporary.removal}")
    return code, execution


@contextlib.contextmanager
def accepted_within(temporary: Temporary, home: Repository, wanted: Isolated) -> Iterator[Accepted]:
    """Stand in the worktree, in the folder and with the variables of what is to run, and accept it.

    Raises what `run_isolated` raises where nothing was started.
    """
    inside = temporary.repository
    tree = Redirect(home, inside)
    there, here = (
        os.path.normpath(os.path.join(top, wanted.cwd or ".")) for top in (inside.worktree, home.worktree)
    )
    if not os.path.isdir(there):
        raise IsolationError(
            f"{wanted.cwd}: not a folder of the commit, so it is not in its worktree",
            fix="run from a folder that is tracked",
        )
    make_folders(wanted.may_name_files, wanted.cwd or ".", wanted.outputs, inside, home)
    argv = [tree.program(wanted.request.argv[0], here), *wanted.request.argv[1:]]
    tree.refuse_absolute(argv)
    explicit = wanted.request.entry_point
    if explicit is not None and os.path.isabs(explicit) and tree.holds(explicit):
        explicit = tree.worktrees.doubled(explicit)
    changed = tree.environment(os.environ) | {"PWD": there}
    again = given_again(wanted.stdin, wanted.rerun_of or "", inside.worktree)
    with _moved(there, changed), again as differs:
        refuse_other_worktrees(argv, os.environ, tree.worktrees, led=True)
        unseen = unreached(argv, os.environ, tree.worktrees)
        if unseen is not None and not _has_targets(unseen.path or ""):
            raise OtherWorktreeError(f"{unseen.path}: {unseen.message}", fix=unseen.fix)
        accepted = accept(replace(wanted.request, argv=argv, entry_point=explicit))
        accepted = _from_home(accepted, home)
        if wanted.commit is None:
            accepted = _of_the_branch(accepted, home)
        warnings = (*accepted.verdict.warnings, *wanted.warnings, *filter(None, (unseen, differs)))
        accepted = replace(
            accepted,
            rerun_of=wanted.rerun_of,
            outputs=wanted.outputs,
            submitted=wanted.submitted,
            verdict=replace(accepted.verdict, warnings=warnings),
        )
        yield accepted


def _has_targets(path: str) -> bool:
    """Whether a file is a Makefile, most lines of which do not run when one target is made."""
    name = os.path.basename(path).lower()
    return "makefile" in name or name.endswith(".mk")


def _from_home(accepted: Accepted, home: Repository) -> Accepted:
    """The same, with every address as it is for the user's own worktree: the temporary one will be gone."""
    inside, provenance, config = accepted.repository, accepted.provenance, accepted.verdict.config
    # Only to read the configuration by: git itself must not be asked here, it would tell of another HEAD.
    seen = Repository(home.worktree, inside.git_dir, inside.common_dir)
    remote = remotes.chosen(seen, configured=config.remote, hosts=config.hosts)
    below, above = (
        f"file://{quote(os.path.dirname(r.worktree), errors='surrogateescape')}/" for r in (inside, home)
    )
    submodules = tuple(
        {**module, "url": above + module["url"][len(below) :]}
        if (module["url"] or "").startswith(below)
        else module
        for module in provenance.submodules
    )
    provenance = replace(
        provenance,
        repository_url=remote.url if remote else None,
        commit_url=remote.commit_url(provenance.commit) if remote else None,
        submodules=submodules,
    )
    path = accepted.entry_point.path
    url = remotes.permalink(remote, repository=home.worktree, oid=provenance.commit, path=path)
    entry_point = replace(accepted.entry_point, url=url)
    return replace(accepted, provenance=provenance, entry_point=entry_point, home=home)


def _of_the_branch(accepted: Accepted, home: Repository) -> Accepted:
    """The same, on the branch that the user is on, as long as that is where the commit was taken from."""
    provenance, own = accepted.provenance, provenance_of(home, accepted.verdict.config)
    if own.commit == provenance.commit:
        provenance = replace(provenance, branch=own.branch, version=own.version, no_version=own.no_version)
    return replace(accepted, provenance=provenance)


def _tell_of_changes(home: Repository, commit: str, say: Say) -> None:
    line = f"isolated: commit {commit[:12]} in a temporary worktree of its own"
    try:
        changes = len(measure(home).changes)
    except GitError:
        changes = 0
    if changes:
        line += f"; {changes} change{'s' if changes > 1 else ''} in yours left out"
    say(line)


def _in_place(wanted: Isolated, home: Repository) -> str:
    """How to run it where the data are: in the user's own worktree."""
    words = redact_command(wanted.request.argv)
    words = words if wanted.task is not None else ["deriva-ml-hooks", "run", "--", *words]
    folder = os.path.normpath(os.path.join(home.worktree, wanted.cwd or "."))
    steps = [] if folder == os.path.realpath(os.curdir) else [f"cd {shlex.quote(folder)}"]
    steps += [] if wanted.commit is None else [f"git switch --detach {shlex.quote(wanted.commit)}"]
    return f"run it in your own worktree: {' && '.join([*steps, shlex.join(words)])}"


@contextlib.contextmanager
def _moved(folder: str, variables: Mapping[str, str | None]) -> Iterator[None]:
    """Work in `folder` with these variables, and go back."""
    back, before = os.open(os.curdir, os.O_RDONLY), dict(os.environ)
    try:
        os.chdir(folder)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.fchdir(back)
        os.close(back)
