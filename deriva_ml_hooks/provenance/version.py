"""The version of a commit: the string that `python -m setuptools_scm` prints in a clean, full clone of it.

setuptools-scm itself does the counting-up and the formatting; what it would ask of the worktree
(pyproject.toml, whether anything is changed) is answered from the commit instead, since the worktree
may be in any state. Projects that configure how git is asked get a scratch clone and the real program.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.config import parse_toml
from deriva_ml_hooks.errors import ConfigError, GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository

if TYPE_CHECKING:
    from dulwich.objects import Commit
    from setuptools_scm import Configuration

# Settings that change which history is looked at, not how the version is written.
_ASKS_GIT_DIFFERENTLY = frozenset(
    {
        "fallback_root",
        "git",
        "git_describe_command",
        "parse",
        "root",
        "scm",
        "search_parent_directories",
        "tag",
    }
)
_TIMEOUT = 120.0
"""Seconds that the real program may take in a scratch clone."""


def scm_version(repository: Repository, oid: bytes) -> str | None:
    """The version of the commit `oid`, which HEAD names.

    None where it cannot be known: in a shallow clone whose HEAD carries no version tag, or where
    setuptools-scm rejects the project's settings.
    """
    commit = repository.commit(oid)
    try:
        table, project = _scm_table(repository, commit)
        if _ASKS_GIT_DIFFERENTLY & table.keys():
            return None if repository.shallow() else _in_scratch_clone(repository, oid)
        return _formatted(repository, commit, table, project)
    except (ConfigError, ValueError, TypeError, LookupError):
        return None


def _scm_table(repository: Repository, commit: Commit) -> tuple[dict[str, Any], str | None]:
    """[tool.setuptools_scm] and the project's name, from the commit's own pyproject.toml."""
    entry = repository.entry(commit.tree, "pyproject.toml")
    if entry is None:
        return {}, None
    document = parse_toml(repository.blob(entry[1]).data, "pyproject.toml")
    tool = document.get("tool", {})
    if "vcs-versioning" in tool:
        return {"scm": tool["vcs-versioning"]}, None
    return dict(tool.get("setuptools_scm", {})), document.get("project", {}).get("name")


def _formatted(
    repository: Repository, commit: Commit, table: dict[str, Any], project: str | None
) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from setuptools_scm import Configuration
        from setuptools_scm.git import DEFAULT_DESCRIBE
        from setuptools_scm.version import format_version, meta

        settings = {"dist_name": project, **table}
        settings.pop("relative_to", None)
        config = Configuration.from_data(os.path.join(repository.worktree, "pyproject.toml"), settings)
        described = _describe(repository, DEFAULT_DESCRIBE)
        if described is None and repository.shallow():
            return None
        tag, distance, node = described or _untagged(repository, commit, config)
        if distance and repository.shallow():
            return None
        facts = meta(
            tag,
            distance=distance,
            node=node,
            dirty=False,
            branch=repository.branch() or "HEAD",
            node_date=datetime.fromtimestamp(commit.commit_time, timezone.utc).date(),
            config=config,
        )
        return str(format_version(facts))


def _describe(repository: Repository, command: list[str]) -> tuple[str, int, str] | None:
    """Nearest tag, commits since, and abbreviated commit, as setuptools-scm has git describe it."""
    if not any(True for _ in repository.refs_under("refs/tags/")):
        return None
    words = [word for word in command[1:] if word != "--dirty"]
    done = process.run(*words, "HEAD", cwd=repository.worktree)
    if done.returncode:
        return None
    tag, distance, node = os.fsdecode(done.stdout.strip()).rsplit("-", 2)
    return tag, int(distance), node


def _untagged(repository: Repository, commit: Commit, config: Configuration) -> tuple[Any, int, str]:
    count = int(process.run("rev-list", "--count", "HEAD", cwd=repository.worktree).checked())
    first = config.version_cls(config.fallback_version or "0.0")
    return first, count, "g" + commit.id.decode("ascii")


def _in_scratch_clone(repository: Repository, oid: bytes) -> str | None:
    """Ask the real program in a clone that shares this repository's objects and is clean by construction."""
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as folder:
        branch = repository.branch()
        where = ["--branch", branch] if branch is not None else []
        clone = ("clone", "--quiet", "--shared", *where, repository.common_dir, folder)
        process.run(*clone, cwd=repository.worktree).checked()
        process.run(
            "checkout", "--quiet", *(["-B", branch] if branch else []), oid.decode(), cwd=folder
        ).checked()
        env = {
            k: v
            for k, v in process.environment().items()
            if not k.startswith(("SETUPTOOLS_SCM", "VCS_VERSIONING"))
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", "setuptools_scm"],
                cwd=folder,
                env=env,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GitError("setuptools-scm", str(error), fix="python -m setuptools_scm") from None
        return done.stdout.decode().strip() or None if done.returncode == 0 else None
