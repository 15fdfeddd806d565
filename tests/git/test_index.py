"""What git takes an index's word for, and the gate does not: the tree it remembers, and stamps in seconds."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.index import LS_FILES, parse_listing
from deriva_ml_hooks.git.traces import stamped

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences

TRAIN = "src/train.py"
OTHER = "print('TRAINED')\n"  # as long as what the commit has
UNSTAGED = ("unstaged", TRAIN)


def listing_of(repo: Repo) -> bytes:
    return subprocess.run(["git", *LS_FILES], cwd=repo.path, capture_output=True, check=True).stdout


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_the_tree_of_the_entries_is_the_tree_that_git_would_write(
    make_repo: type[Repo], object_format: str
) -> None:
    repo = make_repo("made", f"--object-format={object_format}")
    names = ("a", "a.b/c", "a/b/c/d", "a-b", "a0", "b/a", "b.c", "z/z/z/z", "caf\u00e9/x", "a/b.c", "a/b/z")
    for name in names:
        if not (repo.path / name).is_dir() and all(not p.is_file() for p in (repo.path / name).parents):
            repo.write(name, name)
    (repo.path / "link").symlink_to("a.b/c")
    repo.write("tool", "x").chmod(0o755)
    inner = make_repo("made/inner", f"--object-format={object_format}")
    inner.commit()
    repo.commit()
    assert parse_listing(listing_of(repo)).tree == repo.git("rev-parse", "HEAD^{tree}")


def test_the_tree_of_an_empty_index_is_the_empty_tree(make_repo: type[Repo]) -> None:
    repo = make_repo("empty")
    assert parse_listing(listing_of(repo)).tree == repo.git("write-tree")


@pytest.mark.parametrize(
    "data", [b"H 100644\0", b"H 100644 zz 0\tname\0", b"  ctime: 1:2\n\0", b"nonsense\0"]
)
def test_a_listing_of_an_unknown_form_is_an_error(data: bytes) -> None:
    with pytest.raises(GitError, match="git ls-files"):
        parse_listing(data)


def test_a_staged_edit_is_found_though_the_index_remembers_the_old_tree(
    repo: Repo, differences: Differences
) -> None:
    # As GitPython leaves it: index.add(..., write=False); index.write()
    repo.git("status")
    repo.write(TRAIN, OTHER)
    oid = bytes.fromhex(repo.git("hash-object", "-w", TRAIN))
    repo.make_the_index_believe(TRAIN, oid)
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert differences(repo) == {("staged", TRAIN)}
    assert differences(repo, paranoid=True) == {("staged", TRAIN)}


def racy(repo: Repo, content: str) -> None:
    """The file is written in the second in which it was added, and the index a second later."""
    path = repo.path / TRAIN
    with path.open("r+") as file:  # the same inode
        file.write(content)
    found = path.stat()
    seconds = (found.st_ctime_ns // 10**9, found.st_mtime_ns // 10**9)
    repo.rewrite_index(TRAIN, (seconds[0], 1, seconds[1], 1))
    os.utime(repo.git_dir / "index", (found.st_mtime + 5, found.st_mtime + 5))
    assert repo.git("--no-optional-locks", "status", "--porcelain") == "", "else this test shows nothing"


def test_an_edit_in_the_second_of_the_commit_is_found_after_the_index_was_written_again(
    repo: Repo, differences: Differences
) -> None:
    racy(repo, OTHER)
    assert differences(repo) == {UNSTAGED}


def test_a_file_that_only_may_have_been_edited_then_is_no_change(
    repo: Repo, differences: Differences
) -> None:
    racy(repo, "print('trained')\n")
    assert differences(repo) == set()


def test_only_what_git_cannot_know_is_hashed(repo: Repo) -> None:
    repo.git("status")
    where = measured(str(repo.path)).worktree
    entries = parse_listing(listing_of(repo)).entries
    stamps, unsure = stamped(where, entries)
    assert unsure == []
    assert set(stamps) == {path for *_, path, _ in entries}
    racy(repo, "print('trained')\n")
    assert [entry.path for entry in stamped(where, parse_listing(listing_of(repo)).entries)[1]] == [TRAIN]


def test_an_answer_without_stamps_has_every_file_hashed(repo: Repo) -> None:
    words = [word for word in LS_FILES if word != "--debug"]
    plain = subprocess.run(["git", *words], cwd=repo.path, capture_output=True, check=True).stdout
    entries = parse_listing(plain).entries
    assert len(stamped(str(repo.path), entries)[1]) == len(entries) == 3
