"""Keeps version tags fit to be recorded: SemVer, annotated, on one commit each, in order, never moved.

At a push only the tags that it brings are judged; without one, all of them, and in CI whether the clone
has what a version is made from. Under pre-commit, which tells of one ref and hides those that go along with
it, a tag is judged where it is that ref; the native hook judges all that is really pushed.
Must never stop a push over a tag that it does not touch.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from deriva_ml_hooks.config import hook_settings, parse_toml, read_toml
from deriva_ml_hooks.errors import ConfigError, UsageError
from deriva_ml_hooks.git import pushes, tags
from deriva_ml_hooks.git.discovery import of_hook
from deriva_ml_hooks.git.outgoing import outgoing
from deriva_ml_hooks.git.pushes import RefUpdate, is_zero
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import Tag
from deriva_ml_hooks.hooks import _common, _version_rules
from deriva_ml_hooks.hooks._version_rules import Rules
from deriva_ml_hooks.report import Finding

HOOK = "check-version-tags"
PREFIX = "v"

# git-check-ref-format(1); a prefix that ends in a digit or a dot would run into the version.
_PREFIX = re.compile(r"(?:[^\x00-\x20\x7f~^:?*\[\\-][^\x00-\x20\x7f~^:?*\[\\]*)?(?<![0-9.])")


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the version tags that the stage is about; 1 when there is something wrong with them."""
    parser = _common.arguments(HOOK, __doc__)
    parser.add_argument(
        "--prefix", metavar="TEXT", help=f"what stands before the version (default: {PREFIX})"
    )
    parser.add_argument(
        "--allow-pre-releases",
        action=argparse.BooleanOptionalAction,
        help="whether versions such as v1.2.0-rc.1 are tagged (default: no)",
    )
    parser.add_argument("--pre-push", nargs=2, metavar=("REMOTE", "URL"), help="judge the push told on stdin")
    args = parser.parse_args(argv)
    return _common.tell(_findings(args, os.environ), as_json=args.json)


def _findings(args: argparse.Namespace, environ: Mapping[str, str]) -> list[Finding]:
    if args.pre_push:
        updates = pushes.parse_ref_updates(sys.stdin.buffer.read())
        if not any(update.is_tag for update in updates):
            return []
        place = of_hook()
        remote, url = args.pre_push
        return list(_of_push(place, updates, remote, url, _rules(place, args)))
    place = of_hook()
    rules = _rules(place, args)
    if not environ.get("PRE_COMMIT_REMOTE_NAME"):
        return list(_of_repository(place, rules, environ))
    remote, url = environ["PRE_COMMIT_REMOTE_NAME"], environ.get("PRE_COMMIT_REMOTE_URL", "")
    told = pushes.updates_from_pre_commit(place, environ)
    updates = _tag_told(place, told, url or remote, rules)
    return list(_of_push(place, updates, remote, url, rules, complete=False))


def of_new(place: Repository, name: str, commit: str) -> list[Finding]:
    """What a push would be refused for that brings the annotated tag `name`, not made yet, on `commit`."""
    rules = _rules(place, argparse.Namespace(prefix=None, allow_pre_releases=None))
    tag = Tag(name, commit, "tag", commit, "commit", name)
    if not rules.is_ours(name):
        return []
    rules = replace(rules, known={**rules.known, name: tag})
    found = _version_rules.findings(place, [tag], rules)
    return [*found, *_contradicted(place, [tag], rules)]


def _rules(place: Repository, args: argparse.Namespace) -> Rules:
    """Arguments win over [tool.deriva-ml-hooks.check-version-tags]. Raises UsageError for a bad prefix."""
    found = hook_settings(place.worktree, HOOK)
    prefix = args.prefix if args.prefix is not None else found.get("prefix", PREFIX)
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(
            f"prefix: no version tag can begin with {prefix!r}",
            fix='a prefix such as "v" or "model-v", without spaces or any of ~^:?*[\\, no digit at its end',
        )
    allowed = args.allow_pre_releases
    pre_releases = found.get("allow-pre-releases", False) if allowed is None else allowed
    return Rules(prefix, pre_releases, {tag.name: tag for tag in tags.all_tags(place)})


def _tag_told(place: Repository, told: Sequence[RefUpdate], url: str, rules: Rules) -> list[RefUpdate]:
    """The version tag that pre-commit tells of, if it is one, with what the remote has under its name."""
    ours = [update for update in told if update.is_tag and rules.is_ours(update.name)]
    there = (tags.remote_refs(place, url) or {}) if ours else {}
    known = [
        replace(update, remote_oid=there.get(update.remote_ref, "0" * len(update.local_oid)))
        for update in ours
    ]
    return [update for update in known if update.remote_oid != update.local_oid]


