"""Makes the tag object of a version without a ref that names it.

`git tag` alone signs as the user has configured it, but it names what it makes. So it works in a git
directory of its own that shares nothing but the objects: whatever ends it, no tag is left behind.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import TYPE_CHECKING

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository

if TYPE_CHECKING:
    from dulwich.config import ConfigFile

# What a tag object is made by: who tags, how it is signed, in which encoding.
_SECTIONS = (b"author.", b"committer.", b"gpg.", b"i18n.", b"tag.", b"user.")
_SIGNATURE = re.compile(
    rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----$", re.M
)


def tag_object(
    repository: Repository,
    tag: str,
    commit: str,
    message: str,
    *,
    sign: bool | None,
    date: int | None = None,
) -> str:
    """The id of a new annotated tag object `tag` on `commit`, which no ref names yet.

    `sign` None: as git's own tag.gpgSign has it; `date`: seconds since 1970 (None: now). Raises GitError
    where git cannot make or sign it.
    """
    words = [
        "tag",
        "--annotate",
        "--cleanup=whitespace",
        *([] if sign is None else ["--sign" if sign else "--no-sign"]),
    ]
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as folder:
        _make_git_directory(folder, _settings(repository), sha256=len(commit) == 64)
        env = process.command_environment()
        env |= {"GIT_DIR": folder, "GIT_OBJECT_DIRECTORY": os.path.join(repository.common_dir, "objects")}
        if date is not None:
            env["GIT_COMMITTER_DATE"] = f"{date} +0000"
        # In the user's folder, which keys and programs may be named from.
        there = repository.worktree
        made = process.run(*words, "--message", message, "--", tag, commit, cwd=there, env=env)
        if made.returncode:
            fix = "see what git says: git tag --annotate test, then git tag --delete test; or --no-sign"
            raise GitError("git tag", made.said or f"exit {made.returncode}", fix=fix)
        content = process.run("cat-file", "tag", f"refs/tags/{tag}", cwd=there, env=env).checked()
        found = process.run("rev-parse", "--verify", f"refs/tags/{tag}", cwd=there, env=env).checked()
    # git 2.39 makes a tag without one where ssh-keygen fails, and calls that success.
    if (sign or (sign is None and _signs(repository))) and not _SIGNATURE.search(content):
        said = made.said or "no signature was made"
        raise GitError("git tag", said, fix="see that git tag --sign works here, or --no-sign")
    return found.decode("ascii").strip()


def _signs(repository: Repository) -> bool:
    env = process.command_environment()
    words = ("config", "--type=bool", "tag.gpgSign")
    return process.run(*words, cwd=repository.worktree, env=env).stdout.strip() == b"true"


def _make_git_directory(folder: str, config: ConfigFile, *, sha256: bool) -> None:
    for name in ("objects", "refs"):
        os.mkdir(os.path.join(folder, name))
    config.set("core", "repositoryformatversion", "1")
    config.set("core", "bare", True)
    if sha256:
        config.set("extensions", "objectFormat", "sha256")
    config.write_to_path(os.path.join(folder, "config"))
    with open(os.path.join(folder, "HEAD"), "w", encoding="ascii") as file:
        file.write("ref: refs/heads/none\n")


def _settings(repository: Repository) -> ConfigFile:
    """The settings of the repository's own place, also those of `includeIf "gitdir:..."`.

    As a file, since git takes them from variables only as of 2.31.
    """
    from dulwich.config import ConfigFile

    env = process.command_environment()
    listed = process.run("config", "--list", "-z", cwd=repository.worktree, env=env).checked()
    settings = ConfigFile()
    for entry in listed.split(b"\0"):
        if entry.startswith(_SECTIONS):
            name, equals, value = entry.partition(b"\n")
            section, _, rest = name.partition(b".")
            subsection, _, key = rest.rpartition(b".")
            # Of several the last one counts; one without a value is true (git-config(1)).
            settings.set((section, subsection) if subsection else (section,), key, value if equals else True)
    return settings
