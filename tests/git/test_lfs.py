"""Data of git-lfs: a pointer in its place is told, and a checkout of ours is whole.

A script stands for git-lfs, which need not be installed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.gate import judge

from ..conftest import Repo

DATA = "weights " * 200
GIT_LFS = """\
#!/bin/sh
# clean: data to a pointer; smudge: a pointer to data, unless it is told to skip that.
if [ "$1" = clean ]; then
  cat > "$0.new"; name=$(sha256sum "$0.new" | cut -d' ' -f1)
  if head -c 7 "$0.new" | grep -q version; then cat "$0.new"; exit; fi
  mv "$0.new" "$0.$name"; size=$(wc -c < "$0.$name")
  printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%s\\nsize %s\\n' "$name" "$size"
elif [ "$2" = --skip ] || [ "$GIT_LFS_SKIP_SMUDGE" = 1 ] || [ -n "$(git config lfs.fetchexclude)" ]; then
  cat
else
  cat "$0.$(grep ^oid | cut -d: -f2)"
fi
"""


@pytest.fixture
def data(repo: Repo, tmp_path: Path) -> Repo:
    """`repo` with model.bin and sub/other.bin, which git-lfs holds."""
    script = tmp_path / "git-lfs"
    script.write_text(GIT_LFS)
    script.chmod(0o755)
    repo.git("config", "--global", "filter.lfs.clean", f"{script} clean %f")
    repo.git("config", "--global", "filter.lfs.smudge", f"{script} smudge -- %f")
    repo.git("config", "--global", "filter.lfs.required", "true")
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("model.bin", DATA)
    repo.write("sub/other.bin", DATA + "more")
    repo.commit("Data")
    assert hashlib.sha256(DATA.encode()).hexdigest() in repo.git("show", "HEAD:model.bin")
    return repo


def skipping(monkeypatch: pytest.MonkeyPatch, repo: Repo, how: str) -> None:
    """Have git-lfs leave pointers, in one of the ways that users have."""
    smudge = repo.git("config", "filter.lfs.smudge")
    if how == "variable":
        monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    elif how == "configuration":
        repo.git("config", "--global", "filter.lfs.smudge", smudge.replace("smudge --", "smudge --skip --"))
    else:
        repo.git("config", "lfs.fetchexclude", "*")


def with_pointers(repo: Repo) -> Repo:
    """The repository with its files checked out again, as they are where git-lfs is told to skip."""
    repo.git("rm", "--quiet", "--cached", "-r", ".")
    for name in ("model.bin", "sub/other.bin"):
        (repo.path / name).unlink()
    repo.git("reset", "--quiet", "--hard")
    assert (repo.path / "model.bin").read_text().startswith("version https://git-lfs")
    return repo


HOW = ("variable", "configuration", "exclusion")


@pytest.mark.parametrize("how", HOW)
def test_a_temporary_worktree_has_the_data_whatever_the_user_skips(
    data: Repo, monkeypatch: pytest.MonkeyPatch, program: Callable[..., Any], how: str
) -> None:
    skipping(monkeypatch, data, how)
    done = program("run", "--isolated", "--", "cat", "model.bin", cwd=with_pointers(data).path)
    assert (done.code, done.out) == (0, DATA)
    assert "pointer" not in done.err


@pytest.mark.parametrize("how", HOW)
def test_a_pointer_in_the_place_of_data_is_told(
    data: Repo, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    skipping(monkeypatch, data, how)
    (warning,) = (f for f in judge(str(with_pointers(data).path)).warnings if f.code == "lfs-pointer")
    assert warning.message == "model.bin, sub/other.bin: git-lfs pointers, not the data"
    assert warning.fix == "git lfs install --skip-repo && git lfs pull"


def test_data_and_files_that_only_look_like_pointers_are_none(data: Repo) -> None:
    data.write("notes.txt", data.git("show", "HEAD:model.bin") + "\n")
    data.write("small.bin", "x\n")
    data.commit("Notes")
    verdict = judge(str(data.path))
    assert (verdict.accepted, [f for f in verdict.warnings if f.code == "lfs-pointer"]) == (True, [])


@pytest.mark.parametrize(
    ("policy", "reasons", "warnings"), [("refuse", 1, 0), ("warn", 0, 1), ("ignore", 0, 0)]
)
def test_what_a_pointer_means_is_a_policy(
    data: Repo, monkeypatch: pytest.MonkeyPatch, policy: str, reasons: int, warnings: int
) -> None:
    data.write(".deriva-ml-hooks.toml", f'lfs-pointer = "{policy}"\n')
    data.commit("Policy")
    skipping(monkeypatch, data, "variable")
    verdict = judge(str(with_pointers(data).path))
    found = [[f.code for f in told].count("lfs-pointer") for told in (verdict.reasons, verdict.warnings)]
    assert found == [reasons, warnings]


def test_a_pointer_in_a_submodule_is_told(
    data: Repo, make_repo: Callable[..., Repo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    outer = make_repo("outer")
    outer.git("submodule", "--quiet", "add", str(data.path), "libs/data")
    outer.commit("Data as a submodule")
    (warning,) = (f for f in judge(str(outer.path)).warnings if f.code == "lfs-pointer")
    assert warning.message.startswith("libs/data/model.bin, libs/data/sub/other.bin: ")
    assert warning.fix.endswith(" && git submodule foreach --recursive git lfs pull")
