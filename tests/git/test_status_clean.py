"""What leaves the commit as it is counts as clean, though something may look different."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences

TRAIN = "src/train.py"


def touch(repo: Repo) -> None:
    os.utime(repo.path / TRAIN, (1e9, 1e9))


def rewrite_the_same(repo: Repo) -> None:
    data = (repo.path / TRAIN).read_bytes()
    (repo.path / TRAIN).unlink()
    repo.write(TRAIN, data)


def leave_ignored(repo: Repo) -> None:
    repo.write("run.log")
    repo.write("deep/run.log")
    (repo.git_dir / "info/exclude").write_text("local.txt\n")
    repo.write("local.txt")
    (Path.home() / "ignore").write_text("*.swp\n")
    repo.git("config", "--global", "core.excludesFile", "~/ignore")
    repo.write("a.swp")


def leave_empty_folders(repo: Repo) -> None:
    (repo.path / "empty/emptier").mkdir(parents=True)


def detach(repo: Repo) -> None:
    repo.git("checkout", "--quiet", "--detach", "HEAD~1")


def stash(repo: Repo) -> None:
    repo.write(TRAIN, "print('other')\n")
    repo.git("stash", "--quiet")


def chmod_in_ways_git_does_not_record(repo: Repo) -> None:
    (repo.path / TRAIN).chmod(0o600)


def pack(repo: Repo) -> None:
    repo.git("gc", "--quiet")


def flag_without_change(repo: Repo) -> None:
    repo.git("update-index", "--assume-unchanged", "README.md")
    repo.git("update-index", "--skip-worktree", TRAIN)


def convert_line_endings(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "true")
    (repo.path / TRAIN).unlink()
    repo.git("checkout", "--", TRAIN)
    assert b"\r\n" in (repo.path / TRAIN).read_bytes()
    touch(repo)


def convert_by_attributes(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bat text eol=crlf\n*.txt text working-tree-encoding=UTF-16LE\n")
    repo.write("run.bat", "echo\n")
    repo.write("note.txt", "é\n".encode("utf-16-le"))
    repo.commit()
    for name in ("run.bat", "note.txt"):
        (repo.path / name).unlink()
        repo.git("checkout", "--", name)
        os.utime(repo.path / name, (1e9, 1e9))


def convert_only_the_working_file(repo: Repo) -> None:
    repo.git("config", "core.autocrlf", "input")
    repo.write(TRAIN, "print('trained')\r\n")


def lack_a_filter_that_is_not_required(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bin filter=lfs\n")
    repo.write("model.bin", "pointer\n")
    repo.commit()
    repo.git("config", "filter.lfs.clean", "no-such-program-anywhere clean %f")
    os.utime(repo.path / "model.bin", (1e9, 1e9))


def know_nothing_of_a_filter(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("model.bin", "pointer\n")
    repo.commit()
    os.utime(repo.path / "model.bin", (1e9, 1e9))


def replace_the_commit(repo: Repo) -> None:
    """`git replace` makes HEAD's name lead to another tree; the worktree is the one HEAD promises."""
    repo.git("replace", "HEAD", "HEAD~1")


@pytest.mark.parametrize(
    "change",
    [
        touch,
        rewrite_the_same,
        leave_ignored,
        leave_empty_folders,
        detach,
        stash,
        chmod_in_ways_git_does_not_record,
        pack,
        flag_without_change,
        convert_line_endings,
        convert_by_attributes,
        convert_only_the_working_file,
        lack_a_filter_that_is_not_required,
        know_nothing_of_a_filter,
        replace_the_commit,
    ],
)
def test_what_leaves_the_commit_as_it_is_counts_as_clean(
    repo: Repo, change: Callable[[Repo], None], differences: Differences
) -> None:
    change(repo)
    assert differences(repo) == set()
    assert differences(repo, paranoid=True) == set()


def test_a_replaced_commit_does_not_hide_what_the_real_one_holds(
    repo: Repo, differences: Differences
) -> None:
    repo.git("replace", "HEAD", "HEAD~1")
    repo.git("reset", "--quiet", "--hard")
    assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert ("staged", TRAIN) in differences(repo)


NOTEBOOK = """\
{"cells": [{"cell_type": "code", "execution_count": null, "metadata": {}, "outputs": [], "source": ["1"]}],
 "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
"""


def test_a_notebook_that_was_only_executed_is_clean_and_one_that_was_edited_is_not(
    repo: Repo, differences: Differences
) -> None:
    repo.write(".gitattributes", "*.ipynb filter=nbstripout\n")
    repo.git("config", "filter.nbstripout.clean", f"{sys.executable} -m nbstripout")
    repo.git("config", "filter.nbstripout.required", "true")
    repo.write("run.ipynb", NOTEBOOK)
    repo.commit()
    output = '"outputs": [{"output_type": "stream", "name": "stdout", "text": ["1"]}]'
    executed = NOTEBOOK.replace('"outputs": []', output).replace(
        '"execution_count": null', '"execution_count": 7'
    )
    repo.write("run.ipynb", executed)
    assert "run.ipynb" in repo.git("status", "--porcelain"), "else this test shows nothing"
    assert differences(repo) == set()
    repo.write("run.ipynb", executed.replace('["1"],', "").replace('"source": ["1"]', '"source": ["2"]'))
    assert differences(repo) == {("unstaged", "run.ipynb")}


@pytest.mark.parametrize("filter_", ["no-such-program-anywhere", "false"])
def test_a_required_filter_that_cannot_run_refuses_only_where_it_is_needed(
    repo: Repo, filter_: str, differences: Differences
) -> None:
    repo.write(".gitattributes", "*.bin filter=lfs\n")
    os.utime(repo.write("model.bin", "pointer\n"), (1e9, 1e9))
    repo.commit()
    repo.git("config", "filter.lfs.clean", filter_)
    repo.git("config", "filter.lfs.required", "true")
    assert differences(repo) == set(), "nothing has to be hashed"
    os.utime(repo.path / "model.bin", (2e9, 2e9))
    with pytest.raises(GitError, match=r"model\.bin"):
        differences(repo)
    repo.write("model.bin", "of another size\n")
    assert differences(repo) == {("git-error", None), ("unstaged", "model.bin")}


def test_a_filter_that_is_required_and_runs_is_no_obstacle(repo: Repo, differences: Differences) -> None:
    repo.write(".gitattributes", "*.bin filter=upper\n")
    repo.git("config", "filter.upper.clean", "tr a-z A-Z")
    repo.git("config", "filter.upper.required", "true")
    repo.write("model.bin", "pointer\n")
    repo.commit()
    repo.write("model.bin", "POINTER\n")
    assert differences(repo) == set()
    repo.write("model.bin", "painter\n")
    assert differences(repo) == {("unstaged", "model.bin")}
