"""Remotes and their URLs: which one counts, what people would open in a browser, and nothing secret.

URLs of the forges that are known are brought to https; every URL loses its user name, password and
query, so that what leaves this module can be stored and printed.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from deriva_ml_hooks.git.consent import agreed
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.redact import has_host_behind, redact

FORGES: Mapping[str, str] = {
    "github.com": "github",
    "ssh.github.com": "github",
    "gitlab.com": "gitlab",
    "altssh.gitlab.com": "gitlab",
    "bitbucket.org": "bitbucket",
    "altssh.bitbucket.org": "bitbucket",
}
_ALIASES = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
_PAGES = {
    "github": ("{url}/commit/{oid}", "{url}/blob/{oid}/{path}", "{url}/tree/{oid}"),
    "gitlab": ("{url}/-/commit/{oid}", "{url}/-/blob/{oid}/{path}", "{url}/-/tree/{oid}"),
    "bitbucket": ("{url}/commits/{oid}", "{url}/src/{oid}/{path}", "{url}/src/{oid}"),
}
"""The pages of a commit, of a file in it, and of its whole tree."""
FORGES_KNOWN = tuple(_PAGES)
"""The forges whose addresses are known, wherever they run."""

# git-clone(1), GIT URLS: `[user@]host:path` unless a slash stands before the first colon.
_SCP = re.compile(r"(?:[^/:\[]*@)?(?P<host>\[[^\]/]+\]|[^/@:]{2,}):(?!//)(?P<path>.*)", re.DOTALL)
_TOKEN = 20
"""Characters of a user name from which on it is more likely a token."""
# gitremote-helpers(7): `<transport>::<address>`, where the address can be anything.
_HELPER = re.compile(r"[A-Za-z0-9]+::")


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote by name, its public URL (None where it has none), and the forge that URL is on, if known."""

    name: str
    url: str | None
    forge: str | None

    def commit_url(self, oid: str) -> str | None:
        """The page of commit `oid`, where the forge is known."""
        return _PAGES[self.forge][0].format(url=self.url, oid=oid) if self.forge else None


def chosen(repository: Repository, *, configured: str | None, hosts: Mapping[str, str]) -> Remote | None:
    """The remote that counts: the configured one, else the branch's upstream, remote.pushDefault,
    origin, or the only one there is.

    `hosts` names the forge of self-hosted servers. None where there is no remote, or not the
    `configured` one: another would satisfy policies that were set for that one.
    """
    names = remote_names(repository)
    if configured is not None and configured not in names:
        return None
    branch = repository.branch()
    upstream = repository.setting("branch", "remote", branch) if branch is not None else None
    wanted = (configured, upstream, repository.setting("remote", "pushDefault"), "origin")
    only = names[0] if len(names) == 1 else None
    name = next((name for name in wanted if name is not None and name in names), only)
    if name is None:
        return None
    url, forge = public_url(_url(repository, name), base=repository.worktree, hosts=hosts)
    return Remote(name, url, forge)


def _url(repository: Repository, name: str) -> str:
    """The URL of a remote as git uses it: of several the first (git-remote(1), set-url)."""
    return rewritten(repository, next(url for of, url in repository.values("remote", "url") if of == name))


def is_known_host(repository: Repository, url: str) -> bool:
    """Whether `url` is a local path (which git itself has its rule for), or on a server that is known.

    That is one that a remote is on, or that the user has agreed to.
    """
    urls = [url, *(_url(repository, name) for name in remote_names(repository))]
    public = [public_url(each, base=repository.worktree, hosts={})[0] for each in urls]
    host, *known = [None if each is None else urlsplit(each).netloc for each in public]
    return host == "" or (host is not None and (host in known or host in agreed("host")))


def with_credentials(repository: Repository) -> list[str]:
    """The remotes whose URL, as others read it from git, holds something secret."""
    base = repository.worktree
    return [name for name in remote_names(repository) if is_secret(_url(repository, name), base=base)]


def is_secret(url: str, *, base: str) -> bool:
    """Whether a URL holds more than the name of a user: a password, a token, or what may be either."""
    helper = _HELPER.match(url)
    if helper is not None:  # what the words of a program are cannot be told
        address = url[helper.end() :]
        return "://" not in address or len(address.split()) != 1 or is_secret(address, base=base)
    if public_url(url, base=base, hosts={})[0] is None:  # it cannot be told where a password ends
        return "@" in url
    if "://" not in url:
        return False
    parts = urlsplit(url)
    name, _, password = parts.netloc.rpartition("@")[0].partition(":")
    token = parts.scheme in ("http", "https") and (redact(name) != name or len(name) >= _TOKEN)
    rest = f"{parts.path}?{parts.query}"
    return bool(password or parts.fragment) or token or redact(rest) != rest


