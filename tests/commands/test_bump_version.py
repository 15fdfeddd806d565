"""`bump-version` and `version` as people call them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_afterwards_everybody_says_the_new_version(repo: Repo, remote: Repo, program: Program) -> None:
    repo.write("pyproject.toml", '[project]\nname = "model"\ndynamic = ["version"]\n[tool.setuptools_scm]\n')
    repo.commit()
    assert program("version").out.startswith("0.1.dev")
    done = program("bump-version", "--initial", "1.4.0")
    assert done.code == 0, done.err
    assert done.out.startswith("v1.4.0  ")
    assert "the first version, pushed to origin" in done.out
    cached = json.loads((repo.git_dir / "deriva-ml-hooks" / "provenance.json").read_text())["record"]
    assert (cached["version"], cached["tag"]) == ("1.4.0", "v1.4.0")
    scm = [sys.executable, "-m", "setuptools_scm"]
    assert subprocess.run(scm, cwd=repo.path, capture_output=True, check=True).stdout == b"1.4.0\n"
    assert program("version").out == "1.4.0\n"
    assert repo.git("status", "--porcelain") == ""


def test_a_dry_run_says_the_same_and_changes_nothing_at_all(
    repo: Repo, remote: Repo, program: Program, make_repo: Callable[..., Repo]
) -> None:
    other = make_repo("other")
    other.git("fetch", "--quiet", str(remote.path), "main:theirs")
    other.git("tag", "-a", "v0.3.0", "-m", "x", "theirs~1")
    other.git("push", "--quiet", str(remote.path), "v0.3.0")
    assert program("version").code == 0  # the cache is there
    repo.commit()
    program("check")
    before = everything(repo.path), everything(remote.path)
    done = program("bump-version", "minor", "--dry-run", "--json")
    assert done.code == 0, done.err
    assert (everything(repo.path), everything(remote.path)) == before
    would = json.loads(done.out)
    assert (would["tag"], would["previous"], would["made"], would["pushed"]) == (
        *("v0.4.0", "v0.3.0"),
        *(False, False),
    )
    assert program("bump-version", "minor", "--dry-run").out == (
        f"would make v0.4.0  {would['commit'][:12]}  after v0.3.0, to be pushed to origin with main\n"
    )
    made = json.loads(program("bump-version", "minor", "--json").out)
    assert made == would | {"made": True, "pushed": True}


def _has_a_version(repo: Repo) -> None:
    repo.git("tag", "v1.0.0")


def _has_several_addresses(repo: Repo) -> None:
    for address in ("/one", "/two"):
        repo.git("remote", "set-url", "--add", "--push", "origin", address)


def _is_not_legible(repo: Repo) -> None:
    repo.write(".deriva-ml-hooks.toml", '[check-version-tags]\nprefix = "release/"\n')
    repo.commit()


@pytest.mark.parametrize("wrong", [_has_a_version, _has_several_addresses, _is_not_legible])
def test_a_dry_run_gives_the_same_reasons(
    repo: Repo, remote: Repo, program: Program, wrong: Callable[[Repo], None]
) -> None:
    wrong(repo)
    program("check")
    before = everything(repo.path)
    dry, real = program("bump-version", "--dry-run", "--json"), program("bump-version", "--json")
    assert dry.code == real.code == 1
    assert dry.out == real.out
    assert everything(repo.path) == before


def test_a_refusal_is_told_with_its_reasons_and_its_fix(repo: Repo, remote: Repo, program: Program) -> None:
    repo.write("new.py")
    repo.write("src/train.py", "changed\n")
    done = program("bump-version", "--json")
    assert done.code == 1
    document = json.loads(done.out)
    assert (document["schema"], document["made"]) == (1, False)
    assert sorted((r["code"], r["path"]) for r in document["reasons"]) == [
        *[("unstaged", "src/train.py"), ("untracked", "new.py")]
    ]
    assert "new.py: " in done.err
    assert "fix: " in done.err
    assert "no version was made" in done.err


def test_a_configuration_error_and_a_usage_error_are_2(repo: Repo, remote: Repo, program: Program) -> None:
    assert program("bump-version", "huge").code == 2
    assert program("bump-version", "--initial", "one").code == 2
    repo.write(".deriva-ml-hooks.toml", "[check-version-tags]\nprefx = 'v'\n")
    repo.commit()
    assert program("bump-version").code == 2
    assert repo.git("tag") == ""


def test_a_password_in_the_remotes_address_is_nowhere_to_be_seen(repo: Repo, program: Program) -> None:
    repo.git("remote", "add", "origin", "http://ada:hunter2@127.0.0.1:9/lab/model.git")
    done = program("bump-version", env={"http_proxy": "", "no_proxy": "*"})
    assert done.code == 1
    assert "127.0.0.1:9" in done.err
    assert "hunter2" not in done.out + done.err


def test_git_variables_of_the_caller_point_it_nowhere_else(
    repo: Repo, remote: Repo, program: Program, make_repo: Callable[..., Repo]
) -> None:
    other = make_repo("other")
    other.commit()
    assert program("bump-version", env={"GIT_DIR": str(other.git_dir)}).code == 0
    assert (repo.git("tag"), other.git("tag")) == ("v0.1.0", "")


def test_no_version_can_be_told_in_a_shallow_clone(
    repo: Repo, remote: Repo, program: Program, tmp_path: Path
) -> None:
    repo.git("clone", "--quiet", "--depth=1", f"file://{remote.path}", str(tmp_path / "shallow"))
    done = program("version", cwd=tmp_path / "shallow")
    assert done.code == 1
    assert "git fetch --unshallow" in done.err
    assert os.listdir(tmp_path / "shallow")


class TestALockFile:
    """`--commit-lock`: uv has rewritten uv.lock, and nothing else is changed."""

    @pytest.fixture(autouse=True)
    def rewritten(self, repo: Repo, remote: Repo) -> None:
        repo.write("uv.lock", "version = 1\n")
        repo.commit("Lock")
        repo.write("uv.lock", "version = 2\n")

    def test_it_is_committed_and_the_version_is_that_commits(self, repo: Repo, program: Program) -> None:
        assert program("bump-version").code == 1
        assert program("bump-version", "--commit-lock", "--dry-run").code == 0
        assert repo.git("log", "-1", "--format=%s") == "Lock"
        assert program("bump-version", "--commit-lock").code == 0
        assert repo.git("log", "-1", "--format=%s %D").startswith("Update uv.lock HEAD -> main, tag: v0.1.0")
        assert repo.git("status", "--porcelain") == ""

    def test_it_is_not_committed_beside_other_changes(self, repo: Repo, program: Program) -> None:
        repo.write("src/new.py")
        assert program("bump-version", "--commit-lock").code == 1
        assert repo.git("log", "-1", "--format=%s") == "Lock"

    def test_a_hook_of_the_users_that_refuses_it_has_the_last_word(
        self, repo: Repo, program: Program
    ) -> None:
        hook = repo.write(".git/hooks/pre-commit", "#!/bin/sh\necho not so >&2\nexit 1\n")
        hook.chmod(0o755)
        done = program("bump-version", "--commit-lock")
        assert (done.code, "not so" in done.err) == (1, True)
        assert repo.git("tag") == ""
