"""Refuses large files: results and data belong in the catalog, and what is pushed once stays for good.

Weighs blobs, never working files: those that a commit would add, those that a push would send, or those
of the files that are named. kB are 1024 bytes. `--allow` wins over all else. A lock file may be of any
size. A git-lfs pointer is never refused; a file that git-lfs should hold and that was staged in full is
weighed like any other.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from deriva_ml_hooks.config import count, settings_table, texts
from deriva_ml_hooks.errors import NotARepositoryError, UsageError
from deriva_ml_hooks.git import blobs
from deriva_ml_hooks.git.discovery import of_hook
from deriva_ml_hooks.git.lfs import POINTER_SIZE, pointer_blobs, tracked_by_lfs
from deriva_ml_hooks.hooks._advice import Heavy, belongs, kind_of, measured, names
from deriva_ml_hooks.hooks._hook import Hook, parsed, report
from deriva_ml_hooks.packages import is_lockfile
from deriva_ml_hooks.report import Finding

if TYPE_CHECKING:
    from deriva_ml_hooks.git.pushes import Push
    from deriva_ml_hooks.git.repository import Repository

HOOK = Hook(
    "check-large-files",
    stages=("pre-commit", "pre-push", "manual"),
    settings={"max-kb": count, "allow": texts, "deny": texts},
    recommended=True,
)
MAX_KB = 500

Entry = TypeVar("Entry", blobs.Staged, blobs.Indexed)


class Rules(NamedTuple):
    """Refused are blobs over `limit` bytes, and paths that `denied` takes; not those that `allowed` takes.

    A lock file is of no use in git-lfs or in a dataset: it has no limit.
    """

    limit: int
    allowed: Callable[[bytes], bool] | None
    denied: Callable[[bytes], bool] | None

    def code(self, path: bytes | None, size: int) -> str | None:
        """Why a blob of `size` bytes at `path` is refused (a finding's code); None where it is not."""
        code = "large-file" if size > self.limit else None
        if path is None:
            return code
        if code is not None and is_lockfile(os.fsdecode(path)):
            code = None
        if self.denied is not None and self.denied(path):
            code = "denied-file"
        return None if code is None or (self.allowed is not None and self.allowed(path)) else code


def main(argv: Sequence[str] | None = None) -> int:
    """Weigh what the stage is about; 1 when something is refused."""
    parser = HOOK.parser(__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help="weigh these (default: what is staged)")
    parser.add_argument("--all-files", action="store_true", help="weigh every file in the index")
    parser.add_argument("--pre-push", nargs=2, metavar=("REMOTE", "URL"), help="weigh the push on stdin")
    parser.add_argument("--max-kb", type=_count, metavar="N", help=f"limit in kB (default: {MAX_KB})")
    parser.add_argument(
        "--allow", action="append", metavar="GLOB", help="never refuse these (as in .gitignore)"
    )
    parser.add_argument("--deny", action="append", metavar="GLOB", help="refuse these at any size")
    args = parsed(parser, argv)
    if args.files and os.path.lexists("--"):  # it may be what ended the options
        args.files.append("--")
    try:
        repository = of_hook()
    except NotARepositoryError:
        if args.pre_push or args.all_files or not args.files:
            raise
        paths = {os.fsencode(name): name for name in args.files}
        return report(_untracked(None, paths, _rules(HOOK.chosen(None, args))), as_json=args.json)
    rules = _rules(HOOK.chosen(repository, args))
    push = _push(repository, args)
    found = _in_index(repository, args, rules) if push is None else _in_push(repository, push, rules)
    return report(found, as_json=args.json)


def judge_push(push: Push) -> list[Finding]:
    """What a push sends that is too large, in the repository that git calls its hook in."""
    repository = of_hook()
    return _in_push(repository, push, _rules(HOOK.chosen(repository)))


def _push(repository: Repository, args: argparse.Namespace) -> Push | None:
    """The push, or the range that CI gives; None where it is about neither."""
    from deriva_ml_hooks.git import pushes

    if args.pre_push:
        return pushes.push_of_git(sys.stdin.buffer.read(), *args.pre_push)
    return None if args.all_files else pushes.push_of_pre_commit(repository, os.environ)


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number, zero or more, not {word!r}")
    return int(word)


def _rules(settings: Mapping[str, Any]) -> Rules:
    limit = settings.get("max-kb", MAX_KB) * 1024
    return Rules(limit, _matcher(settings.get("allow", ())), _matcher(settings.get("deny", ())))


def _matcher(globs: Sequence[str]) -> Callable[[bytes], bool] | None:
    """Whether a path fits `globs`, in the form of gitignore(5); None without any."""
    if not globs:
        return None
    from deriva_ml_hooks.globs import glob, matcher

    lines = [os.fsencode(line) for line in globs]
    try:
        if None not in map(glob, lines):
            return matcher(lines)
    except ValueError:
        pass
    raise UsageError(f"not all of these are patterns: {' '.join(globs)}"[:200], fix="see: git help gitignore")


def _in_push(repository: Repository, push: Push, rules: Rules) -> list[Finding]:
    """Each path once, by its largest blob and the first commit that brings one."""
    from deriva_ml_hooks.git.outgoing import new_blobs, outgoing

    out = outgoing(repository, push.updates, push.remote, push.url)
    heavy: dict[object, Heavy] = {}
    for sent in new_blobs(repository, out, rules.limit, rules.denied):
        if (code := rules.code(sent.path, sent.size)) is None:
            continue
        key = sent.path or sent.oid
        new = Heavy(code, sent.path, sent.oid, sent.size, commit=sent.commit)
        if first := heavy.get(key):
            size, commits = max(first.size, new.size), first.commits + 1
            new = new._replace(size=size, commit=first.commit, commits=commits)
        heavy[key] = new
    return _told(repository, [*heavy.values()], rules)


def _out_of_history(repository: Repository, commit: str | None, words: str) -> str:
    """The usual way out: from `commit` on, all becomes one commit without the files."""
    if commit is None:
        return "delete the tag that leads to it: git tag --delete TAG"
    short = commit[:12]
    undo = f"git reset --soft {short}^ && git reset --quiet -- {words}"
    if repository.git("rev-parse", "--verify", "--quiet", f"{commit}^").returncode:
        undo = f"git update-ref -d HEAD && git rm --quiet --cached -f --ignore-unmatch -- {words}"
    undo += f" && git commit --allow-empty --reuse-message={short}"
    is_here = not repository.git("merge-base", "--is-ancestor", commit, "HEAD").returncode
    return undo if is_here else f"switch to a branch with that commit, then: {undo}"


def _in_index(repository: Repository, args: argparse.Namespace, rules: Rules) -> list[Finding]:
    blobs.require_worktree(repository)
    if args.all_files:
        return _weighed(repository, blobs.indexed(repository), rules)
    staged = blobs.staged(repository)
    if args.files:
        return _named(repository, args.files, staged, rules)
    if os.environ.get("PRE_COMMIT"):
        return []  # pre-commit calls without names when there is nothing that the hook is to look at
    if staged is None:
        return _weighed(repository, blobs.indexed(repository), rules)
    return _grown(repository, staged, rules)


def _named(
    repository: Repository, files: Sequence[str], staged: list[blobs.Staged] | None, rules: Rules
) -> list[Finding]:
    """What is staged of `files` is compared with HEAD; of the others the index says what they weigh.

    In a merge pre-commit also names files that were settled as HEAD has them: those are left alone.
    """
    changed = {entry.path: entry for entry in staged or ()}
    paths = {_in_worktree(repository, name): name for name in files}
    findings = _grown(repository, [changed[path] for path in paths if path in changed], rules)
    others = [path for path in paths if path not in changed]
    if not others or (staged is not None and repository.merging()):
        return findings
    index = {entry.path: entry for entry in blobs.indexed(repository)}
    strangers = {path: paths[path] for path in others if path not in index}
    folders = tuple(
        b"" if path == b"." else path + b"/" for path, name in strangers.items() if os.path.isdir(name)
    )
    inside = [entry for path, entry in index.items() if folders and path.startswith(folders)]
    findings += _weighed(repository, [*(index[path] for path in others if path in index), *inside], rules)
    return findings + _untracked(repository, strangers, rules)


def _in_worktree(repository: Repository, name: str) -> bytes:
    """`name`, relative to the working directory, as a path relative to the worktree; links stay links."""
    folder, last = os.path.split(name.rstrip(os.sep))
    path = os.path.join(os.path.realpath(folder), last)
    return os.fsencode(os.path.relpath(path, os.path.realpath(repository.worktree)))


def _grown(repository: Repository, staged: Sequence[blobs.Staged], rules: Rules) -> list[Finding]:
    """Of what is staged: new blobs, and those that are larger than what HEAD has at the path.

    Not refused: a blob that HEAD (or a commit that is being merged) has anywhere, so moving and copying
    is free; and what stays as large as it was, or shrinks. A kind that is denied is, whatever it was.
    """
    refused = _refused(repository, [entry for entry in staged if entry.oid != entry.old_oid], rules)
    if not refused:
        return []
    before = [entry for entry, _, _ in refused if entry.old_mode not in (blobs.ABSENT, blobs.GITLINK)]
    old = dict(zip(before, blobs.sizes(repository, [entry.old_oid for entry in before]), strict=True))
    trees = ["HEAD", *repository.merging()]
    known = blobs.in_trees(repository, trees, {entry.oid for entry, _, _ in refused})
    heavy = [
        Heavy(code, entry.path, entry.oid, size, old.get(entry))
        for entry, code, size in refused
        if entry.oid not in known and (code == "denied-file" or size > old.get(entry, -1))
    ]
    return _told(repository, heavy, rules, "git restore --staged")


def _weighed(repository: Repository, entries: Sequence[blobs.Indexed], rules: Rules) -> list[Finding]:
    """What is in the index, whether or not HEAD has it too."""
    refused = _refused(repository, entries, rules)
    heavy = [Heavy(code, entry.path, entry.oid, size) for entry, code, size in refused]
    return _told(repository, heavy, rules, "git rm --cached")


def _refused(repository: Repository, entries: Sequence[Entry], rules: Rules) -> list[tuple[Entry, str, int]]:
    """Those of `entries` that the rules refuse, with why and their size in bytes."""
    sizes = blobs.sizes(repository, [entry.oid for entry in entries])
    judged = ((entry, rules.code(entry.path, size), size) for entry, size in zip(entries, sizes, strict=True))
    return [(entry, code, size) for entry, code, size in judged if code is not None]


def _untracked(repository: Repository | None, files: Mapping[bytes, str], rules: Rules) -> list[Finding]:
    """Files (path to show: path to open) that git does not know: weighed as they are, but not for git-lfs."""
    heavy = []
    for path, name in files.items():
        if os.path.isdir(name) and not os.path.islink(name):
            continue
        try:
            size = os.lstat(name).st_size
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}", fix="name files that exist") from None
        if (code := rules.code(path, size)) is not None:
            heavy.append(Heavy(code, path, b"", size))
    inside = [one.path for one in heavy if one.path is not None and not one.path.startswith(b"../")]
    lfs = tracked_by_lfs(repository, inside) if repository is not None and inside else set()
    left = [one for one in heavy if one.path not in lfs]
    return _findings(repository, left, rules, set(), "keep it out of git: name it in .gitignore")


