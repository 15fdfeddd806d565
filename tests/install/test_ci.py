"""The files of CI: written beside what is there, taken away again, and run as CI runs them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.install import ci, setup
from deriva_ml_hooks.install.steps import InstallError

if TYPE_CHECKING:
    from tests.conftest import Repo

GITHUB = ".github/workflows/deriva-ml-hooks.yml"
GITLAB = ".gitlab/deriva-ml-hooks.yml"
NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
EXECUTED = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": 1,
            "id": "0",
            "metadata": {},
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "1\n"}],
            "source": "1",
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def written(repo: Repo, *services: str) -> list[str]:
    said: list[str] = []
    setup.install(str(repo.path), services=services, say=said.append)
    return said


def removed(repo: Repo) -> list[str]:
    said: list[str] = []
    setup.uninstall(str(repo.path), say=said.append)
    return said


@pytest.mark.parametrize("service", ci.SERVICES)
def test_a_workflow_is_whole_and_made_for_pushes_and_requests(service: str) -> None:
    yaml = pytest.importorskip("yaml")
    document = yaml.load(ci.text(service), Loader=yaml.BaseLoader)  # `on` is no boolean here
    if service == "github":
        assert document["on"].keys() == {"push", "pull_request"}
        (job,) = document["jobs"].values()
        assert [*job["steps"][0]] == ["uses"]
        script = job["steps"][-1]["run"]
    else:
        (job,) = document.values()
        assert len(job["rules"]) == 3
        script = job["script"][-1]
    assert script.splitlines() == [*ci.COMMANDS]


def test_files_are_written_beside_others_and_taken_away_again(repo: Repo) -> None:
    release = repo.write(".github/workflows/release.yml", "on: push\n")
    repo.commit("Release")
    written(repo, "github", "gitlab")
    assert (repo.path / GITHUB).read_text() == ci.text("github")
    assert (repo.path / GITLAB).read_text() == ci.text("gitlab")
    assert (repo.path / ".gitlab-ci.yml").read_text() == ci.GITLAB_INCLUDE
    assert written(repo, "github", "gitlab") == ["everything is in place already"]
    removed(repo)
    assert repo.git("status", "--porcelain") == ""
    assert release.read_text() == "on: push\n"


def test_a_file_that_is_there_is_never_replaced(repo: Repo) -> None:
    repo.write(GITHUB, "on: push\n")
    repo.write(".gitlab-ci.yml", "stages: [test]\n")
    said = written(repo, "github", "gitlab")
    assert f"left as it is: {GITHUB}, which is another file than this release writes" in said
    assert f"left as it is: .gitlab-ci.yml; add to it: include: - local: {GITLAB}" in said
    assert (repo.path / GITHUB).read_text() == "on: push\n"
    assert (repo.path / ".gitlab-ci.yml").read_text() == "stages: [test]\n"
    removed(repo)
    assert (repo.path / GITHUB).exists()
    assert not (repo.path / GITLAB).exists()


@pytest.mark.parametrize("committed", [False, True])
def test_what_was_edited_or_committed_since_stays(repo: Repo, committed: bool) -> None:
    written(repo, "github")
    if committed:
        repo.commit("Checks")
    else:
        repo.write(GITHUB, ci.text("github") + "# ours\n")
    since = "committed" if committed else "edited"
    assert f"left as it is: {GITHUB} (it was {since} since)" in removed(repo)
    assert (repo.path / GITHUB).exists()


def test_nothing_is_written_where_a_link_leads_out(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repo.path / ".github").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InstallError, match="leads out of the repository"):
        written(repo, "github")
    assert os.listdir(tmp_path / "elsewhere") == []


def fine(repo: Repo) -> None:
    repo.write("uv.lock", "x" * 747_000)
    repo.write("notebooks/a b.ipynb", json.dumps(NOTEBOOK, indent=1) + "\n")
    repo.commit("Fine")


def gone_again(repo: Repo) -> None:
    repo.commit("Large", **{"big.csv": "x" * 600_000})
    repo.git("rm", "--quiet", "big.csv")
    repo.commit("Small")


def ran(repo: Repo) -> None:
    repo.write("it's.ipynb", json.dumps(EXECUTED, indent=1) + "\n")
    repo.commit("Executed")


def tagged(repo: Repo) -> None:
    repo.commit("Release")
    repo.git("tag", "-a", "v0.1.0", "-m", "One")
    repo.push("--follow-tags", "origin", "HEAD")


def loosely(repo: Repo) -> None:
    repo.commit("Release")
    repo.git("tag", "v0.1.0")
    repo.push("origin", "HEAD", "v0.1.0")


@pytest.mark.parametrize("event", ["push", "new branch", "request"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (fine, ""),
        (tagged, ""),
        (gone_again, "big.csv: "),
        (ran, "it's.ipynb: has outputs"),
        (loosely, "v0.1.0 is a lightweight tag"),
    ],
)
def test_what_is_pushed_or_asked_to_be_merged_is_checked_in_a_shallow_clone(
    repo: Repo,
    remote: Repo,
    run_ci: Callable[..., Any],
    change: Callable[[Repo], None],
    said: str,
    event: str,
) -> None:
    repo.git("switch", "--quiet", "--create", "feature")
    change(repo)
    repo.push()
    ref, before = "refs/heads/feature", repo.git("rev-parse", "main")
    if event == "new branch":
        before = "0" * 40
    if event == "request":
        repo.git("switch", "--quiet", "--detach", "main")
        repo.git("merge", "--quiet", "--no-ff", "--message", "Merge", "feature")
        ref = "refs/pull/1/merge"
        repo.push("origin", f"HEAD:{ref}")
    done = run_ci(ref, before, remote=remote.path)
    assert (done.returncode == 0) == (said == ""), done
    assert said in done.stdout
    assert not said or "fix: " in done.stdout
