"""Our folder in a git directory: files for its owner alone, or for whom git itself shares the repository.

Nothing is written through a symbolic link that stands there: an archive of a repository may hold one.
"""

from __future__ import annotations

import errno
import os

from deriva_ml_hooks.files import make_folder, write_atomically
from deriva_ml_hooks.git.repository import Repository

FOLDER = "deriva-ml-hooks"
"""Name of our folder inside a git directory."""

_NAMED = {
    **dict.fromkeys(("group", "true", "1"), 0o660),
    **dict.fromkeys(("all", "world", "everybody", "2"), 0o664),
}


def mode(repository: Repository) -> int:
    """The permission bits of a new file: core.sharedRepository's (git-config(1)), else the owner's alone."""
    value = (repository.setting("core", "sharedRepository") or "umask").lower()
    try:
        wanted = _NAMED.get(value) or int(value, 8)
    except ValueError:
        wanted = 0
    return 0o600 | (wanted & 0o066)


def folder(git_dir: str) -> str:
    """Our folder in a git directory."""
    return os.path.join(git_dir, FOLDER)


def write(repository: Repository, path: str, data: bytes) -> None:
    """Put `data` at `path`, somewhere in our folder, which is made. Raises OSError."""
    above = os.path.dirname(path)
    git_dir, ours, inside = above.rpartition(os.sep + FOLDER)
    if not os.path.isdir(git_dir):  # a repository that is being deleted stays so
        raise FileNotFoundError(errno.ENOENT, "no git directory", git_dir)
    if os.path.realpath(above) != os.path.realpath(git_dir) + ours + inside:
        raise NotADirectoryError(errno.ENOTDIR, "a symbolic link where a folder of ours belongs", above)
    bits = mode(repository)
    make_folder(above, mode=bits)
    write_atomically(path, data, mode=bits)
