"""Which kernel executes a notebook, and what to do where there is none."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks import packages
from deriva_ml_hooks.errors import HooksError

if TYPE_CHECKING:
    from jupyter_client.kernelspec import KernelSpecManager

OWN = "python3"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
"""What Jupyter takes for the name of a kernel."""
_STANDS_FOR_OURS = frozenset({"python", "python3", f"python3.{sys.version_info[1]}"})


class NotebookRunError(HooksError):
    """The notebook cannot be executed here; nothing was started (125, as for what the gate refuses)."""

    exit_code = 125


def missing_extra() -> str:
    """The command that brings what executes notebooks into this environment."""
    return packages.installing("deriva-ml-hooks[notebook]", python=sys.executable)


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel, how it is started, and a `note` where it is not the one that was named."""

    name: str
    language: str
    argv: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


def choose(metadata: Mapping[str, Any], wanted: str | None) -> Kernel:
    """The kernel `wanted`, the one that a notebook's `metadata` name if it is installed, or our own.

    Raises NotebookRunError where that is missing, or cannot be started.
    """
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    specs = KernelSpecManager()
    spec, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
    language = str(spec.get("language") or info.get("name") or "python")
    named = wanted if wanted is not None else spec.get("name")
    if named and _NAME.fullmatch(named):
        try:
            return _usable(specs, named)
        except NoSuchKernel:
            pass
    if wanted is not None or language.lower() != "python":
        fix = _choosing(specs)
        if named and _NAME.fullmatch(named):
            python = shlex.quote(sys.executable)
            make = f"{python} -m ipykernel install --sys-prefix --name {named}"
            fix += f"; one of Python is made by: {make}"
        raise NotebookRunError(f"{named or language}: no such kernel", fix=fix)
    try:
        own = _usable(specs, OWN)
    except NoSuchKernel:
        raise NotebookRunError("this environment has no Python kernel", fix=missing_extra()) from None
    note = f"the kernel {named} is not installed, so the environment's own is used" if named else None
    return replace(own, note=note)


def _usable(specs: KernelSpecManager, name: str) -> Kernel:
    """The kernel `name`; raises NoSuchKernel, and NotebookRunError for one that cannot be started."""
    from jupyter_client.kernelspec import NoSuchKernel

    try:
        spec = specs.get_kernel_spec(name)
        program = spec.argv[0]
        path = spec.env.get("PATH")
    except NoSuchKernel:
        raise
    except Exception as error:  # json's, traitlets' and the file system's
        what = f"kernel {name}: its kernel.json cannot be read ({type(error).__name__})"
        raise NotebookRunError(what, fix=f"install it again, or {_choosing(specs, name)}") from error
    is_ours = program in _STANDS_FOR_OURS  # for Jupyter that is the Python it runs in itself
    if not is_ours and "{" not in program and shutil.which(program, path=path) is None:
        what = f"kernel {name}: {program}: no such program"
        raise NotebookRunError(what, fix=f"install it again, or {_choosing(specs, name)}")
    argv = [sys.executable if is_ours else program, *spec.argv[1:]]
    return Kernel(name, spec.language or "python", argv, spec.env)


def _choosing(specs: KernelSpecManager, broken: str = "") -> str:
    found = sorted(specs.find_kernel_specs().keys() - {broken.lower()})
    return f"choose one with --kernel; there are: {', '.join(found) or 'none'}"
