"""Real repositories to test on: a home of their own, and a small handle on git."""

from __future__ import annotations

import fcntl
import gc
import hashlib
import importlib
import io
import os
import pkgutil
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

import deriva_ml_hooks
from deriva_ml_hooks import cli

# Bytecode that a command leaves in the repository of a test would be untracked, on some machines only.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
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
[gc]
    auto = 0
[maintenance]
    auto = false
[receive]
    autogc = false
"""


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a plain git configuration; nothing of the machine's or the caller's gets through."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".gitconfig").write_text(GITCONFIG)
    _only_our_variables(monkeypatch, folder)
    return folder


def _only_our_variables(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in os.environ:
        if name.startswith(("GIT_", "DERIVA_ML_", "SETUPTOOLS_SCM", "GITHUB_", "PRE_COMMIT", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")  # git-lfs and the like are installed there


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


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories that git made once, to be copied: empty, repo, and pushed (repo with remote.git)."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / ".gitconfig").write_text(GITCONFIG)
    with pytest.MonkeyPatch.context() as patch:
        _only_our_variables(patch, folder)
        for name, options in (("empty", ()), ("repo", ()), ("remote.git", ("--bare",))):
            (folder / name).mkdir()
            Repo(folder / name).git("init", "--quiet", *options)
        _two_commits(Repo(folder / "repo"))
        shutil.copytree(folder / "repo", folder / "pushed")
        _with_remote(Repo(folder / "pushed"), folder / "remote.git")
    return folder


def _two_commits(repo: Repo) -> None:
    repo.write("README.md", "# Model\n")
    repo.write(".gitignore", "*.log\n")
    repo.commit("First")
    repo.write("src/train.py", "print('trained')\n")
    repo.commit("Second")


def _with_remote(repo: Repo, bare: Path) -> None:
    repo.git("remote", "add", "origin", str(bare))
    repo.push()


def _copied(template: Path, path: Path) -> Repo:
    """A copy whose index knows the stat data of the copied files, as after `git update-index --refresh`."""
    shutil.copytree(template, path, symlinks=True, dirs_exist_ok=True)
    index = path / ".git" / "index"
    if index.exists():
        data = bytearray(index.read_bytes())
        start = 12
        for _ in range(struct.unpack(">I", data[8:12])[0]):
            end = data.index(b"\0", start + 62)
            found = (path / os.fsdecode(bytes(data[start + 62 : end]))).stat()
            stamps = *divmod(found.st_ctime_ns, 10**9), *divmod(found.st_mtime_ns, 10**9)
            struct.pack_into(
                ">6I", data, start, *stamps, found.st_dev & 0xFFFFFFFF, found.st_ino & 0xFFFFFFFF
            )
            start = end + 8 - (end - start) % 8
        index.write_bytes(data[:-20] + hashlib.sha1(data[:-20]).digest())
    return Repo(path)


OF_INIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_TEMPLATE_DIR", "GIT_DEFAULT_HASH", "GIT_CONFIG_COUNT")


def _is_plain(home: Path) -> bool:
    """Whether git would make here what it made of the templates: nothing is configured otherwise."""
    return (home / ".gitconfig").read_text() == GITCONFIG and os.environ.keys().isdisjoint(OF_INIT)


@pytest.fixture
def make_repo(tmp_path: Path, home: Path, templates: Path) -> Callable[..., Repo]:
    """Makes repositories: empty ones by name, with options for `git init`."""

    def make(name: str = "repo", *options: str) -> Repo:
        path = tmp_path / name
        path.mkdir(parents=True)
        if not options and _is_plain(home):
            return _copied(templates / "empty", path)
        repo = Repo(path)
        repo.git("init", "--quiet", *options)
        return repo

    return make


@pytest.fixture
def repo(make_repo: Callable[..., Repo], tmp_path: Path, home: Path, templates: Path) -> Repo:
    """A repository with two commits: README.md, src/train.py, .gitignore (which ignores *.log)."""
    if _is_plain(home):
        return _copied(templates / "repo", tmp_path / "repo")
    made = make_repo()
    _two_commits(made)
    return made


@pytest.fixture
def remote(repo: Repo, tmp_path: Path, home: Path, templates: Path) -> Repo:
    """A bare remote named origin, with the branch of `repo` pushed to it."""
    bare = Repo(tmp_path / "remote.git")
    ours, theirs, pushed = repo.path / ".git", templates / "repo" / ".git", templates / "pushed" / ".git"
    untouched = ("HEAD", "config", "logs/HEAD")
    if _is_plain(home) and all((ours / n).read_bytes() == (theirs / n).read_bytes() for n in untouched):
        shutil.copytree(templates / "remote.git", bare.path)
        for name in ("refs/remotes", "logs/refs/remotes"):
            shutil.copytree(pushed / name, ours / name, dirs_exist_ok=True)
        config = (pushed / "config").read_text()
        (ours / "config").write_text(config.replace(str(templates / "remote.git"), str(bare.path)))
        return bare
    bare.path.mkdir()
    bare.git("init", "--quiet", "--bare")
    _with_remote(repo, bare.path)
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


# What a Python reads only when it starts, so that a fork of this one would not heed it.
AT_START = ("PYTHON", "LC_", "LANG")
FITS_IN_A_PIPE = 16384  # bytes, on every system
ENVIRONMENT_AT_START = dict(os.environ)


@pytest.fixture(scope="session")
def imported() -> None:
    """The whole package and what it needs, imported once: each fork finds it there."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(deriva_ml_hooks.__path__, "deriva_ml_hooks."):
            if not module.name.endswith(("__main__", "inside_python")):
                importlib.import_module(module.name)
        cli.main(["executions", "list", "--help"])


