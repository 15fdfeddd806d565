"""The version is what `python -m setuptools_scm` prints in a fresh, full clone of the commit.

What it prints is stored in answers.json, for one release of it; with any other the tests ask it. The slow run
asks it in any case: `UPDATE_ANSWERS=1 pytest -m slow tests/provenance/test_version.py` stores what it says.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.cli import main
from deriva_ml_hooks.git import consent
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.scm_settings import NoVersionError
from deriva_ml_hooks.provenance.version import Named, scm_version, scm_versions

if TYPE_CHECKING:
    from tests.conftest import Repo

ANSWERS = Path(__file__).with_name("answers.json")


@pytest.fixture(autouse=True)
def date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same day in every run."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_DATE", "2026-01-02T03:04:05Z")


def printed(repo: Repo, folder: Path) -> str | None:
    """What setuptools-scm prints in a fresh clone of HEAD, on the branch that HEAD is on."""
    head, branch = repo.git("rev-parse", "HEAD"), repo.git("branch", "--show-current")
    repo.git("clone", "--quiet", "--no-checkout", repo.path.as_uri(), str(folder))
    repo.git("-C", str(folder), "checkout", "--quiet", *(["-B", branch] if branch else ["--detach"]), head)
    env = {name: value for name, value in os.environ.items() if not name.startswith("SETUPTOOLS_SCM")}
    done = subprocess.run(
        [sys.executable, "-m", "setuptools_scm"], cwd=folder, env=env, capture_output=True, check=False
    )
    return done.stdout.decode().strip() or None if done.returncode == 0 else None


def without_node(answer: str | None, repo: Repo) -> str | None:
    """A version with a word in the place of the commit's abbreviated id."""
    head = repo.git("rev-parse", "HEAD")
    return answer and re.sub(
        r"g([0-9a-f]{7,})", lambda m: "gCOMMIT" if head.startswith(m[1]) else m[0], answer
    )


def trust(repo: Repo) -> None:
    consent.agree("code", os.path.realpath(repo.git_dir))


def version_of(path: Path) -> str | None:
    """What we say; None where there is none."""
    try:
        return scm_version(*_head(path))
    except NoVersionError:
        return None


def reason_of(path: Path) -> NoVersionError:
    """Why there is none, for one commit as for many."""
    repository, head = _head(path)
    assert [*scm_versions(repository, [Named(head, "main")]).values()] == [None]
    with pytest.raises(NoVersionError) as caught:
        scm_version(repository, head)
    return caught.value


def _head(path: Path) -> tuple[Repository, bytes]:
    repository = measured(str(path))
    head = repository.head()
    assert head is not None
    return repository, head


def later(repo: Repo, commits: int = 1) -> None:
    for number in range(commits):
        repo.commit(f"Later {number}")


def nothing(repo: Repo) -> None:
    """Leave it without tags."""


def tagged(*names: str, annotated: bool = True, after: int = 0) -> Callable[[Repo], None]:
    def make(repo: Repo) -> None:
        for name in names:
            repo.git("tag", *(["--annotate", "-m", name] if annotated else []), name)
        later(repo, after)

    return make


def nearer(repo: Repo) -> None:
    repo.git("tag", "v1.0.0")
    for name in ("latest", "data-release", "exp-7"):
        later(repo)
        repo.git("tag", name)


def merged(repo: Repo) -> None:
    repo.git("tag", "v1.0.0")
    repo.git("switch", "--quiet", "--create", "side")
    later(repo, 2)
    repo.git("tag", "v1.1.0")
    repo.git("switch", "--quiet", "main")
    later(repo, 3)
    repo.git("merge", "--quiet", "--no-edit", "side")


def nested(repo: Repo) -> None:
    tagged("v1.0.0")(repo)
    repo.git("tag", "--annotate", "-m", "of a tag", "v1.1.0", "v1.0.0")
    later(repo)


