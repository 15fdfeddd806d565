"""A notebook as what is run: which parameters it has, which kernel it gets, what became of it.

What is executed is the blob of the commit, never the working file: a filter such as nbstripout lets the
two differ in outputs. papermill does the work, in a process of its own (`executing`), so that signals
and exit codes are those of any command.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.errors import HooksError, UsageError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.runner import executing
from deriva_ml_hooks.runner.acceptance import Accepted
from deriva_ml_hooks.runner.baked import BakedProvenance
from deriva_ml_hooks.runner.masking import masked
from deriva_ml_hooks.runner.outcome import told
from deriva_ml_hooks.runner.recorded import Start

if TYPE_CHECKING:
    from nbformat import NotebookNode

EXTRA = "pip install 'deriva-ml-hooks[notebook]'"


class NotebookRunError(HooksError):
    """The notebook cannot be executed here; nothing was started."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a notebook: `default` is the source text that sets it, `type` is papermill's guess."""

    name: str
    type: str | None
    default: str
    help: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel; `note` says so where it is not the one that the notebook names."""

    name: str
    language: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook that can be executed: its bytes, the kernel it gets, its parameters.

    `parameters` is None where papermill cannot tell them, in a language other than Python.
    """

    path: str
    data: bytes
    kernel: Kernel
    parameters: Sequence[Parameter] | None


