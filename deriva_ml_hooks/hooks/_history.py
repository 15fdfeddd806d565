"""The ways to take large files out of the commits of a push: commands that work as they are pasted.

A few commits become one; for more, and where branches have merged, a tool is named that rewrites them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deriva_ml_hooks.git import blobs, outgoing
from deriva_ml_hooks.git.blobs import Place
from deriva_ml_hooks.git.outgoing import Outgoing
from deriva_ml_hooks.git.pushes import RefUpdate
from deriva_ml_hooks.hooks import _advice
from deriva_ml_hooks.hooks._advice import SENT, Heavy, WayOut, paths

_PLACES = ("refs/heads/", "refs/tags/", "refs/remotes/")
_NO_BRANCH = re.compile(r"^refs/remotes/(?:[^/]+/HEAD$|pull/)")
_SOURCES = ("GITHUB_HEAD_REF", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
"""Variables of CI (GitHub, GitLab) that name the branch which is asked to be merged."""

_FEW = 5
"""Commits that the fix makes one of."""


class Pushed(NamedTuple):
    """A push, its limit in bytes, and whether some files may be larger all the same."""

    place: Place
    out: Outgoing
    updates: Sequence[RefUpdate]
    limit: int
    spares: bool


def way_out(push: Pushed, kind: str, group: Sequence[Heavy]) -> WayOut:
    """How to take the blobs of `group`, all of one kind, out of what is pushed."""
    commits = {one.commit for one in group if one.commit is not None}
    if not commits:
        return WayOut(_untagged(_loose_tags(push)), complete=True)
    oldest = outgoing.oldest(push.place, push.out, commits)
    branch, name, switch, tags = _refs_with(push, oldest)
    listed = push.place.git("rev-list", "--topo-order", "--parents", branch, "--not", f"{oldest}^@").stdout
    since = {line.split(" ")[0]: line.split(" ")[1:] for line in listed.decode("ascii").splitlines()}
    if oldest not in since:
        return WayOut(_untagged(tags), complete=True)
    first = f"{_untagged(tags)} && " if tags else ""
    held = blobs.in_trees(push.place, [next(iter(since))], {one.oid for one in group})
    staying = [one for one in group if one.oid in held]
    if len(since) <= _FEW and all(len(parents) <= 1 for parents in since.values()):
        way = _one_commit(since, oldest, staying)
    else:
        way = _rewritten(push, kind, group, staying, name, f"{oldest}^.." if since[oldest] else "")
    tag_again = " (and make the tags again)" if tags else ""
    return way._replace(command=f"{first}{switch}{way.command}{tag_again}")


def _one_commit(since: Mapping[str, Sequence[str]], oldest: str, staying: Sequence[Heavy]) -> WayOut:
    """One commit of all `since`, its files left on the disk; a rebase would stop where it becomes empty."""
    start = f"git reset --soft {oldest[:12]}^" if since[oldest] else "git update-ref -d HEAD"
    unstage = f" && git reset --quiet -- {_advice.names(staying)}" if staying else ""
    note = f" (one commit in place of {len(since)})" if len(since) > 1 else ""
    commit = f"git commit --allow-empty --reuse-message={next(iter(since))[:12]}"
    return WayOut(f"{start}{unstage} && {commit}{note}")


def _rewritten(
    push: Pushed, kind: str, group: Sequence[Heavy], staying: Sequence[Heavy], name: str, since: str
) -> WayOut:
    """What rewrites all commits of the branch `name` from `since` on; stops where unsaved work would go."""
    clean = "git --no-pager diff --stat --exit-code HEAD && "
    by_size = group[0].code == "large-file" and not push.spares
    if by_size and kind in ("other", "unfiltered"):
        above = shlex.join([f"--above={push.limit}b", name])
        migrate = f"git lfs migrate import {above} && git lfs checkout"
        command = f"{clean}git lfs install --skip-repo && {migrate}; then before the push: {SENT}"
        return WayOut(command, complete=True)
    keep = ""
    if staying:  # what is not tracked stays on the disk
        files = _advice.names(staying)
        keep = f"git rm --quiet --cached -- {files} && git commit --quiet --message='Keep files' && "
    which = shlex.join(["--strip-blobs-bigger-than", str(push.limit)])
    if not by_size:
        which = "--invert-paths " + " ".join(f"--path {_advice.word(path)}" for path in paths(group))
    return WayOut(f"{clean}{keep}git filter-repo --force {which} --refs {shlex.quote(since + name)}")


def _refs_with(push: Pushed, commit: str) -> tuple[str, str, str, list[str]]:
    """The branch to mend, one that is pushed before others; its name; what leads there; the tags in the push.

    What is checked out in CI may be a merge that nobody else has (a pull request's): then it is the branch
    of the remote that brings the commit.
    """
    form = ("for-each-ref", f"--contains={commit}", "--format=%(refname)", *_PLACES)
    holding = os.fsdecode(push.place.git(*form).checked()).splitlines()
    head = os.fsdecode(push.place.git("symbolic-ref", "--quiet", "HEAD").stdout).strip()
    sent = [head if update.local_ref == "HEAD" else update.local_ref for update in push.updates]
    tags = [ref for ref in sent if ref in holding and ref.startswith("refs/tags/")]
    wanted = [*(ref for ref in sent if ref == head), *sent, head, *holding]
    branches = [ref for ref in wanted if ref in holding and ref.startswith("refs/heads/")]
    if not branches and not head:
        branches, name = _of_the_request(holding)
        ref = branches[0] if branches else "HEAD"
        return ref, name or "HEAD", f"git switch {shlex.quote(name)} && " if name else "", tags
    ref = branches[0] if branches else "HEAD"
    name = ref.removeprefix("refs/heads/")
    return ref, name, "" if ref in (head, "HEAD") else f"git switch {shlex.quote(name)} && ", tags


def _of_the_request(holding: Sequence[str]) -> tuple[list[str], str]:
    """Of the refs that hold a commit the one that is asked to be merged, by what CI says; and its name."""
    there = [ref for ref in holding if ref.startswith("refs/remotes/") and not _NO_BRANCH.search(ref)]
    asked = next((os.environ[name] for name in _SOURCES if os.environ.get(name)), "")
    named = [ref for ref in there if asked and ref.split("/", 3)[-1] == asked]
    chosen = named or ([] if asked else there[:1])
    return chosen, asked or (chosen[0].split("/", 3)[-1] if chosen else "")


def _loose_tags(push: Pushed) -> list[str]:
    """The tags in the push that lead to no commit."""
    sent = {update.local_ref: update.local_oid for update in push.updates if update.is_tag}
    kinds = {ref: push.place.git("cat-file", "-t", f"{oid}^{{}}").stdout.strip() for ref, oid in sent.items()}
    return [ref for ref, kind in kinds.items() if kind in (b"tree", b"blob")]


def _untagged(refs: Sequence[str]) -> str:
    return shlex.join(["git", "tag", "--delete", "--", *(ref.removeprefix("refs/tags/") for ref in refs)])
