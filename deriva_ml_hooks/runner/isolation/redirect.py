"""What leads a command in a temporary worktree back into the user's own, or names what is only there.

The user's own worktrees may hold anything, so code must not come from there. Environments that stand in
them (.venv) are programs that were installed, and may. Imports are the matter of `runner.witness`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.git.content import GITLINK, SYMLINK
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner.command.shell_words import split_words
from deriva_ml_hooks.runner.inside_python import Worktrees, is_installed
from deriva_ml_hooks.runner.witness import refuse_other_worktrees, worktrees_of

_SEARCHED = frozenset({"PATH", "PYTHONPATH"})
# uv would install the double's packages into these, for good (docs.astral.sh/uv, environment variables).
_REWIRED = frozenset({"UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV"})
# Their worktree may be the home folder itself, which stays theirs.
_OF_THE_USER = frozenset({"HOME", "USERPROFILE"})
_REST_OF_PATH = r"""((?:/[^\s:;,'"|&<>()]*)?)(?![^\s:;,'"|&<>()])"""


class RedirectError(HooksError):
    """Something would run from the user's own worktree."""


class Redirect:
    """The user's own worktrees of `home`, seen from their double, the temporary worktree of `inside`."""

    def __init__(self, home: Repository, inside: Repository | None = None) -> None:
        double = inside.worktree if inside is not None else None
        self.worktrees = Worktrees(double, [top for top in worktrees_of(home) if top != double])
        self._inside = inside

    def holds(self, path: str) -> bool:
        """Whether the absolute `path` is in one of them, and not in an environment that stands there."""
        return self.worktrees.inside(path) is not None

    def environment(self, env: Mapping[str, str]) -> dict[str, str | None]:
        """The variables that have to be others, or none, so that nothing in them leads back from the double.

        What is searched for programs and imports leads to the double in any case, the rest (PROJECT_ROOT)
        where the double has such a file or folder: data that only the user's tree holds are found there.
        """
        changed: dict[str, str | None] = {}
        for name, value in env.items():
            if name in _REWIRED and os.path.isabs(value):
                changed[name] = None
                continue
            entries = value.split(os.pathsep)
            new = [self._led(entry, always=name in _SEARCHED) for entry in entries]
            if new != entries and name not in _OF_THE_USER:
                changed[name] = os.pathsep.join(new)
        return changed

    def _led(self, entry: str, *, always: bool) -> str:
        if not os.path.isabs(entry):
            return entry
        path = "/" + entry.lstrip("/") if os.sep == "/" else entry
        double = self.worktrees.doubled(path)
        if double == path or not (always or os.path.lexists(double)):
            return entry
        return entry[: len(entry) - len(path)] + double  # file:///, sqlite:////

    def program(self, word: str, cwd: str) -> str:
        """The first word of a command, to be started in the double of `cwd`.

        A program of an environment in this tree is named by its absolute path, since the double has none.
        Raises RedirectError for a file of the tree itself that is named so that its double is not meant.
        """
        if not os.path.dirname(word):
            return word
        here = os.path.normpath(os.path.join(cwd, word))
        if os.path.isabs(word):
            if self.holds(word):
                raise self._absolute(word)
            return word
        double = os.path.join(self.worktrees.doubled(cwd), word)
        if not os.path.lexists(double) and os.path.exists(here) and not self.holds(here):
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
        spelled = {top: top for top in self.worktrees.others}
        for top in self.worktrees.others:
            if top.startswith(home + os.sep):
                spelled |= {short + top[len(home) :]: top for short in ("~", "$HOME", "${HOME}")}
        found = []
        for text, top in spelled.items():
            for match in re.finditer(re.escape(text) + _REST_OF_PATH, word):
                found.append(top + match[1])
        return found

    def refuse_kernel(self, words: Sequence[str], variables: Mapping[str, str]) -> None:
        """Raises RedirectError and OtherWorktreeError where a notebook, or its kernel, leads back."""
        tokens = {*split_words(words)}
        if "install" in tokens and tokens & {"-e", "--editable"}:
            raise RedirectError(
                "an editable installation would have your environment import from a worktree that goes",
                fix="install a copy: pip install .",
            )
        self.refuse_absolute([*words, *variables.values()])
        refuse_other_worktrees([*words, *variables], os.environ, self.worktrees, led=True)

    def refuse_absolute(self, words: Sequence[str]) -> None:
        """Raises RedirectError where a word names this tree, or a file of the commit by its place in it."""
        for path in self.absolute(words):
            _, inside = self.worktrees.inside(os.path.realpath(path)) or ("", "")
            if inside == "." or self._is_tracked(inside.replace(os.sep, "/")):
                raise self._absolute(path)

    def _is_tracked(self, path: str) -> bool:
        head = self._inside.head() if self._inside is not None else None
        if self._inside is None or head is None:
            return False
        return self._inside.entry(self._inside.commit(head).tree, path) is not None

    def _absolute(self, path: str) -> RedirectError:
        _, inside = self.worktrees.inside(path) or ("", path)
        return RedirectError(
            f"{path}: a file of your own worktree, which is not what is to run",
            fix=f"name it relative to the folder that you are in, such as {shlex.quote(inside)}",
        )


def uncommitted(words: Sequence[str], cwd: str, commit: str, home: Repository) -> dict[str, str]:
    """Those of `words` that name what is here but not in `commit`, with their paths from the top.

    Relative ones only, `cwd` being the folder from the top that they start from; what is installed in an
    environment (.venv) is no such thing. Raises GitError where the commit is not here.
    """
    tree = tree_of(home, commit)
    found = {}
    for word in words:
        for part in (word, word.partition("=")[2]):
            if not part or part.startswith("-") or os.path.isabs(part):
                continue
            here = os.path.normpath(os.path.join(home.worktree, cwd, part))
            inside = os.path.relpath(here, home.worktree).replace(os.sep, "/")
            if inside == "." or not os.path.exists(here) or is_installed(here, home.worktree):
                continue
            if inside.startswith("../") or not is_held(home, tree, inside):
                found[part] = inside
    return found


def tree_of(home: Repository, commit: str) -> bytes:
    """The tree of a commit; raises GitError where it is not here."""
    tree: bytes = home.commit(commit.encode("utf-8", "surrogateescape")).tree
    return tree


def is_held(home: Repository, tree: bytes, path: str, *, links: bool = True) -> bool:
    """Whether the commit has `path`, or a submodule or, with `links`, a symbolic link on the way there."""
    way = home.way(tree, path)
    if way and way[-1][0] == SYMLINK:
        return links
    return bool(way) and (way[-1][0] == GITLINK or len(way) == path.count("/") + 1)
