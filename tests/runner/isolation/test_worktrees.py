"""Temporary worktrees: many at once, what a kill leaves of them, a full disk, and how they are taken away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.executions import processes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.runner.child import EndedBySignalError, signals_raise
from deriva_ml_hooks.runner.isolation.checkout import WorktreeError
from deriva_ml_hooks.runner.isolation.worktrees import clear_left_over, temporary_worktree

Program = Callable[..., Any]


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary worktrees are made."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def nothing_is_left(repo: Any, temporary: Path) -> bool:
    ours = repo.git_dir / "deriva-ml-hooks"
    listed = [*temporary.iterdir(), *repo.git_dir.rglob("worktrees/*")]
    return not listed and not (repo.git_dir / "worktrees").exists() and not (ours / "worktrees").exists()


@contextlib.contextmanager
def tmpfs(folder: Path, size: str = "1m") -> Iterator[None]:
    """A disk of its own at `folder`; skips where we may not mount one."""
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def no_complaint(line: str) -> None:
    raise AssertionError(line)


class TestAtOnce:
    SCRIPT = """if True:
        import os, sys
        from deriva_ml_hooks.git.discovery import measured
        from deriva_ml_hooks.runner.isolation.worktrees import clear_left_over, temporary_worktree
        children = []
        for _ in range(10):
            child = os.fork()
            if not child:
                try:
                    home = measured()
                    for _ in range(3):
                        clear_left_over(home)
                        with temporary_worktree(home, sys.argv[1], print) as made:
                            with open(os.path.join(made.repository.worktree, "README.md")) as file:
                                assert file.read()
                except BaseException as error:
                    print(type(error).__name__, error, flush=True)
                    os._exit(1)
                os._exit(0)
            children.append(child)
        sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
    """

    @pytest.mark.slow
    def test_ten_at_once_are_made_and_removed(self, repo: Any, temporary: Path) -> None:
        commit = repo.git("rev-parse", "HEAD")
        words = [sys.executable, "-c", self.SCRIPT, commit]
        done = subprocess.run(words, cwd=repo.path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert nothing_is_left(repo, temporary)

    def test_the_worktree_has_the_name_of_the_users_and_git_knows_where_it_is(self, repo: Any) -> None:
        home = measured(str(repo.path))
        with temporary_worktree(home, repo.git("rev-parse", "HEAD"), no_complaint) as made:
            path = made.repository.worktree
            assert os.path.basename(path) == "repo"
            assert f"worktree {path}\n" in repo.git("worktree", "list", "--porcelain") + "\n"
            assert os.path.basename(made.repository.git_dir).startswith("deriva-ml-hooks-")
            assert repo.git("-C", path, "status", "--porcelain") == ""


class TestLeftOver:
    def test_what_a_kill_has_left_half_done_is_taken_away(self, repo: Any, temporary: Path) -> None:
        """A worktree of which git has made the folder and no more, and a mark that was being written."""
        home = measured(str(repo.path))
        gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        identity = processes.identity(gone.pid)
        gone.communicate(b"\n")
        folder = temporary / "deriva-ml-hooks-abc"
        folder.mkdir()
        (repo.git_dir / "worktrees" / folder.name).mkdir(parents=True)
        marks = repo.git_dir / "deriva-ml-hooks" / "worktrees"
        marks.mkdir(parents=True)
        told = {"host": processes.host(), "pid": gone.pid, "process": identity, "folder": str(folder)}
        (marks / "abc.json").write_text(json.dumps({**told, "repositories": [str(repo.git_dir)]}))
        (marks / ".abc.json.half").write_text('{"fol')
        assert clear_left_over(home) == [str(folder)]
        assert nothing_is_left(repo, temporary)
        (marks).mkdir()
        (marks / ".def.json.half").write_text("")
        assert clear_left_over(home) == []
        assert nothing_is_left(repo, temporary)

    def test_what_cannot_be_deleted_is_told_and_tried_again(self, repo: Any, temporary: Path) -> None:
        home, complaints = measured(str(repo.path)), []
        with contextlib.ExitStack() as stack:
            with temporary_worktree(home, repo.git("rev-parse", "HEAD"), complaints.append) as made:
                stack.enter_context(tmpfs(Path(made.repository.worktree, "busy")))
            [folder] = temporary.iterdir()
            assert complaints == [f"files that cannot be deleted stay there: sudo rm -rf {folder}"]
            assert [*repo.git_dir.glob("deriva-ml-hooks/worktrees/*.json")]
        command = complaints[0].rpartition("sudo ")[2]
        subprocess.run(command, shell=True, check=True)
        assert [*temporary.iterdir()] == []


class TestSpace:
    def test_a_full_disk_is_one_line_that_names_tmpdir_and_leaves_nothing(
        self, repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A filter writes more than the commit holds."""
        for number in range(40):
            repo.write(f"{number}.grown")
        repo.write(".gitattributes", "*.grown filter=grow\n")
        commit = repo.commit("Small")
        repo.git("config", "filter.grow.smudge", "head -c 100000 /dev/urandom")
        with tmpfs(tmp_path / "small"):
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "small"))
            made = temporary_worktree(measured(str(repo.path)), commit, no_complaint)
            with pytest.raises(WorktreeError, match=r"^no space .*TMPDIR") as caught:
                made.__enter__()
            assert [*(tmp_path / "small").iterdir()] == []
        assert "\n" not in str(caught.value)
        assert "export TMPDIR=" in caught.value.fix
        assert not (repo.git_dir / "worktrees").exists()


