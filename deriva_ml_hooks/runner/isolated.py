"""Runs a command in a temporary worktree of a commit, under the gate, while the user's own may be dirty.

The worktree is gone when this ends, however it ends; the record is kept where those of the user's own
worktree are.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.errors import GitError, HooksError, UsageError
from deriva_ml_hooks.executions.record import Execution, new_id
from deriva_ml_hooks.gate import measure_somehow
from deriva_ml_hooks.git import process, remotes
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.report import printable
from deriva_ml_hooks.runner import child
from deriva_ml_hooks.runner.acceptance import Accepted, Request, accept
from deriva_ml_hooks.runner.own_tree import OwnTree
from deriva_ml_hooks.runner.recorded import Say, run_recorded
from deriva_ml_hooks.runner.worktrees import Temporary, clear_left_over, temporary_worktree


class IsolationError(HooksError):
    """The command cannot run away from the user's own worktree."""


class EndedBySignalError(BaseException):
    """A signal asked for the end outside the command; `exit_code` as a shell has it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@dataclass(frozen=True, slots=True)
class Isolated:
    """What is to run away from the user's own worktree.

    `commit` None: HEAD. `cwd`: the folder to run in, relative to the repository; None: where the user is.
    `outputs`: what is copied back, relative to the repository. `keep`: leave the worktree behind.
    """

    request: Request
    commit: str | None = None
    cwd: str | None = None
    outputs: Sequence[str] = ()
    keep: bool = False
    rerun_of: str | None = None


def run_isolated(wanted: Isolated, *, say: Say, complain: Say) -> tuple[int, Execution]:
    """Run it; the exit code for the caller, and the closed record, as `run_recorded`.

    Raises what `accept` raises, and IsolationError, OwnTreeError, WorktreeError or UsageError where nothing
    was started; EndedBySignalError after a signal that no command was there to get.
    """
    outputs = [_inside(path) for path in wanted.outputs]
    with _signals_raise():
        home = discover()
        for folder in clear_left_over(home):
            say(f"removed a temporary worktree that was left over: {folder}")
        head = home.head()
        commit = wanted.commit or (head.decode("ascii") if head else None)
        if commit is None:
            raise IsolationError("there is no commit yet", fix="git add -A && git commit")
        cwd = wanted.cwd
        if cwd is None:
            cwd = os.path.relpath(os.path.realpath(os.getcwd()), home.worktree)
            _tell_of_changes(home, commit, say)
        with temporary_worktree(home, commit) as temporary:
            try:
                code, execution = _run_in(temporary, home, replace(wanted, cwd=cwd), say, complain)
                for path in outputs:
                    _bring_back(path, temporary.repository, home, say, complain)
            finally:
                if temporary.keep:
                    path = shlex.quote(temporary.repository.worktree)
                    complain(
                        f"the temporary worktree is kept; to remove it: git worktree remove --force {path}"
                    )
    return code, execution


def _run_in(
    temporary: Temporary, home: Repository, wanted: Isolated, say: Say, complain: Say
) -> tuple[int, Execution]:
    inside = temporary.repository
    tree = OwnTree(home.worktree, inside.worktree)
    there, here = (
        os.path.normpath(os.path.join(top, wanted.cwd or ".")) for top in (inside.worktree, home.worktree)
    )
    if not os.path.isdir(there):
        raise IsolationError(
            f"{wanted.cwd}: not a folder of the commit, so it is not in its worktree",
            fix="run from a folder that is tracked",
        )
    argv = [tree.program(wanted.request.argv[0], here), *wanted.request.argv[1:]]
    tree.refuse_absolute(argv, lambda path: _is_tracked(inside, path))
    explicit = wanted.request.entry_point
    if explicit is not None and os.path.isabs(explicit) and tree.holds(explicit):
        explicit = tree.doubled(explicit)
    changed = tree.environment(os.environ) | {"PWD": there}
    with _moved(there, changed):
        executable = shutil.which(argv[0])
        imports = tree.imports(executable, os.environ) if executable is not None else []
        if imports:
            entries = [*imports, *filter(None, [os.environ.get("PYTHONPATH")])]
            os.environ["PYTHONPATH"] = os.pathsep.join(entries)
        accepted = accept(replace(wanted.request, argv=argv, entry_point=explicit))
        accepted = _from_home(accepted, home)
        if wanted.commit is None:
            accepted = _of_the_branch(accepted, home)
        accepted = replace(accepted, rerun_of=wanted.rerun_of)
        temporary.keep = wanted.keep  # from here on there is something to look at
        return run_recorded(accepted, say=say, complain=complain)


def _from_home(accepted: Accepted, home: Repository) -> Accepted:
    """The same, with every address as it is for the user's own worktree: the temporary one will be gone."""
    inside, provenance, config = accepted.repository, accepted.provenance, accepted.verdict.config
    # Only to read the configuration by: git itself must not be asked here, it would tell of another HEAD.
    seen = Repository(home.worktree, inside.git_dir, inside.common_dir)
    remote = remotes.chosen(seen, configured=config.remote, hosts=config.hosts)
    below, above = (f"file://{quote(os.path.dirname(r.worktree))}/" for r in (inside, home))
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
        provenance = replace(provenance, branch=own.branch, version=own.version)
    return replace(accepted, provenance=provenance)