@pytest.fixture
def program(repo_folder: Path, imported: None) -> Callable[..., Ran]:
    """Runs the program (`deriva-ml-hooks WORDS`), by default in `repo`.

    It runs in a fork of this process: what it does to signals, descriptors, folder and variables is its own,
    and nothing is imported again. With `as_process=True`, and with variables that Python reads only when it
    starts, Python is started too.
    """

    def run(
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        as_process: bool = False,
    ) -> Ran:
        environment = {**os.environ, **(env or {})}
        given = (stdin or "").encode(errors="surrogateescape")
        changed = {name for name, value in environment.items() if ENVIRONMENT_AT_START.get(name) != value}
        if as_process or len(given) > FITS_IN_A_PIPE or any(name.startswith(AT_START) for name in changed):
            done = subprocess.run(
                [sys.executable, "-m", "deriva_ml_hooks", *words],
                cwd=cwd or repo_folder,
                env=environment,
                input=given,
                capture_output=True,
                check=False,
            )
            ran = done.returncode, done.stdout, done.stderr
        else:
            ran = _forked(words, cwd or repo_folder, environment, given)
        return Ran(ran[0], *(text.decode(errors="surrogateescape") for text in ran[1:]))

    return run


def _forked(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: bytes
) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of the program in a fork of this process."""
    with ExitStack() as ends, warnings.catch_warnings():
        # Python 3.12 warns of threads: xdist's only waits for its master.
        warnings.simplefilter("ignore", DeprecationWarning)
        pipes = []
        for reads, writes in (os.pipe(), os.pipe(), os.pipe()):
            reading = ends.enter_context(open(reads, "rb", buffering=0))
            pipes.append((reading, ends.enter_context(open(writes, "wb", buffering=0))))
        (given, giving), *pipes = pipes
        giving.write(stdin)  # fits, whoever reads it
        giving.close()
        child = os.fork()
        if child == 0:
            _be_the_program(words, cwd, environment, [given.fileno(), *(w.fileno() for _, w in pipes)])
        given.close()
        for _, writing in pipes:
            writing.close()
        read = {reading: b"" for reading, _ in pipes}
        waiting = set(read)
        while waiting:
            for stream in select.select(waiting, (), ())[0]:
                some = stream.read(65536)
                read[stream] += some
                if not some:
                    waiting.remove(stream)
        _, status = os.waitpid(child, 0)
    return (os.waitstatus_to_exitcode(status), *read.values())


def _be_the_program(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str], streams: Sequence[int]
) -> NoReturn:
    """Go on as the program in a process that was just started: never returns."""
    code = 70
    try:
        gc.freeze()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.chdir(cwd)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        tempfile.tempdir = None
        time.tzset()
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        sys.unraisablehook = sys.__unraisablehook__
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), "utf-8", "surrogateescape")
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), "utf-8")
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(2, "w")), "utf-8", "backslashreplace", line_buffering=True
        )
        sys.argv = ["deriva-ml-hooks", *words]
        try:
            code = cli.main()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


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
