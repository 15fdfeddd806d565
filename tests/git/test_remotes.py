"""Which remote counts, and what its URL looks like once it may be shown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.remotes import (
    Remote,
    chosen,
    is_secret,
    permalink,
    public_url,
    relative_to,
    with_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Repo

OID = "0123456789abcdef0123456789abcdef01234567"
HOSTS = {"git.example.org": "gitlab", "code.example.org:8443": "github", "bb": "bitbucket"}


def remote_of(repo: Repo, configured: str | None = None) -> Remote | None:
    return chosen(measured(str(repo.path)), configured=configured, hosts=HOSTS)


def name_of(repo: Repo, configured: str | None = None) -> str | None:
    remote = remote_of(repo, configured)
    return remote.name if remote else None


def test_without_a_remote_there_is_none(repo: Repo) -> None:
    assert remote_of(repo) is None


def test_the_remotes_have_their_order(repo: Repo) -> None:
    repo.git("remote", "add", "only", "https://github.com/only/r")
    assert name_of(repo) == "only"
    repo.git("remote", "add", "second", "https://github.com/second/r")
    assert name_of(repo) is None
    repo.git("remote", "add", "origin", "https://github.com/origin/r")
    assert name_of(repo) == "origin"
    repo.git("config", "remote.pushDefault", "second")
    assert name_of(repo) == "second"
    repo.git("config", "branch.main.remote", "only")
    assert name_of(repo) == "only"
    assert name_of(repo, "origin") == "origin"
    assert name_of(repo, "gone") is None  # another must not satisfy what was asked of that one


def test_the_upstream_of_another_branch_does_not_count(repo: Repo) -> None:
    repo.git("remote", "add", "origin", "https://github.com/o/r")
    repo.git("remote", "add", "fork", "https://github.com/f/r")
    repo.git("config", "branch.topic/one.remote", "fork")
    assert name_of(repo) == "origin"
    repo.git("switch", "--quiet", "--create", "topic/one")
    assert name_of(repo) == "fork"
    repo.git("switch", "--quiet", "--detach")
    assert name_of(repo) == "origin"


@pytest.mark.parametrize("upstream", [".", "gone", "https://ada:Hunter2@github.com/o/r"])
def test_an_upstream_that_is_no_remote_is_passed_over(repo: Repo, upstream: str) -> None:
    repo.git("remote", "add", "origin", "https://github.com/o/r")
    repo.git("config", "branch.main.remote", upstream)
    repo.git("config", "remote.pushDefault", upstream)
    assert name_of(repo) == "origin"


def test_settings_for_a_name_without_a_url_make_no_remote(repo: Repo, home: Path) -> None:
    with (home / ".gitconfig").open("a") as file:
        file.write('[remote "origin"]\n\tprune = true\n')
    assert remote_of(repo) is None
    repo.git("remote", "add", "upstream", "https://github.com/o/r")
    assert name_of(repo) == "upstream"


def test_a_url_that_git_keeps_settings_for_is_no_remote(repo: Repo) -> None:
    repo.git("config", "remote.https://ada:Hunter2@github.com/o/r.promisor", "true")
    repo.git("config", "remote.https://ada:Hunter2@github.com/o/r.url", "https://github.com/o/r")
    assert remote_of(repo) is None


def test_of_several_urls_the_one_that_git_fetches_from_counts(repo: Repo) -> None:
    repo.git("remote", "add", "origin", "https://github.com/first/r")
    repo.git("remote", "set-url", "--add", "origin", "https://github.com/second/r")
    repo.git("remote", "set-url", "--push", "origin", "https://github.com/pushed/r")
    assert repo.git("remote", "get-url", "origin") == "https://github.com/first/r"
    assert remote_of(repo) == Remote("origin", "https://github.com/first/r", "github")


def test_a_remote_may_have_an_odd_name(repo: Repo) -> None:
    repo.git("config", "remote.My Ünïted/Fork.url", "https://github.com/o/r")
    assert name_of(repo) == "My Ünïted/Fork"


@pytest.mark.parametrize(
    ("base", "prefix", "url"),
    [
        ("https://github.com/", "gh:", "gh:o/r"),
        ("https://ada:Hunter2@github.com/", "gh:", "gh:o/r.git"),
        ("git@github.com:", "https://github.com/", "https://github.com/o/r"),
        ("https://github.com/", "git@github.com:", "git@github.com:o/r.git"),
    ],
)
def test_a_url_is_rewritten_as_git_rewrites_it(repo: Repo, base: str, prefix: str, url: str) -> None:
    repo.git("config", f"url.{base}.insteadOf", prefix)
    repo.git("config", "url.https://gitlab.com/.pushInsteadOf", prefix)
    repo.git("remote", "add", "origin", url)
    assert remote_of(repo) == Remote("origin", "https://github.com/o/r", "github")


def test_of_several_rewritings_the_longest_prefix_wins(repo: Repo) -> None:
    repo.git("config", "url.https://gitlab.com/.insteadOf", "x:")
    repo.git("config", "--add", "url.https://github.com/.insteadOf", "unused:")
    repo.git("config", "--add", "url.https://github.com/.insteadOf", "x:y/")
    repo.git("remote", "add", "origin", "x:y/o/r")
    remote = remote_of(repo)
    assert remote is not None
    assert remote.url == repo.git("remote", "get-url", "origin") == "https://github.com/o/r"


GITHUB = ("https://github.com/o/r", "github")
URLS = {
    "https://github.com/o/r": GITHUB,
    "https://github.com/o/r.git": GITHUB,
    "https://github.com/o/r.git/": GITHUB,
    "https://github.com/o/r/": GITHUB,
    "https://github.com//o/r//": GITHUB,
    "http://github.com/o/r": GITHUB,
    "HTTPS://GitHub.COM/o/r": GITHUB,
    "https://github.com:443/o/r": GITHUB,
    "https://GitHub.com/Org/Repo.git": ("https://github.com/Org/Repo", "github"),
    "git://github.com/o/r.git": GITHUB,
    "ssh://git@github.com/o/r.git": GITHUB,
    "ssh://git@github.com:22/o/r.git": GITHUB,
    "git+ssh://git@github.com/o/r.git": GITHUB,
    "ssh://git@ssh.github.com:443/o/r.git": GITHUB,
    "git@ssh.github.com:o/r.git": GITHUB,
    "git@github.com:o/r.git": GITHUB,
    "git@github.com:o/r": GITHUB,
    "git@github.com:/o/r.git": GITHUB,
    "github.com:o/r.git": GITHUB,
    "git@GITHUB.com:o/r.git/": GITHUB,
    "https://gitlab.com/g/s/t/r.git": ("https://gitlab.com/g/s/t/r", "gitlab"),
    "git@gitlab.com:g/s/t/r.git": ("https://gitlab.com/g/s/t/r", "gitlab"),
    "ssh://git@altssh.gitlab.com:443/g/r.git": ("https://gitlab.com/g/r", "gitlab"),
    "https://ada@bitbucket.org/o/r.git": ("https://bitbucket.org/o/r", "bitbucket"),
    "git@bitbucket.org:o/r.git": ("https://bitbucket.org/o/r", "bitbucket"),
    "ssh://git@altssh.bitbucket.org:443/o/r": ("https://bitbucket.org/o/r", "bitbucket"),
    "https://git.example.org/o/r.git": ("https://git.example.org/o/r", "gitlab"),
    "git@GIT.example.org:o/r.git": ("https://git.example.org/o/r", "gitlab"),
    "ssh://git@git.example.org:2222/o/r.git": ("https://git.example.org/o/r", "gitlab"),
    "https://git.example.org:8080/o/r.git": ("https://git.example.org:8080/o/r", "gitlab"),
    "https://code.example.org:8443/o/r.git": ("https://code.example.org:8443/o/r", "github"),
    "https://code.example.org/o/r.git": ("https://code.example.org/o/r.git", None),
    "git@bb:o/r.git": ("https://bb/o/r", "bitbucket"),
    "https://host.org/o/r.git": ("https://host.org/o/r.git", None),
    "https://host.org:8443/o/r": ("https://host.org:8443/o/r", None),
    "https://host.org/@scope/r@v1": ("https://host.org/@scope/r@v1", None),
    "ssh://git@host.org:2222/o/r.git": ("ssh://host.org:2222/o/r.git", None),
    "ada@host.org:o/r.git": ("ssh://host.org/o/r.git", None),
    "host:r.git": ("ssh://host/r.git", None),
    "host.org:~ada/r": ("ssh://host.org/~ada/r", None),
    "ssh://git@[2001:db8::1]:22/r.git": ("ssh://[2001:db8::1]:22/r.git", None),
    "https://[2001:db8::1]/r.git": ("https://[2001:db8::1]/r.git", None),
    "git@[2001:db8::1]:r.git": ("ssh://[2001:db8::1]/r.git", None),
    "[host.org:2222]:r.git": ("ssh://host.org:2222/r.git", None),
    "[ada@host.org:2222]:r.git": ("ssh://host.org:2222/r.git", None),
    "file:///srv/git/r.git": ("file:///srv/git/r.git", None),
    "/srv/git/r.git": ("file:///srv/git/r.git", None),
    "/srv/my git/r#1.git": ("file:///srv/my%20git/r%231.git", None),
    "../r.git": ("file:///base/r.git", None),
    "./r.git": ("file:///base/wt/r.git", None),
    "sub:folder/../../x": ("ssh://sub/folder/../../x", None),
    "./with:colon": ("file:///base/wt/with%3Acolon", None),
    "/home/ada@example.org/r.git": ("file:///home/ada%40example.org/r.git", None),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_brought_to_the_form_that_people_open(url: str) -> None:
    assert public_url(url, base="/base/wt", hosts=HOSTS) == URLS[url]


S = "Hunter2x"


@pytest.mark.parametrize(
    "url",
    [
        f"https://ada:{S}@github.com/o/r.git",
        f"https://{S}@github.com/o/r.git",
        f"https://x-access-token:{S}@github.com/o/r.git",
        f"https://oauth2:{S}@gitlab.com/g/r.git",
        f"https://{S}:x-oauth-basic@github.com/o/r",
        f"https://ada:p@{S}@host.org/r",
        f"https://ada:a/{S}@host.org/r",
        f"https://ada:12/{S}@host.org/r",
        f"https://ada:12/{S}@localhost/r",
        f"https://ada.l:12/{S}@host.org/r",
        f"https://a/{S}@host.org/r",
        f"https://{S}/x@host.org/r",
        f"https://ada:a#{S}@host.org/r",
        f"https://ada:1#{S}@host.org/r",
        f"https://ada:a?{S}@host.org/r",
        f"https://ada:1?{S}@host.org/r",
        f"https://{S}:1?x@host.org/r",
        f"https://{S}%40corp:x%2F@host.org/r",
        f"https://github.com/o/r?private_token={S}",
        f"https://host.org/r.git?private_token={S}",
        f"https://host.org/r#{S}",
        f"https://ghp_{S}0123456789abcdef/o/r",
        f"https://host.org/glpat-{S}0123456789abcdef/r.git",
        f"ssh://ada:{S}@host.org:22/r",
        f"ssh://ada:{S}@[::1]:22/r",
        f"ssh://ada:{S}@[::1/r",
        f"{S}@host.org:o/r",
        f"{S}@corp.org@host.org:o/r",
        f"ada:{S}@github.com:o/r",
        f"ada:{S}@github.com/o/r",
        f"ada.b:{S}@github.com:o/r",
        f"[{S}@host.org:22]:r",
        f"[ada:{S}@host.org]:r",
        f"{S}@github.com/o/r",
        f"ada/{S}@github.com/o/r",
        f"file://ada:{S}@host/r",
        f"file:///r?token={S}",
        f"ext::curl --user ada:{S} https://host.org/r",
        f"codecommit::us-east-1://{S}@r",
        f"persistent-https::https://ada:{S}@host.org/r",
        f"https://ada:{S}\n@host.org/r",
        f"https://ada:\\{S}@host.org/r",
        f"https:///ada:{S}@host.org/r",
        f"://ada:{S}@host.org/r",
        f"//ada:{S}@github.com/a/b.git",
        f"/ada:{S}@github.com/a/b.git",
        f"https:/ada:{S}@github.com/a/b.git",
        f"https:ada:{S}@github.com/a/b.git",
        f"ada.b:{S}@server:o/r",
        f"ext::ssh -o Password={S} host.org %S /r",
    ],
)
def test_a_url_never_keeps_a_secret(url: str) -> None:
    public, _ = public_url(url, base="/base", hosts=HOSTS)
    assert S.lower() not in (public or "").lower()
    assert "***" not in (public or "") or "glpat" in url or "ghp_" in url


@pytest.mark.parametrize(
    "url",
    [
        f"//ada:{S}@github.com/a/b.git",
        f"https://github.com/a/b.git#{S}",
        f"ada:{S}@github.com:a/b.git",
        f"ada.b:{S}@server:a/b.git",
        f"https:/ada:{S}@github.com/a/b.git",
        f"https:ada:{S}@github.com/a/b.git",
        f"://ada:{S}@github.com/a/b.git",
        f"ada:{S}@github.com/a/b.git",
        f"ext::ssh -o Password={S} host.org %S /a/b.git",
        f"ext::curl {S} https://host.org/a/b.git",
        f"persistent-https::https://ada:{S}@host.org/a/b.git",
    ],
)
def test_a_remote_with_a_secret_in_whatever_form_is_told(repo: Repo, url: str) -> None:
    repo.git("config", "remote.origin.url", url)
    assert with_credentials(measured(str(repo.path))) == ["origin"]
    remote = remote_of(repo)
    assert remote is not None
    assert S not in (remote.url or "")


@pytest.mark.parametrize("url", [*URLS, "codecommit::us-east-1://r", "hg::https://host.org/r"])
def test_a_remote_without_a_secret_is_none_of_them(url: str) -> None:
    assert not is_secret(url, base="/base/wt")


def test_a_folder_that_is_there_is_no_url(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    other = make_repo("ada:b@example.org", "--bare")
    repo.git("config", "remote.origin.url", str(other.path))
    assert with_credentials(measured(str(repo.path))) == []
    assert (remote_of(repo) or Remote("", None, None)).url == "file://" + quote(str(other.path))


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("src/train.py", "src/train.py"),
        ("my notes/a b.ipynb", "my%20notes/a%20b.ipynb"),
        ("a#b?c%d.py", "a%23b%3Fc%25d.py"),
        ("über/ñ.py", "%C3%BCber/%C3%B1.py"),
        ("a\nb.py", "a%0Ab.py"),
        (os.fsdecode(b"\xff\xfe.py"), "%FF%FE.py"),
        ("a@b:c.py", "a%40b%3Ac.py"),
    ],
)
def test_a_permalink_holds_commit_and_path_whatever_its_characters(path: str, quoted: str) -> None:
    def link(url: str | None, forge: str | None) -> str:
        return permalink(Remote("origin", url, forge), repository="/r", oid=OID, path=path)

    assert link("https://github.com/o/r", "github") == f"https://github.com/o/r/blob/{OID}/{quoted}"
    assert link("https://gitlab.com/o/r", "gitlab") == f"https://gitlab.com/o/r/-/blob/{OID}/{quoted}"
    assert link("https://bitbucket.org/o/r", "bitbucket") == f"https://bitbucket.org/o/r/src/{OID}/{quoted}"
    assert link("ssh://host/r.git", None) == f"git+ssh://host/r.git@{OID}#{quoted}"
    assert link(None, None) == f"git+file:///r@{OID}#{quoted}"


@pytest.mark.parametrize(
    ("remote", "tree", "commit"),
    [
        (Remote("o", "https://github.com/o/r", "github"), "https://github.com/o/r/tree/{}", "/commit/"),
        (Remote("o", "https://gitlab.com/o/r", "gitlab"), "https://gitlab.com/o/r/-/tree/{}", "/-/commit/"),
        (
            Remote("o", "https://bitbucket.org/o/r", "bitbucket"),
            "https://bitbucket.org/o/r/src/{}",
            "/commits/",
        ),
        (Remote("o", "https://host.org/r", None), "git+https://host.org/r@{}", None),
        (None, "git+file:///my%20repo@{}", None),
    ],
)
def test_a_tree_and_a_commit_have_their_pages(remote: Remote | None, tree: str, commit: str | None) -> None:
    assert permalink(remote, repository="/my repo", oid=OID, path=None) == tree.format(OID)
    if remote is not None:
        page = f"{remote.url}{commit}{OID}" if commit else None
        assert remote.commit_url(OID) == page


def test_a_relative_path_is_one_from_the_worktree(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    other = make_repo("other repo", "--bare")
    repo.git("remote", "add", "origin", "../other repo")
    repo.write("sub/x")
    remote = chosen(measured(str(repo.path / "sub")), configured=None, hosts={})
    assert remote is not None
    assert remote.url == other.path.as_uri()


@pytest.mark.parametrize(
    ("base", "url", "resolved"),
    [
        ("https://host/org/repo.git", "../sub.git", "https://host/org/sub.git"),
        ("https://host/org/repo.git", "../../other/sub", "https://host/other/sub"),
        ("git@host:org/repo.git", "../sub.git", "git@host:org/sub.git"),
        ("git@host:repo.git", "../sub.git", "git@host:sub.git"),
        ("git@host:org/repo.git", "../../sub.git", "git@host:sub.git"),
        ("ssh://git@host:22/org/repo", "../sub", "ssh://git@host:22/org/sub"),
        ("/srv/repo", "../sub", "/srv/sub"),
        ("/srv/a:b/repo", "../sub", "/srv/a:b/sub"),
        ("file:///srv/repo", "./sub", "file:///srv/repo/sub"),
        ("host:/srv/repo", "../sub", "host:/srv/sub"),
        ("https://host/org/repo", "../../../evil.example/sub", "https://host/evil.example/sub"),
        ("https://host", "../sub", "https://host/sub"),
        ("https://host/org/repo", "https://other/sub", "https://other/sub"),
    ],
)
def test_a_relative_address_of_a_submodule(base: str, url: str, resolved: str) -> None:
    assert relative_to(base, url) == resolved
