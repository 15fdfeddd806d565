"""The version of a commit: the string that `python -m setuptools_scm` prints in a clean, full clone of it.

setuptools-scm itself does the counting-up and the formatting; what it would ask of the worktree
(pyproject.toml, whether anything is changed) is answered from the commit instead, since the worktree
may be in any state. Settings that only declare are followed here. Those that name a program or a module
are never: they get the real program in a scratch clone, once the user has agreed to that, and no version
with the reason until then.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from deriva_ml_hooks.config import parse_toml
from deriva_ml_hooks.errors import ConfigError, GitError, HooksError
from deriva_ml_hooks.git import consent, process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.patterns import fits
from deriva_ml_hooks.report import printable

if TYPE_CHECKING:
    from dulwich.objects import Commit

FILE = "pyproject.toml"
AGREE = "deriva-ml-hooks trust code"
_SEE = "see what setuptools-scm says: python -m setuptools_scm"

# Settings that say how a version is written.
_WRITES = frozenset({"fallback_version", "local_scheme", "normalize", "tag", "tag_regex", "version_scheme"})
# Settings about files that are written, names in the environment, and what there is without a repository.
_BESIDE = frozenset(
    {
        *("dist_name", "fallback_root", "parentdir_prefix_version", "relative_to", "write_to"),
        *("version_file", "version_file_template", "write_to_source", "write_to_template"),
    }
)
# Settings that are read here in another way.
_READ = frozenset({"git_describe_command", "root", "scm", "search_parent_directories"})
_OVERRIDES = ".config/python-vcs-versioning.toml"
_TIMEOUT = 120.0
"""Seconds that the real program may take in a scratch clone."""


class Told(NamedTuple):
    """A version; where there is none, why, and the way out."""

    version: str | None
    reason: str | None = None
    fix: str = _SEE


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
    """The project's settings, ready for use: setuptools-scm's configuration, and how git is asked.

    `config` None: they cannot be followed here, and `reason` says why. `code`: the real program could.
    `usual`: git is asked as without any settings.
    """

    config: Any = None
    describe: tuple[str, ...] = ()
    usual: bool = True
    pattern: str | None = None
    reason: str | None = None
    code: bool = False

    def none(self) -> Told:
        """That there is no version."""
        return Told(None, self.reason, AGREE if self.code else _SEE)


_SHALLOW = Told(None, "a shallow clone without a version tag on its commit", "git fetch --unshallow --tags")


class RejectedError(HooksError):
    """setuptools-scm rejects the settings, or what they make of a tag."""


def scm_version(repository: Repository, oid: bytes) -> Told:
    """The version of the commit `oid`, which HEAD names, for the project that the user is in.

    None where it cannot be known: in a shallow clone whose HEAD carries no version tag, where
    setuptools-scm rejects the project's settings, or where these name code. Raises GitError.
    """
    commit = repository.commit(oid)
    project = project_of(repository, commit.tree)
    return told(repository, commit, settings_of(repository, project), project, repository.branch())


def told(
    repository: Repository,
    commit: Commit,
    settings: Settings,
    project: Project,
    branch: str | None,
    without: Collection[str] = (),
) -> Told:
    """The version of a commit under these settings, as it would be without the tags `without`."""
    if settings.config is None:
        # A clone has all tags, so it cannot say what the version was without some.
        if not settings.code or repository.shallow() or without or not _agreed(repository):
            return settings.none()
        version = in_scratch_clone(repository, commit.id, branch, project.folder)
        return Told(version, None if version else "setuptools-scm gives none")
    found = _describe(repository, commit.id, settings.describe, without)
    if (found is None or found[1]) and repository.shallow():
        return _SHALLOW
    try:
        found = found or _untagged(repository, commit, settings)
        return Told(written(commit, settings, found, branch))
    except GitError:
        raise
    except HooksError as error:
        return Told(None, str(error))


def project_of(repository: Repository, tree: bytes) -> Project:
    """Where the commit's settings are for the folder that the user is in.

    The nearest pyproject.toml with a table for setuptools-scm, from that folder upwards; else the one at
    the top. Links in the commit are followed as a checkout of it would.
    """
    overridden = repository.entry(tree, _OVERRIDES) is not None
    folder = repository.here
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
    """The settings, checked to declare and nothing else."""
    if project.astray:
        return Settings(reason=f"{project.file}: a link that leads out of the commit")
    if project.overridden:
        return Settings(reason=f"{_OVERRIDES}: only setuptools-scm itself reads it", code=True)
    try:
        document = (
            {} if project.blob is None else parse_toml(repository.blob(project.blob).data, project.file)
        )
    except ConfigError as error:  # setuptools-scm cannot read it either
        return Settings(reason=str(error))
    tool, name = document.get("tool", {}), document.get("project", {})
    table = tool.get("setuptools_scm", {}) if isinstance(tool, dict) else None
    if not isinstance(table, dict) or not isinstance(name, dict):
        return Settings(reason=f"{project.file}: setuptools-scm rejects it: not a table")
    if "vcs-versioning" in tool:
        return _undeclared(project, ["[tool.vcs-versioning]"])
    try:
        return _checked(repository, project, table)
    except HooksError as error:
        return Settings(reason=f"{project.file}: {error}")


def _checked(repository: Repository, project: Project, table: Mapping[str, Any]) -> Settings:
    others = table.keys() - _WRITES - _BESIDE - _READ
    schemes = {
        part: _scheme(part, table[part]) for part in ("version_scheme", "local_scheme") if part in table
    }
    command, other_scm = _command(table)
    describe = _describing(command) if command is not None else None
    others |= {part for part, scheme in schemes.items() if scheme is None}
    others |= {"git_describe_command"} if command is not None and describe is None else set()
    others |= {"scm"} if other_scm else set()
    if others:
        return _undeclared(project, sorted(others))
    if not _looks_here(project, table):
        where = project.folder or "outside of the repository"
        reason = (
            f"{project.file}: setuptools-scm looks for the repository in {where} only, by its setting root"
        )
        return Settings(reason=printable(reason))
    tag = table.get("tag", {})
    pattern = table.get("tag_regex") or (tag.get("regex") if isinstance(tag, dict) else None)
    if pattern is not None and isinstance(pattern, str):
        _require_quick(pattern, [""])
    with _following():
        from setuptools_scm import Configuration
        from setuptools_scm.git import DEFAULT_DESCRIBE

        data = {key: value for key, value in table.items() if key in _WRITES} | schemes
        for part in ("version_scheme", "local_scheme"):
            data.setdefault(part, _scheme(part, getattr(Configuration, part)))
        config = Configuration.from_data(os.path.join(repository.worktree, FILE), data)
        glob = config.tag.describe_match_glob() if hasattr(config, "tag") else DEFAULT_DESCRIBE[-1]
    usual = tuple(word for word in (*DEFAULT_DESCRIBE[1:-1], glob) if word != "--dirty")
    return Settings(config, describe or usual, describe is None, pattern)


def _undeclared(project: Project, names: Sequence[str]) -> Settings:
    shown = printable(", ".join(name if len(name) < 50 else f"{name[:50]}..." for name in names[:5]))
    reason = f"{project.file}: {shown}: may run code of this repository, so setuptools-scm is not asked"
    return Settings(reason=reason, code=True)


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


def _command(table: Mapping[str, Any]) -> tuple[Any, bool]:
    """The command that describes a commit, in either place; and whether `scm` holds anything else."""
    scm = table.get("scm", {})
    git = scm.get("git", {}) if isinstance(scm, dict) else None
    if not isinstance(git, dict) or scm.keys() - {"git"} or git.keys() - {"describe_command"}:
        return None, True
    commands = [
        command for command in (table.get("git_describe_command"), git.get("describe_command")) if command
    ]
    return (commands[0] if commands else None), len(commands) > 1


_DESCRIBES = re.compile(
    r"--(?:tags|long|first-parent|candidates=\d{1,6}|abbrev=\d{1,3}|(?:match|exclude)=.*)"
)


def _describing(command: Any) -> tuple[str, ...] | None:
    """The words of a command that is `git describe` and asks nothing of the worktree; None for any other."""
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except (ValueError, TypeError):
        return None
    if not all(isinstance(word, str) and "\0" not in word for word in words) or words[:2] != [
        "git",
        "describe",
    ]:
        return None
    rest, kept = iter(words[2:]), ["describe"]
    for word in rest:
        option = f"{word}={next(rest, '')}" if word in ("--match", "--exclude") else word
        if _DESCRIBES.fullmatch(option):
            kept.append(option)
        elif option != "--dirty":
            return None
    return tuple(kept)


def _looks_here(project: Project, table: Mapping[str, Any]) -> bool:
    """Whether setuptools-scm finds the repository from the folder of the settings, by their `root`."""
    root = table.get("root", ".")
    place = posixpath.normpath(posixpath.join(project.folder, root)) if isinstance(root, str) else ".."
    if place.startswith("/") or place.split("/")[0] == "..":
        return False
    return place == "." or table.get("search_parent_directories") is True


@contextmanager
def _following() -> Iterator[None]:
    """Whatever setuptools-scm raises says that it rejects something; its warnings are not for here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except HooksError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise RejectedError(f"setuptools-scm rejects it: {printable(said)}", fix=_SEE) from None


