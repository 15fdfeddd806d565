"""Makes the tag object of a version without a ref that names it.

`git tag` alone signs as the user has configured it, but it names what it makes. So it works in a git
directory of its own that shares nothing but the objects: whatever ends it, no tag is left behind.
"""

from __future__ import annotations

import os
import tempfile

from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository

# What a tag object is made by: who tags, how it is signed, in which encoding.
_SECTIONS = (b"author.", b"committer.", b"gpg.", b"i18n.", b"tag.", b"user.")


def tag_object(repository: Repository, tag: str, commit: str, message: str, *, sign: bool | None) -> str:
    """The id of a new annotated tag object `tag` on `commit`, which no ref names yet.

    `sign` None: as git's own tag.gpgSign has it. Raises GitError where git cannot make or sign it.
    """
    words = ["tag", "--annotate", *([] if sign is None else ["--sign" if sign else "--no-sign"])]
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as folder:
        env = process.command_environment() | _settings(repository)
        env |= {"GIT_DIR": folder, "GIT_OBJECT_DIRECTORY": os.path.join(repository.common_dir, "objects")}
        _make_git_directory(folder, sha256=len(commit) == 64)
        process.run(*words, "--message", message, "--", tag, commit, cwd=folder, env=env).checked()
        found = process.run("rev-parse", "--verify", f"refs/tags/{tag}", cwd=folder, env=env).checked()
    return found.decode("ascii").strip()


def _make_git_directory(folder: str, *, sha256: bool) -> None:
    for name in ("objects", "refs"):
        os.mkdir(os.path.join(folder, name))
    config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n"
    if sha256:
        config += "[extensions]\n\tobjectFormat = sha256\n"
    for name, content in (("HEAD", "ref: refs/heads/none\n"), ("config", config)):
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            file.write(content)


def _settings(repository: Repository) -> dict[str, str]:
    """The settings of the repository's own place, also those of `includeIf "gitdir:..."`, as variables."""
    env = process.command_environment()
    listed = process.run("config", "--list", "-z", cwd=repository.worktree, env=env).checked()
    chosen = [entry for entry in listed.split(b"\0") if entry.startswith(_SECTIONS)]
    variables = {"GIT_CONFIG_COUNT": str(len(chosen))}
    for number, entry in enumerate(chosen):
        name, equals, value = entry.partition(b"\n")
        variables[f"GIT_CONFIG_KEY_{number}"] = os.fsdecode(name)
        # A name without a value is true (git-config(1)).
        variables[f"GIT_CONFIG_VALUE_{number}"] = os.fsdecode(value) if equals else "true"
    return variables
