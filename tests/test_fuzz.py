# ruff: noqa: RUF001 - tables
"""Every parser of foreign bytes, on bytes that nobody meant: nothing but an error of ours comes out of it.

A few examples each; for minutes: `pytest tests/test_fuzz.py --hypothesis-profile deep`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deriva_ml_hooks import config, globs
from deriva_ml_hooks.catalog import errors, schema
from deriva_ml_hooks.catalog.settings import parse as parse_address
from deriva_ml_hooks.cli import DEFECT, main
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions import processes, rows
from deriva_ml_hooks.gate import image
from deriva_ml_hooks.git import (
    blobs,
    configuration,
    index,
    objects,
    process,
    pushes,
    remotes,
    status,
    tags,
    versions,
)
from deriva_ml_hooks.hooks import hook_ids
from deriva_ml_hooks.notebooks import cells
from deriva_ml_hooks.notebooks import strip as notebooks
from deriva_ml_hooks.redact import redact, redact_command, redacted
from deriva_ml_hooks.release import push
from deriva_ml_hooks.report import shown
from deriva_ml_hooks.runner.command.invocation import invocation
from deriva_ml_hooks.runner.command.launchers import LAUNCHERS
from deriva_ml_hooks.runner.notebook.parameters import read_cell

if TYPE_CHECKING:
    from tests.conftest import Repo

OID = b"a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"
DEEP = settings.get_current_profile_name() == "deep"
few = settings(
    max_examples=1_500 if DEEP else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def of(*pieces: bytes) -> st.SearchStrategy[bytes]:
    """Bytes put together from what the format is made of, and any others between."""
    return st.lists(st.one_of(st.sampled_from(pieces), st.binary(max_size=6)), max_size=16).map(b"".join)


def words(*pieces: str) -> st.SearchStrategy[str]:
    return st.lists(
        st.one_of(st.sampled_from(pieces), st.text(st.characters(codec=None), max_size=6)), max_size=12
    ).map("".join)


KEYS = st.sampled_from(
    [
        *(
            "nbformat",
            "nbformat_minor",
            "cells",
            "metadata",
            "cell_type",
            "source",
            "outputs",
            "code",
            "tags",
        ),
        *(
            "tables",
            "column_definitions",
            "foreign_keys",
            "name",
            "rights",
            "Execution",
            "Status",
            "Workflow",
        ),
        *("path", "blob", "mode", "files", "clean", "remote", "commit", "tree", "schema", "record", "key"),
        *("id", "keep_output", "execution_count", "output_type", "data", "text/plain", "worksheets"),
        *(
            "foreign_key_columns",
            "referenced_columns",
            "column_name",
            "table_name",
            "submodules",
            "lockfiles",
        ),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


def accepted(line: bytes) -> bool:
    """Whether a line is a glob that the configuration takes."""
    with suppress(ValueError):
        return globs.matcher([line]) is not None
    return False


def git_said(parser: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """A parser of git's words where it is called: what git cannot have said is an error of ours there."""

    def parse(data: bytes) -> object:
        with process.answer("x"):
            return parser(data)

    return parse


OF_GIT: dict[str, tuple[Callable[[bytes], object], st.SearchStrategy[bytes]]] = {
    "status": (
        git_said(status.parse_status),
        of(
            *(b"# branch.oid ", OID, b"(initial)", b"\0", b" ", b"1 .M N... 100644 100644 100644 ", b"2 R. "),
            *(b"u UU N... ", b"? ", b"! ", b"SC..", b"a.py", b"R100 ", b"160000 "),
        ),
    ),
    "ls-files": (
        git_said(index.parse_listing),
        of(
            b"H 100644 ",
            OID,
            b" 0\t",
            b"S ",
            b"? ",
            b"a/b",
            b"\0",
            b"  ctime: 1:2\n",
            b"  flags: 0\n",
            b" 1\t",
        ),
    ),
    "diff-index": (blobs.parse_raw, of(b":100644 100644 ", OID, b" ", b"M\0", b"A\0", b"U\0", b"a\0")),
    "cat-file": (
        git_said(lambda data: objects.parse(data, with_data=True)),
        of(OID, b" blob ", b"3\n", b"abc\n", b" missing\n", b"-5\n", b"99999999999999999999\n", b"\n"),
    ),
    "config": (
        git_said(configuration.parse),
        of(b"local", b"\0", b"core.bare", b"\n", b"true", b"url.x.y.insteadof", b"."),
    ),
    "for-each-ref": (
        git_said(tags.parse_refs),
        of(b"refs/tags/v1.0.0", b"\0", OID, b"tag", b"commit", b"\n", b"refs/heads/x"),
    ),
    "ls-remote": (git_said(tags.parse_remote_refs), of(OID, b"\t", b"refs/tags/v1", b"^{}", b"\n", b"HEAD")),
    "a tag": (
        git_said(tags.parse_tag_object),
        of(b"object ", OID, b"\ntype commit", b"\ntag v1", b"\n\n", b"\n"),
    ),
    "a push": (
        lambda data: (push._rejection(os.fsdecode(data)), push.fatal(os.fsdecode(data))),
        of(b"!\t", b"a:b\t", b"[rejected] (x)", b"\n", b"fatal: ", b"\t"),
    ),
    "pre-push": (
        pushes.parse_ref_updates,
        of(b"refs/heads/main ", OID, b" ", b"\n", b"0" * 40, b"(delete) ", b"\r\n"),
    ),
    "globs": (
        lambda data: [
            globs.matcher(filter(accepted, data.split(b"\n")))(path) for path in (b"a/b.py", data[:20])
        ],
        of(b"*", b"**/", b"[a-z]", b"[!", b"]", b"?", b"/", b"\\", b"!", b"\n", b"[[:alpha:]]", b"#"),
    ),
}


