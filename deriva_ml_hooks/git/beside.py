"""What git heeds besides the commit: files of this machine that say what is ignored and what is filtered.

Those of a repository and of its user (gitignore(5), gitattributes(5)). Only what is in the commit is known to
whoever reads a record.
"""

from __future__ import annotations

import os
import shutil

from deriva_ml_hooks.git.repository import Repository


def attributes(repository: Repository) -> list[str]:
    """The files of attributes that the commit does not hold, whether they are there or not."""
    program = os.path.realpath(shutil.which("git") or "/usr/bin/git")
    installed = os.path.join(os.path.dirname(os.path.dirname(program)), "etc", "gitattributes")
    return [*_own(repository, "attributes", "attributes", "attributesFile"), "/etc/gitattributes", installed]


def excludes(repository: Repository) -> list[str]:
    """The same for what says what is ignored."""
    return _own(repository, "exclude", "ignore", "excludesFile")


def only_git_can_tell(repository: Repository) -> bool:
    """Whether these files may be others: `%(prefix)` is beside git's own program (git-config(1), Values)."""
    named = (repository.setting("core", name) or "" for name in ("attributesFile", "excludesFile"))
    return any(path.startswith("%(") for path in named)


def _own(repository: Repository, name: str, default: str, setting: str) -> list[str]:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    users = repository.setting("core", setting)
    if users is None:
        users = os.path.join(home, "git", default)
    named = [os.path.join(repository.worktree, os.path.expanduser(users))] if users else []
    return [os.path.join(repository.common_dir, "info", name), *named]
