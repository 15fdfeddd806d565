"""Tags: what each of them is, how the commits they are on relate, and which of them a remote has.

Asked of the git program, so that a hook's own GIT_DIR counts, and each question is one process however
many tags there are. The parsers are pure functions of bytes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.objects import contents, look_up
from deriva_ml_hooks.git.outgoing import Outgoing
from deriva_ml_hooks.git.repository import Repository

PATIENCE = 30.0
"""Seconds that a remote may take to name its refs."""

_FORMAT = "%(refname)%00%(objectname)%00%(objecttype)%00%(object)%00%(type)%00%(tag)"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: its name without `refs/tags/`, and the object that the ref names.

    `kind` is that object's type: `tag` makes it annotated. `target` and `target_kind` are what a tag
    object names (the object itself where it is not one), `own_name` the name that is written in it.
    """

    name: str
    oid: str
    kind: str
    target: str
    target_kind: str
    own_name: str | None

    @property
    def commit(self) -> str | None:
        """The commit it is on; None for a tag of anything else, also of another tag."""
        return self.target if self.target_kind == "commit" else None


def all_tags(repository: Repository) -> list[Tag]:
    """Every tag, by name."""
    return parse_refs(repository.git("for-each-ref", f"--format={_FORMAT}", "refs/tags/").checked())


@process.answer("for-each-ref")
def parse_refs(data: bytes) -> list[Tag]:
    """`git for-each-ref` in the format of this module: one line for each tag, NUL between fields."""
    tags = []
    for line in os.fsdecode(data).split("\n")[:-1]:
        ref, oid, kind, target, target_kind, own = line.split("\0")
        tags.append(_tag(ref.removeprefix("refs/tags/"), oid, kind, target, target_kind, own))
    return tags


def _tag(name: str, oid: str, kind: str, target: str, target_kind: str, own: str) -> Tag:
    if kind != "tag":
        return Tag(name, oid, kind, oid, kind, None)
    return Tag(name, oid, kind, target, target_kind, own)


def read_tag(repository: Repository, name: str, oid: str) -> Tag | None:
    """The tag that `name` is where it names the object `oid`; None where that is not here."""
    (found,) = contents(repository, [oid])
    if found is None:
        return None
    about = parse_tag_object(found.data) if found.kind == "tag" else ("", "", "")
    return _tag(name, oid, found.kind, *about)


@process.answer("cat-file")
def parse_tag_object(data: bytes) -> tuple[str, str, str]:
    """Oid and type of what a tag object names, and its own name (git-mktag(1))."""
    lines = os.fsdecode(data.partition(b"\n\n")[0]).split("\n")
    fields = dict(line.partition(" ")[::2] for line in reversed(lines))
    return fields["object"], fields["type"], fields.get("tag", "")


@process.answer("rev-list")
def highest_below(repository: Repository, tips: Collection[str], ranks: Mapping[str, _T]) -> dict[str, _T]:
    """For each commit of `tips` the highest of the `ranks` that its ancestors have, itself left out.

    Tips without such an ancestor are absent. Walks the history once.
    """
    stdin = "".join(f"{tip}\n" for tip in tips).encode("ascii")
    done = repository.git("rev-list", "--topo-order", "--parents", "--stdin", stdin=stdin).checked()
    best: dict[str, _T] = {}
    for line in reversed(done.decode("ascii").splitlines()):
        commit, *parents = line.split(" ")
        found = [rank for p in parents for rank in (best.get(p), ranks.get(p)) if rank is not None]
        if found:
            best[commit] = max(found)  # type: ignore[type-var]  # ranks are told to be comparable
    return {tip: best[tip] for tip in tips if tip in best}


def beyond(repository: Repository, commits: Iterable[str], out: Outgoing) -> set[str]:
    """Those of `commits` that are not behind what `out` says is known."""
    return _outside(repository, commits, out.known, [f"--remotes={name}" for name in out.tracking])


@process.answer("rev-parse")
def on_no_branch(repository: Repository, commits: Iterable[str]) -> set[str]:
    """Those of `commits` that no branch contains, local or of a remote, and HEAD neither."""
    head = repository.git("rev-parse", "--verify", "--quiet", "HEAD").stdout.decode("ascii").split()
    return _outside(repository, commits, head, ["--branches", "--remotes"])


@process.answer("rev-list")
def _outside(
    repository: Repository, commits: Iterable[str], known: Sequence[str], refs: Sequence[str]
) -> set[str]:
    """Those of `commits` that are behind none of the commits `known`, nor of `refs` (git-rev-list(1))."""
    wanted = set(commits).difference(known)
    if not wanted:
        return set()
    stdin = "".join(f"{commit}\n" for commit in sorted(wanted)) + "".join(f"^{commit}\n" for commit in known)
    listed = repository.git("rev-list", "--not", *refs, "--not", "--stdin", stdin=stdin.encode("ascii"))
    return wanted & set(listed.checked().decode("ascii").split())


def branch_with(repository: Repository, commit: str) -> str | None:
    """A local branch that contains `commit`, the one that is checked out before others."""
    form = "--format=%(HEAD)%(refname:short)"
    listed = repository.git("for-each-ref", f"--contains={commit}", form, "refs/heads/")
    lines = sorted(os.fsdecode(listed.stdout).splitlines(), key=lambda line: not line.startswith("*"))
    return lines[0][1:] if lines else None


def refs_of_remote(
    repository: Repository, remote: str, *, env: Mapping[str, str] | None = None, timeout: float = PATIENCE
) -> dict[str, str]:
    """The branches and tags of `remote` (a name or a URL) as it says itself, with their oids.

    A name with `^{}` behind it is what that tag leads to (git-ls-remote(1)). Raises GitError.
    """
    words = ("ls-remote", "--quiet", "--heads", "--tags", "--", remote)
    done = process.run(*words, cwd=repository.worktree, env=env or repository.env, timeout=timeout)
    if done.returncode:
        fix = f"see why it does not answer: git ls-remote {shlex.quote(remote)}"
        raise GitError(f"remote {remote}", done.said.rpartition("\n")[2] or "no answer", fix=fix)
    return parse_remote_refs(done.stdout)


def remote_refs(repository: Repository, remote: str) -> dict[str, str]:
    """The same; nothing where it does not answer."""
    try:
        return refs_of_remote(repository, remote)
    except GitError:
        return {}


def parse_remote_refs(data: bytes) -> dict[str, str]:
    """`git ls-remote`: `<oid> TAB <ref> LF`."""
    rows = (line.partition("\t") for line in os.fsdecode(data).split("\n") if line)
    return {ref: oid for oid, _, ref in rows}


def commits_here(repository: Repository, oids: Sequence[str]) -> list[str]:
    """Those of `oids` that are commits of this repository."""
    return [found.oid for found in look_up(repository, oids) if found is not None and found.kind == "commit"]


def files_at(repository: Repository, commits: Sequence[str], path: str) -> dict[str, bytes]:
    """The content of `path` in each of `commits`; absent where there is no such blob."""
    found = contents(repository, [f"{commit}:{path}" for commit in commits])
    pairs = zip(commits, found, strict=True)
    return {commit: blob.data for commit, blob in pairs if blob is not None and blob.kind == "blob"}