@pytest.mark.parametrize("name", OF_GIT)
def test_bytes_of_git(name: str) -> None:
    parser, inputs = OF_GIT[name]

    @few
    @given(inputs)
    def never_another_error(data: bytes) -> None:
        with suppress(HooksError):
            parser(data)

    never_another_error()


def schema_of(document: Any) -> None:
    with errors.sensible("h.org"):
        schema.read(document, "deriva-ml", "h.org/1")


def located(text: str) -> object:
    here = os.getcwd()
    argv = text.split(" ") or [""]
    return invocation(argv, cwd=here, top=here, executable=None)


URL = words(
    *(
        "https://",
        "git@",
        ":",
        "/",
        "host.org",
        "ssh://",
        "@",
        "[::1]",
        ":22",
        "file://",
        "%2",
        "?",
        "#",
        "\n",
    ),
    *("github.com", "ext::", "..", ".git", "o/r", "\0", "[", "]", ":99999"),
)
TEXTS: dict[str, tuple[Callable[[str], object], st.SearchStrategy[str]]] = {
    "a version": (
        lambda text: (versions.version_of(text), versions.semver(text), versions.right_spelling(text, "v")),
        words("v", "1", ".", "0", "-rc", "+", "a", "00", "９", "post", "!", "9" * 5000),
    ),
    "a remote's address": (lambda text: remotes.public_url(text, base="/x", hosts={"h.org": "gitlab"}), URL),
    "a catalog's address": (parse_address, URL),
    "a catalog's words": (
        lambda text: str(errors.of_answer("h.org", 409, text)),
        words("<html>", "Detail", "ERROR", "\n", "'", '"', "\x1b", "duplicate key"),
    ),
    "a command line": (
        located,
        words(*sorted(LAUNCHERS), " ", "-m", "-c", "--", "-", "x.py", "=", "\0", "/", "..", "-C", "-f"),
    ),
    "a cell of parameters": (
        read_cell,
        words("a", " = ", "1", "'", "[", "\n", "%x", "!", ":", "\\", "#", "(", "f'{"),
    ),
    "a cell": (
        lambda text: cells.parsed(text),
        words("a", "=", "(", "\n", "  ", "%pip", "!", "?", "\\", "'"),
    ),
    "a process": (
        lambda text: (
            processes.is_gone(2**40, text),
            processes.is_gone(os.getpid(), text),
            processes.is_foreign(text),
        ),
        words("/", "1", "linux", "0"),
    ),
    "a text with secrets": (
        lambda text: shown(redact(text)),
        words("token=", "://", "@", "'", "-p ", "\x1b", "eyJ"),
    ),
    "words with secrets": (
        lambda text: redact_command(text.split(" ")),
        words("--token", " ", "=", "-p", "-u", "x:y"),
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(name: str) -> None:
    parser, inputs = TEXTS[name]

    @few
    @given(inputs)
    def never_another_error(text: str) -> None:
        with suppress(HooksError):
            parser(text)

    never_another_error()


DOCUMENTS: dict[str, Callable[[Any], object]] = {
    "a notebook": lambda value: [
        notebooks.is_clean(json.dumps(value).encode()),
        notebooks.strip(json.dumps(value).encode()),
    ],
    "a catalog's schema": schema_of,
    "secrets in JSON": redacted,
    "the file of an image": lambda value: written(json.dumps(value).encode(), image._read),
}


def written(data: bytes, read: Callable[[str], object], name: str = "x.json") -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        Path(path).write_bytes(data)
        return read(path)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(name: str) -> None:
    @few
    @given(JSON)
    def never_another_error(value: Any) -> None:
        with suppress(HooksError):
            DOCUMENTS[name](value)

    never_another_error()


TOML = of(
    *(
        b"[tool.deriva-ml-hooks]\n",
        b"[tool.deriva-ml-hooks.check-large-files]\n",
        b"max-kb",
        b" = ",
        b"\n",
        b'"',
        b"[",
    ),
    *(
        b"]",
        b"ledger",
        b"untracked-ignore",
        b"unpushed",
        b"catalog",
        b"hosts",
        b"{",
        b"}",
        b"1",
        b"true",
        b"\\u0000",
    ),
    *(b"9" * 5000, b"1e400", b"nan", b"'''", b"#", b"[[tool]]\n", b"tool", b".", b"pattern", b"1979-05-27"),
    *(b'remote = "origin"\n', b'ledger = "\\u0000"\n', b"catalog-timeout = inf\n"),
)


@few
@given(TOML)
def test_configuration(data: bytes) -> None:
    for name in ("pyproject.toml", ".deriva-ml-hooks.toml"):
        with suppress(HooksError):
            written(data, lambda path: config.load(os.path.dirname(path)), name)
    for hook in hook_ids():
        with suppress(HooksError):
            written(
                data,
                lambda path, hook=hook: config.hook_settings(os.path.dirname(path), hook),
                "pyproject.toml",
            )


@few
@given(
    st.lists(
        st.none()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats()
        | st.text(max_size=8)
        | st.binary(max_size=4)
        | JSON.map(json.dumps),
        min_size=len(rows.COLUMNS),
        max_size=len(rows.COLUMNS),
    )
)
def test_rows_of_a_ledger(values: list[Any]) -> None:
    rows.read(values)


@pytest.fixture
def recorded(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger with one execution, in the repository that is the working directory."""
    monkeypatch.chdir(repo.path)
    subprocess.run(
        [sys.executable, "-m", "deriva_ml_hooks", "run", "--quiet", "--", "true"],
        check=True,
        capture_output=True,
    )
    (ledger,) = repo.git_dir.glob("deriva-ml-hooks/*.sqlite3")
    return ledger


COMMANDS = (
    ["executions", "list"],
    ["executions", "list", "--json"],
    ["executions", "show", "0"],
    ["verify"],
)


def test_a_damaged_ledger_in_every_column(recorded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    values = (
        None,
        5,
        1e400,
        "",
        "\0",
        "{}",
        "[]",
        '{"a": 1}',
        "[null]",
        "x" * 5000,
        b"\xff",
        '"\\ud800"',
        "[" * 3000,
    )
    for column in rows.COLUMNS:
        before = recorded.read_bytes()
        for value in values if DEEP else values[1:8:4]:
            with suppress(sqlite3.IntegrityError), sqlite3.connect(recorded) as connection:
                connection.execute(f"UPDATE executions SET {column} = ?", (value,))
            connection.close()
            for command in COMMANDS if DEEP else COMMANDS[1:3]:
                code = main(command)
                assert code != DEFECT, (column, value, command, capfd.readouterr().err)
            recorded.write_bytes(before)


@pytest.mark.parametrize(
    "garbling",
    [
        *("head -c 0", "head -c 17", "tr '\\000' x", "tr 0-9a-f g-v"),
        *("head -c 1", "head -c 60", "tr ' ' '\\t'", "tr '\\t' ' '", "tr '\\n' '\\000'"),
    ],
)
def test_a_git_that_writes_anything(
    repo: Repo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    garbling: str,
) -> None:
    repo.git("tag", "--annotate", "-m", "x", "v1.0.0")
    repo.git("remote", "add", "origin", "https://example.org/o/r")
    repo.write("big.bin", b"x" * 600_000)
    repo.git("add", "--all")
    real = process.run("--exec-path", cwd=str(repo.path)).checked().decode().strip()
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "git"
    fake.write_text(f"#!/bin/sh\n'{real}/git' \"$@\" | {garbling}\n")
    fake.chmod(0o755)
    monkeypatch.chdir(repo.path)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    commands = (
        *(["check"], ["provenance", "--refresh"], ["hook", "check-large-files"]),
        *(["hook", "check-version-tags"], ["check", "--paranoid"], ["version"], ["doctor"]),
        *(["hook", "check-branch-name"], ["hook", "check-clean-tree"], ["hook", "cache-provenance"]),
        ["bump-version", "--no-push", "--dry-run"],
    )
    defects = []
    for command in commands:
        code = main(command)
        said = capfd.readouterr().err
        if code == DEFECT:
            defects.append((command, said[-500:]))
    assert not defects


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".git/packed-refs",
            ".git/config",
            ".git/HEAD",
            ".git/index",
            ".git/refs/heads/main",
            ".git/shallow",
        ),
        *(".gitmodules", ".gitattributes", ".git/info/attributes", ".git/deriva-ml-hooks/provenance.json"),
        *(".git/refs/tags/v1.0.0", ".git/MERGE_HEAD", ".git/commondir", ".git/objects/info/alternates"),
    ],
)
def test_files_of_a_git_directory_that_hold_anything(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(repo.path)
    defects = []
    for data in (
        b"",
        b"\0",
        b"\xff\xfe",
        b"[" * 5000,
        b"{}",
        b'{"schema": 1, "key": []}',
        b"ref: \n",
        OID + b"\n",
    ):
        path = repo.path / name
        before = path.read_bytes() if path.exists() else None
        repo.write(name, data)
        for command in (
            ["check"],
            ["provenance"],
            ["hook", "check-version-tags"],
            ["hook", "cache-provenance"],
        ):
            if main(command) == DEFECT:
                defects.append((data[:20], command, capfd.readouterr().err[-500:]))
        path.unlink()
        if before is not None:
            repo.write(name, before)
    assert not defects
