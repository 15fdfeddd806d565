"""The cache: never another answer than reading anew would give, whatever happened to it in between."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import deriva_ml_hooks
from deriva_ml_hooks import provenance
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance import read
from deriva_ml_hooks.provenance.cache import cache_path

if TYPE_CHECKING:
    from tests.conftest import Repo

CACHE = importlib.import_module("deriva_ml_hooks.provenance.cache")  # its parent's name is the function's too


def cache_of(repo: Repo) -> Path:
    return Path(cache_path(measured(str(repo.path))))


def is_served(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the record comes from the cache: reading it anew is made to fail loudly."""

    def fail(*_: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(CACHE, "collect", fail)
        try:
            provenance(str(repo.path))
        except AssertionError:
            return False
    return True


def test_the_second_answer_comes_from_the_cache_and_is_the_first(
    repo: Repo, remote: Repo, monkeypatch: Any
) -> None:
    first = provenance(str(repo.path))
    assert is_served(repo, monkeypatch)
    assert provenance(str(repo.path)) == first == provenance(str(repo.path), refresh=True)


def test_it_lies_in_the_worktrees_own_git_directory(repo: Repo, tmp_path: Path, monkeypatch: Any) -> None:
    repo.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"), "HEAD~1")
    linked, main = provenance(str(tmp_path / "linked")), provenance(str(repo.path))
    assert linked.commit != main.commit
    assert cache_of(repo) == repo.git_dir / "deriva-ml-hooks" / "provenance.json"
    own = repo.git_dir / "worktrees" / "linked" / "deriva-ml-hooks" / "provenance.json"
    assert json.loads(own.read_bytes())["record"]["commit"] == linked.commit
    assert is_served(repo, monkeypatch)
    assert repo.git("status", "--porcelain", "--ignored") == ""


def test_whether_it_was_pushed_is_never_stored(repo: Repo, remote: Repo) -> None:
    assert provenance(str(repo.path)).pushed == "refs/remotes/origin/main"
    assert json.loads(cache_of(repo).read_bytes())["record"]["pushed"] is None


def test_a_push_is_seen_though_the_cache_is_warm(repo: Repo, remote: Repo, monkeypatch: Any) -> None:
    repo.commit("More")
    assert provenance(str(repo.path)).pushed is None
    before = cache_of(repo).read_bytes()
    repo.push()
    assert is_served(repo, monkeypatch)
    assert provenance(str(repo.path)).pushed == "refs/remotes/origin/main"
    assert cache_of(repo).read_bytes() == before


def configured(text: str) -> Callable[[Repo], object]:
    return lambda repo: repo.write("pyproject.toml", f"[tool.deriva-ml-hooks]\n{text}\n")


def git(*words: str) -> Callable[[Repo], object]:
    return lambda repo: repo.git(*words)


URLS = {"repository_url", "commit_url"}
# What is done in turn, and the fields it changes.
STEPS: tuple[tuple[str, Callable[[Repo], object], set[str]], ...] = (
    ("commit", lambda repo: repo.commit("More", file="x\n"), {"commit", "tree", "version", "commit_url"}),
    ("amend", git("commit", "--amend", "-qm", "Otherwise"), {"commit", "version", "commit_url"}),
    ("switch", git("switch", "-qc", "topic/x"), {"branch", "remote", "repository_url", "commit_url"}),
    ("switch back", git("switch", "-q", "main"), {"branch", "remote", "repository_url", "commit_url"}),
    ("rename the branch", git("branch", "-m", "trunk"), {"branch"}),
    ("detach", git("checkout", "-q", "--detach"), {"branch"}),
    ("attach", git("checkout", "-q", "trunk"), {"branch"}),
    ("add a tag behind", git("tag", "v1.0.0", "HEAD~1"), {"version"}),
    ("add a tag", git("tag", "v1.1.0"), {"tag", "version"}),
    ("annotate it", git("tag", "-fam", "x", "v1.1.0"), {"tag_object"}),
    ("annotate it anew", git("tag", "-fam", "y", "v1.1.0"), {"tag_object"}),
    ("pack refs", git("pack-refs", "--all"), set()),
    ("move the tag away", git("tag", "-fam", "y", "v1.1.0", "HEAD~2"), {"tag", "tag_object", "version"}),
    ("move it back", git("tag", "-fam", "z", "v1.1.0"), {"tag", "tag_object", "version"}),
    ("delete the tag", git("tag", "-d", "v1.1.0"), {"tag", "tag_object", "version"}),
    ("another URL", git("remote", "set-url", "origin", "git@gitlab.com:o/r.git"), URLS),
    ("a password", git("remote", "set-url", "origin", "https://a:b@gitlab.com/o/r.git"), set()),
    ("rewrite", git("config", "url.https://github.com/.insteadOf", "https://a:b@gitlab.com/"), URLS),
    ("a remote by configuration", configured('remote = "fork"'), {"remote", *URLS}),
    ("host", configured('remote = "fork"\nhosts = {"git.example.org" = "gitlab"}'), {"submodules", *URLS}),
    ("another host", configured('hosts = {"git.example.org" = "github"}'), {"remote", *URLS}),
    ("rename the remote", git("remote", "rename", "origin", "upstream"), {"remote", *URLS}),
    ("remove a remote", git("remote", "remove", "fork"), {"remote", *URLS}),
    ("remove the last", git("remote", "remove", "upstream"), {"remote", *URLS}),
    ("reset", git("reset", "-q", "--hard", "HEAD~1"), {"commit", "tree", "version", "tag"}),
    ("edit a file", lambda repo: repo.write("README.md", "edited\n"), set()),
)  # fmt: skip


def test_every_change_gives_the_values_that_reading_anew_gives(
    repo: Repo, make_repo: Callable[..., Repo]
) -> None:
    lib = make_repo("lib")
    lib.commit("Lib", x="x\n")
    repo.git("submodule", "--quiet", "add", str(lib.path), "sub")
    repo.git("config", "--file", ".gitmodules", "submodule.sub.url", "git@git.example.org:o/lib.git")
    repo.commit("Add a submodule")
    repo.git("remote", "add", "origin", "https://github.com/o/r")
    repo.git("remote", "add", "fork", "ssh://git@git.example.org/f/r.git")
    repo.git("config", "branch.topic/x.remote", "fork")
    before = provenance(str(repo.path)).as_json()
    for name, step, changes in STEPS:
        step(repo)
        after = provenance(str(repo.path)).as_json()
        assert after == provenance(str(repo.path), refresh=True).as_json(), name
        assert {key for key in after if after[key] != before[key]} - {"committed_at"} == changes, name
        before = after


def test_a_clone_made_whole_is_read_anew(repo: Repo, tmp_path: Path) -> None:
    repo.git("tag", "v1.0.0", "HEAD~1")
    repo.git("tag", "v1.1.0")
    repo.git("clone", "--quiet", "--depth=1", repo.path.as_uri(), str(tmp_path / "clone"))
    first = provenance(str(tmp_path / "clone"))
    assert (first.shallow, first.version) == (True, "1.1.0")
    repo.git("-C", str(tmp_path / "clone"), "fetch", "--quiet", "--unshallow")
    assert provenance(str(tmp_path / "clone")).shallow is False


def test_a_version_that_cannot_be_told_is_asked_for_again(repo: Repo) -> None:
    repo.write("pyproject.toml", "[tool.setuptools_scm]\nversion_scheme = 'nonsense'\n")
    repo.commit("Break it")
    assert provenance(str(repo.path)).version is None
    assert not cache_of(repo).exists()


def spoilt(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def spoil(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return spoil


def value(name: str, other: Any) -> Callable[[bytes], bytes]:
    return spoilt(lambda document: document["record"].update({name: other}))


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "not JSON": lambda _: b"nonsense",
    "not text": lambda _: bytes(range(256)),
    "zeros": lambda data: bytes(len(data)),
    "null": lambda _: b"null",
    "a number": lambda _: b"7",
    "a string": lambda _: b'"x"',
    "an array": lambda _: b"[]",
    "an empty object": lambda _: b"{}",
    "deeply nested": lambda _: b"[" * 100_000,
    "another program's": lambda _: b'{"schema": 1, "name": "x"}',
    "two documents": lambda data: data + data,
    "a future schema": spoilt(lambda document: document.update(schema=2)),
    "no schema": spoilt(lambda document: document.pop("schema")),
    "no key": spoilt(lambda document: document.pop("key")),
    "no digest": spoilt(lambda document: document.pop("digest")),
    "no record": spoilt(lambda document: document.pop("record")),
    "a record that is null": spoilt(lambda document: document.update(record=None)),
    "a record that is an array": spoilt(lambda document: document.update(record=[])),
    "a future record": value("schema", 2),
    "another commit": value("commit", "0" * 40),
    "another tree": value("tree", "0" * 40),
    "no tree": value("tree", None),
    "another version": value("version", "9.9.9"),
    "a tag that is a number": value("tag", 7),
    "submodules of another kind": value("submodules", [7]),
    "one letter changed": lambda data: data.replace(b'"main"', b'"mein"'),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_cache_that_is_spoilt_is_rebuilt(repo: Repo, monkeypatch: Any, name: str) -> None:
    expected = provenance(str(repo.path))
    cache = cache_of(repo)
    whole = cache.read_bytes()
    cache.write_bytes(SPOILT[name](whole))
    assert provenance(str(repo.path)) == expected
    assert cache.read_bytes() == whole
    assert is_served(repo, monkeypatch)


def test_a_cache_that_is_cut_off_anywhere_is_rebuilt(repo: Repo, monkeypatch: Any) -> None:
    expected = provenance(str(repo.path))
    cache = cache_of(repo)
    whole = cache.read_bytes()
    for length in range(0, len(whole) - 1, 50):
        cache.write_bytes(whole[:length])
        assert not is_served(repo, monkeypatch), length
    assert provenance(str(repo.path)) == expected
    assert cache.read_bytes() == whole


def test_the_cache_of_another_repository_is_not_trusted(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    other = make_repo("other")
    other.commit("Other", file="other\n")
    theirs, expected = provenance(str(other.path)), provenance(str(repo.path))
    cache_of(repo).write_bytes(cache_of(other).read_bytes())
    assert provenance(str(repo.path)) == expected
    document = json.loads(cache_of(repo).read_bytes())
    document["record"] = json.loads(cache_of(other).read_bytes())["record"]
    document["digest"] = json.loads(cache_of(other).read_bytes())["digest"]
    cache_of(repo).write_text(json.dumps(document))
    assert provenance(str(repo.path)) == expected != theirs


def folder_is_a_file(repo: Repo) -> None:
    (repo.git_dir / "deriva-ml-hooks").write_text("in the way\n")


def folder_leads_nowhere(repo: Repo) -> None:
    (repo.git_dir / "deriva-ml-hooks").symlink_to("/nowhere/at/all")


def file_is_a_folder(repo: Repo) -> None:
    (repo.git_dir / "deriva-ml-hooks" / "provenance.json" / "x").mkdir(parents=True)


@pytest.mark.parametrize("block", [folder_is_a_file, folder_leads_nowhere, file_is_a_folder])
def test_where_nothing_can_be_cached_the_record_is_read_every_time(
    repo: Repo, block: Callable[[Repo], None]
) -> None:
    expected = provenance(str(repo.path)).as_json()
    for path in sorted((repo.git_dir / "deriva-ml-hooks").iterdir()):
        path.unlink()
    (repo.git_dir / "deriva-ml-hooks").rmdir()
    block(repo)
    assert [provenance(str(repo.path)).as_json() for _ in range(2)] == [expected, expected]
    assert not list(repo.git_dir.glob("deriva-ml-hooks/.*"))


# The first answer loads everything that the second needs: nobody may not read root's Python.
AS_NOBODY = """
import json, os, sys
from deriva_ml_hooks import provenance
provenance(sys.argv[1])
if os.geteuid() == 0:
    os.seteuid(int(sys.argv[3]))
print(json.dumps(provenance(sys.argv[2]).as_json()))
"""


@pytest.mark.parametrize("mode", ["read-only folder", "unreadable file"])
def test_permissions_that_forbid_the_cache_do_not_forbid_the_record(
    repo: Repo, tmp_path_factory: pytest.TempPathFactory, mode: str
) -> None:
    here = Path(deriva_ml_hooks.__file__)
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in here.parents):
        pytest.skip("another user may not read this environment")
    folder = tmp_path_factory.mktemp("theirs")
    nobody = 65534 if os.geteuid() == 0 else os.geteuid()
    repo.git("clone", "--quiet", str(repo.path), str(folder / "clone"))
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, nobody, nobody, follow_symlinks=False)
        for path in (folder, *list(folder.parents)[:3]):
            path.chmod(path.stat().st_mode | 0o055)
    git_dir = folder / "clone" / ".git"
    if mode == "read-only folder":
        git_dir.chmod(0o555)
    else:
        (git_dir / "deriva-ml-hooks").mkdir(mode=0o777)
        (git_dir / "deriva-ml-hooks").chmod(0o777)
        (git_dir / "deriva-ml-hooks" / "provenance.json").write_text("{}")
        (git_dir / "deriva-ml-hooks" / "provenance.json").chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(repo.path), str(folder / "clone"), str(nobody)],
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        check=False,
    )
    git_dir.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["version"] == provenance(str(repo.path)).version
    assert (git_dir / "deriva-ml-hooks").exists() == (mode == "unreadable file")


