"""The demo: it shows what it promises, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_it_shows_a_run_recorded_and_one_refused_and_cleans_up(
    program: Callable[..., Any], tmp_path: Path, home: Path
) -> None:
    there = sorted(os.listdir(home))
    done = program("demo", env={"TMPDIR": str(tmp_path), "GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere"})
    assert done.code == 0, done.err
    assert "Traceback" not in done.out + done.err
    assert "refused; nothing was started" in done.err
    assert "train.py: " in done.err
    assert "(exit 125)" in done.out
    assert done.out.count("trained: score") == 2
    assert (done.out + done.err).count("  Completed  ") >= 2
    assert "v0.1.0" in done.out
    assert os.listdir(tmp_path) == []
    assert sorted(os.listdir(home)) == there


def test_it_keeps_the_repository_when_asked(program: Callable[..., Any], tmp_path: Path) -> None:
    done = program("demo", "--keep", env={"TMPDIR": str(tmp_path)})
    assert done.code == 0
    (kept,) = tmp_path.iterdir()
    assert f"kept: {kept}" in done.err
    listed = program("executions", "list", cwd=kept / "model")
    assert listed.out.count("Completed") == 2
    shutil.rmtree(kept)


def test_without_git_it_says_what_it_needs(program: Callable[..., Any], tmp_path: Path) -> None:
    empty, temporary = tmp_path / "empty", tmp_path / "temporary"
    empty.mkdir()
    temporary.mkdir()
    done = program("demo", env={"TMPDIR": str(temporary), "PATH": str(empty)})
    assert done.code == 1
    assert "install git" in done.err
    assert "Traceback" not in done.err
    assert os.listdir(temporary) == []
