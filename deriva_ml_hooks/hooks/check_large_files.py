"""Refuses large files: results and data belong in the catalog, and what is pushed once stays for good.

Weighs blobs, never working files: those that a commit would add, those that a push would send, or those
of the files that are named. kB are 1024 bytes. `--allow` wins over all else. A lock file may be of any
size. A git-lfs pointer is never refused; a file that git-lfs should hold and that was staged in full is
weighed like any other.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from deriva_ml_hooks.config import Settings, hook_settings, settings_table
from deriva_ml_hooks.errors import NotARepositoryError, UsageError
from deriva_ml_hooks.git import blobs
from deriva_ml_hooks.git.discovery import of_hook
from deriva_ml_hooks.git.lfs import POINTER_SIZE, pointer_blobs, tracked_by_lfs
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.hooks import _advice, _common
from deriva_ml_hooks.hooks._advice import Heavy
from deriva_ml_hooks.packages import is_lockfile
from deriva_ml_hooks.report import Finding

if TYPE_CHECKING:
    from deriva_ml_hooks.git.pushes import RefUpdate

HOOK = "check-large-files"
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
    parser = _common.arguments(HOOK, __doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help="weigh these (default: what is staged)")
    parser.add_argument("--all-files", action="store_true", help="weigh every file in the index")
    parser.add_argument("--pre-push", nargs=2, metavar=("REMOTE", "URL"), help="weigh the push told on stdin")
    parser.add_argument("--max-kb", type=_count, metavar="N", help=f"limit in kB (default: {MAX_KB})")
    parser.add_argument(
        "--allow", action="append", metavar="GLOB", help="never refuse these (as in .gitignore)"
    )
    parser.add_argument("--deny", action="append", metavar="GLOB", help="refuse these at any size")
    args = _common.parsed(parser, argv)
    if args.files and os.path.lexists("--"):  # it may be what ended the options
        args.files.append("--")
    try:
        place = of_hook()
    except NotARepositoryError:
        if args.pre_push or args.all_files or not args.files:
            raise
        findings = _untracked(None, [(os.fsencode(name), name) for name in args.files], _rules(args, {}))
    else:
        rules = _rules(args, hook_settings(place.worktree, HOOK))
        pushed = _pushed(place, args, rules)
        findings = _in_index(place, args, rules) if pushed is None else pushed
    return _common.tell(findings, as_json=args.json)


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number, zero or more, not {word!r}")
    return int(word)


def _rules(args: argparse.Namespace, settings: Settings) -> Rules:
    """Arguments win over [tool.deriva-ml-hooks.check-large-files]."""
    kilobytes = settings.get("max-kb", MAX_KB) if args.max_kb is None else args.max_kb
    allow, deny = (getattr(args, key) or settings.get(key, ()) for key in ("allow", "deny"))
    return Rules(kilobytes * 1024, _matcher(allow), _matcher(deny))


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


def _pushed(place: Repository, args: argparse.Namespace, rules: Rules) -> list[Finding] | None:
    """The findings in what is pushed, or in the range that CI gives; None where it is about neither."""
    environ = os.environ
    by_pre_commit = any(environ.get(f"PRE_COMMIT_{name}") for name in ("TO_REF", "REMOTE_NAME"))
    if not args.pre_push and (args.all_files or not by_pre_commit):
        return None
    from deriva_ml_hooks.git import pushes

    if args.pre_push:
        remote, url = args.pre_push
        updates = pushes.parse_ref_updates(sys.stdin.buffer.read())
    else:
        remote, url = environ.get("PRE_COMMIT_REMOTE_NAME"), environ.get("PRE_COMMIT_REMOTE_URL", "")
        updates = pushes.updates_from_pre_commit(place, environ)
    return _in_history(place, updates, remote, url, rules)


def _in_history(
    place: Repository, updates: Sequence[RefUpdate], remote: str | None, url: str, rules: Rules
) -> list[Finding]:
    """Each path once, by its largest blob and the first commit that brings one."""
    from deriva_ml_hooks.git import outgoing

    out = outgoing.outgoing(place, updates, remote, url)
    heavy: dict[object, Heavy] = {}
    for one in outgoing.new_blobs(place, out, rules.limit, rules.denied):
        code = rules.code(one.path, one.size)
        if code is not None:
            first = heavy.get(one.path or one.oid)
            new = Heavy(code, one.path, one.oid, one.size, None, one.commit)
            if first is not None:
                new = new._replace(
                    size=max(first.size, one.size), commit=first.commit, commits=first.commits + 1
                )
            heavy[one.path or one.oid] = new
    return _told(place, [*heavy.values()], rules, lambda group: _advice.way_out(place, updates, group))


def _in_index(place: Repository, args: argparse.Namespace, rules: Rules) -> list[Finding]:
    blobs.require_worktree(place)
    if args.all_files:
        return _weighed(place, blobs.indexed(place), rules)
    staged = blobs.staged(place)
    if args.files:
        return _named(place, args.files, staged, rules)
    if os.environ.get("PRE_COMMIT"):
        return []  # pre-commit calls without names when there is nothing that the hook is to look at
    return _weighed(place, blobs.indexed(place), rules) if staged is None else _grown(place, staged, rules)


def _named(
    place: Repository, names: Sequence[str], staged: list[blobs.Staged] | None, rules: Rules
) -> list[Finding]:
    """What is staged of `names` is compared with HEAD; of the others the index says what they weigh.

    In a merge pre-commit also names files that were settled as HEAD has them: those are left alone.
    """
    changed = {entry.path: entry for entry in staged or ()}
    paths = dict(zip(_in_worktree(place, names), names, strict=True))
    findings = _grown(place, [changed[path] for path in paths if path in changed], rules)
    others = [path for path in paths if path not in changed]
    if not others or (staged is not None and place.merging()):
        return findings
    index = {entry.path: entry for entry in blobs.indexed(place)}
    strangers = [path for path in others if path not in index]
    folders = tuple(b"" if path == b"." else path + b"/" for path in strangers if os.path.isdir(paths[path]))
    inside = [entry for path, entry in index.items() if path.startswith(folders)] if folders else []
    findings += _weighed(place, [*(index[path] for path in others if path in index), *inside], rules)
    return findings + _untracked(place, [(path, paths[path]) for path in strangers], rules)


def _in_worktree(place: Repository, names: Iterable[str]) -> list[bytes]:
    """`names`, relative to the working directory, as paths relative to the worktree."""
    top = os.path.realpath(place.worktree)
    here = os.path.relpath(os.path.realpath("."), top)
    paths = []
    for name in names:
        path = name
        if os.path.isabs(name):
            folder, last = os.path.split(name)
            path = os.path.relpath(os.path.join(os.path.realpath(folder), last), top)
        elif here != "." or name[:1] in ("", ".") or "//" in name or "/." in name:
            path = os.path.normpath(os.path.join(here, name))
        paths.append(os.fsencode(path.replace(os.sep, "/").rstrip("/")))
    return paths


def _grown(place: Repository, staged: Sequence[blobs.Staged], rules: Rules) -> list[Finding]:
    """Of what is staged: new blobs, and those that are larger than what HEAD has at the path.

    Not refused: a blob that HEAD (or a commit that is being merged) has anywhere, so moving and copying
    is free; and what stays as large as it was, or shrinks. A kind that is denied is, whatever it was.
    """
    staged = [entry for entry in staged if entry.oid != entry.old_oid]
    refused = _refused(place, staged, rules)
    if not refused:
        return []
    before = [entry for entry, _, _ in refused if entry.old_mode not in (blobs.ABSENT, blobs.GITLINK)]
    old = dict(zip(before, blobs.sizes(place, [entry.old_oid for entry in before]), strict=True))
    known = blobs.in_trees(place, ["HEAD", *place.merging()], {entry.oid for entry, _, _ in refused})
    heavy = [
        Heavy(code, entry.path, entry.oid, size, old.get(entry))
        for entry, code, size in refused
        if entry.oid not in known and (code == "denied-file" or size > old.get(entry, -1))
    ]
    return _told(place, heavy, rules, _by("git restore --staged"))


def _weighed(place: Repository, entries: Sequence[blobs.Indexed], rules: Rules) -> list[Finding]:
    """What is in the index, whether or not HEAD has it too."""
    heavy = [
        Heavy(code, entry.path, entry.oid, size) for entry, code, size in _refused(place, entries, rules)
    ]
    return _told(place, heavy, rules, _by("git rm --cached"))


def _refused(place: Repository, entries: Sequence[Entry], rules: Rules) -> list[tuple[Entry, str, int]]:
    """Those of `entries` that the rules refuse, with why and their size in bytes."""
    sizes = blobs.sizes(place, [entry.oid for entry in entries])
    judged = ((entry, rules.code(entry.path, size), size) for entry, size in zip(entries, sizes, strict=True))
    return [(entry, code, size) for entry, code, size in judged if code is not None]


def _untracked(place: Repository | None, files: Sequence[tuple[bytes, str]], rules: Rules) -> list[Finding]:
    """Files (path to show, path to open) that git does not know: weighed as they are, but not for git-lfs."""
    heavy = []
    for path, name in files:
        if os.path.isdir(name) and not os.path.islink(name):
            continue
        try:
            size = os.lstat(name).st_size
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}", fix="name files that exist") from None
        if (code := rules.code(path, size)) is not None:
            heavy.append(Heavy(code, path, b"", size))
    inside = [one.path for one in heavy if one.path is not None and not one.path.startswith(b"../")]
    lfs = tracked_by_lfs(place, inside) if place is not None else set()
    heavy = [one for one in heavy if one.path not in lfs]
    most = max((one.size for one in heavy), default=0) // 1024 + 1
    larger = shlex.join(["deriva-ml-hooks", "hook", HOOK, "--max-kb", str(most)])
    return _findings(place, heavy, rules, (), _by(larger))


def _by(command: str) -> _advice.Undo:
    return lambda group: f"{command} -- {_advice.names(group)}"


def _told(place: Repository, heavy: Sequence[Heavy], rules: Rules, undo: _advice.Undo) -> list[Finding]:
    if not heavy:
        return []
    small = {one.oid for one in heavy if one.size < POINTER_SIZE}
    pointers = pointer_blobs(place, small)
    refused = [one for one in heavy if one.oid not in pointers]
    lfs = tracked_by_lfs(place, [one.path for one in refused if one.path is not None])
    return _findings(place, refused, rules, lfs, undo)


def _findings(
    place: Repository | None,
    heavy: Sequence[Heavy],
    rules: Rules,
    lfs: Collection[bytes],
    undo: _advice.Undo,
) -> list[Finding]:
    table = settings_table(place.worktree if place is not None else ".", HOOK)
    return _advice.findings(heavy, limit=rules.limit, lfs=lfs, undo=undo, allow=table)
