"""What stands in every Python process of a run, from the outside: brought in, and its reports read.

It is a `sitecustomize` in a folder of the run that is first on PYTHONPATH. A Python that is told to read
no variables (-E, -I), or that gets another PYTHONPATH, has none of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from deriva_ml_hooks import programs
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner import inside_python
from deriva_ml_hooks.runner.command.installed import installed_from, sites
from deriva_ml_hooks.runner.command.named_code import defaults, is_code
from deriva_ml_hooks.runner.command.shell_words import assigned, split_words
from deriva_ml_hooks.runner.inside_python import Worktrees

OTHER_WORKTREE = "other-worktree"
"""Code of a finding: code of another worktree was loaded."""

_VARIABLE = "PYTHONPATH"
_KEEPS = re.compile(r"\$\{?PYTHONPATH(?![\w#%/])|^PYTHONPATH\+=")
"""Another value that goes on with what is there."""
_TOLD_SO = re.compile(r"[\s=]-\w*[IE]")
_TOO_OLD = re.compile(r"/python(?:2\.\d|3\.[0-7])/")
"""Where a Python has its packages that does not know what our sitecustomize is written with."""
_REACH_IT = "leave out -I, -E and what sets PYTHONPATH, or install the package there as a copy"
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?(?:\.exe)?")
_TIMEOUT = 60.0
"""Seconds that an interpreter may take to say where it imports from."""
_MOST_WORDS = 200
_MOST_FILES = 50
_LONGEST = 100_000
"""Bytes of a script that are read."""


class OtherWorktreeError(HooksError):
    """Something would be imported from a worktree whose code is not what is to run."""


def worktrees_of(repository: Repository) -> list[str]:
    """All worktrees of a repository, the main one too (gitrepository-layout(5))."""
    common = repository.common_dir
    found = [repository.worktree]
    main = repository.setting("core", "worktree")
    if main is not None:
        found.append(os.path.join(common, main))
    elif os.path.basename(common) == ".git":
        found.append(os.path.dirname(common))
    with contextlib.suppress(OSError):
        for name in os.listdir(os.path.join(common, "worktrees")):
            admin = os.path.join(common, "worktrees", name)
            with contextlib.suppress(OSError), open(os.path.join(admin, "gitdir"), "rb") as file:
                found.append(os.path.dirname(os.path.join(admin, os.fsdecode(file.read().strip()))))
    return [*dict.fromkeys(map(os.path.realpath, found))]


@dataclass(frozen=True, slots=True)
class Witness:
    """What stands in the Pythons of one run; `folder`: its own. `leads`: whether imports are led, too."""

    folder: str
    worktrees: Worktrees
    leads: bool

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """Write it down; the variables that bring it in. None where that cannot be: nothing depends on it
        in a run that leads no imports.
        """
        source = Path(inside_python.__file__).read_text(encoding="utf-8")
        about = (self._reports, self.worktrees.here, self.worktrees.others, self.leads)
        # The next of that name is the environment's own. Where there is none, the error is the one that
        # site expects (ImportError with that name).
        ending = "import sys; del sys.modules[__name__]\nimport sitecustomize\n"
        try:
            if os.pathsep in self.folder:
                raise OSError(0, "a folder with the separator of PATH in its name")
            os.makedirs(self._reports, 0o700)
            with open(os.path.join(self.folder, "sitecustomize.py"), "w", encoding="utf-8") as file:
                file.write(f"{source}\n\nbegin(*{about!a})\n{ending}")
        except OSError as error:
            if not self.leads:
                return {}
            raise OtherWorktreeError(
                f"{self.folder}: {error.strerror}, so imports cannot be led to the temporary worktree",
                fix="see its owner, and the space on its disk",
            ) from None
        return {_VARIABLE: os.pathsep.join([self.folder, *filter(None, [env.get(_VARIABLE)])])}

    @property
    def _reports(self) -> str:
        return os.path.join(self.folder, "reports")

    def told(self) -> list[str]:
        """The code of other worktrees that the processes have loaded; what was written down is gone then."""
        found: dict[str, None] = {}
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self._reports)):
                with open(os.path.join(self._reports, name), "rb") as file:
                    found.update(dict.fromkeys(os.fsdecode(file.read()).split("\0")[1:]))
        shutil.rmtree(self.folder, ignore_errors=True)
        return [*found]


def refuse_other_worktrees(
    words: Sequence[str], env: Mapping[str, str], worktrees: Worktrees, *, led: bool
) -> None:
    """Raise OtherWorktreeError where a Python that `words` start has code of another worktree installed.

    With `led`, only one that no variable reaches. Those that a script starts are seen by `unreached`.
    """
    tokens = [*split_words(words)]
    found = _foreign(tokens, env, worktrees, led=led, drops=_drops(tokens))
    if found is not None and led:
        raise OtherWorktreeError(
            f"{found[0]} imports from your own worktree, and is told to read no PYTHONPATH: {found[1]}",
            fix=_REACH_IT,
        )
    if found is not None:
        raise OtherWorktreeError(
            f"{found[0]} imports from another worktree of this repository: {found[1]}",
            fix="deriva-ml-hooks run --isolated -- COMMAND, or install the package of this worktree there",
        )


def unreached(words: Sequence[str], env: Mapping[str, str], worktrees: Worktrees) -> Finding | None:
    """A warning where a script or Makefile of the commit that `words` run, from here, starts such a Python.

    Those that it names in its turn are read too. Whether the line runs is not known.
    """
    files = _files(words)
    for path in islice(files, _MOST_FILES):  # it grows
        if not worktrees.is_here(path) or path.endswith((".py", ".ipynb")):
            continue
        with open(path, "rb") as file:
            text = file.read(_LONGEST).decode("utf-8", "replace")
        if re.match(r"#!.*(?:python|pypy)|.*\0", text):
            continue
        lines = [line.partition("#")[0] for line in text.replace("$(", "${").splitlines()]
        with contextlib.suppress(OtherWorktreeError):  # a Python that does not start here
            for number, python, place in _unreached(lines, env, worktrees):
                message = f"line {number} has {python} read no PYTHONPATH: it imports from {place}"
                return Finding(OTHER_WORKTREE, os.path.relpath(path), message, _REACH_IT)
        files += [name for name in _files([*dict.fromkeys(split_words(lines))]) if name not in files]
    return None


def _unreached(
    lines: Sequence[str], env: Mapping[str, str], worktrees: Worktrees
) -> Iterator[tuple[int, str, str]]:
    """The lines of a script that start one, with it and what it imports from."""
    is_dropped = False
    searched = [*_searched([*split_words(lines)])]
    env = {**env, "PATH": os.pathsep.join([*searched, env.get("PATH", os.defpath)])}
    for number, line in enumerate(lines, 1):
        tokens = [token.lstrip("@") for token in split_words([line])]
        drops = _drops(tokens) and not _KEEPS.search(line)
        if drops or is_dropped or _TOLD_SO.search(line):
            found = _foreign(tokens, env, worktrees, led=True, drops=drops or is_dropped)
            if found is not None:
                yield number, *found
            is_dropped |= drops and not any(pythons_of(tokens, env))


def _files(words: Sequence[str]) -> list[str]:
    """The files that words name, and those that a program runs unnamed (`Makefile`)."""
    tokens = [*split_words(words)]
    named = [*tokens, *defaults(tokens, [os.curdir])]
    files = filter(os.path.isfile, dict.fromkeys(map(os.path.abspath, named)))
    return [path for path in files if "." not in os.path.basename(path) or is_code(path, path)]


def _foreign(
    tokens: Sequence[str], env: Mapping[str, str], worktrees: Worktrees, *, led: bool, drops: bool
) -> tuple[str, str] | None:
    """The first Python that is started with code of other worktrees installed, and where that is.

    With `led` one that no variable reaches, since it is told so or the words drop it.
    """
    for python, flags in pythons_of(tokens, env) if worktrees.others else ():
        if worktrees.is_here(python):  # a file of the commit, which nothing starts before the run itself
            continue
        is_unreached = drops or any(letter in flag for flag in flags for letter in "IE")
        if any("S" in flag for flag in flags):
            continue
        if led and not is_unreached:
            packages = sites(python)
            if not any(_TOO_OLD.search(f"{place}/") for place in packages) or not _installed(
                packages, worktrees
            ):
                continue
        path = _installed(_asked(python, env) if led else sites(python), worktrees)
        if path is not None:
            return python, path
    return None


def _drops(tokens: Sequence[str]) -> bool:
    """Whether the words take PYTHONPATH away, or set another."""
    names = {os.path.basename(token) for token in tokens}
    emptied = {"-", "-i", "--ignore-environment"} & names and "env" in names
    is_set = any(_VARIABLE in token and not _KEEPS.search(token) for token in tokens)
    return bool(emptied) or "sudo" in names or is_set or ("exec", "-c") in pairwise(tokens)


def pythons_of(tokens: Sequence[str], env: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Each Python that is started, by name or by the first lines of a program, and its flags."""
    path = os.pathsep.join([*_searched(tokens), env.get("PATH", os.defpath)])
    kept = [value for _, value in assigned(tokens) if value.startswith("-")]  # `opts=-I`
    for at, token in enumerate(tokens[:_MOST_WORDS]):
        name, _, value = token.partition("=")
        is_kept = name.isidentifier() and os.path.isabs(value)  # `P=/venv/bin/python; $P -I`
        if token.startswith("-") or ("=" in token and not is_kept):
            continue
        token = value if is_kept else token
        program = shutil.which(os.path.basename(token) if token.startswith("./") else token, path=path)
        if program is None:
            continue
        if _PYTHON.fullmatch(os.path.basename(token)):
            yield os.path.abspath(program), [*_flags(tokens[at + 1 :], everywhere=is_kept), *kept]
            continue
        with contextlib.suppress(OSError), open(program, "rb") as file:
            if file.read(2) == b"#!":
                # A path that is too long for a first line is in the second one (distlib).
                first = os.fsdecode(file.readline(4096) + file.readline(4096))
                if "python" in first or "pypy" in first:
                    yield from pythons_of([*split_words([first])], env)