WRITER = """
import os, sys
from deriva_ml_hooks import provenance
provenance(sys.argv[1], refresh=True)
os.write(1, b"x")
while True:
    provenance(sys.argv[1], refresh=True)
    os.write(1, b"x")
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_whole_file(repo: Repo) -> None:
    expected = provenance(str(repo.path))
    whole = cache_of(repo).read_bytes()
    for turns in range(1, 7):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(repo.path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert len(os.read(writer.stdout.fileno(), 1)) == 1
        # The pipe tells that it writes in a loop; how far it got when the signal comes differs by turn.
        for _ in range(turns * 50):
            assert cache_of(repo).read_bytes() == whole
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert writer.returncode == -signal.SIGKILL
        assert cache_of(repo).read_bytes() == whole
    assert provenance(str(repo.path)) == expected


@pytest.mark.slow
def test_two_writers_at_once_leave_a_whole_file(repo: Repo) -> None:
    provenance(str(repo.path))
    whole = cache_of(repo).read_bytes()
    script = "import sys; from deriva_ml_hooks import provenance\n"
    script += "for _ in range(20): provenance(sys.argv[1], refresh=True)"
    writers = [subprocess.Popen([sys.executable, "-c", script, str(repo.path)]) for _ in range(3)]
    while any(writer.poll() is None for writer in writers):
        assert cache_of(repo).read_bytes() == whole
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert [path.name for path in cache_of(repo).parent.iterdir()] == ["provenance.json"]


def test_a_record_is_not_stored_under_the_key_of_another_commit(repo: Repo, monkeypatch: Any) -> None:
    provenance(str(repo.path))
    before = cache_of(repo).read_bytes()
    original = read.collect

    def moved(*words: Any) -> Any:
        repo.commit("Meanwhile")
        return original(measured(str(repo.path)), *words[1:])

    repo.git("tag", "v1.0.0")  # so that the key no longer fits
    monkeypatch.setattr(CACHE, "collect", moved)
    record = provenance(str(repo.path))
    assert record.commit == repo.git("rev-parse", "HEAD")
    assert cache_of(repo).read_bytes() == before
