"""Makes the version that was planned: its tag, and one push of tag and branch; all of it or nothing."""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from dataclasses import replace

from deriva_ml_hooks.config import hook_settings, load
from deriva_ml_hooks.errors import GitError, HooksError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.versions import same_release
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.provenance.scm_settings import NoVersionError
from deriva_ml_hooks.provenance.version import version_under
from deriva_ml_hooks.release import unfinished
from deriva_ml_hooks.release.bump import HOOK, Bump, BumpError, Wanted
from deriva_ml_hooks.release.push import Say, fatal, for_user, push, remote_refs
from deriva_ml_hooks.release.unfinished import Note

_SIGNATURE = re.compile(
    rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----$", re.M
)


def create(repository: Repository, bump: Bump, wanted: Wanted, *, say: Say) -> Bump:
    """Make the tag that was planned and, where there is a remote, push it together with the branch.

    Raises BumpError where something stands in the way, and GitError; nothing is left of it then.
    """
    require_possible(repository, bump)
    if bump.remote is None:
        _make_tag(repository, bump, wanted)
    else:
        with unfinished.noted(repository, Note(bump.tag, bump.commit, bump.remote)):
            oid = _make_tag(repository, bump, wanted)
            _push(repository, bump, bump.remote, oid, say=say)
    with contextlib.suppress(HooksError):  # the version is made, and a cache can be rebuilt
        provenance_of(replace(repository), load(repository.worktree), refresh=True)
    return replace(bump, pushed=bump.remote is not None)


def require_possible(repository: Repository, bump: Bump) -> None:
    """See that nothing here is in the way of what was planned. Raises BumpError and GitError.

    Nothing is made, signed or sent, so what a key, a server or a hook would say is not known.
    """
    _require_readable(repository, bump)
    if bump.remote is not None:
        _require_one_address(repository, bump.remote)


def _require_readable(repository: Repository, bump: Bump) -> None:
    """The tag must be the version for setuptools-scm too, with the project's own settings."""
    try:
        read = version_under(repository, bump.commit.encode("ascii"), bump.branch, bump.tag)
    except NoVersionError as error:
        if error.code:  # only setuptools-scm itself can follow the settings
            return
        read = None
    if read is None or not same_release(read, bump.version):
        what = f"would take {bump.tag} for {read}" if read else f"could not read {bump.tag}"
        raise BumpError(
            "unreadable-version",
            f"setuptools-scm {what}, so the version would not be {bump.version}",
            fix=_readable_prefix(repository, bump),
        )


def _readable_prefix(repository: Repository, bump: Bump) -> str:
    """A way to a tag that setuptools-scm can read and that check-version-tags lets pass."""
    configured = str(hook_settings(repository.worktree, HOOK).get("prefix", "v"))
    if configured != "v" and bump.tag == configured + bump.version:
        other = f'prefix = "v" in [tool.deriva-ml-hooks.{HOOK}]'
        return f"{other}, or a tag_regex in [tool.setuptools_scm] that reads {bump.tag}; commit that"
    return f"--prefix {shlex.quote(configured)}, and tag_regex in [tool.setuptools_scm] as it is by default"


def _require_one_address(repository: Repository, remote: str) -> None:
    """A push is one transaction for one address only (git-push(1), --atomic)."""
    done = repository.git("remote", "get-url", "--push", "--all", "--", remote)
    if len(done.stdout.splitlines()) > 1:
        raise BumpError(
            "several-addresses",
            f"{remote} has several push addresses, which cannot be pushed to all together or not at all",
            fix="name a remote with one: --remote NAME; or --no-push, and push branch and tag to each",
        )


def _make_tag(repository: Repository, bump: Bump, wanted: Wanted) -> str:
    """Make the annotated tag, as git makes and signs it for this user; the id of its object.

    Raises GitError where git cannot make or sign it; then there is none.
    """
    sign = [] if wanted.sign is None else ["--sign" if wanted.sign else "--no-sign"]
    words = ("tag", "--annotate", "--cleanup=whitespace", *sign)
    user = for_user(repository)
    user = replace(user, env={**user.env, **_date_after_others(repository, bump.commit)})
    message = wanted.message or f"Version {bump.version}"
    made = user.git(*words, "--message", message, "--", bump.tag, bump.commit)
    if made.returncode:
        raise GitError(
            "git tag", fatal(made.said) or made.said or f"exit {made.returncode}", fix=_fix(made.said)
        )
    ref = f"refs/tags/{bump.tag}"
    oid = repository.git("rev-parse", "--verify", ref).checked().decode("ascii").strip()
    signs = repository.is_set("tag", "gpgSign", default=False) if wanted.sign is None else wanted.sign
    # git 2.39 makes a tag without a signature where ssh-keygen fails, and calls that success.
    if signs and not _SIGNATURE.search(repository.git("cat-file", "tag", oid).checked()):
        repository.git("update-ref", "-d", ref, oid).checked()
        said = made.said or "no signature was made"
        raise GitError("git tag", said, fix="see that git tag --sign works here, or --no-sign")
    return oid


def _fix(said: str) -> str:
    """What helps where git cannot make the tag, by what it said."""
    lock = re.search(r"Unable to create '(.+\.lock)': File exists", said)
    if lock is not None:
        return f"unless another git is at work here: rm {shlex.quote(lock[1])}"
    taken = re.search(r"'refs/tags/([^']+)' exists; cannot create", said)
    if taken is not None:
        delete = f"git tag --delete {shlex.quote(taken[1])}"
        return f"take another --prefix, or delete the tag in its way: {delete}"
    return "see what git says: git tag --annotate test, then git tag --delete test; or --no-sign"


@process.answer("for-each-ref")
def _date_after_others(repository: Repository, commit: str) -> dict[str, str]:
    """A date for the new tag, where one of the commit's tags is of this second or of a clock ahead.

    git describe takes the youngest of several tags (git-describe(1)).
    """
    words = ("for-each-ref", f"--points-at={commit}", "--format=%(taggerdate:unix)", "refs/tags/")
    latest = max(map(int, repository.git(*words).checked().split()), default=0)
    return {"GIT_COMMITTER_DATE": f"{latest + 1} +0000"} if latest >= int(time.time()) else {}


def _push(repository: Repository, bump: Bump, remote: str, oid: str, *, say: Say) -> None:
    say(f"pushing {bump.branch} and {bump.tag} to {remote}")
    ref = f"refs/tags/{bump.tag}"
    try:
        push(repository, remote, {f"refs/heads/{bump.target}": bump.commit, ref: oid}, say=say)
    except GitError as error:
        there = remote_refs(repository, remote).get(ref)
        if there == oid:
            say(f"the answer was lost, but {remote} has {bump.tag}")
            return
        if there is None:
            raise
        message = f"{bump.tag} was made on {remote} meanwhile"
        fix = f"git pull --tags {shlex.quote(remote)} {shlex.quote(bump.target or '')}, then call again"
        raise BumpError("exists", message, fix=fix) from error
