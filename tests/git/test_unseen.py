"""Code that no commit holds is told, also where git is made to overlook it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.gate import judge

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences
HELPER = "src/helper.py"


def info_exclude(repo: Repo, home: Path, pattern: str) -> None:
    repo.write(".git/info/exclude", f"# mine\n{pattern}\n")


def users_excludes(repo: Repo, home: Path, pattern: str) -> None:
    (home / "ignored").write_text(f"{pattern}\n")
    repo.git("config", "--global", "core.excludesFile", "~/ignored")


def users_default_excludes(repo: Repo, home: Path, pattern: str) -> None:
    (home / ".config/git").mkdir(parents=True)
    (home / ".config/git/ignore").write_text(f"{pattern}\n")


def included_excludes(repo: Repo, home: Path, pattern: str) -> None:
    (home / "ignored").write_text(f"{pattern}\n")
    (home / "more").write_text(f"[core]\nexcludesFile = {home}/ignored\n")
    repo.git("config", "--global", f"includeIf.gitdir:{repo.path}/.path", str(home / "more"))


SOURCES = [info_exclude, users_excludes, users_default_excludes, included_excludes]
Source = Callable[["Repo", Path, str], None]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", [HELPER, "helper.sh", "src/deep/__init__.py"])
def test_code_that_only_this_machine_has_git_ignore_is_told(
    repo: Repo, home: Path, differences: Differences, source: Source, name: str
) -> None:
    repo.write(name)
    source(repo, home, Path(name).name)
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert differences(repo) == {("excluded-code", name)}


@pytest.mark.parametrize("lines", ["*\n!train.py\n", "helper.py\n.gitignore\n"])
def test_code_that_a_gitignore_of_no_commit_hides_is_refused(
    repo: Repo, differences: Differences, lines: str
) -> None:
    repo.write(HELPER)
    repo.write("src/.gitignore", lines)
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert differences(repo) == {("hidden-code", HELPER)}
    (reason,) = judge(str(repo.path)).reasons
    assert "src/.gitignore" in reason.message
    way, _, _ = (reason.fix or "").partition(" && git commit")
    assert os.system(f"cd {repo.path}/src && {way} && git commit -qm Helper") == 0
    assert judge(str(repo.path)).accepted


def test_a_package_that_hides_itself_is_refused(repo: Repo, differences: Differences) -> None:
    for package in ("hidden", "src/private"):
        repo.write(f"{package}/__init__.py")
        repo.write(f"{package}/.gitignore", "*\n")
    repo.write(".venv/.gitignore", "*\n")  # as uv makes it
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert {code for code, _ in differences(repo)} == {"hidden-code"}
    assert {path for _, path in differences(repo)} == {"hidden/__init__.py", "src/private/__init__.py"}


def test_what_the_commit_has_git_ignore_is_nobodys_business(
    repo: Repo, home: Path, differences: Differences
) -> None:
    repo.write(".gitignore", "*.log\nhelper.py\n")
    repo.commit()
    repo.write(HELPER)
    for source in SOURCES[:2]:
        source(repo, home, "*.py")
    assert differences(repo) == set()


@pytest.mark.parametrize(
    "name",
    [
        *(".venv/pyvenv.cfg", ".venv/lib/x.py", "node_modules/a/index.js", "src/.cache/a.py"),
        *("src/notes.txt", "src/train.pyc", "src/__pycache__/train.pyc"),
    ],
)
@pytest.mark.parametrize("source", [info_exclude, users_excludes])
def test_environments_caches_and_notes_may_be_excluded_by_anybody(
    repo: Repo, home: Path, differences: Differences, source: Source, name: str
) -> None:
    repo.write(name)
    source(repo, home, "*\n!.gitignore")
    assert differences(repo) == set()


def test_a_cache_that_ignores_itself_is_nobodys_business(repo: Repo, differences: Differences) -> None:
    repo.write(".cache/.gitignore", "*\n")
    repo.write(".cache/made.py")
    assert differences(repo) == set()


@pytest.mark.parametrize(("policy", "places"), [("refuse", (1, 0)), ("warn", (0, 1)), ("ignore", (0, 0))])
@pytest.mark.parametrize("code", ["excluded-code", "link-outside"])
def test_a_policy_says_what_becomes_of_it(
    repo: Repo, home: Path, tmp_path: Path, code: str, policy: str, places: tuple[int, int]
) -> None:
    repo.write(".deriva-ml-hooks.toml", f'{code} = "{policy}"\nno-remote = "ignore"\n')
    (tmp_path / "outside.py").write_text("print()\n")
    if code == "link-outside":
        (repo.path / HELPER).symlink_to(tmp_path / "outside.py")
    repo.commit()
    if code == "excluded-code":
        repo.write(HELPER)
        info_exclude(repo, home, "helper.py")
    verdict = judge(str(repo.path))
    assert (len(verdict.reasons), len(verdict.warnings)) == places
    for finding in verdict.reasons + verdict.warnings:
        assert (finding.code, finding.path) == (code, HELPER)


@pytest.mark.parametrize(
    ("link", "target", "told"),
    [
        ("src/helper.py", "{outside}/code.py", True),
        ("src/helper.py", "{outside}/text", True),
        ("src/helper", "{outside}/code.py", True),
        ("src/helper", "{outside}", True),
        ("src/helper.py", "../data/ignored.py", True),
        ("src/helper.py", "train.py", False),
        ("src/helper", "../src", False),
        ("helper", ".", False),
        ("src/helper.py", "nowhere.py", False),
        ("data.csv", "{outside}/text", False),
        ("shared", "{outside}/shared", False),
    ],
)
def test_a_link_to_code_that_is_not_in_the_commit_is_told(
    repo: Repo, tmp_path: Path, differences: Differences, link: str, target: str, told: bool
) -> None:
    outside = tmp_path / "outside"
    (outside / "shared").mkdir(parents=True)
    for name in ("code.py", "text", "shared/data.csv"):
        (outside / name).write_text("1\n")
    repo.write(".gitignore", "/data/\n")
    repo.write("data/ignored.py")
    (repo.path / link).symlink_to(target.format(outside=outside))
    repo.commit()
    assert differences(repo) == ({("link-outside", link)} if told else set())


def test_a_link_into_a_submodule_is_none_to_the_outside(
    with_submodule: Repo, differences: Differences
) -> None:
    (with_submodule.path / HELPER).symlink_to("../lib/lib.py")
    with_submodule.commit()
    assert differences(with_submodule) == set()
