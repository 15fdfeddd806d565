"""Starts git, and nothing else: bytes in, bytes out, a timeout, and an environment chosen on purpose.

Must never let an inherited variable choose the repository that is measured, and never show a secret
that git repeats in an error.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, NamedTuple, cast

from deriva_ml_hooks.errors import GitError, GitMissingError

TIMEOUT = 600.0
"""Seconds that one git process may take; a status on a cold network file system takes minutes."""

_NO_ANSWER = "see that the file system answers, and that git waits for no pipe: find . -type p"

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


class Running:
    """A git process under way, so that two measurements can share the time they take."""

    def __init__(
        self,
        words: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> None:
        self.args = ("git", *words)
        try:
            self._process = subprocess.Popen(
                self.args, cwd=cwd, env=dict(env), stdin=stdin, stdout=subprocess.PIPE, stderr=stderr
            )
        except FileNotFoundError:
            if not os.path.isdir(cwd):
                raise GitError(f"{cwd}: no such folder", fix="change into a folder that exists") from None
            raise GitMissingError from None
        except (OSError, ValueError) as error:  # a NUL in a word, which git cannot have meant
            raise GitError("git: cannot be started", str(error), fix="see: git --version") from error
        self.output = cast("IO[bytes]", self._process.stdout)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        """End it when nobody has waited for it, but not what it started: a filter may hang."""
        if self._process.returncode is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()

    def finish(self, timeout: float = TIMEOUT, stdin: bytes | None = None) -> Completed:
        """Wait for it, at most `timeout` seconds; raises GitError when that is over."""
        with self:
            try:
                out, err = self._process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired:
                problem = f"no answer in {timeout:.0f} s"
                raise GitError(shlex.join(self.args[:2]), problem, fix=_NO_ANSWER) from None
        return Completed(self.args, self._process.returncode, out, err)

    def follow(self, heard: Callable[[bytes], None]) -> Completed:
        """Wait for it, and hand on each line as it comes."""
        lines = []
        with self:
            for line in self.output:
                lines.append(line)
                with suppress(OSError):  # git goes on though nobody is left to hear it
                    heard(line)
            self._process.wait()
        said = b"".join(lines)
        return Completed(self.args, self._process.returncode, said, said)


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
            running.append(stack.enter_context(Running(command, cwd, env, source, complaints)))
            source.close()  # it is the new process's now: one that writes there learns of its end
            source = running[-1].output
        yield source
        if source.read(1):
            return
        for process in running:
            done = process.finish()
            complaints.seek(0)
            done._replace(stderr=complaints.read()).checked()


def start(
    *words: str, cwd: str, env: Mapping[str, str] | None = None, strict: bool = False, piped: bool = False
) -> Running:
    """Start `git WORDS` in `cwd`; with `strict`, under settings that let it overlook nothing.

    Raises GitMissingError without a git program and GitError when it cannot be started.
    """
    settings = [word for setting in STRICT for word in ("-c", setting)] if strict else []
    stdin = subprocess.PIPE if piped else subprocess.DEVNULL
    return Running([*settings, *words], cwd, environment() if env is None else env, stdin)


def run(
    *words: str,
    cwd: str,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    strict: bool = False,
    timeout: float = TIMEOUT,
) -> Completed:
    """`start` and `finish` in one: for a question that nothing else can be asked beside."""
    running = start(*words, cwd=cwd, env=env, strict=strict, piped=stdin is not None)
    return running.finish(timeout, stdin)


def followed(*words: str, cwd: str, env: Mapping[str, str], heard: Callable[[bytes], None]) -> Completed:
    """Run `git WORDS`, however long it takes, and hand on each line of both its streams as it comes."""
    return Running(words, cwd, env, stderr=subprocess.STDOUT).follow(heard)
