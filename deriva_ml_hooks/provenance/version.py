"""The version of a commit: the string that `python -m setuptools_scm` prints in a clean, full clone of it.

setuptools-scm itself does the counting-up and the formatting; what it would ask of the worktree
(pyproject.toml, whether anything is changed) is answered from the commit instead, since the worktree
may be in any state. Whatever is not plainly one of setuptools-scm's own ways of writing a version gets
a scratch clone and the real program.
"""

from __future__ import annotations

import os
import re
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

# Settings that only say how a version is written. Any other may run the project's own code, look at its
# files, or ask git differently.
_ONLY_WRITES = frozenset(
    {
        *("fallback_version", "local_scheme", "tag_regex", "version_scheme"),
        *("version_file", "version_file_template", "write_to", "write_to_template"),
    }
)
# The schemes that look at nothing but the facts of the commit.
_SCHEMES = frozenset(
    {
        *("calver-by-date", "guess-next-dev", "no-guess-dev", "only-version", "post-release"),
        *("python-simplified-semver", "release-branch-semver"),
        *("dirty-tag", "no-local-version", "node-and-date", "node-and-timestamp"),
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
        table = scm_table(repository, commit)
    except ConfigError:  # setuptools-scm cannot read it either
        return None
    if table is not None:
        try:
            return _formatted(repository, commit, table)
        except (ValueError, TypeError, LookupError, re.error):
            pass  # most likely the real program fails too; it is the one to say so
    return None if repository.shallow() else in_scratch_clone(repository, oid, repository.branch())


def scm_table(repository: Repository, commit: Commit) -> dict[str, Any] | None:
    """[tool.setuptools_scm] of the commit's own pyproject.toml; None where it says more than how to write."""
    entry = repository.entry(commit.tree, "pyproject.toml")
    if entry is None:
        return {}
    document = parse_toml(repository.blob(entry[1]).data, "pyproject.toml")
    tool = document.get("tool", {})
    table = tool.get("setuptools_scm", {}) if isinstance(tool, dict) else None
    if not isinstance(document.get("project", {}), dict):
        return None
    if not isinstance(table, dict) or "vcs-versioning" in tool or table.keys() - _ONLY_WRITES:
        return None
    schemes = (table.get("version_scheme", "only-version"), table.get("local_scheme", "dirty-tag"))
    return table if all(isinstance(name, str) and name in _SCHEMES for name in schemes) else None


def _formatted(repository: Repository, commit: Commit, table: dict[str, Any]) -> str | None:
    config = configuration(repository, table)
    described = _describe(repository, describe_words())
    if described is None and repository.shallow():
        return None
    found = described or _untagged(repository, commit, config)
    if found[1] and repository.shallow():
        return None
    return written(commit, config, found, repository.branch())


def configuration(repository: Repository, table: dict[str, Any]) -> Configuration:
    """setuptools-scm's configuration of the table; raises what it raises for one that it rejects."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from setuptools_scm import Configuration

        return Configuration.from_data(os.path.join(repository.worktree, "pyproject.toml"), table)


def written(
    commit: Commit, config: Configuration, found: tuple[Any, int, str], branch: str | None
) -> str | None:
    """The version as setuptools-scm writes it: `found` is nearest tag, commits since, abbreviated commit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from setuptools_scm.version import format_version, meta

        tag, distance, node = found
        facts = meta(
            tag,
            distance=distance,
            node=node,
            dirty=False,
            branch=branch or "HEAD",
            node_date=datetime.fromtimestamp(commit.commit_time, timezone.utc).date(),
            config=config,
        )
        return str(format_version(facts))


def describe_words() -> list[str]:
    """The words after `git` with which setuptools-scm asks for the nearest tag."""
    from setuptools_scm.git import DEFAULT_DESCRIBE

    return [word for word in DEFAULT_DESCRIBE[1:] if word != "--dirty"]


def _describe(repository: Repository, words: list[str]) -> tuple[str, int, str] | None:
    """Nearest tag, commits since, and abbreviated commit, as setuptools-scm has git describe it."""
    if not any(True for _ in repository.refs_under("refs/tags/")):
        return None
    done = process.run(*words, "HEAD", cwd=repository.worktree)
    if done.returncode:
        return None
    tag, distance, node = os.fsdecode(done.stdout.strip()).rsplit("-", 2)
    return tag, int(distance), node


def _untagged(repository: Repository, commit: Commit, config: Configuration) -> tuple[Any, int, str]:
    count = int(process.run("rev-list", "--count", "HEAD", cwd=repository.worktree).checked())
    first = config.version_cls(config.fallback_version or "0.0")
    return first, count, "g" + commit.id.decode("ascii")


def in_scratch_clone(repository: Repository, oid: bytes, branch: str | None) -> str | None:
    """Ask the real program in a clone that shares this repository's objects and is clean by construction."""
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as folder:
        clone = ("clone", "--quiet", "--shared", "--no-checkout", repository.common_dir, folder)
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