def _searched(tokens: Sequence[str]) -> Iterator[str]:
    """The folders that the words put in front of PATH, by its name or by `activate`."""
    for at, token in enumerate(tokens):
        if token.startswith("PATH="):
            yield from filter(os.path.isabs, token[5:].split(os.pathsep))
        elif os.path.basename(token) == "activate":
            yield os.path.abspath(os.path.dirname(token))
        elif token == "cd" and at + 1 < len(tokens):  # noqa: S105  # no password
            yield os.path.abspath(tokens[at + 1])


def _flags(words: Sequence[str], *, everywhere: bool = False) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if everywhere and not word.startswith("-"):
            continue
        if not word.startswith("-") or word.startswith("--") or word[1:2] in ("", "c", "m"):
            return
        if word in ("-W", "-X"):
            next(rest, None)
        elif word[1] not in "WX":
            yield word


def _asked(python: str, env: Mapping[str, str]) -> list[str]:
    """Where a Python that reads no variables imports from, as it says itself."""
    script = "import json, sys; print('\\n' + json.dumps(sys.path[1:]))"
    try:
        # In a folder where nobody else can put a module.
        done = programs.run([python, "-E", "-c", script], cwd=os.sep, env=env, timeout=_TIMEOUT)
        return [place for place in json.loads(done.stdout.splitlines()[-1]) if isinstance(place, str)]
    except (OSError, ValueError, IndexError, TypeError):
        raise OtherWorktreeError(
            f"{python}: does not say where it imports from", fix="name a Python that starts"
        ) from None


def _installed(places: Sequence[str], worktrees: Worktrees) -> str | None:
    """The first that is installed there from other worktrees."""
    paths = (path for place in places for path in (place, *installed_from(place)))
    return next((path for path in paths if worktrees.inside(path) is not None), None)
