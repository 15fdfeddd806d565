"""Random histories of a worktree: the measurement finds what `git status` finds, no more and no less."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml_hooks.gate import judge

NAMES = ("a.py", "b.log", "d/a.py", "d/e/f.py", "d/g h.log", "é\n.py", "keep.log")
STATUS = (
    "status",
    "--porcelain=v2",
    "-z",
    "--untracked-files=all",
    "--ignore-submodules=none",
    "--no-renames",
)

name = st.sampled_from(NAMES)
content = st.sampled_from(["one\n", "two\n", "", "other content\r\n"])
pattern = st.sampled_from(["*.log", "/d/", "!keep.log", "d/e", "*.py", ""])
steps = st.one_of(
    st.tuples(st.just("write"), name, content),
    st.tuples(st.just("delete"), name, st.none()),
    st.tuples(st.just("move"), name, name),
    st.tuples(st.just("chmod"), name, st.sampled_from([0o644, 0o755])),
    st.tuples(st.just("link"), name, st.sampled_from(["a.py", "nowhere"])),
    st.tuples(st.just("touch"), name, st.none()),
    st.tuples(st.just("ignore"), pattern, st.none()),
    st.tuples(st.just("add"), st.sampled_from([*NAMES, "."]), st.none()),
    st.tuples(st.just("intend"), name, st.none()),
    st.tuples(st.just("unstage"), name, st.none()),
    st.tuples(st.just("restore"), name, st.none()),
    st.tuples(st.just("commit"), st.none(), st.none()),
    st.tuples(st.just("stash"), st.none(), st.none()),
)


class Worktree:
    """A repository in a folder, and the steps that change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet")
        self.write("a.py", "one\n")
        self.write("d/a.py", "two\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "First")
        assert self.git("rev-parse", "--verify", "HEAD")

    def git(self, *words: str) -> bytes:
        done = subprocess.run(["git", *words], cwd=self.root, capture_output=True, check=False)
        return done.stdout

    def step(self, verb: str, first: object, second: object) -> None:
        getattr(self, verb)(*(word for word in (first, second) if word is not None))

    def clear(self, path: str) -> Path:
        """Make way for a file at `path`, whatever stands there or above it."""
        target = self.root / path
        for parent in [*target.parents][::-1]:
            if self.root in parent.parents and (parent.is_symlink() or parent.is_file()):
                parent.unlink()
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def write(self, path: str, content: str) -> None:
        self.clear(path).write_bytes(content.encode())

    def delete(self, path: str) -> None:
        if os.path.lexists(self.root / path):
            (self.root / path).unlink()

    def move(self, path: str, other: str) -> None:
        if path != other and os.path.lexists(self.root / path):
            os.replace(self.root / path, self.clear(other))

    def chmod(self, path: str, mode: int) -> None:
        if (self.root / path).is_file() and not (self.root / path).is_symlink():
            (self.root / path).chmod(mode)

    def link(self, path: str, target: str) -> None:
        self.clear(path).symlink_to(target)

    def touch(self, path: str) -> None:
        if os.path.lexists(self.root / path):
            os.utime(self.root / path, (1e9, 1e9), follow_symlinks=False)

    def ignore(self, pattern: str) -> None:
        with open(self.root / ".gitignore", "a") as file:
            file.write(pattern + "\n")

    def add(self, path: str) -> None:
        self.git("add", "--", path)

    def intend(self, path: str) -> None:
        self.git("add", "--intent-to-add", "--force", "--", path)

    def unstage(self, path: str) -> None:
        self.git("reset", "--quiet", "--", path)

    def restore(self, path: str) -> None:
        self.git("checkout", "--quiet", "HEAD", "--", path)

    def commit(self) -> None:
        self.git("commit", "--quiet", "--all", "--message", "Next")

    def stash(self) -> None:
        self.git("stash", "--quiet", "--include-untracked")

    def changed(self) -> set[str]:
        """What `git status` finds."""
        records = self.git(*STATUS).split(b"\0")
        fields = {b"1": 8, b"u": 10, b"?": 1}
        return {os.fsdecode(r.split(b" ", fields[r[:1]])[-1]) for r in records if r}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=1, max_size=10))
def test_the_verdict_agrees_with_git_status_after_any_history(
    history: list[tuple[str, object, object]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Worktree(Path(folder).resolve())
        for step in history:
            tree.step(*step)
        expected = tree.changed()
        verdict = judge(folder)
        assert {reason.path for reason in verdict.reasons} == expected
        assert verdict.accepted == (not expected)
        paranoid = judge(folder, paranoid=True)
        assert {reason.path for reason in paranoid.reasons} == expected