def _is_tracked(repository: Repository, path: str) -> bool:
    head = repository.head()
    return head is not None and repository.entry(repository.commit(head).tree, path) is not None


def _tell_of_changes(home: Repository, commit: str, say: Say) -> None:
    line = f"isolated: commit {commit[:12]} in a temporary worktree of its own"
    try:
        changes = len(measure_somehow(home).changes)
    except GitError:
        changes = 0
    if changes:
        line += f"; {changes} change{'s' if changes > 1 else ''} in yours left out"
    say(line)


def _inside(path: str) -> str:
    """A path of `--output`, relative to the repository; raises UsageError for any other."""
    plain = os.path.normpath(path)
    parts = plain.split(os.sep)
    if os.path.isabs(plain) or plain == os.curdir or os.pardir in parts or ".git" in parts:
        raise UsageError(
            f"--output {path}: not a folder or file below the top of the repository",
            fix="name it relative to the top of the repository, such as --output results",
        )
    return plain


def _bring_back(path: str, inside: Repository, home: Repository, say: Say, complain: Say) -> None:
    """Copy what the command has made at `path` into the user's own worktree, and say how much.

    What is tracked stays as it is there. Other files are replaced, each at once.
    """
    source = os.path.join(inside.worktree, path)
    if not os.path.lexists(source):
        complain(f"{printable(path)}: not there after the run, so nothing was copied")
        return
    tracked = _tracked(inside, path) | _tracked(home, path)
    copied, left = 0, []
    for file in _files(source):
        name = os.path.relpath(file, inside.worktree)
        if name in tracked:
            if not _same_bytes(file, os.path.join(home.worktree, name)):
                left.append(name)
            continue
        try:
            _copy(file, os.path.join(home.worktree, name))
            copied += 1
        except OSError as error:
            complain(f"{printable(name)}: not copied: {error.strerror or error}")
    say(f"{printable(path)}: {copied} file{'' if copied == 1 else 's'} copied back")
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        complain(f"{printable(left[0])}{more}: not copied, since tracked files are not overwritten")


def _tracked(repository: Repository, path: str) -> set[str]:
    words = ("--literal-pathspecs", "ls-files", "-z", "--", path)
    return set(os.fsdecode(process.run(*words, cwd=repository.worktree).checked()).split("\0"))


def _files(path: str) -> Iterator[str]:
    """The files and symbolic links at `path`; repositories that a command has made there stay behind."""
    if os.path.islink(path) or not os.path.isdir(path):
        yield path
        return
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name != ".git":
            yield from _files(entry.path)


def _same_bytes(one: str, other: str) -> bool:
    try:
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except OSError:
        return False


def _copy(source: str, target: str) -> None:
    """Copy a file, or a symbolic link as such: written beside the old one, then in its place."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    beside = os.path.join(os.path.dirname(target), f".{new_id()}")
    try:
        if not os.path.islink(source) and not os.path.isfile(source):
            raise OSError(0, "neither a file nor a symbolic link")
        shutil.copy2(source, beside, follow_symlinks=False)
        os.replace(beside, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


@contextlib.contextmanager
def _moved(folder: str, variables: Mapping[str, str]) -> Iterator[None]:
    """Work in `folder` with these variables, and go back."""
    back, before = os.open(os.curdir, os.O_RDONLY), dict(os.environ)
    try:
        os.chdir(folder)
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.fchdir(back)
        os.close(back)


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Have the signals that end a run raise EndedBySignalError, so that what was begun is taken back.

    Ignored ones stay ignored. While a command runs it gets them itself.
    """

    def ended(number: int, _: Any) -> None:
        for other in before:  # once is enough: the worktree has to be taken away yet
            signal.signal(other, signal.SIG_IGN)
        raise EndedBySignalError(number)

    before = {s: signal.getsignal(s) for s in child.ABORTING if signal.getsignal(s) != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, ended)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
