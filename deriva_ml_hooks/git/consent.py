"""What the user has agreed to, kept outside of every repository: in git's own configuration.

What a repository says never chooses code, hosts or places by itself. Only the scopes `global` and `system`
of git-config(1) count, as for safe.directory: neither a clone nor an include of one can write them.
"""

from __future__ import annotations

import os
from typing import Literal

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.configuration import configuration

Kind = Literal["code", "host", "place"]
"""`code`: a repository (its common directory) whose own programs may run where only facts are asked for.
`host`: a server that may be sent the credential kept for it. `place`: a file or folder to write to."""

KINDS: tuple[Kind, ...] = ("code", "host", "place")
_OUTSIDE = os.sep  # no repository of the user's is asked
_NOTHING_TO_UNSET = 5  # git-config(1)


def agreed(kind: Kind) -> frozenset[str]:
    """Everything of this kind that the user has agreed to; empty where git cannot say."""
    try:
        found = configuration(cwd=_OUTSIDE, env=process.environment())
    except GitError:
        return frozenset()
    users = [each for each in found if each.scope in ("global", "system")]
    return frozenset(each.value for each in users if f"{each.section}.{each.name}" == _key(kind).lower())


def agree(kind: Kind, value: str) -> None:
    """Keep the user's consent in the user's own git configuration. Raises GitError."""
    if value not in agreed(kind):
        process.run("config", "--global", "--add", _key(kind), value, cwd=_OUTSIDE).checked()


def withdraw(kind: Kind, value: str) -> None:
    """Take the user's consent back; what was never given is no error. Raises GitError."""
    done = process.run("config", "--global", "--fixed-value", "--unset-all", _key(kind), value, cwd=_OUTSIDE)
    if done.returncode != _NOTHING_TO_UNSET:
        done.checked()


def _key(kind: Kind) -> str:
    return f"deriva-ml-hooks.trusted{kind.capitalize()}"