def _of_push(
    place: Repository,
    updates: Sequence[RefUpdate],
    remote: str,
    url: str,
    rules: Rules,
    *,
    complete: bool = True,
) -> Iterator[Finding]:
    """What is wrong with the version tags among `updates`; `complete`: those are all of the push."""
    ours = [update for update in updates if update.is_tag and rules.is_ours(update.name)]
    if not ours:
        return
    known = dict(rules.known)
    sent: dict[str, Tag] = {}
    for update in ours:
        known.pop(update.name, None)
        if not update.is_deletion:
            here = rules.known.get(update.name)
            same = here is not None and here.oid == update.local_oid
            tag = here if same else tags.read_tag(place, update.name, update.local_oid)
            if tag is not None:
                sent[update.name] = known[update.name] = tag
    published = [update.name for update in ours if not is_zero(update.remote_oid)]
    rules = replace(rules, known=known, published=published)
    judged = []
    for update in ours:
        tag = sent.get(update.name)
        finding = (
            _version_rules.moved(update, tag, rules, remote)
            if tag is not None
            else _version_rules.vanished(place, update, rules, remote)
        )
        if finding is not None:
            yield finding
        elif tag is not None:
            judged.append(tag)
    yield from _version_rules.findings(place, judged, rules)
    versions = [tag for tag in judged if tag.commit and rules.version(tag.name) is not None]
    if complete:
        yield from _unpublished(place, versions, updates, remote, url)
    yield from _contradicted(place, versions, rules)


def _unpublished(
    place: Repository, versions: Sequence[Tag], updates: Sequence[RefUpdate], remote: str, url: str
) -> Iterator[Finding]:
    commits = {tag.commit for tag in versions if tag.commit}
    brought = [update.local_oid for update in updates if update.is_branch and not update.is_deletion]
    if commits <= set(brought):
        return
    out = outgoing(place, updates, remote, url)
    out = replace(out, known=(*out.known, *brought))
    missing = tags.beyond(place, commits, out)
    if missing:  # nothing here says so, but the remote itself may have it
        there = tags.remote_refs(place, url or remote) or {}
        known = tags.commits_here(place, sorted(set(there.values())))
        missing = tags.beyond(place, missing, replace(out, known=(*out.known, *known)))
    for tag in versions:
        if tag.commit in missing:
            yield _version_rules.unpublished(place, tag, remote)


def _contradicted(place: Repository, versions: Sequence[Tag], rules: Rules) -> Iterator[Finding]:
    """The pyproject.toml of each tagged commit beside its tag: after the push it is too late to mend."""
    contents = tags.files_at(place, [tag.commit for tag in versions if tag.commit], "pyproject.toml")
    for tag in versions:
        content = contents.get(tag.commit or "")
        if content is None:
            continue
        try:
            document = parse_toml(content, "pyproject.toml")
        except ConfigError:
            continue  # a broken file is no matter of tags
        yield from _version_rules.static_version(document, [tag.name], rules.prefix)


def _of_repository(place: Repository, rules: Rules, environ: Mapping[str, str]) -> Iterator[Finding]:
    shallow = place.shallow()
    ours = [tag for tag in rules.known.values() if rules.is_ours(tag.name)]
    if _in_ci(environ):
        yield from _clone(shallow, bool(ours), rules.prefix)
    remotes = os.fsdecode(place.git("remote").stdout).split()
    published_on = "origin" if "origin" in remotes else next(iter(remotes), None)
    rules = replace(rules, published_on=published_on)
    commits = [commit for _, _, commit in rules.versions()]
    if published_on is not None and len(set(commits)) < len(commits):  # only then it matters who was first
        there = tags.remote_refs(place, published_on) or {}
        rules = replace(rules, published=[ref.removeprefix("refs/tags/") for ref in there])
    yield from _version_rules.findings(place, ours, rules, ordered=not shallow)
    versions = {tag.name: tag for tag in ours if tag.commit and rules.version(tag.name) is not None}
    if not shallow:
        stray = tags.on_no_branch(place, [tag.commit for tag in versions.values() if tag.commit])
        for tag in versions.values():
            if tag.commit in stray:
                yield _version_rules.stray(tag, published_on or "origin")
    document = read_toml(os.path.join(place.worktree, "pyproject.toml"), "pyproject.toml")
    if document is not None:
        head = place.git("rev-parse", "--verify", "--quiet", "HEAD").stdout.decode("ascii").strip()
        names = [tag.name for tag in versions.values() if tag.commit == head]
        yield from _version_rules.static_version(document, names, rules.prefix)


def _in_ci(environ: Mapping[str, str]) -> bool:
    return any(environ.get(name, "").lower() not in ("", "0", "false") for name in ("CI", "GITHUB_ACTIONS"))


def _clone(shallow: bool, tagged: bool, prefix: str) -> Iterator[Finding]:
    """What a version cannot be made from: setuptools-scm invents one and says nothing."""
    everywhere = "(actions/checkout: fetch-depth: 0; GitLab: GIT_DEPTH: 0)"
    if shallow:
        message = "a shallow clone: its version would be made up"
        yield Finding("shallow-clone", None, message, f"git fetch --tags --unshallow {everywhere}")
    elif not tagged:
        message = "a clone without version tags: its version would be made up"
        name = shlex.quote(f"{prefix}0.1.0")
        first = f"tag the first version: git tag -a {name} -m {name}"
        yield Finding("no-version-tags", None, message, f"git fetch --tags {everywhere}; or {first}")
