"""Who began a run, and what its standard input was: as the record has it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import pwd
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.executions import circumstances
from deriva_ml_hooks.git.discovery import measured

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name


@contextlib.contextmanager
def standard_input(descriptor: int | None) -> Iterator[None]:
    """Have `descriptor` (None: nothing at all) for standard input of this process."""
    before = os.dup(0)
    try:
        if descriptor is None:
            os.close(0)
        else:
            os.dup2(descriptor, 0)
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


class TestAgent:
    def test_is_gits_identity_and_the_account(self, repo: Repo) -> None:
        found = circumstances.agent(measured(str(repo.path)))
        assert found == {"name": "Ada", "email": "ada@example.org", "account": ACCOUNT}

    def test_is_the_identity_that_the_configuration_includes_here(self, repo: Repo, home: Path) -> None:
        (home / "work").write_text("[user]\n\tname = Ada at work\n")
        include = f'[includeIf "gitdir:{repo.path}/"]\n\tpath = {home}/work\n'
        (home / ".gitconfig").write_text((home / ".gitconfig").read_text() + include)
        found = circumstances.agent(measured(str(repo.path)))
        assert repo.git("config", "user.name") == "Ada at work"
        assert found == {"name": "Ada at work", "email": "ada@example.org", "account": ACCOUNT}

    def test_is_the_account_where_git_knows_nobody(
        self, repo: Repo, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (home / ".gitconfig").write_text("[user]\n\tname =\n")
        monkeypatch.setenv("USER", "somebody-else")
        found = circumstances.agent(measured(str(repo.path)))
        assert found == {"name": None, "email": None, "account": ACCOUNT}


class TestStandardInput:
    def described(self, descriptor: int | None, *tops: str) -> dict[str, Any]:
        with standard_input(descriptor):
            return circumstances.standard_input(tops)

    def test_of_a_terminal_nothing_a_pipe_a_socket_and_a_device(self) -> None:
        leader, terminal = pty.openpty()
        reading, writing = os.pipe()
        one, other = socket.socketpair()
        null, zero = os.open(os.devnull, os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)
        try:
            found = [self.described(d)["kind"] for d in (terminal, None, null, reading, one.fileno(), zero)]
        finally:
            for descriptor in (leader, terminal, reading, writing, null, zero):
                os.close(descriptor)
            one.close()
            other.close()
        assert found == ["terminal", "nothing", "nothing", "pipe", "pipe", "device"]

    def test_of_a_file_is_its_path_hash_and_where_its_reading_stands(self, tmp_path: Path) -> None:
        data = os.urandom(3 << 20)
        (tmp_path / "in.bin").write_bytes(data)
        with open(tmp_path / "in.bin", "rb") as file:
            os.lseek(file.fileno(), 5, os.SEEK_SET)
            found = self.described(file.fileno(), "/nowhere", str(tmp_path))
            assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 5
            elsewhere = self.described(file.fileno())
        digest = hashlib.sha256(data).hexdigest()
        assert found == {"kind": "file", "path": "in.bin", "sha256": digest, "offset": 5}
        assert elsewhere["path"] == str(tmp_path / "in.bin")

    def test_of_a_file_without_a_name_is_its_hash(self) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(b"here document")
            file.flush()
            file.seek(0)
            found = self.described(file.fileno())
        digest = hashlib.sha256(b"here document").hexdigest()
        assert found == {"kind": "file", "path": None, "sha256": digest, "offset": 0}

    def test_of_a_file_that_is_only_written_is_its_path(self, tmp_path: Path) -> None:
        with open(tmp_path / "out", "wb") as file:
            found = self.described(file.fileno(), str(tmp_path))
        assert found == {"kind": "file", "path": "out", "sha256": None, "offset": None}


@pytest.fixture
def reads(repo: Repo) -> Callable[..., None]:
    """Runs the real program with a file of the repository for standard input."""

    def run(*words: str, file: str) -> None:
        with open(repo.path / file, "rb") as stream:
            subprocess.run(
                [sys.executable, "-m", "deriva_ml_hooks", *words], cwd=repo.path, stdin=stream, check=True
            )

    return run


@pytest.mark.parametrize("isolated", [False, True])
def test_a_record_holds_both_and_shows_them(
    repo: Repo, program: Program, reads: Callable[..., None], *, isolated: bool
) -> None:
    reads("run", *(["--isolated"] if isolated else []), "--", "cat", file="src/train.py")
    (record,) = json.loads(program("executions", "list", "--json").out)
    digest = hashlib.sha256((repo.path / "src/train.py").read_bytes()).hexdigest()
    assert record["agent"] == {"name": "Ada", "email": "ada@example.org", "account": ACCOUNT}
    assert record["stdin"] == {"kind": "file", "path": "src/train.py", "sha256": digest, "offset": 0}
    assert record["results"] == []
    shown = program("executions", "show", record["id"]).out
    assert re.search(rf"^input +src/train.py \({digest}\)$", shown, re.MULTILINE)
    assert re.search(rf"^by +Ada <ada@example.org> account {ACCOUNT}$", shown, re.MULTILINE)


class TestResults:
    MAKES = (
        "mkdir -p out; echo 1 > out/a; ln -s a out/link; echo 2 > 'b \u00e9'; echo 3 > b.log;"
        " echo '#' >> src/train.py"
    )

    def made(self, program: Program, *words: str) -> dict[str, str]:
        assert program("run", *words, "--", "sh", "-c", self.MAKES).code == 0
        (record,) = json.loads(program("executions", "list", "--json").out)
        return {result["path"]: result["sha256"] for result in record["results"]}

    def test_of_a_run_are_the_files_that_differ_afterwards(self, repo: Repo, program: Program) -> None:
        found = self.made(program)
        assert found.keys() == {"src/train.py", "out/a", "b \u00e9"}
        for path, digest in found.items():
            assert digest == hashlib.sha256((repo.path / path).read_bytes()).hexdigest()

    def test_of_an_isolated_run_are_also_the_ignored_files_of_its_outputs(
        self, repo: Repo, program: Program
    ) -> None:
        found = self.made(program, "--isolated", "--output", "b.log", "--output", "src")
        assert found["b.log"] == hashlib.sha256((repo.path / "b.log").read_bytes()).hexdigest()
        assert found.keys() == {"src/train.py", "out/a", "b \u00e9", "b.log"}
