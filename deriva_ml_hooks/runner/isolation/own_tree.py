"""What leads a command in a temporary worktree back into the user's own: variables, imports, arguments.

The user's own worktree may hold anything, so code must not come from there. Environments that stand in
it (.venv) are programs that were installed, and may.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence

from deriva_ml_hooks.errors import HooksError

_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
_SEARCHED = frozenset({"PATH", "PYTHONPATH"})
# uv would install the double's packages there, for good (docs.astral.sh/uv, environment variables).
_UV = "UV_PROJECT_ENVIRONMENT"
# Their worktree may be the home folder itself, which stays theirs.
_OF_THE_USER = frozenset({"HOME", "USERPROFILE"})
_REST_OF_PATH = r"""((?:/[^\s:;,'"|&<>()]*)?)(?![^\s:;,'"|&<>()])"""
_TIMEOUT = 60.0
"""Seconds that an interpreter may take to say where it imports from."""

# Where an interpreter imports from, and what it was told by editable installations: those that come after
# its own path finder can be got ahead of by PYTHONPATH, the others cannot.
_PROBE = """
import sys
del sys.path[0]  # the folder it is started in
import json, os
from importlib.machinery import PathFinder

def places(found):
    if isinstance(found, dict):
        found = [*found.values()]
    if isinstance(found, (list, tuple, set)):
        return [place for one in found for place in places(one)]
    if not isinstance(found, (str, os.PathLike)):
        return []
    place = os.fspath(found)
    if os.path.basename(place) == "__init__.py":
        place = os.path.dirname(place)
    return [os.path.dirname(place)] if os.path.isabs(place) else []

own = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0
before, after = [], [path for path in sys.path if path]
for number, finder in enumerate(sys.meta_path):
    module = sys.modules.get(getattr(finder, "__module__", "") or type(finder).__module__)
    if getattr(module, "__file__", None) and number != own:
        names = getattr(finder, "__dict__", {})
        told = [value for name, value in names.items() if not name.startswith("__")]
        told += [getattr(module, "MAPPING", {})]
        (before if number < own else after).extend(places(told))
print("\\n" + json.dumps([before, after]))
"""


class OwnTreeError(HooksError):
    """Something would run, or be imported, from the user's own worktree."""


class OwnTree:
    """The user's own worktree `top`, seen from its double in the temporary worktree `double`."""

    def __init__(self, top: str, double: str) -> None:
        self.top = top
        self.double = double

    def holds(self, path: str) -> bool:
        """Whether the absolute `path` is in it, and not in an environment that stands there."""
        for known in (os.path.normpath(path), os.path.realpath(path)):
            if known == self.top or known.startswith(self.top + os.sep):
                return not self.is_installed(known)
        return False

    def doubled(self, path: str) -> str:
        """The same place in the temporary worktree."""
        path = os.path.normpath(path)
        if path != self.top and not path.startswith(self.top + os.sep):
            path = os.path.realpath(path)
        return os.path.normpath(os.path.join(self.double, os.path.relpath(path, self.top)))

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables that have to be others, so that nothing in them leads from the double to this tree.

        What is searched for programs and imports leads to the double in any case, the rest (PROJECT_ROOT)
        where the double has such a file or folder: data that only this tree holds are found where they are.
        """
        changed = {}
        for name, value in env.items():
            if name == _UV and os.path.isabs(value):
                changed[name] = ""
                continue
            entries = value.split(os.pathsep)
            new = [self._led(entry, always=name in _SEARCHED) for entry in entries]
            if new != entries and name not in _OF_THE_USER:
                changed[name] = os.pathsep.join(new)
        return changed

    def _led(self, entry: str, *, always: bool) -> str:
        if not os.path.isabs(entry) or not self.holds(entry):
            return entry
        double = self.doubled(entry)
        return double if always or os.path.lexists(double) else entry

    def imports(self, executable: str, env: Mapping[str, str]) -> list[str]:
        """Folders of the double that stand for those that `executable`'s Python imports from in this tree.

        Raises OwnTreeError where they cannot be got ahead of.
        """
        python = self._python_of(executable, env)
        told = _asked(python, self._without_code_of_its_own(env)) if python is not None else None
        if told is None:
            return []
        before, after = ([place for place in places if self.holds(place)] for places in told)
        missing = [place for place in after if not os.path.isdir(self.doubled(place))]
        if before or missing:
            place = (before + missing)[0]
            raise OwnTreeError(
                f"{python} imports from your own worktree, which is not what is to run: {place}",
                fix="install the package there as a copy (pip install . without --editable), or use uv run",
            )
        return list(dict.fromkeys(map(self.doubled, after)))

    def program(self, word: str, cwd: str) -> str:
        """The first word of a command, to be started in the double of `cwd`.

        A program of an environment in this tree is named by its absolute path, since the double has none.
        Raises OwnTreeError for a file of the tree itself that is named so that its double is not meant.
        """
        if not os.path.dirname(word):
            return word
        here = os.path.normpath(os.path.join(cwd, word))
        if os.path.isabs(word):
            if self.holds(word):
                raise self._absolute(word)
            return word
        if not os.path.lexists(self.doubled(here)) and os.path.exists(here) and not self.holds(here):
            return here
        return word

    def absolute(self, words: Sequence[str]) -> list[str]:
        """What the words name in this tree by its absolute path: whole, behind a `=`, in a shell's script."""
        found = []
        for word in words:
            for part in (word, word.partition("=")[2], *self._within(word)):
                if os.path.isabs(part) and self.holds(part) and os.path.lexists(part):
                    found.append(part)
        return list(dict.fromkeys(found))

    def _within(self, word: str) -> list[str]:
        home = os.path.expanduser("~")
        spelled = {self.top: self.top}
        if self.top.startswith(home + os.sep):
            spelled |= {short + self.top[len(home) :]: self.top for short in ("~", "$HOME", "${HOME}")}
        found = []
        for text, top in spelled.items():
            for match in re.finditer(re.escape(text) + _REST_OF_PATH, word):
                found.append(top + match[1])
        return found

    def refuse_absolute(self, words: Sequence[str], is_tracked: Callable[[str], bool]) -> None:
        """Raises OwnTreeError where a word names this tree, or a file of the commit by its place in it."""
        for path in self.absolute(words):
            inside = os.path.relpath(os.path.realpath(path), self.top).replace(os.sep, "/")
            if inside == "." or is_tracked(inside):
                raise self._absolute(path)

    def _absolute(self, path: str) -> OwnTreeError:
        inside = os.path.relpath(path, self.top)
        return OwnTreeError(
            f"{path}: a file of your own worktree, which is not what is to run",
            fix=f"name it relative to the folder that you are in, such as {shlex.quote(inside)}",
        )

    def is_installed(self, path: str) -> bool:
        """Whether `path`, of this tree, is in an environment that stands there (.venv)."""
        folder = path
        while folder != self.top and folder != os.path.dirname(folder):
            if any(os.path.exists(os.path.join(folder, mark)) for mark in _ENVIRONMENT_MARKS):
                return True
            folder = os.path.dirname(folder)
        return False

    def _python_of(self, executable: str, env: Mapping[str, str]) -> str | None:
        """The Python that a program is, is written for, or most likely starts; no file of the double."""
        if os.path.basename(executable).startswith("python") and not self._is_double(executable):
            return executable
        try:
            with open(executable, "rb") as file:
                first = file.readline(4096)
        except OSError:
            first = b""
        words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
        if words and os.path.basename(words[0]).startswith("python") and os.path.exists(words[0]):
            return words[0]
        path = env.get("PATH")
        found = shutil.which("python", path=path) or shutil.which("python3", path=path)
        return found if found is not None and not self._is_double(found) else None

    def _without_code_of_its_own(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env` without what has an interpreter that only answers run the double's code (sitecustomize)."""
        entries = env.get("PYTHONPATH", "").split(os.pathsep)
        kept = [entry for entry in entries if os.path.isabs(entry) and not self._is_double(entry)]
        return {**env, "PYTHONPATH": os.pathsep.join(kept)}

    def _is_double(self, path: str) -> bool:
        real = os.path.realpath(path) + os.sep
        return real.startswith(os.path.realpath(self.double) + os.sep)


def _asked(python: str, env: Mapping[str, str]) -> tuple[list[str], list[str]] | None:
    try:
        done = subprocess.run(
            [python, "-c", _PROBE],
            cwd=os.sep,  # where nobody else can put a module
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
        )
        before, after = json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None  # no Python, or one that starts nothing
    return before, after
