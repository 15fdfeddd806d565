"""Stands in every Python process of a run: keeps its imports in one worktree, tells what came from others.

Written out as `sitecustomize`, so it has to do with the standard library alone, and with Python 3.8. It
must change nothing else that a program does: the environment's own sitecustomize comes next.
"""

from __future__ import annotations

import atexit
import os
import sys
import time

TYPE_CHECKING = False  # as type checkers know it: typing takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_MARKS = ("pyvenv.cfg", "conda-meta")


class Worktrees:
    """The worktrees of a repository, seen from `here`, whose code is to run: that of the `others` is not.

    An environment that stands in one of them (.venv) is none of its code.
    """

    def __init__(self, here: str | None, others: Sequence[str]) -> None:
        self.here = here
        self.others = sorted(others, key=len, reverse=True)  # one may stand in another: the inner one first
        self._doubles: dict[str, str] = {}  # asked for with every import

    def inside(self, path: str) -> tuple[str, str] | None:
        """Which of the others holds the absolute `path` as code, and where; None where none of them does."""
        for known in (os.path.normpath(path), os.path.realpath(path)):
            if self.here is not None and _is_in(known, self.here):
                continue
            for other in self.others:
                if _is_in(known, other):
                    return None if is_installed(known, other) else (other, os.path.relpath(known, other))
        return None

    def is_here(self, path: str) -> bool:
        """Whether `path`, or what it leads to, is a file of the worktree whose code is to run."""
        real = os.path.realpath(path)
        return self.here is not None and _is_in(real, self.here) and not is_installed(real, self.here)

    def doubled(self, path: str) -> str:
        """The place in `here` of what one of the others holds at `path`; any other path as it is."""
        try:
            return self._doubles[path]
        except KeyError:
            found = self.inside(path) if os.path.isabs(path) else None
            if found is None or self.here is None:
                new = path
            else:
                new = os.path.normpath(os.path.join(self.here, found[1]))
            self._doubles[path] = new
            return new

    def doubled_file(self, path: str) -> str:
        """The same for a file: its folder, looked up once for all files in it, is decisive, or a link."""
        folder, _, name = path.rpartition(os.sep)
        new = self.doubled(folder)
        if new != folder:
            return os.path.join(new, name)
        return self.doubled(path) if os.path.islink(path) else path


def _is_in(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip(os.sep) + os.sep)


def is_installed(path: str, top: str) -> bool:
    """Whether `path`, in the worktree `top`, is in an environment that stands there."""
    while path != top and path != os.path.dirname(path):
        if any(os.path.exists(os.path.join(path, mark)) for mark in _MARKS):
            return True
        path = os.path.dirname(path)
    return False


class Leader:
    """Asks the finders that come after it, and leads what they find in other worktrees to its double.

    What has no double is not found, as if it were not installed: sys.path, the maps of editable
    installations, portions of namespaces and links all end here.
    """

    def __init__(self, worktrees: Worktrees) -> None:
        self._worktrees = worktrees
        self._settled: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """As importlib.abc.MetaPathFinder has it."""
        self.settle()
        places = path if path is None else self._led(path)
        after = [*sys.meta_path]
        is_elsewhere = False
        for finder in after[after.index(self) + 1 :] if self in after else []:
            find = getattr(finder, "find_spec", None)
            if find is None:  # of the old kind (until Python 3.11): the import system goes on by itself
                return None
            tried = places
            spec = find(name, tried, target)
            while spec is not None:
                led = self._led_spec(spec)
                if led is not None:
                    return led
                is_elsewhere = True
                # It may stand further down sys.path, too.
                left = _without(sys.path if tried is None else tried, spec)
                if left is None or getattr(finder, "__name__", None) != "PathFinder":
                    break
                tried = left
                spec = find(name, tried, target)
        if (
            is_elsewhere
        ):  # else the import system would ask the same finders once more, and take what they find
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

    def settle(self) -> None:
        """Lead sys.path, whoever has put something there.

        A folder without a double stays, since it may hold links (setuptools' strict mode): each file is led.
        """
        if sys.path != self._settled:
            self._settled = [
                place if isinstance(place, str) and not os.path.isdir(new) and os.path.isdir(place) else new
                for place in sys.path
                for new in self._led([place])
            ]
            sys.path[:] = self._settled

    def _led(self, places: Any) -> Any:
        old = [*places]
        new = [self._worktrees.doubled(place) if isinstance(place, str) else place for place in old]
        return places if new == old else new

    def _led_spec(self, spec: Any) -> Any:
        places = spec.submodule_search_locations
        if spec.has_location and isinstance(spec.origin, str):
            origin = _absolute(spec.origin)
            new = self._worktrees.doubled_file(origin)
            if new == origin:
                return spec
            if not os.path.isfile(new):
                origin = os.path.realpath(origin)
                new = self._worktrees.doubled(origin)
            if new == origin or not os.path.isfile(new):
                return None
            from importlib.util import spec_from_file_location  # not loaded at the start of Python

            within = None if places is None else [os.path.dirname(new)]
            return spec_from_file_location(spec.name, new, submodule_search_locations=within)
        if places is not None:
            led = self._led(places)
            if led is not places:
                old = {*places}
                led = [place for place in led if place in old or os.path.isdir(place)]
                if not led:
                    return None
                spec.submodule_search_locations = led
        return spec


def _without(places: Sequence[Any], spec: Any) -> Any:
    """The places without those that a module was found in; None where that is none of them."""
    found = [spec.origin] if spec.has_location else [*(spec.submodule_search_locations or ())]
    left = [p for p in places if not any(isinstance(f, str) and _is_in(f, _absolute(str(p))) for f in found)]
    return left if len(left) < len(places) else None


def _loaded() -> Iterator[str]:
    """The files that the modules of this process were loaded from; a lazy module stays so."""
    for module in [*sys.modules.values()]:
        try:
            names = object.__getattribute__(module, "__dict__")
        except AttributeError:
            continue
        # The main script's own __file__ is gone by now.
        file = names.get("__file__") or getattr(names.get("__loader__"), "path", None)
        if isinstance(file, str):
            yield _absolute(file)


def _absolute(path: str) -> str:
    return path if os.path.isabs(path) else os.path.abspath(path)


def _report(folder: str, worktrees: Worktrees) -> None:
    """Leave a file with the interpreter, and with the code of other worktrees that was loaded."""
    found = {file for file in _loaded() if worktrees.doubled_file(file) != file}
    data = os.fsencode("\0".join([sys.executable or "", *sorted(found)]))
    name = os.path.join(folder, f"{os.getpid()}-{time.time_ns()}")
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:  # the run is over, or it is another user's process
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def begin(folder: str, here: str, others: Sequence[str], leads: bool) -> None:
    """Begin in this process; `folder` is where the reports go, in the one that this module stands in."""
    worktrees = Worktrees(here, others)
    private = os.path.dirname(folder)
    sys.path[:] = [place for place in sys.path if place != private]
    if leads:
        leader: Any = Leader(worktrees)
        leader.settle()
        sys.meta_path.insert(0, leader)
    atexit.register(_report, folder, worktrees)  # what is registered first is called last