@pytest.mark.parametrize("remote", [None, "../outer.git", "ABSOLUTE"])
def test_a_relative_address_is_seen_from_the_users_worktree_not_from_the_temporary_one(
    make_repo: Callable[..., Any], tmp_path: Path, temporary: Path, remote: str | None
) -> None:
    inner, outer = make_repo("inner"), make_repo("outer")
    inner.write("word.txt", "inner\n")
    inner.commit()
    outer.git("submodule", "--quiet", "add", str(inner.path), "lib")
    outer.git("config", "--file", ".gitmodules", "submodule.lib.url", "../inner")
    commit = outer.commit()
    outer.git("clone", "--quiet", "--bare", ".", str(tmp_path / "outer.git"))
    clone = type(outer)(tmp_path / "clone")
    outer.git("clone", "--quiet", ".", str(clone.path))
    clone.git("remote", "remove", "origin")
    if remote is not None:
        clone.git("remote", "add", "origin", remote.replace("ABSOLUTE", str(tmp_path / "outer.git")))
    with temporary_worktree(measured(str(clone.path)), commit, no_complaint) as made:
        assert Path(made.repository.worktree, "lib/word.txt").read_text() == "inner\n"
    assert nothing_is_left(clone, temporary)


class TestKept:
    def test_the_printed_command_leaves_nothing_not_even_of_submodules(
        self, make_repo: Callable[..., Any], temporary: Path, program: Program
    ) -> None:
        inner, outer = make_repo("inner"), make_repo("ou ter")
        inner.commit(word="inner\n")
        outer.git("submodule", "--quiet", "add", str(inner.path), "lib")
        outer.commit(main="main\n")
        done = program("run", "--isolated", "--output", "lost", "--", "sh", "-c", "echo > x", cwd=outer.path)
        [folder] = temporary.iterdir()
        assert (folder / "ou ter" / "lib" / "word").is_file()
        remove_as_told(done.err, outer.path)
        assert nothing_is_left(outer, temporary)

    def test_a_command_that_deletes_git_s_file_has_run_all_the_same(
        self, repo: Any, temporary: Path, program: Program
    ) -> None:
        done = program("run", "--isolated", "--output", "made", "--", "sh", "-c", "rm .g[i]t; echo > made")
        assert done.code == 0
        assert "nothing was started" not in done.err
        [listed] = json.loads(program("executions", "list", "--json").out)
        assert (listed["status"], listed["exit_code"]) == ("Completed", 0)
        remove_as_told(done.err, repo.path)
        assert nothing_is_left(repo, temporary)


def remove_as_told(said: str, cwd: Path) -> None:
    """Paste the command that takes a kept worktree away."""
    [line] = [line for line in said.splitlines() if "to remove it: " in line]
    subprocess.run(line.rpartition("to remove it: ")[2], shell=True, cwd=cwd, check=True)


def test_a_signal_as_the_handlers_go_back_leaves_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python runs a handler between any two lines: an interrupt there must not leave SIGTERM to us."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    setting, sent = signal.signal, []

    def interrupted(number: int, handler: Any) -> Any:
        replaced = setting(number, handler)
        if handler is before[signal.SIGINT] and not sent:
            sent.append(number)
            signal.raise_signal(signal.SIGINT)
        return replaced

    with pytest.raises(KeyboardInterrupt), contextlib.suppress(EndedBySignalError), signals_raise():
        monkeypatch.setattr(signal, "signal", interrupted)
    monkeypatch.undo()
    assert sent
    assert {number: signal.getsignal(number) for number in before} == before