def detached(repo: Repo) -> None:
    tagged("v1.0.0", after=2)(repo)
    repo.git("checkout", "--quiet", "HEAD~1")


def packed(repo: Repo) -> None:
    tagged("v1.0.0", after=1)(repo)
    repo.git("gc", "--quiet")


def archived(repo: Repo) -> None:
    repo.write(".git_archival.txt", "node: 0123456789\ndescribe-name: v9.9.9-0-g0123456789\n")
    repo.write("PKG-INFO", "Metadata-Version: 2.1\nName: x\nVersion: 8.8.8\n")
    tagged("v1.0.0", after=2)(repo)


def branch_like_a_tag(repo: Repo) -> None:
    tagged("v1.0.0")(repo)
    repo.git("switch", "--quiet", "--create", "v1.0.0")
    later(repo)


HISTORIES: dict[str, Callable[[Repo], None]] = {
    "no tags": nothing,
    "a tag on HEAD": tagged("v1.2.3"),
    "a tag behind HEAD": tagged("v1.2.3", after=3),
    "a tag without v": tagged("1.2.3", after=1),
    "a tag with a word before it": tagged("model-1.2.3", after=1),
    "a pre-release on HEAD": tagged("v2.0.0rc1"),
    "a pre-release behind HEAD": tagged("v2.0.0-rc.1", after=2),
    "a development release": tagged("v2.0.0.dev4", after=1),
    "a post-release": tagged("v2.0.0.post1", after=1),
    "build metadata": tagged("v1.0.0+gpu.1", after=1),
    "a lightweight tag": tagged("v1.0.0", annotated=False, after=1),
    "several tags on HEAD": tagged("v1.0.0", "v1.1.0", "v0.9.0"),
    "several lightweight tags on HEAD": tagged("v1.0.0", "v1.10.0", "v1.9.0", annotated=False),
    "a tag that is no version": tagged("latest", after=1),
    "a tag that only looks like a version": tagged("exp-7x", after=1),
    "other tags nearer than the version": nearer,
    "a merge": merged,
    "a tag of a tag": nested,
    "detached": detached,
    "packed": packed,
    "an archive's own files": archived,
    "a branch named as a tag": branch_like_a_tag,
}


