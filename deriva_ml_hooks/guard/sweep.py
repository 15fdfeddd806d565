"""Holds every job of a sweep to the commit that its run was accepted on."""

from __future__ import annotations

import json
import os

from deriva_ml_hooks import untracked
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.gate import judge
from deriva_ml_hooks.gate.reasons import Reason
from deriva_ml_hooks.guard.restart import refuse
from deriva_ml_hooks.runner.recorded import REFUSAL
from deriva_ml_hooks.runner.recording import PROVENANCE_VARIABLE


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
    refuse(what, fix)


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
        is_result = (
            found.code == Reason.UNTRACKED.code and found.path is not None and not _is_code(found.path)
        )
        if not is_result:
            return (f"{found.path}: {found.message}" if found.path else found.message), found.fix
    if verdict.provenance is None or verdict.provenance.commit != commit:
        return f"HEAD is no longer {commit[:12]}", f"git switch --detach {commit}, and start the sweep again"
    return None


def _is_code(path: str) -> bool:
    return bool(untracked.sort([path], None).code)
