"""Starts git, and nothing else: bytes in, bytes out, a timeout, and an environment chosen on purpose.

Must never let an inherited variable choose the repository that is measured, and never show a secret
that git repeats in an error.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, NamedTuple, cast

from deriva_ml_hooks.errors import GitError, GitMissingError

TIMEOUT = 600.0
"""Seconds that one git process may take; a status on a cold network file system takes minutes."""

PATIENCE = 5.0
"""Seconds after which it is asked why git does not answer."""

_READ_BY_GIT = frozenset({".gitignore", ".gitattributes", ".gitmodules", ".mailmap"})

_ALWAYS = {
    "LC_MESSAGES": "C",  # messages are matched, and shown next to ours
    "GIT_OPTIONAL_LOCKS": "0",  # measuring must not refresh the index: the user may be committing
    "GIT_NO_REPLACE_OBJECTS": "1",  # a replaced commit is not the one that its name promises
    "GIT_GRAFT_FILE": os.path.join(os.devnull, "none"),  # nor is a grafted history the one that was pushed
    "GIT_TERMINAL_PROMPT": "0",  # a prompt would hang a run that nobody watches
}

# What a user may have configured that makes git overlook a change. Measured live, every time.
STRICT = (
    "core.fsmonitor=false",  # a watcher that missed an event hides the edit
    "core.untrackedCache=false",
    "core.checkStat=default",
    "core.trustctime=true",  # an edit with its old mtime put back still has a new ctime
    "core.preloadIndex=true",
    "status.showUntrackedFiles=all",  # also reaches the status that git runs inside submodules
    "diff.ignoreSubmodules=none",
)

# For the clones, worktrees and checkouts of our own: the user's hooks and templates are about the user's own
# files, and a hook of ours among them would make another checkout. Words before git's own command.
QUIETLY = tuple(
    word
    for setting in (
        f"core.hooksPath={os.devnull}",
        "init.templateDir=",
        "core.fsmonitor=false",
        "submodule.recurse=false",
    )
    for word in ("-c", setting)
)


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for measuring the repository of a folder: no inherited `GIT_*` at all.

    GIT_DIR is set inside hooks of linked worktrees, GIT_CONFIG_COUNT and the like can change any
    setting: each of them could make the answer one about something else (git(1), environment).
    """
    source = os.environ if base is None else base
    return _settled({k: v for k, v in source.items() if not k.upper().startswith("GIT_")})


def hook_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a hook that git started: its `GIT_DIR` and `GIT_INDEX_FILE` are the question.

    During `git commit -a` and `git commit -- path` GIT_INDEX_FILE names the index that will be
    committed (githooks(5)); without it nothing looks staged.
    """
    return _settled(dict(os.environ if base is None else base))


# What `git rev-parse --local-env-vars` lists, and the folder git was called from.
_OF_ONE_REPOSITORY = frozenset(
    {
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT"),
        *("GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE"),
        *("GIT_INTERNAL_SUPER_PREFIX", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"),
        *("GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE"),
    }
)


def command_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a command that is not git: nothing in it points git at another repository.

    What belongs to the user (GIT_SSH_COMMAND, GIT_AUTHOR_NAME, ...) stays.
    """
    return {k: v for k, v in (os.environ if base is None else base).items() if k not in _OF_ONE_REPOSITORY}


def _settled(env: dict[str, str]) -> dict[str, str]:
    """Plain English from git, while filters that it starts keep the user's character set."""
    everything = env.pop("LC_ALL", "")
    return env | ({"LC_CTYPE": everything} if everything else {}) | _ALWAYS


@contextmanager
def answer(command: str) -> Iterator[None]:
    """What is done inside, or in the function that this decorates, reads what `git COMMAND` has written.

    Raises GitError where that is not what git writes: one that was killed, or is no git, writes anything.
    """
    try:
        yield
    except (ValueError, LookupError, StopIteration, TypeError) as error:
        problem = f"an answer that cannot be read ({type(error).__name__})"
        raise GitError(f"git {command}", problem, fix="see what it says: git --version") from error


class Completed(NamedTuple):
    """A git process that has ended."""

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        """What git wrote to stderr, secrets removed."""
        from deriva_ml_hooks.redact import redact  # its patterns take a while to compile

        return redact(os.fsdecode(self.stderr).strip()) if self.stderr else ""

    def checked(self) -> bytes:
        """Its output; raises GitError when it failed."""
        if self.returncode:
            raise GitError(shlex.join(self.args[:2]), self.said or f"exit {self.returncode}")
        return self.stdout