DESCRIBE = "git describe --tags --long --match model-*"
TABLES = {
    "empty": "",
    "version_scheme": 'version_scheme = "post-release"',
    "no-guess-dev": 'version_scheme = "no-guess-dev"',
    "only-version": 'version_scheme = "only-version"',
    "a semver scheme": 'version_scheme = "python-simplified-semver"',
    "a branch scheme": 'version_scheme = "release-branch-semver"',
    "by date": 'version_scheme = "calver-by-date"',
    "by fragments": 'version_scheme = "towncrier-fragments"',
    "the project's own scheme": 'version_scheme = "own:scheme"',
    "no such scheme": 'version_scheme = "nonsense"',
    "schemes": 'version_scheme = ["post-release", "guess-next-dev"]',
    "local_scheme": 'local_scheme = "no-local-version"',
    "a time stamp": 'local_scheme = "node-and-timestamp"',
    "a dirty tag": 'local_scheme = "dirty-tag"',
    "tag_regex": "tag_regex = '^model-(?P<version>[0-9.]+)$'",
    "no such regex": "tag_regex = '('",
    "no group": "tag_regex = 'v.*'",
    "tag prefix": '[tool.setuptools_scm.tag]\nprefix = "model-"',
    "git_describe_command": f"git_describe_command = {DESCRIBE.split()}",
    "describe_command": f'[tool.setuptools_scm.scm.git]\ndescribe_command = "{DESCRIBE}"',
    "root": 'root = "."',
    "the parent as root": 'root = ".."',
    "fallback_version": 'fallback_version = "9.9.9"',
    "version_file": 'version_file = "src/_version.py"',
    "write_to": 'write_to = "src/_version.py"',
    "relative_to": 'relative_to = "src"',
    "dist_name": 'dist_name = "other"',
    "not normalized": "normalize = false",
    "an unknown key": "nonsense = 1",
    "a wrong type": "version_scheme = 7",
    "a newer name of a scheme": 'version_scheme = "semver-pep440-release-branch"',
    "strict tags": "[tool.setuptools_scm.tag]\nstrict = true",
    "a regex in the table of tags": "[tool.setuptools_scm.tag]\nregex = '^v(?P<version>[0-9.]+)$'",
    "a describe_command without --long": "git_describe_command = ['git', 'describe', '--tags', '--dirty']",
    "what is about files only": "fallback_root = '..'\nparentdir_prefix_version = 'x-'",
    "parents": "search_parent_directories = true",
    "a before step": '[tool.setuptools_scm.scm.git]\npre_parse = "fail_on_missing_submodules"',
    "a class of versions": 'version_cls = "own.Own"',
}
OWN = """
from packaging.version import Version as Own
def scheme(version):
    return f"7.7.{version.distance}"
"""
CODE = {
    *("by fragments", "the project's own scheme", "no such scheme", "an unknown key", "a wrong type"),
    *("a before step", "a class of versions", "git_describe_command", "describe_command"),
    *("a describe_command without --long", "the parent as root", "another tool's table"),
}
"""What only setuptools-scm itself can follow, or reject."""
PYPROJECTS: dict[str, str | bytes] = {
    "no table": "[project]\nname = 'x'\n",
    "not toml": "not toml",
    "not text": b"name = '\xff'\n",
    "tool is a number": "tool = 7\n",
    "project is a number": "project = 7\n",
    "the table is text": "[tool]\nsetuptools_scm = 'x'\n",
    "another tool's table": "[tool.vcs-versioning]\nfallback_version = '3.0'\n",
    "an empty file": "",
}


def table(repo: Repo, *, settings: str) -> None:
    repo.git("switch", "--quiet", "--create", "release/1.2")
    repo.write("own.py", OWN)
    repo.write("newsfragments/1.feature.md", "A feature\n")
    repo.write("pyproject.toml", f'[project]\nname = "x"\n[tool.setuptools_scm]\n{settings}\n')
    repo.commit("Configure")
    repo.git("tag", "model-3.4.5")
    later(repo)
    repo.git("tag", "v1.2.0")
    later(repo)
    # Neither the file that is checked out nor what lies about there is the commit's.
    wrong = 'fallback_version = "6.6.6"\nversion_scheme = "only-version"\n'
    repo.write("pyproject.toml", f"[tool.setuptools_scm]\n{wrong}")
    repo.write("own.py", "def scheme(version):\n    return 'wrong'\n")
    repo.write("newsfragments/2.removal.md", "A removal\n")


def pyproject(repo: Repo, *, content: str | bytes) -> None:
    repo.write("pyproject.toml", content)
    repo.commit("Configure")


def on_branch(repo: Repo, *, branch: str) -> None:
    pyproject(repo, content='[tool.setuptools_scm]\nversion_scheme = "release-branch-semver"\n')
    repo.git("tag", "v1.0.0")
    repo.git("switch", "--quiet", "--create", branch)
    later(repo)


