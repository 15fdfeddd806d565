"""pre-commit's configuration, read and added to as text: judged by pre-commit and prek themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.install.frameworks import RECOMMENDED, REPOSITORY, hook_types, release_of, snippet
from deriva_ml_hooks.install.steps import InstallError

if TYPE_CHECKING:
    from tests.conftest import Repo


def test_what_is_written_is_valid_for_pre_commit_and_prek(tmp_path: Path, framework: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(snippet(None))
    done = subprocess.run(
        [framework, "validate-config", str(path)], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_configuration_that_is_there_is_left_alone_and_the_lines_are_told(
    repo: Repo, install: Callable[..., list[str]], framework: str
) -> None:
    path = repo.write(".pre-commit-config.yaml", "repos: []  # none yet\n")
    told = install(repo, pre_commit=True)
    assert path.read_text() == "repos: []  # none yet\n"
    lines = told[told.index("add this to the repos of .pre-commit-config.yaml:") + 1 :]
    path.write_text("repos:\n" + "\n".join(lines[: 3 + len(RECOMMENDED)]) + "\n")
    assert f"- repo: {REPOSITORY}" in path.read_text()
    assert snippet(path.read_text()) == ""
    done = subprocess.run([framework, "validate-config", str(path)], capture_output=True, check=False)
    assert done.returncode == 0, done


@pytest.mark.parametrize(
    ("own", "tag"),
    [
        ("1.2.3", "v1.2.3"),
        ("1.2.4.dev7+gabc", "v1.2.3"),
        ("0.1.dev5+gabc.d20260101", "v0.1.0"),
        ("2", "v2.0.0"),
    ],
)
def test_the_tag_that_is_named_is_a_release(own: str, tag: str) -> None:
    assert release_of(own) == tag


def test_a_branch_without_the_configuration_can_be_committed_to(
    repo: Repo, install: Callable[..., list[str]], framework: str
) -> None:
    repo.git("switch", "--quiet", "--create", "other")
    repo.git("switch", "--quiet", "main")
    repo.write(".pre-commit-config.yaml", "repos: []\n")
    install(repo)
    repo.commit("Configure")
    repo.git("switch", "--quiet", "other")
    repo.commit("Here")


INVALID = {
    "tabs": "repos:\n\t- repo: meta\n\t  hooks: [{id: identity}]\n",
    "an open bracket": "exclude: [\nrepos: []\n",
    "a list that is no list": "repos:\n  local: {}\n",
    "a repo without hooks": "repos:\n- repo: local\n",
    "a repo in flow style over several lines": "repos:\n[\n]\n",
}


@pytest.mark.parametrize("name", INVALID)
def test_a_configuration_that_is_not_valid_is_refused_before_anything_is_written(
    repo: Repo, install: Callable[..., list[str]], photograph: Callable[..., object], name: str
) -> None:
    repo.write(".pre-commit-config.yaml", INVALID[name])
    before = photograph(repo.path)
    with pytest.raises(InstallError, match=r"^\.pre-commit-config\.yaml: ") as refused:
        install(repo, pre_commit=True)
    assert "not valid" in str(refused.value)
    assert photograph(repo.path) == before


@pytest.mark.parametrize("content", [b"repos: []  # \xff\n", None])
def test_a_configuration_that_cannot_be_read_is_named(
    repo: Repo, install: Callable[..., list[str]], content: bytes | None
) -> None:
    path = repo.path / ".pre-commit-config.yaml"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(InstallError, match="cannot be read"):
        install(repo)


AFTER = "post-merge post-rewrite"


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("repos: []\n", "pre-commit"),
        ("default_install_hook_types: [pre-push]\nrepos: []\n", "pre-push"),
        ("default_install_hook_types: ['pre-push', \"commit-msg\"]\n", "pre-push commit-msg"),
        ("default_install_hook_types: [\n  pre-commit,\n  pre-push,\n]\nrepos: []\n", "pre-commit pre-push"),
        (
            "default_install_hook_types:\n- pre-push\n\n# why\n- commit-msg\nrepos: []\n",
            "pre-push commit-msg",
        ),
        ("default_install_hook_types:\n  - pre-push  # pre-rebase\nrepos: []\n", "pre-push"),
        ("default_stages: [pre-push]\n", "pre-commit pre-push"),
        ("    stages: [post-commit, manual]\n", "pre-commit post-commit"),
        (
            "    stages:\n    - post-merge\n    - post-rewrite\n    args: [commit-msg]\n",
            "pre-commit " + AFTER,
        ),
        ("    stages: [\n      post-checkout,\n    ]\n", "pre-commit post-checkout"),
        ("  - {id: a, stages: [pre-rebase], args: [post-merge]}\n", "pre-commit pre-rebase"),
        ("    stages: [commit, push, merge-commit]\n", "pre-commit pre-push pre-merge-commit"),
        ("#   stages: [post-commit]\n", "pre-commit"),
        ("    name: stages post-commit\n", "pre-commit"),
        ("  - id: check-version-tags\n", "pre-commit pre-push"),
        ("  - {id: cache-provenance}\n", "pre-commit pre-push post-commit post-checkout " + AFTER),
    ],
)
def test_the_hooks_that_a_configuration_needs(text: str, types: str) -> None:
    assert " ".join(hook_types(text)) == types
    assert hook_types(text.replace("\n", "\r\n")) == hook_types(text)


def test_exactly_the_needed_hooks_are_installed(
    repo: Repo, install: Callable[..., list[str]], framework: str
) -> None:
    repo.write(".pre-commit-config.yaml", "default_install_hook_types: [commit-msg]\nrepos: []\n")
    subprocess.run([framework, "install"], cwd=repo.path, check=True, capture_output=True)
    repo.write(".pre-commit-config.yaml", "default_install_hook_types: [commit-msg, pre-push]\nrepos: []\n")
    assert install(repo)[-1].startswith(f"run {Path(framework).name} install --allow-missing-config ")
    hooks = repo.path / ".git" / "hooks"
    served = {path.name for path in hooks.iterdir() if b"File generated by" in path.read_bytes()}
    assert served == {"commit-msg", "pre-push"}
    assert Path(framework).name.encode() in (hooks / "pre-push").read_bytes()
