"""pre-commit and prek: their hooks for the stages that a configuration uses, and our ids in that file.

A configuration that is there is never edited: the lines to add are told.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version

from deriva_ml_hooks import packages
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.install.native import Place, hooks_folder, is_ours
from deriva_ml_hooks.install.steps import InstallError, Run, Write

CONFIG = ".pre-commit-config.yaml"
REPOSITORY = "https://github.com/informatics-isi-edu/deriva-ml-hooks"
RECOMMENDED = ("check-notebooks", "strip-notebook-outputs", "check-large-files", "check-version-tags")
"""The ids that suit every model repository, in the order they run; the native hooks cache the provenance."""

HOOK_TYPES = (
    *("pre-commit", "pre-push", "post-commit", "post-checkout", "post-merge", "post-rewrite"),
    *("commit-msg", "prepare-commit-msg", "pre-merge-commit", "pre-rebase"),
)
_OF_RECOMMENDED = ("pre-commit", "pre-push")
_STAGES = {
    "cache-provenance": "pre-push post-commit post-checkout post-merge post-rewrite",
    "check-clean-tree": "pre-push",
    "check-large-files": "pre-commit pre-push",
    "check-version-tags": "pre-push",
}
"""Stages that .pre-commit-hooks.yaml gives our ids, which a configuration need not repeat."""
_TYPES_KEY = "default_install_hook_types"
_OLD_NAMES = {"commit": "pre-commit", "merge-commit": "pre-merge-commit", "push": "pre-push"}
_STAGES_LIST = re.compile(
    r"""\b(?:default_)?stages["']?:\s*(\[[^\]]*\]|(?:\s*-[ \t]+["']?[a-z-]+["']?[ \t\r]*$)+)""", re.MULTILINE
)


def config_path(repository: Repository) -> str:
    """Where pre-commit's configuration is, or would be."""
    return os.path.join(repository.worktree, CONFIG)


def config_text(repository: Repository) -> str | None:
    """pre-commit's configuration; None where there is none. Raises InstallError where it cannot be read."""
    try:
        with open(config_path(repository), encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InstallError(f"{CONFIG}: cannot be read: {error}", fix=f"mend or remove {CONFIG}") from None


def hook_types(text: str) -> list[str]:
    """The git hooks that a configuration needs: those it installs by default, and those of its stages."""
    uncommented = re.sub(r"(?m)(^|\s)#.*$", r"\1", text)
    found = re.search(rf"(?m)^{_TYPES_KEY}:(.*(?:\n(?![\w\"']).*)*)", uncommented)
    words = found[1] if found else "pre-commit"
    for stages in _STAGES_LIST.finditer(uncommented):
        words += " " + stages[1]
    for name in re.findall(r"\bid[\"']?:\s*[\"']?([a-z-]+)", uncommented):
        words += " " + _STAGES.get(name, "")
    named = {_OLD_NAMES.get(word, word) for word in re.findall(r"[a-z]+(?:-[a-z]+)*", words)}
    return [name for name in HOOK_TYPES if name in named]


def snippet(text: str | None) -> str:
    """What brings the recommended ids: a whole configuration, or the lines to add to one; empty where
    `text` names us."""
    if text is None:
        return f"{_TYPES_KEY}: [{', '.join(_OF_RECOMMENDED)}]\nrepos:\n{_entry()}"
    name = REPOSITORY.rpartition("/")[2]
    return "" if any(name in line.partition("#")[0] for line in text.splitlines()) else _entry()


def _entry() -> str:
    ids = "".join(f"  - id: {name}\n" for name in RECOMMENDED)
    return f"- repo: {REPOSITORY}\n  rev: {release_of(version('deriva-ml-hooks'))}\n  hooks:\n{ids}"


def release_of(own: str) -> str:
    """The newest tag that the version `own` contains: one between releases is named after the next."""
    numbers = [int(part) for part in re.findall(r"\d+", own.partition(".dev")[0])[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return f"v{major}.{minor}.{patch - 1 if '.dev' in own and patch else patch}"


def config_step(repository: Repository) -> Write:
    """What writes a configuration with the recommended ids."""
    return Write(config_path(repository), snippet(None).encode("utf-8"), "the recommended hooks; commit it")


def installed_types(repository: Repository) -> dict[str, str]:
    """The git hooks that pre-commit or prek serve here, and which of the two."""
    folder = hooks_folder(repository)
    served = {name: Place(name, folder).framework() for name in HOOK_TYPES}
    return {name: framework for name, framework in served.items() if framework is not None}


def missing_types(repository: Repository, text: str | None) -> list[str]:
    """The git hooks that the configuration `text` needs and nobody serves."""
    if text is None:
        return []
    served = installed_types(repository)
    return [name for name in hook_types(text) if name not in served]


def install_step(repository: Repository, text: str, types: Sequence[str]) -> Run:
    """What has pre-commit or prek install its hooks of `types`, for the configuration `text`.

    Raises InstallError where neither of them is to be found, where the configuration is not valid, and
    where they would overwrite a file.
    """
    program = _program(repository)
    _validate(program, text)
    for place in (Place(name, hooks_folder(repository)) for name in types):
        if os.path.lexists(place.legacy) and not is_ours(place.legacy):
            what = f"{place.legacy}: {os.path.basename(program)} would run or overwrite it"
            raise InstallError(what, fix="rename or remove it")
    # A branch without the configuration is no reason to refuse its commits.
    words = [
        program,
        "install",
        "--allow-missing-config",
        *(word for name in types for word in ("--hook-type", name)),
    ]
    return Run(words, repository.worktree, "its hooks for the stages in use")


def _program(repository: Repository) -> str:
    """The framework in use here, else the one at hand: pre-commit, then prek."""
    served = set(installed_types(repository).values())
    beside = os.path.dirname(sys.executable)
    for name in sorted(("pre-commit", "prek"), key=lambda name: name not in served):
        found = shutil.which(name) or shutil.which(name, path=beside)
        if found is not None:
            return found
    fix = "uv add --dev pre-commit" if packages.is_of_uv(repository.worktree) else "pip install pre-commit"
    raise InstallError(f"{CONFIG}: neither pre-commit nor prek is installed", fix=fix)


def _validate(program: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, CONFIG)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        try:
            Run([program, "validate-config", path], folder, "").do()
        except InstallError as error:
            what = " ".join(str(error).replace(path, CONFIG).split())
            raise InstallError(f"{CONFIG}: not valid: {what}", fix=f"mend {CONFIG}") from None
