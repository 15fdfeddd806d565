"""What a commit's settings for setuptools-scm say, as far as they only declare.

setuptools-scm runs what its settings name: commands, modules, classes. Here such settings are never followed;
`NoVersionError.code` then says that setuptools-scm itself could, once the user has agreed to that.
"""

from __future__ import annotations

import os
import posixpath
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from deriva_ml_hooks.errors import ConfigError, HooksError
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.patterns import fits
from deriva_ml_hooks.report import printable
from deriva_ml_hooks.toml import parse_toml

FILE = "pyproject.toml"
AGREE = "deriva-ml-hooks trust code"
SEE = "see what setuptools-scm says: python -m setuptools_scm"

_SCHEMES = ("version_scheme", "local_scheme")
# How a version is written.
_WRITES = frozenset({"fallback_version", "normalize", "tag", "tag_regex", *_SCHEMES})
# Where the repository is, files that are written, names in the environment, and what there is without git.
_OTHERS = frozenset(
    {
        *("dist_name", "fallback_root", "parentdir_prefix_version", "relative_to", "root"),
        *("search_parent_directories", "version_file", "version_file_template", "write_to"),
        *("write_to_source", "write_to_template"),
    }
)
_OVERRIDES = ".config/python-vcs-versioning.toml"


class NoVersionError(HooksError):
    """A commit has no version; `code`: setuptools-scm itself could tell, and might run the commit's code."""

    def __init__(self, reason: str, *, code: bool = False, fix: str = SEE) -> None:
        super().__init__(reason, fix=AGREE if code else fix)
        self.code = code


