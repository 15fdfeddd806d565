"""A repository names the place of its ledger; whether it may is the user's to say."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.cli import main
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.errors import ConfigError, HooksError, LedgerError
from deriva_ml_hooks.executions.location import LEDGER_VARIABLE, ledger_of, ledger_path
from deriva_ml_hooks.git import consent
from deriva_ml_hooks.git.discovery import measured

from .test_ledger import made


def place(repo: Any, ledger: str | None) -> str:
    return ledger_path(measured(str(repo.path)), Config(ledger=ledger))


def refused(repo: Any, ledger: str | None) -> HooksError:
    with pytest.raises(ConfigError if ledger is not None else LedgerError) as caught:
        place(repo, ledger)
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    "ledger",
    [None, "runs/executions.sqlite3", "x", "./a/../b", ".git/deriva-ml-hooks/other.sqlite3", "caf\u00e9/l"],
)
def test_our_folder_and_the_worktree_are_the_repositorys_to_choose(repo: Any, ledger: str | None) -> None:
    path = place(repo, ledger)
    assert os.path.realpath(path).startswith(str(repo.path))


@pytest.mark.parametrize(
    "ledger",
    [
        "~/.bashrc",
        "~/ledgers/x",
        "/tmp/x",
        "../x",
        "..",
        "~",
        "../repo-beside/x",
        "runs/../../x",
        "~root/x",
    ],
)
def test_a_place_outside_needs_consent_and_the_fix_gives_it(repo: Any, home: Path, ledger: str) -> None:
    before = sorted(home.iterdir())
    error = refused(repo, ledger)
    assert "not agreed" in str(error)
    fix = shlex.split(error.fix.partition(": ")[2])
    assert fix[:3] == ["deriva-ml-hooks", "trust", "place"]
    assert sorted(home.iterdir()) == before
    assert main(fix[1:]) == 0
    if ledger not in ("..", "~"):
        assert os.path.isabs(place(repo, ledger))


def test_consent_to_a_folder_is_consent_to_what_is_below_it_and_not_beside(repo: Any, home: Path) -> None:
    consent.agree("place", str(home / "ledgers"))
    assert place(repo, "~/ledgers/deep/x.sqlite3") == str(home / "ledgers" / "deep" / "x.sqlite3")
    refused(repo, "~/ledgers-too/x.sqlite3")
    refused(repo, "~/ledgers/../x.sqlite3")
    repo.git("config", "deriva-ml-hooks.trustedPlace", str(home))  # what an archive of a repository may hold
    refused(repo, "~/x.sqlite3")


@pytest.mark.parametrize(
    "ledger",
    [
        ".git/hooks/post-checkout",
        ".git/config",
        ".git/x",
        ".GIT/x",
        ".git/deriva-ml-hooks/../x",
        "lib/.git/x",
        "payload/hooks/post-checkout",
        "link/hooks/x",
    ],
)
def test_no_git_directory_is_ever_a_place_whoever_has_agreed_to_what_is_above(
    repo: Any, ledger: str, tmp_path: Path
) -> None:
    for name in ("objects", "refs"):
        (repo.path / "payload" / name).mkdir(parents=True)
    repo.write("payload/HEAD", "ref: refs/heads/main\n")
    (repo.path / "link").symlink_to(".git")
    consent.agree("place", str(tmp_path))
    assert "git directory" in str(refused(repo, ledger))


def test_links_are_followed_before_anything_is_decided(repo: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo.path / "runs").symlink_to(outside)
    (repo.path / "file").symlink_to(outside / "new")
    refused(repo, "runs/x.sqlite3")
    refused(repo, "file")
    ours = repo.path / ".git" / "deriva-ml-hooks"
    ours.symlink_to(outside)
    refused(repo, None)
    ours.unlink()
    ours.mkdir()
    (ours / "executions.sqlite3").symlink_to(outside / "new")
    refused(repo, None)
    (ours / "executions.sqlite3").unlink()
    (ours / "executions").symlink_to(outside)  # where the files of executions go
    refused(repo, None)
    assert list(outside.iterdir()) == []


def test_a_tracked_file_is_never_taken_for_the_ledger(repo: Any) -> None:
    ledger = ledger_of(measured(str(repo.path)), Config(ledger="runs/x.sqlite3"))
    ledger.add(made())
    assert place(repo, "runs/x.sqlite3")
    repo.git("add", "--force", "runs/x.sqlite3")
    assert "the repository itself" in str(refused(repo, "runs/x.sqlite3"))
    repo.commit("Planted")
    refused(repo, "runs/x.sqlite3")
    refused(repo, "README.md")


def test_a_worktree_inside_a_bare_repository_is_a_worktree(repo: Any, make_repo: Callable[..., Any]) -> None:
    bare = repo.path.parent / "bare.git"
    repo.git("clone", "--quiet", "--bare", ".", str(bare))
    repo.git("--git-dir", str(bare), "worktree", "add", "--quiet", str(bare / "main"))
    inside = type(repo)(bare / "main")
    assert place(inside, "runs/x") == str(bare / "main" / "runs" / "x")
    refused(inside, "../hooks/post-checkout")


@pytest.mark.parametrize("ledger", ["\0", "a\0b", "~/\0"])
def test_a_nul_is_no_path(repo: Any, ledger: str) -> None:
    assert "NUL" in str(refused(repo, ledger))


def test_what_the_user_names_in_the_environment_is_the_users_word(
    repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = str(tmp_path / "volume" / "runs.sqlite3")
    refused(repo, there)
    monkeypatch.setenv(LEDGER_VARIABLE, there)
    assert place(repo, there) == there


@pytest.mark.parametrize("content", [b"alias ll='ls -l'\n", b"\0" * 200, b"SQLite format 3\0", b"x"])
def test_a_file_that_is_no_ledger_is_left_as_it_is(repo: Any, content: bytes) -> None:
    path = repo.write("precious", content)
    ledger = ledger_of(measured(str(repo.path)), Config(ledger="precious"))
    for action in (lambda: ledger.add(made()), lambda: list(ledger.newest())):
        with pytest.raises(LedgerError, match="somebody else's"):
            action()
    assert path.read_bytes() == content


def test_beside_somebody_elses_database_nothing_is_made(repo: Any) -> None:
    path = repo.path / "places.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE moz_places (id)")
    connection.commit()
    connection.close()
    before = sorted(os.listdir(repo.path)), path.read_bytes()
    ledger = ledger_of(measured(str(repo.path)), Config(ledger="places.sqlite"))
    with pytest.raises(LedgerError, match="somebody else's"):
        ledger.add(made())
    assert (sorted(os.listdir(repo.path)), path.read_bytes()) == before


def test_the_program_refuses_with_the_fix_and_makes_nothing(
    repo: Any, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repo.write(".deriva-ml-hooks.toml", 'ledger = "~/my ledgers/x.sqlite3"\n')
    repo.commit("Configured")
    monkeypatch.chdir(repo.path)
    for words in (["run", "--", "true"], ["executions", "list"], ["verify"], ["rerun", "01"]):
        assert main(words) != 0
        said = capsys.readouterr().err
        assert f"fix: if that is your wish: deriva-ml-hooks trust place '{home}/my ledgers/x.sqlite3'" in said
    assert not (home / "my ledgers").exists()
    assert main(["trust", "place", "~/my ledgers"]) == 0
    assert main(["run", "--", "true"]) == 0
    assert (home / "my ledgers" / "x.sqlite3").stat().st_mode & 0o777 == 0o600
