"""What a sparse checkout leaves out is just absent; nothing else may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences


@pytest.fixture
def wide(repo: Repo) -> Repo:
    """`repo` with some more folders: a (with a/deep and a/other), b."""
    for name in ("a/one.py", "a/deep/two.py", "a/deep/er/three.py", "a/other/four.py", "b/five.py"):
        repo.write(name, name)
    repo.commit("Wide")
    return repo


SPARSE = [
    ("--cone", "src"),
    ("--cone", "a"),
    ("--cone", "a/deep"),
    ("--cone", "a/deep/er", "b"),
    ("--no-cone", "/src/"),
    ("--no-cone", "*.py", "!b/*"),
    ("--no-cone", "/a/", "!/a/deep/", "/a/deep/er/"),
    ("--no-cone", "two.py"),
    ("--no-cone", "/*", "!/a/d*/"),
    ("--cone", "--sparse-index", "a/deep"),
]


@pytest.mark.parametrize("words", SPARSE, ids=" ".join)
def test_what_a_sparse_checkout_leaves_out_is_just_absent(
    wide: Repo, words: tuple[str, ...], differences: Differences
) -> None:
    wide.git("sparse-checkout", "set", *words)
    assert not all((wide.path / name).exists() for name in wide.git("ls-files").splitlines())
    assert differences(wide) == set()
    assert differences(wide, paranoid=True) == set()


@pytest.mark.parametrize("words", SPARSE, ids=" ".join)
def test_what_a_sparse_checkout_should_hold_cannot_be_hidden_by_deleting_it(
    wide: Repo, words: tuple[str, ...], differences: Differences
) -> None:
    wide.git("sparse-checkout", "set", *words)
    present = [name for name in wide.git("ls-files").splitlines() if (wide.path / name).exists()]
    assert present
    for name in present:
        wide.git("update-index", "--skip-worktree", name)
        (wide.path / name).unlink()
    assert wide.git("status", "--porcelain") == "", "else this test shows nothing"
    assert differences(wide) == {("hidden-change", name) for name in present}


def test_a_file_outside_a_sparse_checkout_may_be_there_if_it_is_the_commits(
    wide: Repo, differences: Differences
) -> None:
    wide.git("sparse-checkout", "set", "--cone", "src")
    wide.git("config", "sparse.expectFilesOutsideOfPatterns", "true")
    wide.write("b/five.py", "b/five.py")
    assert differences(wide) == set()
    wide.write("b/five.py", "b/six.py")
    assert differences(wide) == {("hidden-change", "b/five.py")}


def test_flags_without_a_sparse_checkout_hide_no_absence(wide: Repo, differences: Differences) -> None:
    wide.git("sparse-checkout", "set", "--cone", "src")
    wide.git("config", "core.sparseCheckout", "false")
    wide.git("config", "--worktree", "--unset", "core.sparseCheckout")
    assert ("hidden-change", "b/five.py") in differences(wide)
