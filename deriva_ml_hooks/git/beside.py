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


def _own(repository: Repository, name: str, default: str, setting: str) -> list[str]:
    files = [os.path.join(repository.common_dir, "info", name)]
    users = repository.setting("core", setting)
    if users is None:
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
        users = os.path.join(home, "git", default)
    if users.startswith("%("):  # beside git's own program (git-config(1), Values): it may say anything
        users = os.devnull
    return [*files, os.path.join(repository.worktree, os.path.expanduser(users))] if users else files
