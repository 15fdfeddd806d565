"""Every field of the record, on repositories of both hash functions, and whether the commit was pushed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.api import provenance
from deriva_ml_hooks.cli import main
from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.remotes import chosen
from deriva_ml_hooks.provenance.read import collect, pushed_ref
from deriva_ml_hooks.provenance.record import Provenance

if TYPE_CHECKING:
    from tests.conftest import Repo

HOSTS = {"git.example.org": "gitlab"}


def record_of(path: Path) -> Provenance:
    repository = measured(str(path))
    return collect(repository, chosen(repository, configured=None, hosts=HOSTS), HOSTS)


def pushed(repo: Repo, remote: str | None = None) -> str | None:
    repository = measured(str(repo.path))
    return pushed_ref(repository, chosen(repository, configured=remote, hosts={}))


@pytest.fixture(params=["sha1", "sha1, packed", "sha256", "sha256, packed"])
def either(request: pytest.FixtureRequest, make_repo: Callable[..., Repo]) -> tuple[Repo, Callable[[], None]]:
    """A repository of either hash function, and what packs it when it is to be packed."""
    hashes, _, packed = request.param.partition(", ")
    made = make_repo("either", f"--object-format={hashes}")
    made.commit("First", file="x\n")
    made.commit("Second", file="y\n")
    return made, (lambda: made.git("gc", "--quiet")) if packed else lambda: None


def test_the_record_is_what_git_says(either: tuple[Repo, Callable[[], None]]) -> None:
    repo, pack = either
    repo.write("uv.lock", "lock\n")
    repo.write("requirements-dev.txt", "pytest\n")
    repo.commit("Lock")
    repo.git("tag", "--annotate", "-m", "x", "v1.0.0")
    repo.git("remote", "add", "origin", "git@github.com:o/r.git")
    pack()
    record = record_of(repo.path)
    head = repo.git("rev-parse", "HEAD")
    assert record.as_json() == {
        "schema": 1,
        "commit": head,
        "tree": repo.git("rev-parse", "HEAD^{tree}"),
        "committed_at": repo.git("log", "-1", "--format=%cI").replace("Z", "+00:00"),
        "branch": "main",
        "tag": "v1.0.0",
        "tag_object": repo.git("rev-parse", "v1.0.0"),
        "version": "1.0.0",
        "repository_url": "https://github.com/o/r",
        "commit_url": f"https://github.com/o/r/commit/{head}",
        "remote": "origin",
        "pushed": None,
        "submodules": [],
        "lockfiles": [
            {"path": "requirements-dev.txt", "blob": repo.git("rev-parse", "HEAD:requirements-dev.txt")},
            {"path": "uv.lock", "blob": repo.git("rev-parse", "HEAD:uv.lock")},
        ],
        "shallow": False,
        "no_version": None,
    }


def test_what_is_not_there_is_null(either: tuple[Repo, Callable[[], None]]) -> None:
    repo, pack = either
    pack()
    repo.git("checkout", "--quiet", "--detach")
    record = record_of(repo.path)
    for name in ("branch", "tag", "tag_object", "repository_url", "commit_url", "remote", "pushed"):
        assert getattr(record, name) is None, name
    assert (record.submodules, record.lockfiles, record.shallow) == ((), (), False)


@pytest.mark.parametrize("zone", ["+0000", "-0000", "+0530", "-0330", "+1400", "-1200"])
def test_the_time_is_the_committers_in_their_zone(repo: Repo, zone: str) -> None:
    dates = {"GIT_COMMITTER_DATE": f"1700000000 {zone}", "GIT_AUTHOR_DATE": "1600000000 +0100"}
    repo.git("commit", "--quiet", "--allow-empty", "-m", "Then", env=dates)
    told = datetime.fromisoformat(record_of(repo.path).committed_at)
    assert told.timestamp() == 1_700_000_000
    assert told.strftime("%z") == zone.replace("-0000", "+0000")


@pytest.mark.parametrize("zone", ["+9900", "-7530", "+051800", "+0000000"])
def test_a_time_zone_that_cannot_be_does_no_harm(repo: Repo, zone: str) -> None:
    tree = repo.git("rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor A <a@b> 1700000000 {zone}\ncommitter A <a@b> 1700000000 {zone}\n\nOdd\n"
    done = subprocess.run(
        ["git", "hash-object", "--literally", "-t", "commit", "-w", "--stdin"],
        cwd=repo.path,
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    repo.git("update-ref", "HEAD", done.stdout.decode().strip())
    assert datetime.fromisoformat(record_of(repo.path).committed_at).timestamp() == 1_700_000_000


@pytest.mark.parametrize("branch", ["main", "feature/a/b", "über", "v1.0.0"])
def test_the_branch_is_named_without_its_prefix(repo: Repo, branch: str) -> None:
    repo.git("tag", "v1.0.0", "HEAD~1")
    repo.git("checkout", "--quiet", "-B", branch)
    assert record_of(repo.path).branch == branch


@pytest.mark.parametrize(
    ("lightweight", "annotated", "tag"),
    [
        ([], [], None),
        (["latest", "best-model"], ["release"], None),
        (["v1.0.0"], [], "v1.0.0"),
        (["v2.0.0"], ["v1.0.0"], "v1.0.0"),
        (["v1.9.0", "v1.10.0", "v1.2.0"], [], "v1.10.0"),
        (["v3.0.0"], ["v1.9.0", "v1.10.0", "nightly"], "v1.10.0"),
        ([], ["v1.0.0rc9", "v1.0.0rc10"], "v1.0.0rc10"),
        ([], ["v1.0.0-rc.1", "v1.0.0"], "v1.0.0"),
        ([], ["v1.0.0.post1", "v1.0.0"], "v1.0.0.post1"),
        ([], ["data/v9.0.0", "v1.0.0"], "v1.0.0"),
    ],
)
def test_the_tag_is_the_version_on_head(
    repo: Repo, lightweight: list[str], annotated: list[str], tag: str | None
) -> None:
    for name in lightweight:
        repo.git("tag", name)
    for name in annotated:
        repo.git("tag", "--annotate", "-m", name, name)
    repo.git("tag", "--annotate", "-m", "behind", "v99.0.0", "HEAD~1")
    repo.git("tag", "--annotate", "-m", "a tree", "v98.0.0", "HEAD^{tree}")
    record = record_of(repo.path)
    assert record.tag == tag
    assert record.tag_object == (repo.git("rev-parse", str(tag)) if tag in annotated else None)


def test_a_tag_of_a_tag_is_on_the_commit_they_lead_to(either: tuple[Repo, Callable[[], None]]) -> None:
    repo, pack = either
    repo.git("tag", "--annotate", "-m", "inner", "inner")
    repo.git("tag", "--annotate", "-m", "outer", "v1.0.0", "inner")
    pack()
    record = record_of(repo.path)
    assert (record.tag, record.tag_object) == ("v1.0.0", repo.git("rev-parse", "v1.0.0"))


def test_a_linked_worktree_has_a_record_of_its_own(repo: Repo, tmp_path: Path) -> None:
    repo.git("tag", "v1.0.0", "HEAD~1")
    repo.git("worktree", "add", "--quiet", "-b", "topic/x", str(tmp_path / "linked"), "HEAD~1")
    linked, main = record_of(tmp_path / "linked"), record_of(repo.path)
    assert (linked.commit, linked.branch, linked.tag) == (
        repo.git("rev-parse", "HEAD~1"),
        "topic/x",
        "v1.0.0",
    )
    assert (main.commit, main.branch, main.tag) == (repo.git("rev-parse", "HEAD"), "main", None)


def test_a_shallow_clone_says_so(repo: Repo, tmp_path: Path) -> None:
    repo.git("clone", "--quiet", "--depth=1", repo.path.as_uri(), str(tmp_path / "clone"))
    record = record_of(tmp_path / "clone")
    assert (record.shallow, record.version, record.commit) == (True, None, repo.git("rev-parse", "HEAD"))
    assert pushed_ref(
        measured(str(tmp_path / "clone")),
        chosen(measured(str(tmp_path / "clone")), configured=None, hosts={}),
    ) == ("refs/remotes/origin/main")


def test_before_the_first_commit_there_is_no_record(make_repo: Callable[..., Repo]) -> None:
    with pytest.raises(GitError, match="no commit yet"):
        record_of(make_repo("empty").path)


def test_only_files_at_the_top_are_lockfiles(repo: Repo) -> None:
    names = [
        "uv.lock",
        "poetry.lock",
        "pixi.lock",
        "requirements.txt",
        "requirements-gpu.txt",
        "environment.yml",
    ]
    for name in [
        *names,
        "sub/uv.lock",
        "Requirements.txt",
        "requirements.in",
        "xuv.lock",
        "package-lock.json",
    ]:
        repo.write(name, f"{name}\n")
    (repo.path / "requirements-link.txt").symlink_to("uv.lock")
    repo.write("requirements.d.txt/x")
    repo.commit("Lock")
    repo.write("uv.lock", "changed since\n")
    lockfiles = {lockfile["path"]: lockfile["blob"] for lockfile in record_of(repo.path).lockfiles}
    assert lockfiles == {name: repo.git("rev-parse", f"HEAD:{name}") for name in names}


@pytest.mark.parametrize(
    ("remote", "url", "public"),
    [
        (None, "https://github.com/o/lib.git", "https://github.com/o/lib"),
        (None, "git@git.example.org:o/lib.git", "https://git.example.org/o/lib"),
        (None, "https://ada:Hunter2@host.org/o/lib.git?token=x", "https://host.org/o/lib.git"),
        (None, "../lib", None),
        ("git@github.com:o/r.git", "../lib.git", "https://github.com/o/lib"),
        ("git@github.com:o/r.git", "./lib", "https://github.com/o/r/lib"),
        ("git@github.com:o/r.git", "../../p/lib.git", "https://github.com/p/lib"),
        ("git@github.com:o/r.git", "../../../../../p/lib.git", "https://github.com/p/lib"),
        ("git@git.example.org:g/s/r.git", "../lib.git", "https://git.example.org/g/s/lib"),
        ("ssh://git@host.org:22/o/r.git", "../lib.git", "ssh://host.org:22/o/lib.git"),
        ("/srv/git/r.git", "../lib.git", "file:///srv/git/lib.git"),
        ("git@github.com:o/r.git", "../lib.git?private_token=Hunter2", "https://github.com/o/lib"),
    ],
)
def test_a_submodule_is_named_with_its_commit_and_public_url(
    repo: Repo, make_repo: Callable[..., Repo], remote: str | None, url: str, public: str | None
) -> None:
    lib = make_repo("lib")
    commit = lib.commit("Lib", x="x\n")
    repo.git("submodule", "--quiet", "add", str(lib.path), "deps/lib")
    repo.git("config", "--file", ".gitmodules", "submodule.deps/lib.url", url)
    repo.git("config", "--file", ".gitmodules", "submodule.gone.path", "gone")
    repo.git("config", "--file", ".gitmodules", "submodule.gone.url", "https://github.com/o/gone")
    repo.commit("Add a submodule")
    repo.git("config", "--file", ".gitmodules", "submodule.deps/lib.url", "https://host.org/changed/since")
    if remote is not None:
        repo.git("remote", "add", "origin", remote)
    assert record_of(repo.path).submodules == ({"path": "deps/lib", "commit": commit, "url": public},)


def test_a_list_of_submodules_that_cannot_be_read_is_an_error(repo: Repo) -> None:
    repo.write(".gitmodules", "[submodule\n")
    repo.commit("Break it")
    with pytest.raises(GitError, match=r"\.gitmodules"):
        record_of(repo.path)


# ---- pushed


def test_without_a_remote_nothing_is_pushed(repo: Repo) -> None:
    assert pushed(repo) is None


def test_head_where_the_remote_branch_is_counts_as_pushed(repo: Repo, remote: Repo) -> None:
    assert pushed(repo) == "refs/remotes/origin/main"


def test_head_behind_the_remote_branch_counts_as_pushed(repo: Repo, remote: Repo) -> None:
    repo.commit("More")
    repo.push()
    repo.git("reset", "--quiet", "--hard", "HEAD~2")
    assert pushed(repo) == "refs/remotes/origin/main"


def test_head_far_behind_the_remote_branch_counts_as_pushed(repo: Repo, remote: Repo) -> None:
    tree, commit = repo.git("rev-parse", "HEAD^{tree}"), repo.git("rev-parse", "HEAD")
    stream = "".join(
        f"commit refs/heads/long\nmark :{n}\ncommitter A <a@b> {1_700_000_000 + n} +0000\ndata 1\nx\n"
        f"from {f':{n - 1}' if n > 1 else commit}\n"
        for n in range(1, 301)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo.path, input=stream.encode(), check=True)
    assert repo.git("rev-parse", "long^{tree}") == tree
    repo.git("push", "--quiet", "origin", "long:main")
    assert pushed(repo) == "refs/remotes/origin/main"
    repo.git("reset", "--quiet", "--hard", "long")
    assert pushed(repo) == "refs/remotes/origin/main"
    repo.commit("Ahead of it all")
    assert pushed(repo) is None


def test_head_ahead_of_the_remote_branch_is_not_pushed(repo: Repo, remote: Repo) -> None:
    repo.commit("More")
    assert pushed(repo) is None


def test_head_beside_the_remote_branch_is_not_pushed(repo: Repo, remote: Repo) -> None:
    repo.git("commit", "--quiet", "--amend", "-m", "Otherwise")
    assert pushed(repo) is None


def test_a_branch_of_another_remote_does_not_count(
    repo: Repo, remote: Repo, make_repo: Callable[..., Repo]
) -> None:
    fork = make_repo("fork.git", "--bare")
    repo.git("remote", "add", "fork", str(fork.path))
    repo.commit("More")
    repo.git("push", "--quiet", "fork", "HEAD")
    assert pushed(repo) is None
    assert pushed(repo, "fork") == "refs/remotes/fork/main"


def test_of_several_branches_that_of_the_same_name_is_told(repo: Repo, remote: Repo) -> None:
    repo.git("push", "--quiet", "origin", "HEAD:aaa", "HEAD:topic/x", "HEAD:zzz")
    assert pushed(repo) == "refs/remotes/origin/main"
    repo.git("switch", "--quiet", "--create", "topic/x")
    assert pushed(repo) == "refs/remotes/origin/topic/x"
    repo.git("switch", "--quiet", "--create", "local")
    assert pushed(repo) == "refs/remotes/origin/aaa"
    repo.git("switch", "--quiet", "--detach")
    assert pushed(repo) == "refs/remotes/origin/aaa"


def test_the_remotes_head_is_never_named(repo: Repo, remote: Repo) -> None:
    repo.git("remote", "set-head", "origin", "main")
    repo.git("switch", "--quiet", "--create", "HEADS")
    assert pushed(repo) == "refs/remotes/origin/main"
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    assert pushed(repo) == "refs/remotes/origin/main"
    # Alone, as a prune leaves it, it leads nowhere.
    repo.git("update-ref", "-d", "refs/remotes/origin/main")
    assert pushed(repo) is None


def test_a_branch_that_is_named_after_head_counts(repo: Repo, remote: Repo) -> None:
    repo.git("push", "--quiet", "origin", "--delete", "main", check=False)
    repo.git("update-ref", "-d", "refs/remotes/origin/main")
    repo.git("update-ref", "refs/remotes/origin/topic/HEAD", "HEAD")
    assert pushed(repo) == "refs/remotes/origin/topic/HEAD"


def test_a_fetch_and_a_prune_are_seen(repo: Repo, remote: Repo, tmp_path: Path) -> None:
    repo.commit("More")
    repo.git("push", "--quiet", str(remote.path), "HEAD:topic")
    assert pushed(repo) is None
    repo.git("fetch", "--quiet")
    assert pushed(repo) == "refs/remotes/origin/topic"
    remote.git("branch", "-D", "topic")
    repo.git("fetch", "--quiet")
    assert pushed(repo) == "refs/remotes/origin/topic"
    repo.git("fetch", "--quiet", "--prune")
    assert pushed(repo) is None


def test_refs_that_are_packed_count(repo: Repo, remote: Repo) -> None:
    repo.git("pack-refs", "--all", "--prune")
    assert pushed(repo) == "refs/remotes/origin/main"


def test_a_tag_that_was_pushed_is_no_branch(repo: Repo, remote: Repo) -> None:
    repo.commit("More")
    repo.git("tag", "v1.0.0")
    repo.git("push", "--quiet", "origin", "v1.0.0")
    assert pushed(repo) is None


@pytest.mark.parametrize("seconds", [253402300800, 9999999999999, 9223372036854775807])
def test_a_date_after_the_year_9999_is_recorded_in_seconds(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    tree, parent = repo.git("rev-parse", "HEAD^{tree}", "HEAD").split()
    who = f"Ada <ada@example.org> {seconds} +0100"
    repo.write(".git/commit", f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\nLate\n")
    oid = repo.git("hash-object", "-t", "commit", "-w", ".git/commit")
    repo.git("update-ref", "HEAD", oid)
    repo.git("tag", "v1.0.0")
    record = provenance(str(repo.path))
    assert (record.committed_at, record.version) == (f"@{seconds} +0100", "1.0.0")
    monkeypatch.chdir(repo.path)
    assert main(["check"]) == 0
    assert main(["run", "--quiet", "--", sys.executable, "src/train.py"]) == 0
    assert main(["verify"]) == 1  # not pushed
    assert main(["provenance"]) == 0


def test_a_version_tag_without_end_is_no_version(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    head = repo.git("rev-parse", "HEAD")
    (repo.git_dir / "packed-refs").write_text(f"{head} refs/tags/v1.2.{'3' * 4500}\n")
    assert len(repo.git("tag")) > 4500
    monkeypatch.chdir(repo.path)
    for words in ("check", "provenance", "bump-version --no-push --dry-run"):
        assert main(words.split()) == 0, words
    assert main(["version"]) in (0, 1)
    assert provenance(str(repo.path)).tag is None
