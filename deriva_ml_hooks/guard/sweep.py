"""Holds every job of a sweep to the commit that its run was accepted on."""

from __future__ import annotations

import json
import os
import shlex
import sys

from deriva_ml_hooks import untracked
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.gate import judge
from deriva_ml_hooks.gate.reasons import Reason
from deriva_ml_hooks.guard.restart import refuse
from deriva_ml_hooks.runner.recorded import REFUSAL
from deriva_ml_hooks.runner.recording import PROVENANCE_VARIABLE


class UnfitTreeError(HooksError):
    """A job of a sweep would run other code than the first."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_unfit, (str(self), self.fix))


def _unfit(what: str, fix: str) -> UnfitTreeError:
    return UnfitTreeError(what, fix=fix)


def require_unchanged(folder: str, job: str) -> None:
    """End this process where the tree around `folder` is not the commit that the run was accepted on.

    Results that earlier jobs have left are let pass: they are no code.
    """
    path = os.environ.get(PROVENANCE_VARIABLE)
    if path is None:  # a dry run
        return
    found = _changed(folder, path)
    if found is None:
        return
    what, fix = f"job {job} of the sweep is refused: {found[0]}", found[1]
    write_atomically(os.path.join(os.path.dirname(path), REFUSAL), what.encode("utf-8", "surrogateescape"))
    if _is_worker():  # a pool waits long for a worker that has ended
        raise UnfitTreeError(what, fix=fix)
    refuse(what, fix)


def _is_worker() -> bool:
    """Whether this is a process that another one has started through multiprocessing, and waits for."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None


def _changed(folder: str, provenance: str) -> tuple[str, str] | None:
    try:
        with open(provenance, encoding="utf-8") as file:
            commit = json.load(file)["commit"]
        verdict = judge(folder)
    except HooksError as error:
        return str(error), error.fix
    except (OSError, ValueError, KeyError) as error:
        return f"{provenance}: cannot be read ({type(error).__name__})", "start the sweep again"
    for found in verdict.reasons:
        if found.code != Reason.UNTRACKED.code or _is_code(found.path or ""):
            return (f"{found.path}: {found.message}" if found.path else found.message), found.fix
    if verdict.provenance is None or verdict.provenance.commit != commit:
        return (
            f"HEAD is no longer {commit[:12]}",
            f"git switch --detach {shlex.quote(commit)}, and start the sweep again",
        )
    return None


def _is_code(path: str) -> bool:
    return bool(untracked.sort([path], None).code)
