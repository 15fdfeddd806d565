"""What can be read of a repository without git is the same as git says."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.gate import judge
from deriva_ml_hooks.git.discovery import measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Repo


@pytest.fixture(params=["sha1", "sha256"])
def either(request: pytest.FixtureRequest, make_repo: Callable[..., Repo]) -> Repo:
    """A repository of either hash function."""
    made = make_repo("either", f"--object-format={request.param}")
    made.write("src/train.py", "print('trained')\n")
    made.commit("First")
    made.commit("Second", file="x\n")
    return made


@pytest.mark.parametrize("packed", [False, True])
def test_commits_trees_and_files_are_what_git_says(either: Repo, packed: bool) -> None:
    if packed:
        either.git("gc", "--quiet")
    found = measured(str(either.path))
    head = found.head()
    assert head == either.git("rev-parse", "HEAD").encode()
    tree = found.commit(head).tree
    assert tree == either.git("rev-parse", "HEAD^{tree}").encode()
    assert found.entry(tree, "src/train.py") == (
        0o100644,
        either.git("rev-parse", "HEAD:src/train.py").encode(),
    )
    assert found.entry(tree, "src") == (0o040000, either.git("rev-parse", "HEAD:src").encode())
    for absent in ("gone", "src/gone", "file/below", "", "src/", "./src", "../either/file"):
        assert found.entry(tree, absent) is None, absent


def test_objects_of_the_wrong_kind_are_errors(repo: Repo) -> None:
    found = measured(str(repo.path))
    head = found.head()
    assert head is not None
    tree = found.commit(head).tree
    for read, oid in (
        (found.commit, tree),
        (found.tree, head),
        (found.blob, head),
        (found.object, b"1" * 40),
    ):
        with pytest.raises(GitError):
            read(oid)


def test_a_chain_of_tags_is_peeled_to_its_commit(either: Repo) -> None:
    either.git("tag", "--annotate", "-m", "one", "one")
    either.git("tag", "--annotate", "-m", "two", "two", "one")
    either.git("tag", "three", "two")
    found = measured(str(either.path))
    assert {name: found.peel(oid) for name, oid in found.refs_under("refs/tags/")} == dict.fromkeys(
        ("refs/tags/one", "refs/tags/three", "refs/tags/two"), found.head()
    )


@pytest.mark.parametrize("packed", [False, True])
def test_refs_are_what_git_lists(either: Repo, packed: bool) -> None:
    either.git("tag", "v1.0.0")
    either.git("tag", "--annotate", "-m", "x", "team/v1.1.0")
    either.git("branch", "topic/a/b")
    if packed:
        either.git("pack-refs", "--all")
        either.git("tag", "--force", "v1.0.0", "HEAD~1")
    listed = either.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    found = measured(str(either.path))
    assert [f"{name} {oid.decode()}" for name, oid in found.refs_under("refs/")] == listed


def test_what_git_leaves_behind_among_its_refs_is_no_ref(repo: Repo) -> None:
    repo.git("tag", "v1.0.0")
    for name in ("v2.0.0.lock", "empty", "v3.0.0"):
        (repo.git_dir / "refs" / "tags" / name).write_bytes(b"")
    (repo.git_dir / "refs" / "tags" / "v4.0.0").write_bytes(b"nonsense\n")
    (repo.git_dir / "refs" / "tags" / "v5.0.0").write_bytes(bytes(41))
    found = measured(str(repo.path))
    assert [name for name, _ in found.refs_under("refs/tags/")] == ["refs/tags/v1.0.0"]


def test_before_the_first_commit_head_is_none(make_repo: Callable[..., Repo]) -> None:
    found = measured(str(make_repo("empty", "--initial-branch=start").path))
    assert found.head() is None
    assert found.branch() == "start"


@pytest.mark.parametrize("name", ["main", "feature/über/x", "a.b", "HEAD-ish"])
def test_the_branch_is_what_git_says(repo: Repo, name: str) -> None:
    repo.git("checkout", "--quiet", "-B", name)
    assert measured(str(repo.path)).branch() == repo.git("symbolic-ref", "--short", "HEAD") == name
    repo.git("checkout", "--quiet", "--detach")
    assert measured(str(repo.path)).branch() is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("true", True),
        ("yes", True),
        ("1", True),
        ("false", False),
        ("off", False),
        ("0", False),
        ("2x", True),
    ],
)
def test_a_boolean_setting_is_read_as_git_reads_it(repo: Repo, value: str, read: bool) -> None:
    repo.git("config", "core.fileMode", value)
    assert measured(str(repo.path)).is_set("core", "fileMode", default=True) is read


@pytest.mark.parametrize(
    ("make", "operation"),
    [
        (["merge", "other"], "merge"),
        (["rebase", "other"], "rebase"),
        (["cherry-pick", "other"], "cherry-pick"),
        (["revert", "--no-edit", "HEAD~1"], "revert"),
    ],
)
def test_an_operation_in_progress_is_named(repo: Repo, make: list[str], operation: str) -> None:
    repo.commit("Base", file="base\n")
    repo.git("branch", "other")
    repo.commit("Ours", file="ours\n")
    repo.commit("More", file="more\n")
    repo.git("switch", "--quiet", "other")
    repo.commit("Theirs", file="theirs\n")
    repo.git("switch", "--quiet", "main")
    assert measured(str(repo.path)).operation() is None
    repo.git(*make, check=False)
    assert measured(str(repo.path)).operation() == operation


def test_a_shallow_clone_is_known(repo: Repo, tmp_path: Path) -> None:
    repo.git("clone", "--quiet", "--depth=1", repo.path.as_uri(), str(tmp_path / "shallow"))
    assert measured(str(tmp_path / "shallow")).shallow()
    assert not measured(str(repo.path)).shallow()


def test_objects_that_are_borrowed_are_found(repo: Repo, tmp_path: Path) -> None:
    repo.git("clone", "--quiet", "--shared", str(repo.path), str(tmp_path / "borrower"))
    found = measured(str(tmp_path / "borrower"))
    head = found.head()
    assert head is not None
    assert found.commit(head).message == b"Second\n"
    shutil.rmtree(repo.path / ".git" / "objects")
    with pytest.raises(GitError):
        measured(str(tmp_path / "borrower")).commit(head)


def test_a_tree_without_entries_is_known_where_it_was_never_written(make_repo: Callable[..., Repo]) -> None:
    for name, algorithm in (("one", "sha1"), ("two", "sha256")):
        repo = make_repo(name, f"--object-format={algorithm}")
        repo.git("commit", "--quiet", "--allow-empty", "--message", "Nothing")
        repository = measured(str(repo.path))
        tree = repo.git("rev-parse", "HEAD^{tree}").encode()
        loose = repo.git_dir / "objects" / tree[:2].decode() / tree[2:].decode()
        loose.unlink(missing_ok=True)
        assert list(repository.tree(tree).iteritems()) == []


def test_a_damaged_pack_can_be_closed_while_the_error_is_kept(repo: Repo) -> None:
    """Else a traceback of dulwich's own may follow ours when the process ends."""
    repo.write("data.txt", "a line\n" * 1000)
    repo.commit("Data")
    repo.git("repack", "-a", "-d", "--quiet")
    (pack,) = (repo.git_dir / "objects" / "pack").glob("*.pack")
    pack.chmod(0o644)
    data = pack.read_bytes()
    pack.write_bytes(data[:12] + bytes(byte ^ 0x55 for byte in data[12:-20]) + data[-20:])
    repository = measured(str(repo.path))
    with pytest.raises(GitError) as caught:
        repository.object(repository.head() or b"")
    assert caught.value.fix
    repository.objects.close()


