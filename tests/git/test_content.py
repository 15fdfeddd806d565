"""Whether files hold what their blobs hold, in git's own terms."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.git.content import Entry, candid_settings, differing, modes_are_kept, object_id
from deriva_ml_hooks.git.discovery import measured

if TYPE_CHECKING:
    from tests.conftest import Repo


def entries(repo: Repo) -> dict[str, Entry]:
    found = {}
    for record in repo.git("ls-files", "-z", "--stage").split("\0")[:-1]:
        facts, _, path = record.partition("\t")
        mode, oid, _stage = facts.split(" ")
        found[path] = Entry(path, int(mode, 8), oid)
    return found


def changed(repo: Repo, *paths: str) -> list[str]:
    known = entries(repo)
    different, complaint = differing(measured(str(repo.path)), [known[path] for path in paths])
    assert complaint == ""
    return [entry.path for entry in different]


@pytest.mark.parametrize("form", ["sha1", "sha256"])
@pytest.mark.parametrize("data", [b"", b"one\n", b"\x00\xff" * 9999])
def test_ids_are_those_that_git_gives(repo: Repo, form: str, data: bytes) -> None:
    other = repo.path.parent / form
    repo.git("init", "--quiet", f"--object-format={form}", str(other))
    (repo.path / "data").write_bytes(data)
    oid = repo.git("-C", str(other), "hash-object", "--no-filters", str(repo.path / "data"))
    assert object_id("blob", data, like=oid) == oid


def test_nothing_to_ask_is_nothing_found(repo: Repo) -> None:
    assert differing(measured(str(repo.path)), []) == ([], "")


def test_each_file_is_compared_with_its_own_blob(repo: Repo) -> None:
    for name in "abcd":
        repo.write(name, f"{name}\n")
    repo.commit()
    repo.write("b", "other\n")
    (repo.path / "c").unlink()
    assert sorted(changed(repo, "a", "b", "c", "d")) == ["b", "c"]


def test_kind_and_mode_count_as_content(repo: Repo) -> None:
    for name in ("plain", "run", "link", "file"):
        repo.write(name, "target")
    repo.git("add", "--all")
    (repo.path / "link").unlink()
    (repo.path / "link").symlink_to("target")
    (repo.path / "run").chmod(0o755)
    repo.commit()
    names = ("plain", "run", "link", "file")
    assert changed(repo, *names) == []
    (repo.path / "plain").chmod(0o755)
    (repo.path / "run").chmod(0o644)
    (repo.path / "link").unlink()
    repo.write("link", "target")
    (repo.path / "file").unlink()
    (repo.path / "file").symlink_to("target")
    assert sorted(changed(repo, *names)) == sorted(names)


def test_content_is_what_git_would_store(repo: Repo) -> None:
    repo.write(".gitattributes", "*.txt text eol=crlf\n")
    repo.write("a.txt", "one\ntwo\n")
    repo.commit()
    repo.write("a.txt", "one\r\ntwo\r\n")
    assert changed(repo, "a.txt") == []


def test_what_git_cannot_hash_counts_as_different_and_is_told(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bin filter=gone\n")
    repo.write("a.bin")
    repo.write("b.txt")
    repo.commit()
    repo.git("config", "filter.gone.clean", "no-such-program-anywhere")
    repo.git("config", "filter.gone.required", "true")
    known = entries(repo)
    found, complaint = differing(measured(str(repo.path)), [known["a.bin"], known["b.txt"]])
    assert {entry.path for entry in found} == {"a.bin", "b.txt"}
    assert "a.bin" in complaint


@pytest.mark.skipif(sys.platform == "darwin", reason="names that this system does not take")
@pytest.mark.parametrize(
    "name",
    [b"a", b'"a"', b"a\n", b"\na", b"a\r", b"a\r\n", b'"a\r', b"a\\n\n", b"\xff", b" ", b"-w", b'\\"\n"'],
)
def test_a_name_reaches_git_as_it_is(repo: Repo, name: bytes) -> None:
    path = os.fsdecode(name)
    for decoy in ("a", "n", "w"):
        repo.write(decoy, "decoy")
    repo.write(path, "mine")
    repo.commit()
    assert changed(repo, path) == []
    repo.write(path, "decoy")
    assert changed(repo, path) == [path]


def test_modes_are_kept_here_whatever_git_is_told(repo: Repo) -> None:
    for value in ("true", "false"):
        repo.git("config", "core.fileMode", value)
        assert modes_are_kept(measured(str(repo.path)))
        assert "core.fileMode=true" in candid_settings(measured(str(repo.path)))
    assert not [name for name in os.listdir(repo.git_dir) if name.startswith("probe-")]


def test_a_file_that_is_the_commits_to_the_byte_is_no_change_though_a_newer_filter_would_alter_it(
    repo: Repo,
) -> None:
    repo.write("x.ipynb", "a\noutput\n")
    repo.commit()
    repo.git("config", "filter.strip.clean", "grep -v output")
    repo.write(".git/info/attributes", "*.ipynb filter=strip\n")
    (repo.path / "x.ipynb").write_text("a\noutput\n")
    assert repo.git("status", "--porcelain") == "M x.ipynb"
    entry = Entry("x.ipynb", 0o100644, repo.git("rev-parse", "HEAD:x.ipynb"))
    found = measured(str(repo.path))
    assert differing(found, [entry]) == ([], "")
    repo.write("x.ipynb", "b\noutput\n")
    assert differing(found, [entry]) == ([entry], "")
