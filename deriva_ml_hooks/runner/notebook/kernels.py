"""Which kernel executes a notebook, and what to do where there is none."""

from __future__ import annotations

import os
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
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

OWN = "python3"
_NAME = re.compile(r"[A-Za-z0-9._-]+")
"""What Jupyter takes for the name of a kernel."""
_INSTALLING = {
    "r": 'R -e \'install.packages("IRkernel", repos="https://cloud.r-project.org")\''
    " && R -e 'IRkernel::installspec()'",
    "julia": "julia -e 'using Pkg; Pkg.add(\"IJulia\")'",
}
_LANGUAGE_OF = (("ir", "R"), ("julia", "julia"))
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
    named = wanted if wanted is not None else metadata.get("kernelspec", {}).get("name")
    if named and _NAME.fullmatch(named):
        try:
            return _usable(specs, named)
        except NoSuchKernel:
            pass
    language = _language(metadata)
    if wanted is not None or language.lower() != "python":
        raise NotebookRunError(f"{named or language}: no such kernel", fix=_fix(specs, named, language))
    try:
        own = _usable(specs, OWN)
    except NoSuchKernel:
        raise NotebookRunError("this environment has no Python kernel", fix=missing_extra()) from None
    note = f"the kernel {named} is not installed, so the environment's own is used" if named else None
    return replace(own, note=note)


def _language(metadata: Mapping[str, Any]) -> str:
    spec, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
    return str(spec.get("language") or info.get("name") or "python")


def _usable(specs: KernelSpecManager, name: str) -> Kernel:
    """The kernel `name`; raises NoSuchKernel, and NotebookRunError for one that cannot be started."""
    from jupyter_client.kernelspec import NoSuchKernel

    try:
        spec = specs.get_kernel_spec(name)
    except NoSuchKernel:
        raise
    except Exception as error:  # json's, traitlets' and the file system's
        folder = specs.find_kernel_specs().get(name.lower(), "")
        what = f"{os.path.join(folder, 'kernel.json')}: cannot be read ({type(error).__name__})"
        raise NotebookRunError(f"kernel {name}: {what}", fix=_another(specs, name)) from error
    program = spec.argv[0] if spec.argv else ""
    if not _starts(program, spec):
        what = f"{program}: no such program" if program else "its kernel.json names no program"
        raise NotebookRunError(f"kernel {name}: {what}", fix=_another(specs, name))
    argv = [sys.executable if program in _STANDS_FOR_OURS else program, *spec.argv[1:]]
    return Kernel(name, spec.language or "python", argv, spec.env)


def _starts(program: str, spec: KernelSpec) -> bool:
    # Jupyter takes these for the Python that it runs in itself, and fills in what stands in braces.
    if program in _STANDS_FOR_OURS or "{" in program:
        return True
    return bool(program) and shutil.which(program, path=spec.env.get("PATH")) is not None


def _another(specs: KernelSpecManager, name: str) -> str:
    return f"install that kernel again, or {_choose(specs, name)}"


def _fix(specs: KernelSpecManager, named: str | None, language: str) -> str:
    """How to come by a kernel: Python's own installer makes kernels of Python, whatever they are called."""
    other = [lang for start, lang in _LANGUAGE_OF if named and re.fullmatch(rf"{start}(-.*)?", named.lower())]
    if other:
        language = other[0]
    if language.lower() != "python":
        how = _INSTALLING.get(language.lower())
        return f"install the kernel of {language}{f': {how}' if how else ''}; or {_choose(specs, named)}"
    if named and _NAME.fullmatch(named):
        python = shlex.quote(sys.executable)
        make = f"{python} -m ipykernel install --sys-prefix --name {named}"
        return f"for a Python kernel of that name: {make}; or {_choose(specs, named)}"
    return _choose(specs, named)


def _choose(specs: KernelSpecManager, named: str | None) -> str:
    found = sorted(name for name in specs.find_kernel_specs() if name != (named or "").lower())
    return f"choose one with --kernel; there are: {', '.join(found) or 'none'}"