BRANCHES = ("feature/a/b", "1.2.x", "v1.0.0-hotfix", "über")
CASES: dict[str, Callable[[Repo], None]] = {
    **HISTORIES,
    **{name: partial(table, settings=settings) for name, settings in TABLES.items()},
    **{name: partial(pyproject, content=content) for name, content in PYPROJECTS.items()},
    **{f"the branch {name}": partial(on_branch, branch=name) for name in BRANCHES},
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_setuptools_scm_prints(repo: Repo, tmp_path: Path, case: str) -> None:
    CASES[case](repo)
    stored = json.loads(ANSWERS.read_text())
    if case in CODE:
        assert reason_of(repo.path).code
    elif stored["setuptools-scm"] == version("setuptools-scm"):
        assert without_node(version_of(repo.path), repo) == stored["answers"][case]
    else:
        assert version_of(repo.path) == printed(repo, tmp_path / "clone")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_answers_that_are_stored_are_its_own(repo: Repo, tmp_path: Path, case: str) -> None:
    CASES[case](repo)
    answer = printed(repo, tmp_path / "clone")
    trust(repo)
    assert version_of(repo.path) == answer
    stored = json.loads(ANSWERS.read_text())
    if "UPDATE_ANSWERS" in os.environ:
        stored["setuptools-scm"] = version("setuptools-scm")
        stored["answers"][case] = without_node(answer, repo)
        ANSWERS.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    if stored["setuptools-scm"] == version("setuptools-scm"):
        assert stored["answers"][case] == without_node(answer, repo)


@pytest.mark.parametrize(
    "variable",
    [
        *(
            "SETUPTOOLS_SCM_PRETEND_VERSION",
            "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_X",
            "VCS_VERSIONING_PRETEND_VERSION",
        ),
        *(
            "SETUPTOOLS_SCM_OVERRIDES_FOR_X",
            "SETUPTOOLS_SCM_PRETEND_METADATA",
            "SETUPTOOLS_SCM_PRETEND_METADATA_FOR_X",
        ),
    ],
)
@pytest.mark.parametrize(
    "extra", ["", "version_scheme = 'own:scheme'"], ids=["read here", "asked of the program"]
)
def test_the_environment_cannot_pretend_a_version(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, variable: str, extra: str
) -> None:
    repo.write("pyproject.toml", f'[project]\nname = "x"\n[tool.setuptools_scm]\n{extra}\n')
    repo.write("own.py", "def scheme(version):\n    return str(version.tag)\n")
    repo.commit("Configure")
    repo.git("tag", "v1.2.3")
    trust(repo)
    monkeypatch.setenv(
        variable, '{local_scheme = "dirty-tag", dirty = true}' if "_FOR_" in variable else "9.9.9"
    )
    if variable.startswith("SETUPTOOLS_SCM_PRETEND_VERSION"):
        monkeypatch.setenv(variable, "9.9.9")
    assert version_of(repo.path) == "1.2.3"


def test_changes_of_the_worktree_do_not_change_it(repo: Repo) -> None:
    repo.git("tag", "v1.0.0")
    later(repo)
    before = version_of(repo.path)
    repo.write("src/train.py", "changed\n")
    repo.write("README.md", "staged\n")
    repo.git("add", "README.md")
    repo.write("untracked.py")
    repo.git("rm", "--quiet", "--cached", ".gitignore")
    assert version_of(repo.path) == before
    assert before is not None
    assert ".d20" not in before


def test_a_linked_worktree_has_the_version_of_its_own_commit(repo: Repo, tmp_path: Path) -> None:
    repo.git("tag", "v1.0.0", "HEAD~1")
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"), "HEAD~1")
    assert version_of(tmp_path / "linked") == "1.0.0" != version_of(repo.path)


def test_a_repository_with_sha256(make_repo: Callable[..., Repo], tmp_path: Path) -> None:
    made = make_repo("long", "--object-format=sha256")
    made.commit("First")
    assert version_of(made.path) == printed(made, tmp_path / "untagged")
    made.git("tag", "v1.0.0")
    later(made)
    assert version_of(made.path) == printed(made, tmp_path / "tagged")


def test_a_shallow_clone_has_none_unless_a_version_is_on_head(repo: Repo, tmp_path: Path) -> None:
    repo.git("tag", "v1.0.0")
    later(repo, 2)
    for depth in (1, 3):
        repo.git("clone", "--quiet", f"--depth={depth}", repo.path.as_uri(), str(tmp_path / f"depth{depth}"))
        assert reason_of(tmp_path / f"depth{depth}").fix == "git fetch --unshallow --tags"
    repo.git("-C", str(tmp_path / "depth1"), "fetch", "--quiet", "--unshallow", "--tags")
    assert version_of(tmp_path / "depth1") == version_of(repo.path)
    repo.git("tag", "v1.1.0")
    repo.git("clone", "--quiet", "--depth=1", repo.path.as_uri(), str(tmp_path / "exact"))
    repo.git("-C", str(tmp_path / "exact"), "fetch", "--quiet", "--tags", "--depth=1")
    assert version_of(tmp_path / "exact") == "1.1.0"


def test_nothing_is_left_behind_and_nothing_is_written(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = "version_scheme = ['own:scheme', 'post-release']\nversion_file = 'src/_version.py'\n"
    repo.write("pyproject.toml", f"[tool.setuptools_scm]\n{settings}")
    repo.commit("Configure")
    trust(repo)
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    assert version_of(repo.path) is not None
    assert list((tmp_path / "temp").iterdir()) == []
    assert repo.git("status", "--porcelain", "--ignored") == ""


# --- what a repository says runs nothing by itself


def test_nothing_that_the_settings_name_runs_without_consent_and_the_reason_is_shown(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = tmp_path / "planted"
    for name, table in EVIL.items():
        evil = f"open({str(planted)!r}, 'a').write({name!r})\n"
        for module in ("evil.py", "setuptools_scm.py", "vcs_versioning.py", "sitecustomize.py"):
            repo.write(module, evil + "def f(*_): return '6.6.6'\nEvil = f\nmain = f\n")
        repo.write("evil.egg-info/entry_points.txt", "[setuptools_scm.version_scheme]\nours = evil:f\n")
        repo.write("evil.egg-info/PKG-INFO", "Name: evil\nVersion: 1\n")
        repo.write("pyproject.toml", f"[tool.setuptools_scm]\n{table.format(planted=planted)}\n")
        repo.commit(name)
    repo.git("tag", "v1.0.0")
    monkeypatch.chdir(repo.path)
    monkeypatch.syspath_prepend("")
    commits = repo.git("rev-list", "--reverse", f"HEAD~{len(EVIL)}..HEAD").split()
    for name, oid in zip(EVIL, commits, strict=True):
        repo.git("checkout", "--quiet", oid)
        reason = reason_of(repo.path)
        assert (reason.code, reason.fix) == (True, "deriva-ml-hooks trust code"), name
        for words in (
            ["provenance", "--json"],
            ["check", "--json"],
            ["version"],
            ["bump-version", "--dry-run"],
        ):
            main(words)
            shown = capsys.readouterr()
            if words[0] != "bump-version":
                assert "may run code of this repository" in shown.out + shown.err, (name, words)
                assert "deriva-ml-hooks trust code" in shown.out + shown.err
    assert not planted.exists()


EVIL = {
    "a command": 'git_describe_command = ["sh", "-c", "touch {planted}"]',
    "a command elsewhere": "[tool.setuptools_scm.scm.git]\ndescribe_command = \"sh -c 'touch {planted}'\"",
    "git's own way out": 'git_describe_command = ["git", "-c", "alias.x=!touch {planted}", "x"]',
    "a scheme": 'version_scheme = "evil:f"',
    "a scheme of an egg": 'version_scheme = "ours"',
    "a scheme among others": 'local_scheme = ["no-local-version", "evil:f"]',
    "a class": 'version_cls = "evil.Evil"',
    "a parser": 'parse = "evil:f"',
    "an unknown key": "nonsense = 1",
}


def test_with_consent_too_nothing_comes_before_what_is_installed(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted"
    for module in ("setuptools_scm.py", "vcs_versioning.py", "sitecustomize.py", "json.py", "argparse.py"):
        repo.write(module, f"open({str(planted)!r}, 'a').write({module!r})\n")
    repo.write("own.py", "def scheme(version):\n    return '7.7.7'\n")
    repo.write("pyproject.toml", '[tool.setuptools_scm]\nversion_scheme = "own:scheme"\n')
    repo.commit("Own")
    trust(repo)
    monkeypatch.chdir(repo.path)
    monkeypatch.setenv("PYTHONPATH", f":{repo.path}")
    monkeypatch.syspath_prepend(str(repo.path))
    found = version_of(repo.path)
    assert found is not None
    assert found.startswith("7.7.7+")
    assert not planted.exists()


def test_the_scratch_clone_runs_no_hook_and_no_template(repo: Repo, home: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    for path in (home / "global/post-checkout", home / "template/hooks/post-checkout"):
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\npwd >> "{planted}"\n')
        path.chmod(0o755)
    repo.git("config", "--global", "init.templateDir", str(home / "template"))
    repo.git("config", "--global", "core.hooksPath", str(home / "global"))
    repo.write("pyproject.toml", "[tool.setuptools_scm]\nversion_scheme = ['own:scheme', 'post-release']\n")
    repo.commit("Configure")
    trust(repo)
    assert version_of(repo.path) is not None
    assert not planted.exists()


def test_a_pattern_that_takes_for_ever_is_ended(repo: Repo) -> None:
    repo.write("pyproject.toml", "[tool.setuptools_scm]\ntag_regex = '^(?P<version>(?:[a-z0-9]+.?)+)!$'\n")
    repo.commit("Configure")
    repo.git("tag", "v1" + "a" * 60)
    assert "no answer within" in str(reason_of(repo.path))


# --- where the settings are


def test_a_link_is_followed_inside_the_commit_only(repo: Repo, tmp_path: Path) -> None:
    repo.write("config/real.toml", '[tool.setuptools_scm]\nversion_scheme = "post-release"\n')
    (repo.path / "linked").symlink_to("config")
    (repo.path / "pyproject.toml").symlink_to("linked/real.toml")
    repo.commit("Link")
    repo.git("tag", "v1.0.0", "HEAD~1")
    assert without_node(version_of(repo.path), repo) == "1.0.0.post1+gCOMMIT"
    for target in (str(tmp_path / "outside.toml"), "../outside.toml", "pyproject.toml"):
        (repo.path / "pyproject.toml").unlink()
        (repo.path / "pyproject.toml").symlink_to(target)
        repo.commit("Astray")
        assert str(reason_of(repo.path)) == "pyproject.toml: a link that leads out of the commit"


SUB = """
[tool.setuptools_scm]
root = ".."
version_scheme = "post-release"
tag_regex = "^sub-(.*)$"
"""


def test_in_a_monorepo_the_settings_are_those_of_the_project_that_the_user_is_in(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repo.write("pyproject.toml", '[tool.setuptools_scm]\nversion_scheme = "no-guess-dev"\n')
    repo.write("sub/pyproject.toml", SUB)
    repo.write("sub/deep/code.py")
    repo.write("plain/pyproject.toml", "[project]\nname = 'plain'\n")
    repo.write("lost/pyproject.toml", "[tool.setuptools_scm]\n")
    repo.commit("Projects")
    repo.git("tag", "v1.0.0", "HEAD~1")
    repo.git("tag", "sub-3.0.0")
    later(repo)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    for folder, where in {"": "", "sub": "sub", "sub/deep": "sub", "plain": "", "lost": "lost"}.items():
        done = subprocess.run(
            [sys.executable, "-m", "setuptools_scm"], cwd=repo.path / where, capture_output=True, check=False
        )
        expected = done.stdout.decode().strip() or None if done.returncode == 0 else None
        assert (expected is None) == (folder == "lost")
        assert version_of(repo.path / folder) == expected
        monkeypatch.chdir(repo.path / folder)
        for _ in "anew", "from the cache":
            assert main(["version"]) == (0 if expected else 1)
            assert capsys.readouterr().out.strip() == (expected or "")
        name = Named(repo.git("rev-parse", "HEAD").encode(), "main", folder)
        assert scm_versions(measured(str(repo.path)), [name]) == {name: expected}
