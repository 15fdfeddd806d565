"""git's configuration as git itself has it: system files and conditional includes are git's own matter.

One process lists all of it (git-config(1), --list). The parser is a pure function of bytes.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import process

_BROKEN = re.compile(r"bad config line \d+ in file (?P<file>.+)|unable to access '(?P<closed>.+?)':")


class Setting(NamedTuple):
    """A line of the configuration; section and name in lower case. `scope`: `global`, `system`, `local`..."""

    scope: str
    section: str
    subsection: str | None
    name: str
    value: str


def configuration(*words: str, cwd: str, env: Mapping[str, str]) -> tuple[Setting, ...]:
    """All settings that git has in `cwd`, in its order: of several the last one counts. Raises GitError.

    `words` stand before git's own command, such as `--git-dir=...`.
    """
    done = process.run(*words, "config", "--list", "-z", "--show-scope", cwd=cwd, env=env)
    found = parse(done.stdout)
    is_refused = bool(words and done.said) and not any(each.scope == "local" for each in found)
    if done.returncode or is_refused:  # a repository of a form that this git does not know
        raise _broken(done.said)
    return found


@process.answer("config")
def parse(data: bytes) -> tuple[Setting, ...]:
    """`git config --list -z --show-scope`: `<scope> NUL <key> LF <value> NUL`; no LF without a value."""
    fields = os.fsdecode(data).split("\0")
    if len(fields) % 2 == 0 or fields.pop():
        raise ValueError(fields[-1][:40])
    return tuple(_setting(scope, entry) for scope, entry in zip(fields[::2], fields[1::2], strict=True))


def _setting(scope: str, entry: str) -> Setting:
    key, has_value, value = entry.partition("\n")
    section, _, rest = key.partition(".")
    subsection, dot, name = rest.rpartition(".")
    return Setting(scope, section, subsection if dot else None, name, value if has_value else "true")


def _broken(said: str) -> GitError:
    """The error for what git says of a file that it cannot read; its content is not repeated."""
    found = _BROKEN.search(said)
    if found is None:
        return GitError("git's configuration", said, fix="see what git says: git config --list --show-origin")
    path = found["file"] or found["closed"]
    problem = found[0].partition(" in file ")[0] if found["file"] else "it may not be read"
    return GitError(
        path, f"cannot be read: {problem}", fix=f"mend it: git config --file {shlex.quote(path)} --edit"
    )
