"""Makes the version that was planned: its tag object, the push, and only then its name here.

Until the remote has taken the tag, the new object has no name, so whatever ends the push, nothing is left
to take back.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import replace

from deriva_ml_hooks.config import hook_settings, load
from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.versions import same_release
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.provenance.version import project_of, settings_of, written
from deriva_ml_hooks.release import published
from deriva_ml_hooks.release.bump import HOOK, Bump, BumpError, Wanted
from deriva_ml_hooks.release.tagging import tag_object

Say = Callable[[str], None]


def make(repository: Repository, bump: Bump, wanted: Wanted, *, say: Say) -> Bump:
    """Make the tag that was planned and, where there is a remote, push it together with the branch.

    Raises BumpError where something stands in the way, and GitError; nothing is left of it then, unless
    the error says so.
    """
    require_possible(repository, bump)
    message = wanted.message or f"Version {bump.version}"
    date = _date_after(repository, bump.commit)
    oid = tag_object(repository, bump.tag, bump.commit, message, sign=wanted.sign, date=date)
    if bump.remote is not None:
        _push(repository, bump, bump.remote, oid, say=say)
    _name(repository, bump, oid)
    after = discover(repository.worktree)
    with contextlib.suppress(HooksError):  # the version is made, and a cache can be rebuilt
        provenance_of(after, load(after.worktree), refresh=True)
    return replace(bump, pushed=bump.remote is not None)


def require_possible(repository: Repository, bump: Bump) -> None:
    """See that nothing here is in the way of what was planned. Raises BumpError and GitError.

    Nothing is made, signed or sent, so what a key, a server or a hook would say is not known.
    """
    _require_legible(repository, bump)
    if bump.remote is not None:
        _require_one_address(repository, bump.remote)
    _require_name(repository, bump.tag, bump.commit)
    env = process.command_environment()
    done = process.run("var", "GIT_COMMITTER_IDENT", cwd=repository.worktree, env=env)
    if done.returncode:
        fix = "say who you are: git config --global user.name NAME && git config --global user.email ADDRESS"
        raise GitError("git tag", _first_line(done.said), fix=fix)


def _first_line(said: str) -> str:
    return next((line for line in said.splitlines() if line.startswith("fatal: ")), said.partition("\n")[0])


def _require_legible(repository: Repository, bump: Bump) -> None:
    """The tag must be the version for setuptools-scm too, with the project's own settings."""
    commit = repository.commit(bump.commit.encode("ascii"))
    settings = settings_of(repository, project_of(repository, commit.tree))
    if settings.code:  # settings that only the real program knows how to follow
        return
    read = None
    with contextlib.suppress(HooksError):
        if settings.config is not None:
            read = written(commit, settings, (bump.tag, 0, "g" + bump.commit), bump.branch)
    if read is None or not same_release(read, bump.version):
        what = f"would take {bump.tag} for {read}" if read else f"could not read {bump.tag}"
        raise BumpError(
            "unreadable-version",
            f"setuptools-scm {what}, so the version would not be {bump.version}",
            fix=_legible_prefix(repository, bump),
        )


def _legible_prefix(repository: Repository, bump: Bump) -> str:
    """A way to a tag that setuptools-scm can read and that check-version-tags lets pass."""
    configured = str(hook_settings(repository.worktree, HOOK).get("prefix", "v"))
    if configured != "v" and bump.tag == configured + bump.version:
        other = f'prefix = "v" in [tool.deriva-ml-hooks.{HOOK}]'
        return f"{other}, or a tag_regex in [tool.setuptools_scm] that reads {bump.tag}; commit that"
    prefix = f"--prefix {shlex.quote(configured)}"
    return f"{prefix}, and tag_regex in [tool.setuptools_scm] as it is by default"


def _require_one_address(repository: Repository, remote: str) -> None:
    """A push is one transaction for one address only (git-push(1), --atomic)."""
    done = process.run("remote", "get-url", "--push", "--all", "--", remote, cwd=repository.worktree)
    if len(done.stdout.splitlines()) > 1:
        raise BumpError(
            "several-addresses",
            f"{remote} has several push addresses, which cannot be pushed to all together or not at all",
            fix="name a remote with one: --remote NAME; or --no-push, and push branch and tag to each",
        )


def _date_after(repository: Repository, commit: str) -> int | None:
    """A date for the new tag, where one of the commit's tags is of this second or of a clock ahead.

    Seconds since 1970. git describe takes the youngest of several tags (git-describe(1)).
    """
    from dulwich.objects import Tag

    dates = []
    for _, oid in repository.refs_under("refs/tags/"):
        with contextlib.suppress(GitError):
            found = repository.object(oid)
            if isinstance(found, Tag) and repository.peel(oid) == commit.encode("ascii"):
                dates.append(found.tag_time or 0)
    latest = max(dates, default=0)
    return latest + 1 if latest >= int(time.time()) else None


def _require_name(repository: Repository, tag: str, oid: str) -> None:
    """See that the tag could be named here, before anybody else has it: prepared, and given up again."""
    steps = f"start\ncreate refs/tags/{tag} {oid}\nprepare\nabort\n"
    done = process.run("update-ref", "--stdin", cwd=repository.worktree, stdin=steps.encode())
    if done.returncode:
        what = f"{tag} cannot be made here: {_first_line(done.said)}"
        raise BumpError("name", what, fix=_out_of_the_way(done.said))


def _out_of_the_way(said: str) -> str:
    """What to do about what git says is in the way of a new tag."""
    lock = re.search(r"Unable to create '(.+\.lock)': File exists", said)
    if lock is not None:
        return f"unless another git is at work here: rm {shlex.quote(lock[1])}"
    taken = re.search(r": 'refs/tags/(.+)' exists; cannot create", said)
    if taken is not None:
        return (
            f"take another --prefix, or delete the tag in its way: git tag --delete {shlex.quote(taken[1])}"
        )
    return "see what is there, and whose it is: git for-each-ref refs/tags"


def _push(repository: Repository, bump: Bump, remote: str, oid: str, *, say: Say) -> None:
    say(f"pushing {bump.branch} and {bump.tag} to {remote}")
    ref = f"refs/tags/{bump.tag}"
    try:
        refs = {f"refs/heads/{bump.target}": bump.commit, ref: oid}
        published.push(repository, remote, refs, say=say)
    except GitError as error:
        there = published.remote_refs(repository, remote).get(ref)
        if there == oid:
            say(f"the answer was lost, but {remote} has {bump.tag}")
            return
        if there is None:
            raise
        message = f"{bump.tag} was made on {remote} meanwhile"
        fix = f"git pull --tags {shlex.quote(remote)} {shlex.quote(bump.target or '')}, then call again"
        raise BumpError("exists", message, fix=fix) from error


def _name(repository: Repository, bump: Bump, oid: str) -> None:
    words = ("update-ref", "-m", "bump-version", f"refs/tags/{bump.tag}", oid, "0" * len(oid))
    done = process.run(*words, cwd=repository.worktree)
    if not done.returncode:
        return
    if bump.remote is None:
        what = f"{bump.tag} cannot be made here: {_first_line(done.said)}"
        raise BumpError("name", what, fix=_out_of_the_way(done.said))
    said = _first_line(done.said)
    message = f"{bump.tag} is published on {bump.remote}, but could not be made here: {said}"
    fix = shlex.join(["git", "fetch", bump.remote, f"+refs/tags/{bump.tag}:refs/tags/{bump.tag}"])
    raise BumpError("name", message, fix=fix)
