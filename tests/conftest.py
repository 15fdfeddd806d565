"""Real repositories to test on: a home of their own, and a small handle on git."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import select
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

# A run of every day tries the same examples each time; the deep one looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=20_000, deadline=None)
hypothesis.settings.load_profile("same")

GITCONFIG = """\
[user]
    name = Ada
    email = ada@example.org
[init]
    defaultBranch = main
[commit]
    gpgSign = false
[tag]
    gpgSign = false
[protocol "file"]
    allow = always
[advice]
    detachedHead = false
"""


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a plain git configuration; nothing of the machine's or the caller's gets through."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".gitconfig").write_text(GITCONFIG)
    for name in os.environ:
        if name.startswith(("GIT_", "DERIVA_ML_", "SETUPTOOLS_SCM", "GITHUB_", "PRE_COMMIT", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@dataclass(frozen=True)
class Repo:
    """A repository's worktree, and git in it."""

    path: Path

    def git(self, *words: str | bytes, check: bool = True, env: Mapping[str, str] | None = None) -> str:
        """Run git here; its output, stripped."""
        done = self.run("git", *words, env=env)
        assert not check or done.returncode == 0, (words, done.stderr.decode())
        return os.fsdecode(done.stdout).strip()

    def run(
        self, *words: str | bytes, env: Mapping[str, str] | None = None, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program here, and wait until all that it has started, and left behind, has ended too."""
        reads, writes = os.pipe()
        kept = fcntl.fcntl(writes, fcntl.F_DUPFD, 100)  # above those that a shell can close
        os.close(writes)
        try:
            done = subprocess.run(
                words,
                cwd=self.path,
                check=False,
                capture_output=True,
                input=stdin,
                env={**os.environ, **(env or {})},
                pass_fds=(kept,),
            )
        finally:
            os.close(kept)
        ended, _, _ = select.select([reads], [], [], 60)
        os.close(reads)
        assert ended, "something that was started does not end"
        return done

    def write(self, name: str, content: str | bytes = "content\n") -> Path:
        """Write a file, its folders too."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, message: str = "A change", **files: str) -> str:
        """Commit everything (after writing `files`, by name without its dot: use write for others)."""
        for name, content in files.items():
            self.write(name, content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def push(self, *words: str) -> None:
        """Push the current branch to origin, or what `words` say."""
        self.git("push", "--quiet", *(words or ("--set-upstream", "origin", "HEAD")))

    def give_away(self) -> None:
        """Make another user its owner; skips under a git that minds no owner (before 2.30.3)."""
        for path in (self.path, self.path / ".git"):
            os.chown(path, 65534, 65534)
        if self.git("rev-parse", "--is-inside-work-tree", check=False) == "true":
            pytest.skip("this git opens repositories of other users")

    def make_the_index_believe(self, name: str, oid: bytes | None = None) -> None:
        """Give the index entry of `name` the file's present stat data, as if it had just been added.

        `oid`: what was added. What the index remembers of trees is left as it was.
        """
        found = (self.path / name).stat()
        stamps = *divmod(found.st_ctime_ns, 10**9), *divmod(found.st_mtime_ns, 10**9)
        self.rewrite_index(name, stamps, found.st_ino, oid)

    def rewrite_index(
        self,
        name: str,
        stamps: tuple[int, int, int, int],
        inode: int | None = None,
        oid: bytes | None = None,
    ) -> None:
        """Give the index entry of `name` these seconds and nanoseconds of ctime and mtime."""
        path = self.git_dir / "index"
        data = bytearray(path.read_bytes())
        start = data.index(name.encode() + b"\0") - 62
        struct.pack_into(">4I", data, start, *stamps)
        if inode is not None:
            struct.pack_into(">I", data, start + 20, inode & 0xFFFFFFFF)
        if oid is not None:
            data[start + 40 : start + 60] = oid
        data[-20:] = hashlib.sha1(data[:-20]).digest()
        path.write_bytes(data)

    @property
    def git_dir(self) -> Path:
        """This worktree's git directory."""
        return Path(self.git("rev-parse", "--absolute-git-dir"))


@pytest.fixture
def make_repo(tmp_path: Path, home: Path) -> Callable[..., Repo]:
    """Makes repositories: empty ones by name, with options for `git init`."""

    def make(name: str = "repo", *options: str) -> Repo:
        path = tmp_path / name
        path.mkdir(parents=True)
        repo = Repo(path)
        repo.git("init", "--quiet", *options)
        return repo

    return make


@pytest.fixture
def repo(make_repo: Callable[..., Repo]) -> Repo:
    """A repository with two commits: README.md, src/train.py, .gitignore (which ignores *.log)."""
    made = make_repo()
    made.write("README.md", "# Model\n")
    made.write(".gitignore", "*.log\n")
    made.commit("First")
    made.write("src/train.py", "print('trained')\n")
    made.commit("Second")
    return made


@pytest.fixture
def remote(repo: Repo, tmp_path: Path) -> Repo:
    """A bare remote named origin, with the branch of `repo` pushed to it."""
    bare = Repo(tmp_path / "remote.git")
    bare.path.mkdir()
    bare.git("init", "--quiet", "--bare")
    repo.git("remote", "add", "origin", str(bare.path))
    repo.push()
    return bare


@pytest.fixture
def git_for_pre_commit(repo: Repo) -> None:
    """Skips under a git whose ls-files lacks what pre-commit asks of it (--deduplicate, git 2.31)."""
    if not repo.git("ls-files", "--deduplicate", check=False):
        pytest.skip("pre-commit itself needs git 2.31 here")


@dataclass(frozen=True)
class Ran:
    """What a program did."""

    code: int
    out: str
    err: str


@pytest.fixture
def program(repo_folder: Path) -> Callable[..., Ran]:
    """Runs the real program (`deriva-ml-hooks WORDS`) in a process of its own, by default in `repo`."""

    def run(
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "deriva_ml_hooks", *words],
            cwd=cwd or repo_folder,
            env={**os.environ, **(env or {})},
            input=(stdin or "").encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
        )
        return Ran(
            done.returncode,
            done.stdout.decode(errors="surrogateescape"),
            done.stderr.decode(errors="surrogateescape"),
        )

    return run


@pytest.fixture
def run_ci(tmp_path: Path, make_repo: Callable[..., Repo]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the script as CI does: in a shallow clone with a detached HEAD, of what `ref` is on the remote."""

    def run(
        ref: str, before: str, *, remote: Path, service: str = "github"
    ) -> subprocess.CompletedProcess[str]:
        clone = make_repo(f"ci-{len(os.listdir(tmp_path))}")
        clone.git("remote", "add", "origin", remote.as_uri())
        clone.git("fetch", "--quiet", "--no-tags", "--depth=1", "origin", f"+{ref}:refs/remotes/ci/it")
        clone.git("checkout", "--quiet", "--detach", "refs/remotes/ci/it")
        from deriva_ml_hooks.install import ci

        lines = ci.text(service).partition("set -e\n")[2]
        script = "set -e\n" + re.sub(r"(?m)^ *(pip install .*)?", "", lines)
        path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "FROM": before, "BRANCH": "main", "CI": "true", "PATH": path}
        return subprocess.run(
            ["bash", "-e", "-c", script], cwd=clone.path, env=env, capture_output=True, check=False, text=True
        )

    return run


@pytest.fixture
def repo_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where programs run: the worktree of `repo` when the test has one."""
    return request.getfixturevalue("repo").path if "repo" in request.fixturenames else tmp_path