_quick: set[tuple[str, str]] = set()


def _require_quick(pattern: str, texts: Iterable[str]) -> None:
    """Raises PatternError where the repository's own pattern would take too long on one of the texts."""
    new = sorted({text for text in texts if (pattern, text) not in _quick})
    if new:
        fits(pattern, new, "match")
        _quick.update((pattern, text) for text in new)


def require_quick(settings: Settings, tags: Iterable[str], branches: Iterable[str | None]) -> None:
    """Raises PatternError where the project's own pattern takes too long: for many names, in one go."""
    if settings.pattern is None:
        return
    prefix = settings.config.tag.prefix if hasattr(settings.config, "tag") else ""
    texts = {text for tag in tags for text in (tag, tag.removeprefix(prefix))}
    # Some schemes look for a version at the end of a branch's name.
    texts |= {branch.rpartition(mark)[2] for branch in branches if branch for mark in "/-"}
    _require_quick(settings.pattern, texts)


def written(
    commit: Commit, settings: Settings, found: tuple[Any, int, str | None], branch: str | None
) -> str:
    """The version as setuptools-scm writes it: `found` is nearest tag, commits since, abbreviated commit.

    Raises RejectedError, and PatternError.
    """
    tag, distance, node = found
    require_quick(settings, [tag] if isinstance(tag, str) else [], [branch])
    try:
        date = datetime.fromtimestamp(commit.commit_time, timezone.utc).date()
    except (ValueError, OverflowError, OSError):
        date = None
    with _following():
        from setuptools_scm.version import format_version, meta

        facts = meta(
            tag,
            distance=distance,
            node=node,
            dirty=False,
            branch=branch or "HEAD",
            node_date=date,
            config=settings.config,
        )
        return str(format_version(facts))


