"""Continuous integration: whole files for GitHub and GitLab, beside those that are there.

The same commands everywhere, made for what CI has checked out: a shallow clone with a detached HEAD, and on
GitHub the merge commit of a pull request, which is no commit of anybody's.
"""

from __future__ import annotations

SERVICES = ("github", "gitlab")
GITHUB_OURS = ".github/workflows/deriva-ml-hooks.yml"
GITLAB_OURS = ".gitlab/deriva-ml-hooks.yml"
GITLAB = ".gitlab-ci.yml"
GITLAB_INCLUDE = f"include:\n- local: {GITLAB_OURS}\n"
_REFS = "--tags origin '+refs/heads/*:refs/remotes/origin/*'"
COMMANDS = (
    "set -e",
    "pip install deriva-ml-hooks",
    f"git fetch --quiet --unshallow {_REFS} || git fetch --quiet {_REFS}",
    "git ls-files -z -- '*.ipynb' | xargs -0 -r deriva-ml-hooks hook check-notebooks --",
    "git ls-files -z -- '*.ipynb' | xargs -0 -r deriva-ml-hooks hook strip-notebook-outputs --check --",
    # A new branch, and one that was rewritten, replace no commit that is here.
    'git cat-file -e "$FROM^{commit}" || FROM=$(git merge-base HEAD "origin/$BRANCH")',
    'PRE_COMMIT_FROM_REF="$FROM" PRE_COMMIT_TO_REF=HEAD deriva-ml-hooks hook check-large-files',
    'test -z "$(git tag --list)" || deriva-ml-hooks hook check-version-tags',
)
"""What is checked, a line each; `FROM` is the commit before the change, `BRANCH` the default branch."""

_GITHUB_HEAD = """\
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
    - run: |
"""
_GITLAB_HEAD = """\
# Written by: deriva-ml-hooks install --ci gitlab
deriva-ml-hooks:
  image: python:3.12
  rules:
  - if: $CI_PIPELINE_SOURCE == "merge_request_event"
  - if: $CI_COMMIT_BRANCH
  - if: $CI_COMMIT_TAG
  script:
  - export FROM="${CI_MERGE_REQUEST_DIFF_BASE_SHA:-$CI_COMMIT_BEFORE_SHA}" BRANCH="$CI_DEFAULT_BRANCH"
  - |
"""


def text(service: str) -> str:
    """The whole file for `service`, one of SERVICES."""
    head, indent = (_GITHUB_HEAD, " " * 8) if service == "github" else (_GITLAB_HEAD, " " * 4)
    return head + "".join(f"{indent}{line}\n" for line in COMMANDS)


def files(service: str) -> dict[str, str]:
    """What is written for `service`, by name from the top of the worktree."""
    if service == "github":
        return {GITHUB_OURS: text(service)}
    return {GITLAB_OURS: text(service), GITLAB: GITLAB_INCLUDE}
