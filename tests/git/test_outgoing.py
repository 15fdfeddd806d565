"""What a push brings: every blob that the remote does not have, and no other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import outgoing
from deriva_ml_hooks.git.discovery import of_hook
from deriva_ml_hooks.git.pushes import RefUpdate

if TYPE_CHECKING:
    from tests.conftest import Repo


def brought(
    repo: Repo,
    monkeypatch: pytest.MonkeyPatch,
    *revisions: str,
    old: str | None = None,
    remote: str | None = "origin",
    url: str = "",
    over: int = -1,
) -> list[tuple[str | None, str | None]]:
    """Subject of the commit, and path, of each blob that a push of `revisions` brings."""
    monkeypatch.chdir(repo.path)
    place = of_hook()
    oids = [repo.git("rev-parse", revision) for revision in revisions]
    updates = [
        RefUpdate(name, oid, f"refs/heads/{name}", old or "0" * len(oid))
        for name, oid in zip(revisions, oids, strict=True)
    ]
    out = outgoing.outgoing(place, updates, remote, url)
    return [
        (
            one.commit and repo.git("show", "--no-patch", "--format=%s", one.commit),
            None if one.path is None else os.fsdecode(one.path),
        )
        for one in outgoing.new_blobs(place, out, over)
    ]


def by_rev_list(repo: Repo, *words: str) -> set[str]:
    """The oids of the blobs that git itself would list."""
    oids = [line.split(" ")[0] for line in repo.git("rev-list", "--objects", *words).splitlines()]
    return {oid for oid in oids if repo.git("cat-file", "-t", oid) == "blob"}


def test_a_first_push_brings_all(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert brought(repo, monkeypatch, "main") == [
        ("First", ".gitignore"),
        ("First", "README.md"),
        ("Second", "src/train.py"),
    ]


def test_what_the_remote_has_is_not_brought(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert brought(repo, monkeypatch, "main") == []
    repo.git("switch", "--quiet", "--create", "feature")
    repo.commit("New", new="n")
    assert brought(repo, monkeypatch, "feature") == [("New", "new")]


def test_what_was_added_and_removed_again_is_brought(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("Add", weights="w" * 10)
    repo.git("rm", "--quiet", "weights")
    repo.commit("Remove")
    assert brought(repo, monkeypatch, "main") == [("Add", "weights")]


def test_what_is_restored_from_further_back_is_not_brought(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("Add", weights="w" * 10)
    repo.git("rm", "--quiet", "weights")
    repo.commit("Remove")
    repo.push()
    repo.commit("Restore", again="w" * 10, other="o")
    assert brought(repo, monkeypatch, "main") == [("Restore", "other")]
    assert brought(repo, monkeypatch, "main", over=5) == []


def test_moving_a_file_brings_nothing(repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.git("mv", "README.md", "READ.md")
    repo.commit("Move")
    assert brought(repo, monkeypatch, "main") == []


def test_merges_bring_what_their_branches_bring_and_what_they_add_themselves(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.git("switch", "--quiet", "--create", "side")
    repo.commit("Side", side="s")
    repo.git("switch", "--quiet", "main")
    repo.commit("Main", mine="m")
    repo.git("merge", "--quiet", "--no-commit", "--no-ff", "side")
    repo.write("README.md", "merged")
    repo.commit("Merge", evil="e")
    assert sorted(brought(repo, monkeypatch, "main")) == [
        ("Main", "mine"),
        ("Merge", "README.md"),
        ("Merge", "evil"),
        ("Side", "side"),
    ]


def test_a_force_push_brings_what_the_old_tip_did_not_have(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = repo.commit("Old", same="s", old="o")
    repo.push()
    repo.git("update-ref", "-d", "refs/remotes/origin/main")
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    repo.commit("New", same="s", new="n")
    assert brought(repo, monkeypatch, "main", old=old) == [("New", "new")]


def test_an_old_tip_that_is_not_here_says_nothing(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("New", new="n")
    assert brought(repo, monkeypatch, "main", old="d" * 40) == [("New", "new")]


def test_a_push_to_the_url_of_a_remote_counts_for_that_remote(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("New", new="n")
    url = str(remote.path)
    assert brought(repo, monkeypatch, "main", remote=url, url=url) == [("New", "new")]
    assert len(brought(repo, monkeypatch, "main", remote="file:///x", url="file:///x")) == 4


def test_another_remote_has_nothing(repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(brought(repo, monkeypatch, "main", remote="other")) == 3


def test_several_refs_are_one_walk(repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.git("switch", "--quiet", "--create", "a")
    repo.commit("Common", common="c")
    repo.git("switch", "--quiet", "--create", "b")
    repo.commit("B", b="b")
    assert sorted(brought(repo, monkeypatch, "a", "b")) == [("B", "b"), ("Common", "common")]


def test_tags_lead_to_commits_trees_and_blobs(
    repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit("New", new="n")
    repo.git("tag", "--annotate", "inner", "--message", "1")
    repo.git("tag", "--annotate", "outer", "inner", "--message", "2")
    assert brought(repo, monkeypatch, "outer") == [("New", "new")]
    repo.write("loose.bin", "loose")
    oid = repo.git("hash-object", "-w", "loose.bin")
    repo.git("tag", "blob", oid)
    repo.git("tag", "--annotate", "annotated-blob", oid, "--message", "3")
    assert brought(repo, monkeypatch, "blob") == [(None, None)]
    assert brought(repo, monkeypatch, "annotated-blob") == [(None, None)]
    repo.git("add", "loose.bin")
    repo.git("tag", "tree", repo.git("write-tree"))
    assert brought(repo, monkeypatch, "tree") == [(None, "loose.bin"), (None, "new")]


def test_a_deletion_brings_nothing(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.path)
    place = of_hook()
    update = RefUpdate("(delete)", "0" * 40, "refs/heads/x", repo.git("rev-parse", "HEAD"))
    out = outgoing.outgoing(place, [update], "origin")
    assert out.tips == ()
    assert outgoing.new_blobs(place, out, -1) == []


@pytest.mark.parametrize("name", [b"\xff\xfe", b":100644 x", b'"quoted"', b"tab\there", "ü".encode()])
def test_names_of_any_bytes(repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    repo.write(os.fsdecode(name), "odd")
    repo.write("plain", "plain")
    repo.commit("Odd")
    assert {*brought(repo, monkeypatch, "main")} == {("Odd", os.fsdecode(name)), ("Odd", "plain")}


def test_submodules_are_left_out(
    repo: Repo, remote: Repo, make_repo: Callable[..., Repo], monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = make_repo("inner")
    inner.commit("Inner", file="f")
    repo.git("submodule", "--quiet", "add", str(inner.path), "sub")
    repo.commit("Add a submodule")
    assert brought(repo, monkeypatch, "main") == [("Add a submodule", ".gitmodules")]


def test_sha256(make_repo: Callable[..., Repo], monkeypatch: pytest.MonkeyPatch) -> None:
    repo = make_repo("sha256", "--object-format=sha256")
    repo.commit("One", one="1")
    assert brought(repo, monkeypatch, "main", old="e" * 64) == [("One", "one")]


def test_a_shallow_clone_brings_what_it_added(
    repo: Repo, remote: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=1", remote.path.as_uri(), str(tmp_path / "s")], check=True
    )
    shallow = type(repo)(tmp_path / "s")
    shallow.commit("New", new="n")
    assert brought(shallow, monkeypatch, "main") == [("New", "new")]


def test_a_partial_clone_is_not_filled(
    repo: Repo, remote: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.git("config", "uploadpack.allowFilter", "true")
    words = ["git", "clone", "--quiet", "--no-checkout", "--filter=blob:none", remote.path.as_uri()]
    subprocess.run([*words, str(tmp_path / "p")], check=True)
    partial = type(repo)(tmp_path / "p")
    partial.git("config", "remote.origin.url", "file:///gone")
    partial.git("read-tree", "HEAD")
    partial.write("new", "n")
    partial.git("add", "new")
    tree = partial.git("write-tree", "--missing-ok")
    partial.git("update-ref", "HEAD", partial.git("commit-tree", tree, "-p", "HEAD", "-m", "New"))
    assert brought(partial, monkeypatch, "main", url="file:///else") == [("New", "new")]


def test_a_missing_blob_is_an_error(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    oid = repo.git("rev-parse", "HEAD:README.md")
    (repo.git_dir / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(GitError, match=oid):
        brought(repo, monkeypatch, "main")


def test_a_missing_commit_is_an_error(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    oid = repo.git("rev-parse", "HEAD~1")
    (repo.git_dir / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(GitError):
        brought(repo, monkeypatch, "main")


def test_what_was_never_there_cannot_be_pushed(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.path)
    with pytest.raises(GitError, match="missing"):
        outgoing.outgoing(of_hook(), [RefUpdate("x", "d" * 40, "refs/heads/x", "0" * 40)], "origin")


def test_a_name_is_brought_at_any_size(repo: Repo, remote: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit("Two", a="same", b="same", empty="")
    monkeypatch.chdir(repo.path)
    place = of_hook()
    update = RefUpdate("main", repo.git("rev-parse", "HEAD"), "refs/heads/main", "0" * 40)
    out = outgoing.outgoing(place, [update], "origin")
    assert [one.path for one in outgoing.new_blobs(place, out, 3)] == [b"a"]
    named = outgoing.new_blobs(place, out, 3, lambda path: path == b"empty")
    assert sorted((one.path, one.size) for one in named) == [(b"a", 4), (b"empty", 0)]


def test_it_agrees_with_rev_list_on_a_history_with_merges(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        repo.git(
            "switch", "--quiet", "--create", f"b{number}", f"main~{number % 3}" if number > 3 else "main"
        )
        repo.commit(f"On {number}", **{f"f{number % 5}": f"{number}"})
        repo.git("switch", "--quiet", "main")
        repo.git(
            "merge",
            "--quiet",
            "--strategy-option=ours",
            "--no-ff",
            "--message",
            f"Merge {number}",
            f"b{number}",
        )
    monkeypatch.chdir(repo.path)
    place = of_hook()
    for base in ("main~3", "main~7", "b5"):
        tip, known = repo.git("rev-parse", "main"), repo.git("rev-parse", base)
        out = outgoing.outgoing(place, [RefUpdate("main", tip, "refs/heads/main", known)], None)
        new = {one.oid.decode() for one in outgoing.new_blobs(place, out, -1)}
        assert new == by_rev_list(repo, tip) - by_rev_list(repo, known)
        assert new
