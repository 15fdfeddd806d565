"""What Python would import in the place of the commit's modules, and git ignores.

Bytecode that is older than its source, which Python tells by whole seconds and the size alone; packages and
extension modules beside a module of that name, which go before it (importlib.machinery.FileFinder).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

_COMPILED = (b".so", b".pyd")
_INIT = re.compile(rb"__init__\.(?:py|pyc|.*\.?(?:so|pyd))")
_CACHE = b"__pycache__"
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
    """What no commit holds and is imported in the place of a module; with that module's path."""
    top = os.fsencode(worktree)
    for folder, names in modules.items():
        for entry in _entries(os.path.join(top, folder)):
            stem = entry.name.partition(b".")[0]
            if stem not in names:
                continue
            if entry.name == stem:  # a folder is a package if there is any form of __init__ in it
                names_of_it = [
                    b"%s/%s" % (stem, e.name) for e in _entries(entry.path) if _INIT.fullmatch(e.name)
                ]
            else:
                names_of_it = [entry.name] if entry.name.endswith(_COMPILED) else []
            path = next((os.path.join(folder, name) for name in names_of_it), None)
            if path is not None and path not in tracked:
                yield os.fsdecode(path), os.fsdecode(os.path.join(folder, stem + b".py"))


def stale(worktree: str, modules: _Modules, tracked: Collection[bytes], prefix: str | None) -> Iterator[str]:
    """The bytecode that Python would take for a module's, and that was not written after its source was.

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
                yield os.fsdecode(entry.path)


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