def read(path: str, data: bytes, *, kernel: str | None = None) -> Notebook:
    """The notebook whose bytes are `data`; `path` is for messages, `kernel` overrules what it names.

    Raises NotebookRunError without papermill, for what is no notebook and for a kernel that is missing.
    """
    try:
        import nbformat
        import papermill.inspection
    except ImportError as error:
        raise NotebookRunError("run-notebook needs papermill, which is not installed", fix=EXTRA) from error
    try:
        node = nbformat.reads(data.decode("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:  # nbformat lets out whatever it runs into
        fix = f"open it in Jupyter and save it, or restore it: git checkout -- {shlex.quote(path)}"
        raise NotebookRunError(f"{path}: not a notebook ({type(error).__name__})", fix=fix) from error
    found = _kernel(node, kernel)
    if found.language.lower() != "python":
        return Notebook(path, data, found, None)
    # papermill asks these; the notebook may name a kernel that is not here, or none.
    node.metadata["kernelspec"] = {"name": found.name, "language": found.language, "display_name": found.name}
    node.metadata["language_info"] = {"name": found.language}
    listed = papermill.inspection.inspect_notebook(node).values()
    return Notebook(path, data, found, [_parameter(entry) for entry in listed])


def _parameter(entry: Mapping[str, str]) -> Parameter:
    kind = entry["inferred_type_name"]
    return Parameter(entry["name"], None if kind == "None" else kind, entry["default"], entry["help"])


def _kernel(node: NotebookNode, wanted: str | None) -> Kernel:
    """The kernel `wanted`, the one that the notebook names if it is installed, or the environment's own."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    specs = KernelSpecManager()
    named = wanted or node.metadata.get("kernelspec", {}).get("name")
    own = "python3"
    if named:
        try:
            return Kernel(named, specs.get_kernel_spec(named).language or "python")
        except NoSuchKernel:
            pass
    language = node.metadata.get("kernelspec", {}).get("language") or node.metadata.get(
        "language_info", {}
    ).get("name", "python")
    if wanted or str(language).lower() != "python":
        installed = ", ".join(sorted(specs.find_kernel_specs())) or "none"
        make = f"python -m ipykernel install --sys-prefix --name {shlex.quote(str(named))}"
        fix = f"install it ({make}), or choose one with --kernel; there are: {installed}"
        raise NotebookRunError(f"{named or language}: no such kernel", fix=fix)
    try:
        spec = specs.get_kernel_spec(own)
    except NoSuchKernel:
        raise NotebookRunError("this environment has no Python kernel", fix=EXTRA) from None
    note = f"the kernel {named} is not installed, so the environment's own is used" if named else None
    return Kernel(own, spec.language or "python", note)


def values(notebook: Notebook, pairs: Sequence[tuple[str, str]], files: Sequence[str]) -> dict[str, Any]:
    """The parameters of a run, typed as papermill types them: from `files`, then from `pairs`.

    Raises UsageError for a file that cannot be read and for a parameter that the notebook does not have.
    """
    import papermill.cli
    import papermill.iorw

    chosen: dict[str, Any] = {}
    for file in files:
        try:
            if not os.path.isfile(file):
                raise FileNotFoundError("no such file")
            read_values = papermill.iorw.read_yaml_file(file) or {}
            if not isinstance(read_values, dict) or not all(isinstance(name, str) for name in read_values):
                raise ValueError("not a table of names and values")
            json.dumps(read_values)
        except Exception as error:  # yaml's own, and what papermill lets out
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            fix = "name a .yaml or .json file with one value for each parameter"
            raise UsageError(f"{file}: {problem}", fix=fix) from error
        chosen |= read_values
    chosen |= {name: papermill.cli._resolve_type(value) for name, value in pairs}
    known = None if notebook.parameters is None else [p.name for p in notebook.parameters]
    for name in chosen:
        if known is not None and name not in known:
            raise UsageError(f"{notebook.path}: has no parameter {name}", fix=_nearest(name, known))
    return chosen


def _nearest(name: str, known: Sequence[str]) -> str:
    if not known:
        return "give the cell that sets the defaults the tag parameters, and commit that"
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"its parameters are: {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class NotebookTask:
    """A notebook under the gate, for `run_recorded`.

    `output`: where the executed notebook goes (None: the folder of the execution); `progress`: whether
    there is a terminal to show it on.
    """

    notebook: Notebook
    parameters: Mapping[str, Any] = field(repr=False)
    output: str | None = None
    progress: bool = False

    def start(self, execution: Execution, folder: str) -> Start:
        """What is started for `execution`, whose own folder is `folder`."""
        output = os.path.abspath(self.output or os.path.join(folder, os.path.basename(self.notebook.path)))
        try:  # it is read from there, and each cell that ends is written there
            write_atomically(output, self.notebook.data)
        except OSError as error:
            fix = "name a file in a folder that exists: --output PATH"
            raise NotebookRunError(f"{output}: {error.strerror}", fix=fix) from None
        about = {
            "parameters": masked(self.parameters),
            "kernel": self.notebook.kernel.name,
            "output": output,
            "sha256": None,
            "failed_cell": None,
        }
        argv, stdin = child(self.notebook, self.parameters, output, output, progress=self.progress)
        return Start(replace(execution, notebook=about), argv, stdin)

    def ended(self, execution: Execution) -> Execution:
        """The record once the notebook has ended: the executed one's hash, and the cell that failed."""
        about: dict[str, Any] = dict(execution.notebook or {})
        try:
            with open(about["output"], "rb") as file:
                data = file.read()
        except OSError:  # it ended before the first cell
            return replace(execution, notebook=about | {"output": None})
        about["sha256"] = hashlib.sha256(data).hexdigest()
        return told(replace(execution, notebook=about), data, self.notebook.data)


def child(
    notebook: Notebook, parameters: Mapping[str, Any], source: str, output: str | None, *, progress: bool
) -> tuple[list[str], bytes]:
    """The process that executes the notebook at `source`: its words, and what it reads from stdin.

    Parameters go neither through a file nor through the words, which everybody can see, nor through the
    environment, which has no room for long ones; a notebook itself has no standard input.
    """
    wanted = {
        "path": notebook.path,
        "source": source,
        "kernel": notebook.kernel.name,
        "language": notebook.kernel.language,
        "parameters": dict(parameters),
        "output": output,
        "progress": progress,
    }
    return [sys.executable, "-c", executing.MAIN], json.dumps(wanted).encode("ascii")


def committed(path: str, accepted: Accepted) -> bytes:
    """The bytes that the commit has for the notebook at `path`, which was accepted."""
    if accepted.entry_point.blob is None:
        raise AssertionError("a notebook is a file")
    if isinstance(accepted.provenance, BakedProvenance):  # the file was held against the commit's id
        with open(path, "rb") as file:
            return file.read()
    # A file of a submodule is in the submodule's own repository.
    repository = discover(os.path.dirname(os.path.realpath(path)))
    return repository.blob(accepted.entry_point.blob.encode("ascii")).data
