"""What Python would import in the place of the commit's modules, and git ignores.

Bytecode that is older than its source, which Python tells by whole seconds and the size alone; packages and
extension modules beside a module of that name, which go before it (importlib.machinery.FileFinder); modules
beside a script that are called as the standard library's; what the environment has every program load.
"""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from deriva_ml_hooks.files import inside

_COMPILED = (b".so", b".pyd")
_INIT = re.compile(rb"__init__\.(?:py|pyc|.*\.?(?:so|pyd))")
_CACHE = b"__pycache__"
_STANDARD = frozenset(map(os.fsencode, sys.stdlib_module_names)) - {b"__main__"}
_LOADED = ("BASH_ENV", "ENV", "MAKEFILES", "PYTHONSTARTUP")
"""Variables that name a file which a shell, make or Python runs before anything else."""
_BY_HASH, _CHECKED = 1, 2
"""Flags of a .pyc file (PEP 552)."""

_Modules = dict[bytes, set[bytes]]
"""The modules of the commit by the folder they are in, without their suffix."""


def modules_of(tracked: Iterable[bytes]) -> _Modules:
    """The modules among the `tracked` paths."""
    found: _Modules = defaultdict(set)
    for path in tracked:
        if path.endswith(b".py"):
            folder, _, name = path.rpartition(b"/")
            found[folder].add(name[:-3])
    return found


def shadowing(worktree: str, modules: _Modules, tracked: Collection[bytes]) -> Iterator[tuple[str, str]]:
    """What no commit holds and is imported in the place of a module; with that module's name or path."""
    top = os.fsencode(worktree)
    for folder, names in modules.items():
        # The folder of a package is on no path, so what is in it hides nothing of the standard library.
        standard = frozenset() if b"__init__" in names else _STANDARD - names
        for entry in _entries(os.path.join(top, folder)):
            stem = entry.name.partition(b".")[0]
            if stem not in names and stem not in standard:
                continue
            suffixes = (*_COMPILED, b".py", b".pyc") if stem in standard else _COMPILED
            path = next((os.path.join(folder, name) for name in _imported(entry, stem, suffixes)), None)
            if path is not None and path not in tracked:
                hidden = os.path.join(folder, stem + b".py") if stem in names else b"the standard " + stem
                yield os.fsdecode(path), os.fsdecode(hidden)


def _imported(entry: os.DirEntry[bytes], stem: bytes, suffixes: tuple[bytes, ...]) -> list[bytes]:
    """The files that are imported for an entry of a folder: a package if any form of __init__ is in it."""
    if entry.name == stem:
        return [b"%s/%s" % (stem, e.name) for e in _entries(entry.path) if _INIT.fullmatch(e.name)]
    return [entry.name] if entry.name.endswith(suffixes) else []


def from_environment(
    env: Mapping[str, str], worktree: str, tracked: Collection[bytes]
) -> Iterator[tuple[str, str]]:
    """What no commit holds and a shell or Python of a run loads or finds; with the variable that names it.

    Outside the worktree only files that the user can write: the others were installed by someone.
    """
    named = [(name, os.path.expanduser(env.get(name, ""))) for name in _LOADED]
    folders = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    named += [
        ("PYTHONPATH", os.fsdecode(entry.path))
        for folder in folders
        if _inside(folder, worktree) is not None
        for entry in _entries(os.fsencode(folder))
        if entry.name.endswith((b".py", *_COMPILED))
    ]
    for name, path in named:
        name_here = _inside(path, worktree)
        is_theirs = name_here is None and not os.access(path, os.W_OK)
        is_tracked = name_here is not None and os.fsencode(name_here) in tracked
        if os.path.isfile(path) and not is_theirs and not is_tracked:
            yield path, name


def _inside(path: str, worktree: str) -> str | None:
    """The path from the worktree on, by where it really is; None where that is outside."""
    return inside(os.path.realpath(path), os.path.realpath(worktree))


def stale(
    worktree: str, modules: _Modules, tracked: Collection[bytes], prefix: str | None
) -> Iterator[tuple[str, bool]]:
    """The bytecode that Python would take for a module's, and that was not written after its source was.

    With each whether it may be taken away: what a link of the commit leads to elsewhere may not.
    `prefix`: where Python keeps bytecode, if not beside its sources (PYTHONPYCACHEPREFIX).
    """
    top = os.fsencode(worktree)
    for folder, names in modules.items():
        here = os.path.join(top, folder)
        kept = os.path.join(here, _CACHE)
        if prefix:
            kept = os.path.join(
                os.fsencode(os.path.abspath(prefix)), os.path.splitdrive(here)[1].lstrip(b"/")
            )
        for entry in _entries(kept):
            stem = entry.name.partition(b".")[0]
            if stem not in names or not entry.name.endswith(b".pyc"):
                continue
            if os.path.join(folder, _CACHE, entry.name) in tracked:
                continue
            source = os.path.join(here, stem + b".py")
            if _is_stale(entry.path, source):
                yield (
                    os.fsdecode(entry.path),
                    bool(prefix) or _inside(os.fsdecode(kept), worktree) is not None,
                )


def _is_stale(bytecode: bytes, source: bytes) -> bool:
    try:
        known = os.stat(source)
        # Nobody can set back when a file was changed, as git checkout, rsync and tar set its other time.
        if os.stat(bytecode).st_mtime_ns > known.st_ctime_ns:
            return False
        with open(bytecode, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    flags, seconds, size = (int.from_bytes(head[at : at + 4], "little") for at in (4, 8, 12))
    if flags & _BY_HASH:
        return not flags & _CHECKED
    return (seconds, size) == (int(known.st_mtime) & 0xFFFFFFFF, known.st_size & 0xFFFFFFFF)


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(folder) as entries:
            return [*entries]
    except OSError:  # no folder, or none that Python could read either
        return []
