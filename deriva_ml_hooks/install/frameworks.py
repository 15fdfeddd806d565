"""pre-commit and prek: their hooks for the stages that a configuration uses, and our ids in that file.

The file is edited as text, so that comments, order and spelling stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.install.native import Place, hooks_folder
from deriva_ml_hooks.install.steps import InstallError, Run, Step, Write

CONFIG = ".pre-commit-config.yaml"
REPOSITORY = "https://github.com/informatics-isi-edu/deriva-ml-hooks"
RECOMMENDED = ("strip-notebook-outputs", "check-notebooks", "check-large-files", "check-version-tags")
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
    found = re.search(rf"(?m)^{_TYPES_KEY}:(.*(?:\n[ -].*)*)", uncommented)
    words = found[1] if found else "pre-commit"
    for stages in re.finditer(r"(?m)^\s*(?:- )?(?:default_)?stages:(.*(?:\n\s*- [a-z-]+\s*$)*)", uncommented):
        words += " " + stages[1]
    for name in re.findall(r"(?m)^\s*(?:- )?id:\s*([a-z-]+)", uncommented):
        words += " " + _STAGES.get(name, "")
    named = set(re.findall(r"[a-z]+(?:-[a-z]+)*", words))
    return [name for name in HOOK_TYPES if name in named]


def with_our_ids(text: str | None) -> str:
    """The configuration `text` with the recommended ids in it; as it is when it names us already.

    Raises InstallError where the file is written in a way that cannot be added to line by line.
    """
    if text is None:
        return f"{_TYPES_KEY}: [{', '.join(_OF_RECOMMENDED)}]\nrepos:\n{_entry('')}"
    if REPOSITORY in text:
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    start = next(
        (i for i, line in enumerate(lines) if re.match(r"repos:\s*(\[\s*\]\s*)?(#.*)?$", line)), None
    )
    if start is None:
        raise InstallError(
            f"{CONFIG}: no list of repos that could be added to",
            fix=f"add {REPOSITORY} to it by hand; the README has the lines",
        )
    lines[start] = re.sub(r"\[\s*\]\s*", "", lines[start]).rstrip()
    stop = start + 1
    for i in range(start + 1, len(lines)):
        if re.match(r"[^\s#-]", lines[i]):
            break
        stop = i + 1 if lines[i].strip() and not lines[i].startswith("#") else stop
    indent = next((m[1] for line in lines[start + 1 : stop] if (m := re.match(r"(\s*)- ", line))), "")
    lines[stop:stop] = _entry(indent).splitlines()
    if not any(line.startswith(f"{_TYPES_KEY}:") for line in lines):
        lines.insert(start, f"{_TYPES_KEY}: [{', '.join(_OF_RECOMMENDED)}]")
    return end.join(lines) + end


def _entry(indent: str) -> str:
    ids = "".join(f"{indent}  - id: {name}\n" for name in RECOMMENDED)
    return f"{indent}- repo: {REPOSITORY}\n{indent}  rev: {_rev()}\n{indent}  hooks:\n{ids}"


def _rev() -> str:
    """The tag of this release; a build between releases names the branch that it was made from."""
    own = version("deriva-ml-hooks")
    return f"v{own}" if re.fullmatch(r"\d+\.\d+\.\d+", own) else "main"


def config_step(repository: Repository, *, wanted: bool) -> Step | None:
    """What brings our ids into the configuration, when that is wanted and they are not there yet."""
    before = config_text(repository)
    if not wanted:
        return None
    after = with_our_ids(before)
    if after == before:
        return None
    return Write(
        config_path(repository), after.encode("utf-8"), "the recommended hooks, for pre-commit and prek"
    )


def installed_types(repository: Repository) -> dict[str, str]:
    """The git hooks that pre-commit or prek serve here, and which of the two."""
    folder = hooks_folder(repository)
    served = {name: Place(name, folder).framework() for name in HOOK_TYPES}
    return {name: framework for name, framework in served.items() if framework is not None}


def program(repository: Repository) -> list[str] | None:
    """The framework in use here, else the one at hand: pre-commit, then prek."""
    served = set(installed_types(repository).values())
    names = sorted(("pre-commit", "prek"), key=lambda name: name not in served)
    beside = os.path.dirname(sys.executable)
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=beside)
        if found is not None:
            return [found]
    return None


def missing_types(repository: Repository, text: str | None) -> list[str]:
    """The git hooks that the configuration `text` needs and nobody serves."""
    served = installed_types(repository)
    return [name for name in hook_types(text) if name not in served] if text is not None else []


def install_steps(repository: Repository, text: str | None) -> Iterator[Step]:
    """What has pre-commit or prek install its hooks for the stages that the configuration `text` uses.

    Raises InstallError where neither of them is to be found.
    """
    missing = missing_types(repository, text)
    if not missing:
        return
    found = program(repository)
    if found is None:
        raise InstallError(
            f"{CONFIG}: neither pre-commit nor prek is installed", fix="pip install pre-commit"
        )
    yield Run(_words(found, "install", missing), repository.worktree, "its hooks for the stages in use")


def uninstall_steps(repository: Repository, types: Sequence[str]) -> Iterator[Step]:
    """What takes away those hooks of `types` that pre-commit or prek still serve."""
    served = [name for name in types if name in installed_types(repository)]
    found = program(repository)
    if served and found is not None:
        yield Run(_words(found, "uninstall", served), repository.worktree, "installed along with ours")


def _words(found: Sequence[str], verb: str, types: Sequence[str]) -> list[str]:
    return [*found, verb, *(word for name in types for word in ("--hook-type", name))]