_DESCRIBED = re.compile(r"(?P<tag>.+)-(?P<distance>\d{1,18})-(?P<node>g[0-9a-f]+)")


def _describe(
    repository: Repository, oid: bytes, words: Sequence[str], without: Collection[str]
) -> tuple[str, int, str | None] | None:
    """Nearest tag, commits since, and abbreviated commit, as setuptools-scm has git describe it."""
    if not any(True for _ in repository.refs_under("refs/tags/")):
        return None
    done = process.run(*words, *excluding(without), oid.decode("ascii"), cwd=repository.worktree)
    line = os.fsdecode(done.stdout.strip())
    if done.returncode or not line:
        return None
    match = _DESCRIBED.fullmatch(line)
    return (match["tag"], int(match["distance"]), match["node"]) if match else (line, 0, None)


_GLOB, _ESCAPED = re.compile(r"[*?[\\]"), r"\\\g<0>"


def excluding(tags: Collection[str]) -> list[str]:
    """Words for git-describe(1) that have it pass over these tags."""
    return [f"--exclude={_GLOB.sub(_ESCAPED, name)}" for name in sorted(tags)]


def _untagged(repository: Repository, commit: Commit, settings: Settings) -> tuple[Any, int, str]:
    words = ("rev-list", "--count", commit.id.decode("ascii"))
    with process.answer(words[0]):
        count = int(process.run(*words, cwd=repository.worktree).checked())
    return first_version(settings), count, "g" + commit.id.decode("ascii")


def first_version(settings: Settings) -> Any:
    """What setuptools-scm counts from where there is no tag."""
    with _following():
        return settings.config.version_cls(settings.config.fallback_version or "0.0")


def _agreed(repository: Repository) -> bool:
    return os.path.realpath(repository.common_dir) in consent.agreed("code")


# Nothing of the repository comes before what is installed: its modules are found by the names in its settings
# only. What this Python has been led to by its user (PYTHONPATH) is in the words.
_MAIN = """
import os, sys
sys.path += sys.argv[1:]
from setuptools_scm.__main__ import main
sys.path.append(os.getcwd())
del sys.argv[1:]
sys.exit(main())
"""


def in_scratch_clone(repository: Repository, oid: bytes, branch: str | None, folder: str = "") -> str | None:
    """Ask the real program in a clone that shares this repository's objects and is clean by construction."""
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as top:
        clone = ("clone", "--quiet", "--shared", "--no-checkout", repository.common_dir, top)
        process.run(*process.QUIETLY, *clone, cwd=repository.worktree).checked()
        checkout = ("checkout", "--quiet", *(["-B", branch] if branch else []), oid.decode("ascii"))
        process.run(*process.QUIETLY, *checkout, cwd=top).checked()
        env = {
            k: v
            for k, v in process.environment().items()
            if not k.startswith(("SETUPTOOLS_SCM", "VCS_VERSIONING"))
        }
        inside = os.path.join(repository.worktree, "")
        led = [path for path in sys.path if os.path.isabs(path) and not f"{path}/".startswith(inside)]
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", _MAIN, *led],
                cwd=os.path.join(top, folder),
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GitError("setuptools-scm", str(error), fix="python -m setuptools_scm") from None
        return os.fsdecode(done.stdout).strip() or None if done.returncode == 0 else None
