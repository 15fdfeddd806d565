"""What is untracked, by kind: code to be added, and the lines for .gitignore that cover the rest."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.untracked import FOLDERS, ignoring, sort

if TYPE_CHECKING:
    from tests.conftest import Repo

TRACKED = ["README.md", "pyproject.toml", "src/train.py", "src/configs/a.yaml", "data/old.csv", "notes/a.log"]


@pytest.mark.parametrize(
    ("untracked", "code", "lines"),
    [
        (["runs/1/events.out"], [], ["/runs/"]),
        ([f"{folder}/x.py" for folder in FOLDERS], [], [f"/{folder}/" for folder in FOLDERS]),
        (["outputs/2026/.hydra/config.yaml", "outputs/2026/train.log"], [], ["/outputs/"]),
        (["src/runs/x.pt", "src/new.py"], ["src/new.py"], ["/src/runs/"]),
        (["results.csv"], [], ["/results.csv"]),
        (["a.csv", "b.csv", "c.CSV"], [], ["/*.csv", "/c.CSV"]),
        (["src/a.csv", "src/b.csv"], [], ["/src/*.csv"]),
        (["data/new.csv"], ["data/new.csv"], []),
        (["src/configs/b.yaml", "new/train.R"], ["src/configs/b.yaml", "new/train.R"], []),
        (["new/train.py", "new/out/a.npy"], ["new/train.py"], ["/new/out/"]),
        (["new/train.py", "new/a.npy"], ["new/train.py"], ["/new/a.npy"]),
        ([".github/workflows/ci.yml", ".pre-commit-config.yaml"],) * 2 + ([],),
        (["Makefile", "uv.lock", "requirements-gpu.txt", ".gitignore", ".dockerignore"],) * 2 + ([],),
        ([".env", ".coverage", "src/core"], [], ["/.env", "/.coverage", "/src/core"]),
        (["exp/[1] *?/a.pt"], [], ["/exp/"]),
        (["src/[1] *?\\ a "], [], ["/src/\\[1] \\*\\?\\\\ a\\ "]),
        (["nested/"], [], ["/nested/"]),
    ],
)
def test_code_is_added_and_what_runs_leave_is_ignored(
    untracked: list[str], code: list[str], lines: list[str]
) -> None:
    assert sort(untracked, TRACKED) == (tuple(code), tuple(lines))


def test_where_nothing_is_known_to_be_tracked_no_folder_is_ignored() -> None:
    assert sort(["runs/a.pt", "src/new.py"], None) == (("src/new.py",), ("/runs/a.pt",))


NAMES = ["[1] *?\\ a ", "a\nb", "-n", "!a", "#a", 'it\'s "$HOME"', "é", "z\udcff", "a\u200bb.x"]


@pytest.mark.parametrize("before", [None, "", "*.log", "*.log\n"])
def test_the_command_ignores_what_it_was_made_for_and_nothing_else(repo: Repo, before: str | None) -> None:
    repo.git("rm", "--quiet", ".gitignore")
    if before is not None:
        repo.write(".gitignore", before)
    repo.commit("Start")
    names = [f"src/{name}" for name in NAMES]
    for name in names:
        repo.write(name)
    found = sort(names, ["src/train.py"])
    repo.write("new.py")
    repo.git("add", "new.py")
    command = ignoring(found.lines, ".gitignore", ends=not before or before.endswith("\n"))
    done = subprocess.run(["sh", "-c", command], cwd=repo.path, capture_output=True, check=False)
    assert done.returncode == 0, done
    assert repo.git("status", "--porcelain") == "A  new.py"
    assert repo.git("check-ignore", "--no-index", "a.log", check=False) == ("a.log" if before else "")