def remote_names(repository: Repository) -> list[str]:
    """The names of the configured remotes, in the order of the configuration.

    A section without a URL is none (settings for a name that some repositories use), nor is one that
    has a URL for its name (git-config(1), remote.<name>.promisor), which may hold a password.
    """
    return list(dict.fromkeys(name for name, _ in repository.values("remote", "url") if "://" not in name))


def rewritten(repository: Repository, url: str) -> str:
    """`url` after `url.<base>.insteadOf`, the longest prefix first (git-config(1))."""
    rules = [
        (prefix, base) for base, prefix in repository.values("url", "insteadOf") if url.startswith(prefix)
    ]
    prefix, base = max(rules, key=lambda rule: len(rule[0]), default=("", ""))
    return base + url[len(prefix) :]


def relative_to(base: str, url: str) -> str:
    """A submodule's URL, where it is relative seen from `base`, its superproject's (gitmodules(5)).

    It never leads to another host.
    """
    if not url.startswith(("./", "../")):
        return url
    is_url = "://" in base
    start = re.match(r"[^/]+://[^/]*" if is_url else r"(?:[^/]*:)?", base)
    above = base[start.end() :] if start else base
    path = posixpath.normpath(posixpath.join("/", above, url))
    return (start[0] if start else "") + (path if is_url or above.startswith("/") else path[1:])


def public_url(url: str, *, base: str, hosts: Mapping[str, str]) -> tuple[str | None, str | None]:
    """`url` as it may be shown, and the forge it is on.

    Known forges and `hosts` become https without `.git`; other servers keep their scheme, host, port
    and path; a local path (relative ones from the folder `base`) becomes a file URL. None where it
    cannot be told which part of the URL is secret.
    """
    scp = None if "://" in url else _SCP.fullmatch(url)
    if _HELPER.match(url):
        return None, None
    if scp is not None:
        scheme, port, path = "ssh", None, scp["path"]
        host = scp["host"].rpartition("@")[2]
        if host.count(":") == 1:  # `[host:port]:path`
            host, port = _host_and_port(host.strip("[]"))
    elif "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None, None
        scheme, path = parts.scheme.lower(), parts.path
        if scheme == "file":
            return "file://" + path, None
        host, port = _host_and_port(parts.netloc.rpartition("@")[2])
        if _misread(host, url.partition("://")[2][len(parts.netloc) :], hosts):
            return None, None
    else:
        path = os.path.join(base, url)
        if _hides(url) and not os.path.exists(path):
            return None, None
        try:
            return "file://" + quote(os.path.normpath(path), errors="surrogateescape"), None
        except UnicodeEncodeError:  # half a character, which no file system has
            return None, None
    if (port is not None and not port.isdigit()) or (scp is not None and "@" in path):
        return None, None
    host = host.lower()
    name = f"{host}:{port}" if port else host
    forge = hosts.get(name) or hosts.get(host) or FORGES.get(host)
    path = "/" + path.strip("/")
    if forge is None:
        return redact(f"{scheme}://{name}{path}"), None
    path = path.removesuffix(".git")
    web_port = f":{port}" if port and scheme in ("http", "https") and host not in FORGES else ""
    return redact(f"https://{_ALIASES.get(host, host)}{web_port}{path}"), forge


def _hides(path: str) -> bool:
    """Whether what looks like a path is more likely a URL that git does not know, with a password in it."""
    before, at, _ = path.rpartition("@")
    signs = (bool(at) and ":" in before, has_host_behind(path))
    return all(signs) if os.path.isabs(path) and not path.startswith("//") else any(signs)


def _misread(host: str, rest: str, hosts: Mapping[str, str]) -> bool:
    """Whether `host` is more likely a user name, and a password with a `/`, `?` or `#` begins `rest`."""
    if "@" not in rest:
        return False
    plain = "." in host or host.startswith("[") or host.lower() in ("localhost", *hosts)
    return not plain or has_host_behind(rest)


def _host_and_port(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        host, _, rest = authority.partition("]")
        return host + "]", rest.removeprefix(":") or None
    host, _, port = authority.partition(":")
    return host, port or None


def permalink(remote: Remote | None, *, repository: str, oid: str, path: str | None) -> str:
    """The address of `path` (None: the whole tree) at commit `oid`.

    A page of the forge where it is known; elsewhere a package download location, the form that SPDX
    2.3 (7.7) gives a file in git: `git+URL@COMMIT#PATH`. Without a remote the folder `repository`
    stands in for it.
    """
    quoted = quote(path, errors="surrogateescape") if path is not None else None
    if remote is not None and remote.forge and remote.url:
        _, file, tree = _PAGES[remote.forge]
        return (tree if quoted is None else file).format(url=remote.url, oid=oid, path=quoted)
    url = remote.url if remote is not None else None
    url = url or "file://" + quote(repository, errors="surrogateescape")
    return f"git+{url}@{oid}" + (f"#{quoted}" if quoted is not None else "")