def _told(repository: Repository, heavy: Sequence[Heavy], rules: Rules, undo: str = "") -> list[Finding]:
    """The findings for blobs, git-lfs pointers left out; `undo`: the command that takes paths out again."""
    if not heavy:
        return []
    pointers = pointer_blobs(repository, {one.oid for one in heavy if one.size < POINTER_SIZE})
    refused = [one for one in heavy if one.oid not in pointers]
    lfs = tracked_by_lfs(repository, [one.path for one in refused if one.path is not None])
    return _findings(repository, refused, rules, lfs, undo)


def _findings(
    repository: Repository | None, heavy: Sequence[Heavy], rules: Rules, lfs: set[bytes], undo: str
) -> list[Finding]:
    """The findings, those with the same fix together; `lfs`: paths that git-lfs should hold."""
    table = settings_table(repository.worktree if repository is not None else ".", HOOK.id)
    groups: dict[tuple[str, str, str | None], list[Heavy]] = {}
    for one in heavy:
        kind = "unfiltered" if one.path in lfs else kind_of(one.path)
        groups.setdefault((one.code, kind, one.commit), []).append(one)
    found = []
    for (code, kind, commit), group in groups.items():
        named = names(one.path for one in group)
        fix = f"{undo} -- {named}" if undo.startswith("git") else undo
        if repository is not None and not undo:
            fix = _out_of_history(repository, commit, named)
        elif kind == "unfiltered":
            again = f"git rm --cached -- {named} && git add -- {named} .gitattributes"
            fix = f"git lfs install --skip-repo && {again}"
        for one in group:
            message = measured(one, rules.limit)
            if one.path is not None:
                message += f"; {belongs(one, kind, *table)}"
            found.append(Finding(code, os.fsdecode(one.path) if one.path else None, message, fix))
    return found
