"""Repositories to measure on, made anew for each run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PLAIN = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgSign=false")


def git(folder: Path, *words: str, stdin: bytes | None = None) -> bytes:
    """git in `folder`; its output."""
    done = subprocess.run(["git", *_PLAIN, *words], cwd=folder, input=stdin, capture_output=True, check=True)
    return done.stdout


def with_files(folder: Path, count: int) -> Path:
    """A repository of `count` small committed files in folders of 100, a tag, and a remote that has it."""
    work, remote = folder / f"files-{count}", folder / f"files-{count}.git"
    work.mkdir()
    git(folder, "init", "--quiet", "--bare", str(remote))
    git(work, "init", "--quiet", "--initial-branch=main")
    for number in range(count):
        path = work / f"part{number // 100:04d}" / f"file{number:06d}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"VALUE = {number}\n")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "Files")
    git(work, "tag", "--annotate", "--message", "First", "v0.1.0")
    git(work, "remote", "add", "origin", str(remote))
    git(work, "push", "--quiet", "--set-upstream", "origin", "main", "v0.1.0")
    # git trusts a time stamp only once the index is younger than the file: settle that before measuring.
    old = 1_600_000_000
    for parent, _, names in os.walk(work):
        if ".git" not in Path(parent).parts:
            for name in names:
                os.utime(os.path.join(parent, name), (old, old))
    git(work, "status")
    return work