def test_configuration_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "init", "--quiet", f"{folder}/repo"], check=True)
        for path in (folder, *Path(folder, "repo").rglob("*"), f"{folder}/repo"):
            os.chown(path, 65534, 65534)
        monkeypatch.setenv("HOME", folder)
        os.seteuid(65534)
        try:
            assert measured(f"{folder}/repo").head() is None
            os.chmod(f"{folder}/repo/.git/config", 0)
            with pytest.raises(GitError, match="config: cannot be read"):
                measured(f"{folder}/repo")
        finally:
            os.seteuid(0)


def test_reftables_are_asked_of_git_in_every_worktree(repo: Repo, tmp_path: Path) -> None:
    for form in ("sha1", "sha256"):
        made = type(repo)(tmp_path / form)
        options = ("--quiet", "--ref-format=reftable", f"--object-format={form}")
        repo.git("init", *options, str(made.path), check=False)
        if not made.path.exists():
            pytest.skip("this git knows no reftables (before 2.45)")
        assert measured(str(made.path)).head() is None
        made.commit("First")
        made.git("tag", "v1.0.0")
        linked = type(repo)(tmp_path / f"{form}-linked")
        made.git("worktree", "add", "--quiet", "-b", "side/branch", str(linked.path))
        made.commit("On main")
        detached = type(repo)(tmp_path / f"{form}-detached")
        made.git("worktree", "add", "--quiet", "--detach", str(detached.path), "HEAD~1")
        for one in (made, linked, detached):
            found = measured(str(one.path))
            assert found.head() == one.git("rev-parse", "HEAD").encode()
            assert (found.branch() or "") == one.git("branch", "--show-current")
            listed = one.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
            assert [f"{name} {oid.decode()}" for name, oid in found.refs_under("refs/")] == listed
            verdict = judge(str(one.path))
            assert [finding.code for finding in verdict.reasons] == []


def test_a_git_that_is_too_old_for_a_repositorys_refs_is_an_error(repo: Repo) -> None:
    repo.git("config", "core.repositoryFormatVersion", "1")
    repo.git("config", "extensions.refStorage", "something-new")
    with pytest.raises(GitError, match=r"(?i)ref ?storage"):
        measured(str(repo.path))
