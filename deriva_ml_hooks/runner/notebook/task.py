"""A notebook as what is run: which parameters it has, which kernel it gets, what became of it.

What is executed is the blob of the commit, never the working file: a filter such as nbstripout lets the
two differ in outputs. papermill does the work, in a process of its own (`executing`), so that signals
and exit codes are those of any command.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.gate.image import ImageProvenance
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.notebooks.strip import reopening
from deriva_ml_hooks.runner.notebook import executing, kernels, parameters
from deriva_ml_hooks.runner.notebook.failed_cell import told
from deriva_ml_hooks.runner.notebook.kernels import Kernel, NotebookRunError, missing_extra
from deriva_ml_hooks.runner.notebook.parameters import Parameter
from deriva_ml_hooks.runner.recorded import Start
from deriva_ml_hooks.runner.request import Accepted


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook that can be executed: its bytes, the kernel it gets, its parameters.

    `parameters` is None where they cannot be told, in a language other than Python.
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
        import papermill  # noqa: F401
    except ImportError as error:
        what = "run-notebook needs papermill, which is not installed"
        raise NotebookRunError(what, fix=missing_extra()) from error
    document = _document(path, data)
    found = kernels.choose(document["metadata"], kernel)
    is_python = found.language.lower() == "python"
    return Notebook(path, data, found, parameters.listed(document["cells"]) if is_python else None)


def _document(path: str, data: bytes) -> dict[str, Any]:
    """The notebook in `data`, sources as texts; raises NotebookRunError for what papermill cannot execute."""
    import nbformat
    from nbformat.validator import NotebookValidationError

    if not path.endswith(".ipynb"):
        name = shlex.quote(path)
        fix = f"name a notebook; if it is one: git mv -- {name} {shlex.quote(path + '.ipynb')}"
        raise NotebookRunError(f"{path}: not a notebook (its name does not end in .ipynb)", fix=fix)
    fix = f"{reopening(path, data)}; then commit it"
    try:
        found: dict[str, Any] = json.loads(data.decode("utf-8"))
        if found["nbformat"] != 4:
            what = (
                f"{path}: in notebook format {json.dumps(found['nbformat'])}, and papermill executes format 4"
            )
            raise NotebookRunError(what, fix=fix)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without ids, which papermill gives them
            nbformat.validate(found, relax_add_props=True)
    except NotebookRunError:
        raise
    except NotebookValidationError as error:
        where = ".".join(map(str, error.relative_path)) or "the notebook"
        what = f"{path}: not a valid notebook: {where}: {error.message[:80]}"
        raise NotebookRunError(what, fix=fix) from error
    except Exception as error:  # nbformat lets out whatever it runs into
        raise NotebookRunError(f"{path}: not a notebook ({type(error).__name__})", fix=fix) from error
    return found | {"cells": [cell | {"source": "".join(cell["source"])} for cell in found["cells"]]}


def values(notebook: Notebook, pairs: Sequence[tuple[str, str]], files: Sequence[str]) -> dict[str, Any]:
    """The parameters of a run, typed as papermill types them: from `files`, then from `pairs`.

    Raises UsageError for a file that cannot be read, for a parameter that the notebook does not have and for
    a secret.
    """
    chosen = parameters.chosen(pairs, files)
    if notebook.parameters is not None:
        parameters.require_known([*chosen], notebook.path, [p.name for p in notebook.parameters])
    parameters.require_no_secret(chosen, notebook.path)
    return chosen


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

    def within(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """How the kernel is started."""
        return self.notebook.kernel.argv, self.notebook.kernel.env

    def start(self, execution: Execution, folder: str) -> Start:
        """What is started for `execution`, whose own folder is `folder`."""
        # The folder holds more than this, so what a link leads to must not name something else in it.
        name = f"{os.path.basename(self.notebook.path).removesuffix('.ipynb')}.ipynb"
        output = os.path.abspath(self.output or os.path.join(folder, name))
        try:  # it is read from there, and each cell that ends is written there
            write_atomically(output, self.notebook.data)
        except OSError as error:
            fix = "name a file in a folder that exists: --output PATH"
            raise NotebookRunError(f"{output}: {error.strerror}", fix=fix) from None
        about = {
            "parameters": dict(self.parameters),
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
    if isinstance(accepted.provenance, ImageProvenance):  # the file was held against the commit's id
        with open(path, "rb") as file:
            return file.read()
    # A file of a submodule is in the submodule's own repository.
    repository = measured(os.path.dirname(os.path.realpath(path)))
    return repository.blob(accepted.entry_point.blob.encode("ascii")).data
