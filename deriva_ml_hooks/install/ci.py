"""Continuous integration: whole files for GitHub and GitLab, beside those that are there.

The same commands everywhere, made for what CI has checked out: a shallow clone with a detached HEAD, and on
GitHub the merge commit of a pull request, which is no commit of anybody's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.install.steps import InstallError, Write

SERVICES = ("github", "gitlab")
_GITLAB = ".gitlab-ci.yml"
_OURS = {"github": ".github/workflows/deriva-ml-hooks.yml", "gitlab": ".gitlab/deriva-ml-hooks.yml"}
INCLUDE = f"include:\n- local: {_OURS['gitlab']}\n"
_REFS = "--tags origin '+refs/heads/*:refs/remotes/origin/*'"
COMMANDS = (
    f"git fetch --quiet --unshallow {_REFS} || git fetch --quiet {_REFS}",
    "git ls-files -z -- '*.ipynb' | xargs -0 -r deriva-ml-hooks hook check-notebooks --",
    "git ls-files -z -- '*.ipynb' | xargs -0 -r deriva-ml-hooks hook strip-notebook-outputs --check --",
    # A new branch, and one that was rewritten, replace no commit that is here.
    'git cat-file -e "$FROM^{commit}" || FROM=$(git merge-base HEAD "origin/$BRANCH")',
    'PRE_COMMIT_FROM_REF="$FROM" PRE_COMMIT_TO_REF=HEAD deriva-ml-hooks hook check-large-files',
    'test -z "$(git tag --list)" || deriva-ml-hooks hook check-version-tags',
)
"""What is checked, a line each; `FROM` is the commit before the change, `BRANCH` the default branch."""

_INSTALL = "pip install deriva-ml-hooks"
_HEAD_OF = {
    "github": """\
# Written by: deriva-ml-hooks install --ci github
name: deriva-ml-hooks
on:
  push:
    branches: ["**"]
    tags: ["**"]
  pull_request:
permissions:
  contents: read
jobs:
  check:
    runs-on: ubuntu-latest
    env:
      FROM: ${{ github.event.pull_request.base.sha || github.event.before }}
      BRANCH: ${{ github.event.repository.default_branch }}
    steps:
    - uses: actions/checkout@v4
    - uses: actions/setup-python@v5
      with: { python-version: "3.12" }
""",
    "gitlab": """\
# Written by: deriva-ml-hooks install --ci gitlab
deriva-ml-hooks:
  image: python:3.12
  rules:
  - if: $CI_PIPELINE_SOURCE == "merge_request_event"
  - if: $CI_COMMIT_BRANCH
  - if: $CI_COMMIT_TAG
  script:
  - export FROM="${CI_MERGE_REQUEST_DIFF_BASE_SHA:-$CI_COMMIT_BEFORE_SHA}" BRANCH="$CI_DEFAULT_BRANCH"
""",
}


def text(service: str) -> str:
    """The whole file for `service`, one of SERVICES."""
    begin, indent = ("    - run: |\n", " " * 8) if service == "github" else ("  - |\n", " " * 4)
    lines = ("set -e", _INSTALL, *COMMANDS)
    return _HEAD_OF[service] + begin + "".join(f"{indent}{line}\n" for line in lines)


def steps(repository: Repository, services: Sequence[str]) -> tuple[list[Write], list[str]]:
    """What writes the files of `services`, and what is left for the user: a file that is there stays.

    Raises InstallError where a link leads out of the worktree.
    """
    made: list[Write] = []
    left: list[str] = []
    for service in services:
        for name, content in _files(repository, service).items():
            path = inside(repository, name)
            there = content_of(path)
            if there is None:
                made.append(Write(path, content.encode("utf-8"), f"checks on {service}; commit it"))
            elif name == _GITLAB:
                if _OURS["gitlab"].encode() not in there:
                    left.append(f"left as it is: {name}; add to it: {' '.join(INCLUDE.split())}")
            elif there != content.encode("utf-8"):
                left.append(f"left as it is: {name}, which is another file than this release writes")
    return made, left


def _files(repository: Repository, service: str) -> dict[str, str]:
    ours = {_OURS[service]: text(service)}
    return ours if service == "github" else {**ours, _GITLAB: INCLUDE}


def content_of(path: str) -> bytes | None:
    """What is in a file; None where there is none. Raises InstallError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        what = f"{path}: cannot be read: {error.strerror}"
        raise InstallError(what, fix="see its owner and mode") from None


def inside(repository: Repository, name: str) -> str:
    """The path of a file to be written in the worktree. Raises InstallError where a link leads out of it."""
    top = os.path.realpath(repository.worktree)
    path = os.path.join(repository.worktree, name)
    if not (os.path.realpath(os.path.dirname(path)) + os.sep).startswith(os.path.join(top, "")):
        raise InstallError(
            f"{name}: a symbolic link leads out of the repository", fix="put a folder in its place"
        )
    return path
