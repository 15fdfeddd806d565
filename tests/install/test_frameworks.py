"""pre-commit's configuration, read and added to as text: judged by pre-commit and prek themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.hooks import recommended
from deriva_ml_hooks.install.frameworks import REPOSITORY, configuration, release_of, served

if TYPE_CHECKING:
    from tests.conftest import Repo


def test_what_is_written_is_valid_for_pre_commit_and_prek(tmp_path: Path, framework: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(configuration())
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
    path.write_text("repos:\n" + "\n".join(lines[: 3 + len(recommended())]) + "\n")
    assert f"- repo: {REPOSITORY}" in path.read_text()
    assert install(repo, pre_commit=True) == ["everything is in place already"]
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


def test_the_framework_installs_what_its_configuration_names_and_is_then_left_alone(
    repo: Repo, install: Callable[..., list[str]], photograph: Callable[..., object], framework: str
) -> None:
    hooks = repo.path / ".git" / "hooks"
    repo.write(".pre-commit-config.yaml", "default_install_hook_types: [commit-msg, pre-push]\nrepos: []\n")
    assert install(repo)[-1].startswith("run pre-commit install --allow-missing-config")
    assert served(measured(str(repo.path))) == {"commit-msg": "pre-commit", "pre-push": "pre-commit"}
    subprocess.run([framework, "install", "--overwrite", "-t", "commit-msg"], cwd=repo.path, check=True)
    before = photograph(hooks)
    assert install(repo) == ["everything is in place already"]
    assert photograph(hooks) == before
