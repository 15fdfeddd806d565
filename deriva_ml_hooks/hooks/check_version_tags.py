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
from collections.abc import Iterator, Sequence
from dataclasses import replace

from deriva_ml_hooks.config import switch, word
from deriva_ml_hooks.errors import ConfigError, UsageError
from deriva_ml_hooks.git import pushes, tags
from deriva_ml_hooks.git.discovery import of_hook
from deriva_ml_hooks.git.outgoing import outgoing
from deriva_ml_hooks.git.pushes import Push, RefUpdate, is_zero
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.git.tags import Tag
from deriva_ml_hooks.hooks import _version_rules
from deriva_ml_hooks.hooks._hook import Hook, report
from deriva_ml_hooks.hooks._version_rules import Rules
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.toml import parse_toml, read_toml

HOOK = Hook(
    "check-version-tags",
    stages=("pre-push", "manual"),
    settings={"prefix": word, "allow-pre-releases": switch},
    recommended=True,
)
PREFIX = "v"

# git-check-ref-format(1); a prefix that ends in a digit or a dot would run into the version.
_PREFIX = re.compile(r"(?:[^\x00-\x20\x7f~^:?*\[\\-][^\x00-\x20\x7f~^:?*\[\\]*)?(?<![0-9.])")


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the version tags that the stage is about; 1 when there is something wrong with them."""
    parser = HOOK.parser(__doc__)
    parser.add_argument(
        "--prefix", metavar="TEXT", help=f"what stands before the version (default: {PREFIX})"
    )
    parser.add_argument(
        "--allow-pre-releases",
        action=argparse.BooleanOptionalAction,
        help="whether versions such as v1.2.0-rc.1 are tagged (default: no)",
    )
    parser.add_argument("--pre-push", nargs=2, metavar=("REMOTE", "URL"), help="judge the push on stdin")
    args = parser.parse_args(argv)
    if args.pre_push:
        found = judge_push(pushes.push_of_git(sys.stdin.buffer.read(), *args.pre_push), args)
        return report(found, as_json=args.json)
    repository = of_hook()
    push = None
    if os.environ.get("PRE_COMMIT_REMOTE_NAME"):  # a range alone is no push of tags
        push = pushes.push_of_pre_commit(repository, os.environ)
    if push is not None:
        return report(judge_push(push, args), as_json=args.json)
    return report([*_of_repository(repository, _rules(repository, args))], as_json=args.json)


def judge_push(push: Push, args: argparse.Namespace | None = None) -> list[Finding]:
    """What is wrong with the version tags of a push; the repository is not looked at where it has no tags."""
    if not any(update.is_tag for update in push.updates):
        return []
    repository = of_hook()
    return [*_of_push(repository, push, _rules(repository, args))]


def of_new(repository: Repository, name: str, commit: str) -> list[Finding]:
    """What a push would be refused for that brings the annotated tag `name`, not made yet, on `commit`."""
    rules = _rules(repository)
    if not rules.is_ours(name):
        return []
    tag = Tag(name, commit, "tag", commit, "commit", name)
    rules = replace(rules, known={**rules.known, name: tag})
    return [*_version_rules.findings(repository, [tag], rules), *_contradicted(repository, [tag], rules)]


def _rules(repository: Repository, args: argparse.Namespace | None = None) -> Rules:
    """The rules in force. Raises UsageError for a bad prefix."""
    settings = HOOK.chosen(repository, args)
    prefix = settings.get("prefix", PREFIX)
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(
            f"prefix: no version tag can begin with {prefix!r}",
            fix='a prefix such as "v" or "model-v", without spaces or any of ~^:?*[\\, no digit at its end',
        )
    known = {tag.name: tag for tag in tags.all_tags(repository)}
    return Rules(prefix, settings.get("allow-pre-releases", False), known)


def _updates(repository: Repository, push: Push, rules: Rules) -> list[RefUpdate]:
    """The version tags that a push updates. pre-commit does not say what the remote has: it is asked."""
    ours = [update for update in push.updates if update.is_tag and rules.is_ours(update.name)]
    if push.complete or not ours:
        return ours
    there = tags.remote_refs(repository, push.url or push.remote or "")
    zero = "0" * len(ours[0].local_oid)
    asked = [replace(update, remote_oid=there.get(update.remote_ref, zero)) for update in ours]
    return [update for update in asked if update.remote_oid != update.local_oid]


def _of_push(repository: Repository, push: Push, rules: Rules) -> Iterator[Finding]:
    updates, remote = _updates(repository, push, rules), push.remote or push.url
    if not updates:
        return
    sent = {update.name: _sent(repository, update, rules) for update in updates if not update.is_deletion}
    names = {update.name for update in updates}
    known = {name: tag for name, tag in rules.known.items() if name not in names}
    known |= {name: tag for name, tag in sent.items() if tag is not None}
    published = [update.name for update in updates if not is_zero(update.remote_oid)]
    rules = replace(rules, known=known, published=published)
    judged = []
    for update in updates:
        tag = sent.get(update.name)
        if tag is None:
            finding = _version_rules.vanished(repository, update, rules, remote)
        else:
            finding = _version_rules.moved(update, tag, rules, remote)
        if finding is not None:
            yield finding
        elif tag is not None:
            judged.append(tag)
    yield from _version_rules.findings(repository, judged, rules)
    versions = [tag for tag in judged if tag.commit and rules.version(tag.name) is not None]
    if push.complete:
        yield from _unpublished(repository, versions, push)
    yield from _contradicted(repository, versions, rules)


def _sent(repository: Repository, update: RefUpdate, rules: Rules) -> Tag | None:
    here = rules.known.get(update.name)
    if here is not None and here.oid == update.local_oid:
        return here
    return tags.read_tag(repository, update.name, update.local_oid)


def _unpublished(repository: Repository, versions: Sequence[Tag], push: Push) -> Iterator[Finding]:
    """Versions on commits that the remote neither has nor gets."""
    commits = {tag.commit for tag in versions if tag.commit}
    brought = [update.local_oid for update in push.updates if update.is_branch and not update.is_deletion]
    if commits <= set(brought):
        return
    out = outgoing(repository, push.updates, push.remote, push.url)
    out = replace(out, known=(*out.known, *brought))
    missing = tags.beyond(repository, commits, out)
    if missing:  # nothing here says so, but the remote itself may have it
        there = tags.remote_refs(repository, push.url or push.remote or "")
        known = tags.commits_here(repository, sorted(set(there.values())))
        missing = tags.beyond(repository, missing, replace(out, known=(*out.known, *known)))
    for tag in versions:
        if tag.commit in missing:
            yield _version_rules.unpublished(repository, tag, push.remote or push.url)


def _contradicted(repository: Repository, versions: Sequence[Tag], rules: Rules) -> Iterator[Finding]:
    """The pyproject.toml of each tagged commit beside its tag: after the push it is too late to mend."""
    contents = tags.files_at(repository, [tag.commit for tag in versions if tag.commit], "pyproject.toml")
    for tag in versions:
        content = contents.get(tag.commit or "")
        if content is None:
            continue
        try:
            document = parse_toml(content, "pyproject.toml")
        except ConfigError:
            continue  # a broken file is no matter of tags
        yield from _version_rules.static_version(document, [tag.name], rules.prefix)


def _of_repository(repository: Repository, rules: Rules) -> Iterator[Finding]:
    shallow = repository.shallow()
    ours = [tag for tag in rules.known.values() if rules.is_ours(tag.name)]
    if _in_ci():
        yield from _clone(shallow, bool(ours), rules.prefix)
    remotes = os.fsdecode(repository.git("remote").stdout).split()
    published_on = "origin" if "origin" in remotes else next(iter(remotes), None)
    rules = replace(rules, published_on=published_on)
    commits = [commit for _, _, commit in rules.versions()]
    if published_on is not None and len(set(commits)) < len(commits):  # only then it matters who was first
        there = tags.remote_refs(repository, published_on)
        rules = replace(rules, published=[ref.removeprefix("refs/tags/") for ref in there])
    yield from _version_rules.findings(repository, ours, rules, ordered=not shallow)
    versions = {tag.name: tag for tag in ours if tag.commit and rules.version(tag.name) is not None}
    if not shallow:
        stray = tags.on_no_branch(repository, [tag.commit for tag in versions.values() if tag.commit])
        for tag in versions.values():
            if tag.commit in stray:
                yield _version_rules.stray(tag, published_on or "origin")
    document = read_toml(os.path.join(repository.worktree, "pyproject.toml"), "pyproject.toml")
    if document is not None:
        head = repository.git("rev-parse", "--verify", "--quiet", "HEAD").stdout.decode("ascii").strip()
        names = [tag.name for tag in versions.values() if tag.commit == head]
        yield from _version_rules.static_version(document, names, rules.prefix)


def _in_ci() -> bool:
    said = (os.environ.get(name, "").lower() for name in ("CI", "GITHUB_ACTIONS"))
    return any(word not in ("", "0", "false") for word in said)


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
