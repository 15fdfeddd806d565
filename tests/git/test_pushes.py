"""What a push is, as git and pre-commit tell it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError, UsageError
from deriva_ml_hooks.git.discovery import of_hook
from deriva_ml_hooks.git.pushes import Push, RefUpdate, is_zero, parse_ref_updates, push_of_pre_commit

if TYPE_CHECKING:
    from tests.conftest import Repo

ZERO = "0" * 40
A, B = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        (b"", []),
        (
            f"refs/heads/main {A} refs/heads/main {B}\n".encode(),
            [RefUpdate("refs/heads/main", A, "refs/heads/main", B)],
        ),
        (
            f"(delete) {ZERO} refs/heads/old {B}\nrefs/tags/v1 {A} refs/tags/v1 {ZERO}\n".encode(),
            [
                RefUpdate("(delete)", ZERO, "refs/heads/old", B),
                RefUpdate("refs/tags/v1", A, "refs/tags/v1", ZERO),
            ],
        ),
        (
            f"HEAD@{{1 day ago}} {A} refs/heads/x {ZERO}\n".encode(),
            [RefUpdate("HEAD@{1 day ago}", A, "refs/heads/x", ZERO)],
        ),
        (
            b"refs/heads/\xff " + b"c" * 64 + b" refs/heads/\xff " + b"0" * 64 + b"\n",
            [RefUpdate("refs/heads/\udcff", "c" * 64, "refs/heads/\udcff", "0" * 64)],
        ),
    ],
    ids=["nothing", "an update", "a deletion and a tag", "a local ref with spaces", "SHA-256 and odd bytes"],
)
def test_ref_updates_are_read(stdin: bytes, expected: list[RefUpdate]) -> None:
    assert parse_ref_updates(stdin) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"refs/heads/main",
        f"x {A} y".encode(),
        f"x {A} y {A[:-1]}".encode(),
        f" {A} y {A}".encode(),
        f"x {A} y {A.upper()}".encode(),
    ],
)
def test_what_is_not_a_ref_update_is_an_error(line: bytes) -> None:
    with pytest.raises(UsageError, match="not a ref update"):
        parse_ref_updates(f"refs/heads/main {A} refs/heads/main {B}\n".encode() + line + b"\n")


def test_an_update_says_what_it_is() -> None:
    created = RefUpdate("refs/tags/v1", A, "refs/tags/v1", ZERO)
    deleted = RefUpdate("(delete)", ZERO, "refs/heads/x/y", B)
    assert (created.is_tag, created.is_branch, created.is_deletion) == (True, False, False)
    assert (deleted.is_tag, deleted.is_branch, deleted.is_deletion) == (False, True, True)
    assert (created.name, deleted.name) == ("v1", "x/y")
    assert is_zero("0" * 64)
    assert not is_zero(A)


def test_git_itself_writes_what_is_read(repo: Repo, remote: Repo, tmp_path: Path) -> None:
    told = tmp_path / "told"
    hook = repo.git_dir / "hooks" / "pre-push"
    hook.write_text(f"#!/bin/sh\ncat >'{told}'\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    old = repo.git("rev-parse", "HEAD")
    repo.push("origin", "HEAD:refs/heads/gone")
    new = repo.commit("Third")
    repo.git("tag", "--annotate", "v1", "--message", "One")
    repo.push("origin", "main", "v1", "HEAD~1:refs/heads/b", ":gone")
    tag = repo.git("rev-parse", "v1")
    assert set(parse_ref_updates(told.read_bytes())) == {
        RefUpdate("refs/heads/main", new, "refs/heads/main", old),
        RefUpdate("refs/tags/v1", tag, "refs/tags/v1", ZERO),
        RefUpdate("HEAD~1", old, "refs/heads/b", ZERO),
        RefUpdate("(delete)", ZERO, "refs/heads/gone", old),
    }


@pytest.fixture
def inside(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    monkeypatch.chdir(repo.path)
    return repo


def test_pre_commit_tells_nothing_at_commit(inside: Repo) -> None:
    assert push_of_pre_commit(of_hook(), {"PRE_COMMIT": "1"}) is None


def test_pre_commit_tells_of_a_push(inside: Repo) -> None:
    old, new = inside.git("rev-parse", "HEAD~1"), inside.git("rev-parse", "HEAD")
    told = {
        "PRE_COMMIT_FROM_REF": old,
        "PRE_COMMIT_TO_REF": new,
        "PRE_COMMIT_LOCAL_BRANCH": "refs/heads/main",
        "PRE_COMMIT_REMOTE_BRANCH": "refs/heads/main",
        "PRE_COMMIT_REMOTE_NAME": "origin",
    }
    expected = RefUpdate("refs/heads/main", new, "refs/heads/main", old)
    assert push_of_pre_commit(of_hook(), told) == Push((expected,), "origin", complete=False)


def test_pre_commit_gives_a_range_by_any_names(inside: Repo) -> None:
    told = {"PRE_COMMIT_FROM_REF": "main~1", "PRE_COMMIT_TO_REF": "HEAD"}
    push = push_of_pre_commit(of_hook(), told)
    assert push is not None
    (update,) = push.updates
    assert (update.local_oid, update.remote_oid) == (
        inside.git("rev-parse", "HEAD"),
        inside.git("rev-parse", "HEAD~1"),
    )


def test_pre_commit_tells_no_range_when_a_root_commit_is_pushed(inside: Repo) -> None:
    told = {"PRE_COMMIT_LOCAL_BRANCH": "refs/heads/main", "PRE_COMMIT_REMOTE_NAME": "origin"}
    push = push_of_pre_commit(of_hook(), told)
    assert push is not None
    (update,) = push.updates
    assert (update.local_oid, update.remote_oid) == (inside.git("rev-parse", "HEAD"), ZERO)


@pytest.mark.parametrize("name", ["PRE_COMMIT_FROM_REF", "PRE_COMMIT_TO_REF"])
def test_a_revision_that_does_not_exist_is_an_error(inside: Repo, name: str) -> None:
    told = {"PRE_COMMIT_FROM_REF": "HEAD", "PRE_COMMIT_TO_REF": "HEAD", name: "nowhere"}
    with pytest.raises(GitError, match="nowhere"):
        push_of_pre_commit(of_hook(), told)
