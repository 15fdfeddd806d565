"""What a version tag must be: the rules of check-version-tags, one function each.

Judges tags against the others that are known; where they came from, and what is done about them, is the
hook's matter.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deriva_ml_hooks.git import tags
from deriva_ml_hooks.git.pushes import RefUpdate, is_zero
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import Tag
from deriva_ml_hooks.git.versions import Version, right_spelling, same_release, version_tag
from deriva_ml_hooks.report import Finding

_SETTING = "allow-pre-releases = true in [tool.deriva-ml-hooks.check-version-tags]"


@dataclass(frozen=True, slots=True)
class Rules:
    """How version tags are spelled here, and the tags that are known, by name.

    `published_on`: the remote that the judged tags may be on already, so that a fix has to reach it too.
    `published`: names of tags that the remote is known to have.
    """

    prefix: str
    pre_releases: bool
    known: Mapping[str, Tag]
    published_on: str | None = None
    published: Collection[str] = ()

    def version(self, name: str) -> Version | None:
        """The version of the tag `name`."""
        return version_tag(name, self.prefix)

    def is_ours(self, name: str) -> bool:
        """Whether `name` is a version tag, or would be one if it were spelled right."""
        return self.version(name) is not None or right_spelling(name, self.prefix) is not None

    def refuses(self, version: Version) -> bool:
        """Whether `version` is a pre-release, and those are not tagged here."""
        return bool(version.pre) and not self.pre_releases

    def next_free(self, version: Version) -> str:
        """The name of the first version after `version` that no tag has."""
        major, minor, patch = version.release
        patch += not version.pre
        while (name := f"{self.prefix}{major}.{minor}.{patch}") in self.known:
            patch += 1
        return name

    def tagging(self, name: str, at: str, *, force: bool = False) -> str:
        """The command that makes the version tag `name` on `at`."""
        return shlex.join(["git", "tag", "-a", *(["-f"] if force else []), name, at, "-m", name])

    def taking_back(self, name: str) -> str:
        """The command that deletes the tag `name`."""
        return f"git tag -d {shlex.quote(name)}{self.publishing(f':refs/tags/{name}')}"

    def publishing(self, *refs: str, force: bool = False) -> str:
        """What to add to a command where the tag may be on a remote already."""
        return "" if self.published_on is None else f" && {push(self.published_on, *refs, force=force)}"

    def versions(self) -> Iterator[tuple[Tag, Version, str]]:
        """The known version tags that are on a commit, with their versions and commits."""
        for tag in self.known.values():
            version = self.version(tag.name)
            if version is not None and tag.commit is not None:
                yield tag, version, tag.commit


def push(remote: str, *refs: str, force: bool = False) -> str:
    """A `git push` of `refs`."""
    return shlex.join(["git", "push", *(["--force"] if force else []), remote, *refs])


def findings(
    repository: Repository, judged: Sequence[Tag], rules: Rules, *, ordered: bool = True
) -> list[Finding]:
    """What is wrong with the tags `judged`, by themselves and beside the known ones.

    `ordered`: whether history is there to tell which version contains which.
    """
    found = [*_misspelled(judged, rules), *(finding for tag in judged for finding in _alone(tag, rules))]
    found += _twins(judged, rules)
    return [*found, *_lower(repository, judged, rules)] if ordered else found


def _alone(tag: Tag, rules: Rules) -> Iterator[Finding]:
    version = rules.version(tag.name)
    if version is None:
        return
    if rules.refuses(version):
        yield _pre_release(tag.name, tag.name, rules)
    at = tag.commit[:12] if tag.commit else f"{tag.name}^{{}}"
    remade = rules.tagging(tag.name, at, force=True) + rules.publishing(f"refs/tags/{tag.name}", force=True)
    if tag.kind == "commit":
        yield Finding(
            "lightweight-tag", None, f"{tag.name} is a lightweight tag, not an annotated one", remade
        )
    elif tag.target_kind == "tag":
        yield Finding("nested-tag", None, f"{tag.name} is on another tag, not on a commit", remade)
    elif tag.target_kind != "commit":
        message = f"{tag.name} is on a {tag.target_kind}, not on a commit"
        fix = f"tag the commit: {rules.tagging(tag.name, 'COMMIT', force=True)}, or take it back: "
        yield Finding("tag-not-on-commit", None, message, fix + rules.taking_back(tag.name))
    elif tag.own_name != tag.name:
        message = f"{tag.name} names the tag object of {tag.own_name}: git describe would call it that"
        yield Finding("borrowed-tag", None, message, remade)


def _misspelled(judged: Iterable[Tag], rules: Rules) -> Iterator[Finding]:
    """Tags that only look like versions. No two of them are told to take one name, or to name one commit."""
    known = dict(rules.known)
    on = {commit: tag.name for tag, version, commit in rules.versions() if not rules.refuses(version)}
    for tag in judged:
        right = right_spelling(tag.name, rules.prefix)
        version = rules.version(right) if right is not None else None
        if right is None or version is None:
            continue
        if rules.refuses(version):
            yield _pre_release(tag.name, right, rules)
        elif tag.commit in on:
            message = f"{tag.name} is not spelled as a version tag; {on[tag.commit]} is enough for its commit"
            yield Finding("tag-spelling", None, message, rules.taking_back(tag.name))
        else:
            name = replace(rules, known=known).next_free(version) if right in known else right
            known[name] = tag
            if tag.commit:
                on[tag.commit] = name
            taken = f" ({right} is another commit already)" if name != right else ""
            message = f"{tag.name} is not spelled as a version tag: {name}{taken}"
            at = tag.commit[:12] if tag.commit else "COMMIT"
            fix = f"{rules.tagging(name, at)} && git tag -d {shlex.quote(tag.name)}"
            fix += rules.publishing(f"refs/tags/{name}", f":refs/tags/{tag.name}")
            yield Finding("tag-spelling", None, message, fix)


def _pre_release(name: str, right: str, rules: Rules) -> Finding:
    spelled = f", spelled {right}" if right != name else ""
    message = f"{name} is a pre-release{spelled}; only releases are tagged here"
    return Finding("pre-release", None, message, f"{rules.taking_back(name)}, or allow them: {_SETTING}")


def _twins(judged: Iterable[Tag], rules: Rules) -> Iterator[Finding]:
    """Commits with more than one version tag: nobody can say which version they are.

    What stays is what the remote is known to have, else what is not judged (at a push: not sent), else
    the lowest, which was there first. The fix deletes nothing on a remote.
    """
    names = {tag.name for tag in judged if tag.commit is not None}
    on: dict[str, list[tuple[Version, str]]] = {}
    for tag, version, commit in rules.versions():
        on.setdefault(commit, []).append((version, tag.name))
    for commit, several in on.items():
        ranked = [name for _, name in sorted(several)]
        if len(ranked) < 2 or names.isdisjoint(ranked):
            continue
        fit = [name for version, name in sorted(several) if not rules.refuses(version)]
        published = [name for name in fit if name in rules.published]
        kept = published or [name for name in fit if name not in names] or fit[:1]
        surplus = [name for name in ranked if name not in kept]
        message = f"{', '.join(ranked)} are all on the commit {commit[:12]}, which can have one version only"
        message += ": a new version needs a new commit"
        fix = " && ".join(f"git tag -d {shlex.quote(name)}" for name in surplus) or "published ones stay"
        yield Finding("several-versions", None, message, fix)


def _lower(repository: Repository, judged: Iterable[Tag], rules: Rules) -> Iterator[Finding]:
    """Versions lower than one that their commit already contains."""
    names = {tag.name for tag in judged}
    ranks: dict[str, tuple[Version, str]] = {}
    for tag, version, commit in rules.versions():
        ranks[commit] = max(ranks.get(commit, (version, tag.name)), (version, tag.name))
    if not ranks:
        return
    top = max(version for version, _ in ranks.values())
    # The highest version of all needs no look at history, and that is what people push.
    doubtful = [found for found in rules.versions() if found[0].name in names and found[1] < top]
    below = tags.highest_below(repository, {commit for _, _, commit in doubtful}, ranks) if doubtful else {}
    for tag, version, commit in doubtful:
        highest, name = below.get(commit, (version, tag.name))
        if version < highest:
            message = f"{tag.name} is lower than {name}, which its commit {commit[:12]} contains"
            fix = f"{rules.tagging(rules.next_free(highest), commit[:12])} && {rules.taking_back(tag.name)}"
            yield Finding("lower-version", None, message, fix)


def moved(update: RefUpdate, tag: Tag, rules: Rules, remote: str) -> Finding | None:
    """A version that the remote has on another object.

    Only a lightweight tag may be replaced, by an annotated one on the very commit: nothing moves then.
    """
    version = rules.version(tag.name)
    same_commit = tag.kind == "tag" and tag.commit == update.remote_oid
    if version is None or is_zero(update.remote_oid) or same_commit:
        return None
    right = rules.next_free(version)
    back = shlex.join(["git", "fetch", remote, f"+refs/tags/{tag.name}:refs/tags/{tag.name}"])
    at = tag.commit[:12] if tag.commit else "COMMIT"
    message = f"{tag.name} is on {remote} already, on another object; a published version never moves"
    return Finding("moved-version", None, message, f"{rules.tagging(right, at)} && {back}")


def vanished(repository: Repository, update: RefUpdate, rules: Rules, remote: str) -> Finding | None:
    """A version that a push takes from the remote, though nothing is wrong with it."""
    version = rules.version(update.name)
    if version is None or is_zero(update.remote_oid) or rules.refuses(version):
        return None
    there = tags.read_tag(repository, update.name, update.remote_oid)
    if there is not None:
        beside = replace(rules, known={**rules.known, there.name: there})
        # A twin on its commit is no reason: the twin goes, not what is published.
        if any(_alone(there, beside)) or any(_lower(repository, [there], beside)):
            return None
    message = f"{update.name} would vanish from {remote}, and what was recorded with it could not be found"
    fix = f"publish the next version instead; if nobody used it: git push --no-verify {shlex.quote(remote)} "
    return Finding("deleted-version", None, message, fix + shlex.quote(f":{update.remote_ref}"))


def unpublished(repository: Repository, tag: Tag, remote: str) -> Finding:
    """A version on a commit that is on no branch of the remote, and that no branch in the push brings."""
    commit = tag.commit or tag.oid
    branch = tags.branch_with(repository, commit)
    if branch is None:
        return stray(tag, remote)
    message = f"{tag.name} is on {commit[:12]}, which is on no branch of {remote} and in none that is pushed"
    return Finding("unpublished-commit", None, message, push(remote, branch, f"refs/tags/{tag.name}"))


def stray(tag: Tag, remote: str) -> Finding:
    """A version on a commit that no branch contains any more, after an amend or a rebase for example."""
    commit = (tag.commit or tag.oid)[:12]
    message = f"{tag.name} is on {commit}, which is on no branch"
    branch = f"at-{tag.name}"
    kept = shlex.join(["git", "branch", branch, commit])
    fix = f"{kept} && {push(remote, branch, f'refs/tags/{tag.name}')}, or tag the commit that took its place"
    return Finding("stray-commit", None, message, fix)


def static_version(document: Mapping[str, Any], names: Sequence[str], prefix: str) -> Iterator[Finding]:
    """A version written in pyproject.toml beside setuptools-scm, or other than the version tags `names`."""
    project, tool = (document[k] if isinstance(document.get(k), dict) else {} for k in ("project", "tool"))
    version = project.get("version")
    if not isinstance(version, str):
        return
    dynamic = project.get("dynamic")
    if isinstance(dynamic, list) and "version" in dynamic:
        other = 'dynamic = ["version"]'
    else:
        table = next((key for key in ("setuptools_scm", "vcs-versioning") if key in tool), None)
        other = f"[tool.{table}]" if table else ""
    if other:
        message = f'version = "{version}" beside {other}: two versions of one project'
        fix = 'remove the version from [project], and list it there: dynamic = ["version"]'
        yield Finding("static-version", "pyproject.toml", message, fix)
        return
    for name in names:
        if not same_release(version, name.removeprefix(prefix)):
            message = f'version = "{version}", but the commit is tagged {name}'
            right = f'version = "{name.removeprefix(prefix)}"'
            fix = f"commit {right} and tag that commit, or leave versions to setuptools-scm"
            yield Finding("contradicted-version", "pyproject.toml", message, fix)