class Project(NamedTuple):
    """Where a commit keeps the settings: the folder and the blob of a pyproject.toml, if there is one.

    `astray`: it is a link that leads out of the commit. `overridden`: by a file at the top.
    """

    folder: str = ""
    blob: bytes | None = None
    astray: bool = False
    overridden: bool = False

    @property
    def file(self) -> str:
        """The path of the pyproject.toml, to be shown."""
        return posixpath.join(self.folder, FILE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, ready for use: setuptools-scm's configuration, and git's words that describe a commit.

    `pattern`: the project's own regular expression for tags.
    """

    config: Any
    describe: tuple[str, ...]
    pattern: str | None

    def require_quick(self, tag: str | None, branch: str | None) -> None:
        """Raises NoVersionError where the project's own pattern takes too long on one of the names."""
        prefix = self.config.tag.prefix if hasattr(self.config, "tag") else ""
        tags = {tag, tag.removeprefix(prefix)} if tag else set()
        # Some schemes look for a version at the end of a branch's name.
        _require_quick(self.pattern, tags | {branch.rpartition(mark)[2] for mark in "/-" if branch})


def project_of(repository: Repository, tree: bytes, folder: str) -> Project:
    """Where the commit's settings are for the folder `folder` of its tree.

    The nearest pyproject.toml with a table for setuptools-scm, from that folder upwards; else the one at
    the top. Links in the commit are followed as a checkout of it would.
    """
    overridden = repository.entry(tree, _OVERRIDES) is not None
    while True:
        project = Project(folder, overridden=overridden)
        try:
            blob = repository.file(tree, project.file)
        except ValueError:
            return project._replace(astray=True)
        if not folder or (blob is not None and _has_table(repository.blob(blob).data)):
            return project._replace(blob=blob)
        folder = posixpath.dirname(folder)


def _has_table(data: bytes) -> bool:
    try:
        tool = parse_toml(data, FILE).get("tool")
    except ConfigError:
        return False
    return isinstance(tool, dict) and not tool.keys().isdisjoint(("setuptools_scm", "vcs-versioning"))


def settings_of(repository: Repository, project: Project) -> Settings:
    """The settings, checked to declare and nothing else. Raises NoVersionError."""
    if project.astray:
        raise NoVersionError(f"{project.file}: a link that leads out of the commit")
    if project.overridden:
        raise NoVersionError(f"{_OVERRIDES}: only setuptools-scm itself reads it", code=True)
    try:
        data = b"" if project.blob is None else repository.blob(project.blob).data
        document = parse_toml(data, project.file)
    except ConfigError as error:  # setuptools-scm cannot read it either
        raise NoVersionError(str(error)) from None
    tool, name = document.get("tool", {}), document.get("project", {})
    table = tool.get("setuptools_scm", {}) if isinstance(tool, dict) else None
    if not isinstance(table, dict) or not isinstance(name, dict):
        raise NoVersionError(f"{project.file}: setuptools-scm rejects it: not a table")
    schemes = {part: _scheme(part, table[part]) for part in _SCHEMES if part in table}
    undeclared = table.keys() - _WRITES - _OTHERS | {part for part in schemes if schemes[part] is None}
    undeclared |= {"[tool.vcs-versioning]"} if "vcs-versioning" in tool else set()
    if undeclared:
        names = (name if len(name) < 50 else f"{name[:50]}..." for name in sorted(undeclared)[:5])
        shown = printable(", ".join(names))
        reason = f"{project.file}: {shown}: may run code of this repository, so setuptools-scm is not asked"
        raise NoVersionError(reason, code=True)
    if posixpath.normpath(posixpath.join(project.folder, str(table.get("root", ".")))) != ".":
        reason = f"{project.file}: its setting root is not the top, so only setuptools-scm itself can tell"
        raise NoVersionError(printable(reason), code=True)
    try:
        return _followed(repository, table, schemes)
    except NoVersionError as error:
        raise NoVersionError(f"{project.file}: {error}") from None


def _followed(repository: Repository, table: Mapping[str, Any], schemes: dict[str, Any]) -> Settings:
    tag = table.get("tag", {})
    pattern = table.get("tag_regex") or (tag.get("regex") if isinstance(tag, dict) else None)
    if isinstance(pattern, str):
        _require_quick(pattern, {""})
    with rejecting():
        from setuptools_scm import Configuration
        from setuptools_scm.git import DEFAULT_DESCRIBE

        data = {key: value for key, value in table.items() if key in _WRITES} | schemes
        for part in _SCHEMES:
            data.setdefault(part, _scheme(part, getattr(Configuration, part)))
        config = Configuration.from_data(os.path.join(repository.worktree, FILE), data)
        glob = config.tag.describe_match_glob() if hasattr(config, "tag") else DEFAULT_DESCRIBE[-1]
    words = (word for word in DEFAULT_DESCRIBE[1:-1] if word != "--dirty")
    return Settings(config, (*words, glob), pattern)


def _scheme(part: str, value: Any) -> Any:
    """The function of setuptools-scm's own that `value` names, or those; None for anything else.

    A name that it does not bring itself would be loaded from wherever Python finds it.
    """
    if isinstance(value, list):
        several = [_scheme(part, one) for one in value]
        return several if several and all(several) else None
    if not isinstance(value, str) or value.startswith("towncrier"):  # that looks at files
        return None
    from importlib.metadata import entry_points  # 10 ms, which a cached record needs not

    for scheme in entry_points(group=f"setuptools_scm.{part}", name=value):
        if scheme.module.partition(".")[0] in ("setuptools_scm", "vcs_versioning"):
            return scheme.load()
    return None


@contextmanager
def rejecting() -> Iterator[None]:
    """Whatever setuptools-scm raises says that it rejects something; its warnings are not for here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except HooksError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise NoVersionError(f"setuptools-scm rejects it: {printable(said)}") from None


_quick: set[tuple[str, str]] = set()


def _require_quick(pattern: str | None, texts: set[str]) -> None:
    new = sorted(text for text in texts if (pattern, text) not in _quick)
    if pattern is None or not new:
        return
    try:
        fits(pattern, new, "match")
    except HooksError as error:
        raise NoVersionError(str(error)) from None
    _quick.update((pattern, text) for text in new)