def _trace(args: Sequence[str], cwd: str) -> None:
    """Tell the log, where there is one: a program that has not loaded logging does not listen."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger(__name__).debug("%s (in %s)", shlex.join(args), cwd)


class Running:
    """A git process under way, so that two measurements can share the time they take."""

    def __init__(self, args: Sequence[str], cwd: str, env: Mapping[str, str], stdin: bytes | None) -> None:
        self.args = ("git", *args)
        self._stdin = stdin
        self._cwd = cwd
        _trace(self.args, cwd)
        try:
            self._process = subprocess.Popen(
                self.args,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError:
            if not os.path.isdir(cwd):
                raise GitError(f"{cwd}: no such folder", fix="change into a folder that exists") from None
            raise GitMissingError from None
        except (OSError, ValueError) as error:  # a NUL in a word, which git cannot have meant
            raise GitError("git: cannot be started", str(error), fix="see: git --version") from error

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        """End it when nobody has waited for its answer."""
        if self._process.returncode is None:
            self._kill()

    def _kill(self) -> None:
        """End it without waiting for what it started: a filter that hangs would hold the pipes open."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()

    def finish(self, timeout: float = TIMEOUT, *, heard: Callable[[bytes], None] | None = None) -> Completed:
        """Wait for it, at most `timeout` seconds; raises GitError when that is over.

        `heard` is given each line of both its streams as it comes, where it has no standard input.
        """
        try:
            if heard is None:
                out, err = self._waited_for(timeout)
            else:
                out, err = self._followed(timeout, heard)
        except subprocess.TimeoutExpired:
            self._kill()
            raise GitError(
                shlex.join(self.args[:2]),
                f"no answer in {timeout:.0f} s",
                fix="see whether the file system answers: git status",
            ) from None
        except BaseException:
            self._kill()
            raise
        return Completed(self.args, self._process.returncode, out, err)

    def _waited_for(self, timeout: float) -> tuple[bytes, bytes]:
        patience = min(PATIENCE, timeout)
        try:
            return self._process.communicate(self._stdin, patience)
        except subprocess.TimeoutExpired:
            pipe = self._pipe_below(self._cwd)
            if pipe is not None:
                raise GitError(pipe, "a pipe, for which git waits", fix=f"rm {shlex.quote(pipe)}") from None
            return self._process.communicate(None, timeout - patience)  # it still has what it was given

    def _pipe_below(self, folder: str) -> str | None:
        """A pipe in the place of a file that git reads; looked for as long as git does not answer."""
        for parent, folders, names in os.walk(folder):
            if self._process.poll() is not None:
                break
            folders[:] = [name for name in folders if name != ".git"]
            for name in _READ_BY_GIT.intersection(names):
                path = os.path.join(parent, name)
                with suppress(OSError):
                    if stat.S_ISFIFO(os.stat(path).st_mode):
                        return path
        return None

    def _followed(self, timeout: float, heard: Callable[[bytes], None]) -> tuple[bytes, bytes]:
        import threading

        lines: tuple[list[bytes], list[bytes]] = ([], [])
        given_up = threading.Event()

        def follow(pipe: IO[bytes], kept: list[bytes]) -> None:
            with pipe:
                for line in pipe:
                    kept.append(line)
                    if not given_up.is_set():
                        with suppress(OSError):  # git goes on though nobody is left to hear it
                            heard(line)

        pipes = (self._process.stdout, self._process.stderr)
        self._process.stdout = self._process.stderr = None  # nobody may close what a thread reads
        threads = [
            threading.Thread(target=follow, args=about, daemon=True)
            for about in zip(pipes, lines, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            self._process.wait(timeout)
            for thread in threads:
                thread.join()
        except BaseException:
            given_up.set()
            raise
        return b"".join(lines[0]), b"".join(lines[1])


@contextmanager
def piped(*commands: Sequence[str], cwd: str, env: Mapping[str, str], stdin: bytes) -> Iterator[IO[bytes]]:
    """The output of git commands of which each reads what the one before it writes, the first `stdin`.

    Whoever has read enough leaves: what still runs is ended. Raises GitError when one has failed.
    """
    import tempfile

    with ExitStack() as stack:
        complaints = stack.enter_context(tempfile.TemporaryFile())
        source: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())  # a pipe might fill up
        source.write(stdin)
        source.seek(0)
        running = []
        for command in commands:
            try:
                process = subprocess.Popen(
                    ("git", *command),
                    cwd=cwd,
                    env=dict(env),
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                )
            except FileNotFoundError:
                raise GitMissingError from None
            source.close()  # it is the new process's now: one that writes there learns of its end
            stack.callback(process.wait)
            stack.callback(process.kill)
            source = stack.enter_context(cast("IO[bytes]", process.stdout))
            running.append((("git", *command), process))
        yield source
        if source.read(1):
            return
        for args, process in running:
            process.wait()
            complaints.seek(0)
            Completed(args, process.returncode, b"", complaints.read()).checked()


def start(
    *args: str,
    cwd: str,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    strict: bool = False,
) -> Running:
    """Start `git ARGS` in `cwd`; with `strict`, under settings that let it overlook nothing.

    Raises GitMissingError without a git program and GitError when it cannot be started.
    """
    settings = [word for setting in STRICT for word in ("-c", setting)] if strict else []
    return Running([*settings, *args], cwd, environment() if env is None else env, stdin)


def run(
    *args: str,
    cwd: str,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    strict: bool = False,
    timeout: float = TIMEOUT,
) -> Completed:
    """`start` and `finish` in one: for a question that nothing else can be asked beside."""
    return start(*args, cwd=cwd, env=env, stdin=stdin, strict=strict).finish(timeout)
