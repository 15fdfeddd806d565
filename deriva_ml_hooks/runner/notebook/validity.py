"""Whether a file is a notebook that papermill can execute as it stands.

What is executed has to be what is committed, so nothing is repaired on the way: what papermill would fail on
is an error before anything starts.
"""

from __future__ import annotations

import codecs
import json
import shlex
import sys
import warnings
from typing import Any

from deriva_ml_hooks.notebooks.strip import reopening
from deriva_ml_hooks.runner.notebook.kernels import NotebookRunError

_CONVERT = "import nbformat; nbformat.write(nbformat.read({path!r}, 4), {path!r})"
_STRIP = "import pathlib; p = pathlib.Path({path!r}); p.write_bytes(p.read_bytes()[3:])"


def document(path: str, data: bytes) -> dict[str, Any]:
    """The notebook in `data`, sources as texts; `path` is for messages and for what repairs it.

    Raises NotebookRunError.
    """
    import nbformat
    from nbformat.validator import NotebookValidationError

    name = shlex.quote(path)
    if not path.endswith(".ipynb"):
        fix = f"name a notebook; if it is one: git mv -- {name} {shlex.quote(path + '.ipynb')}"
        raise NotebookRunError(f"{path}: not a notebook (its name does not end in .ipynb)", fix=fix)
    if data.startswith(codecs.BOM_UTF8):
        what = f"{path}: begins with a byte order mark, which no reader of notebooks expects"
        raise NotebookRunError(what, fix=_repairing(_STRIP, path))
    reopen = reopening(path, data)
    try:
        found: dict[str, Any] = json.loads(data.decode("utf-8"))
        version = found["nbformat"]
        if version != 4:
            what = f"{path}: in notebook format {json.dumps(version)}, and papermill executes format 4"
            raise NotebookRunError(what, fix=_repairing(_CONVERT, path) if version in (1, 2, 3) else reopen)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without ids, which papermill gives them
            nbformat.validate(found, relax_add_props=True)
    except NotebookRunError:
        raise
    except NotebookValidationError as error:
        where = ".".join(map(str, error.relative_path)) or "the notebook"
        what = f"{path}: not a valid notebook: {where}: {error.message[:80]}"
        raise NotebookRunError(what, fix=f"{reopen}; then commit it") from error
    except Exception as error:  # nbformat lets out whatever it runs into
        raise NotebookRunError(f"{path}: not a notebook ({type(error).__name__})", fix=reopen) from error
    return found | {"cells": [cell | {"source": "".join(cell["source"])} for cell in found["cells"]]}


def _repairing(script: str, path: str) -> str:
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(script.format(path=path))}"
    return f"{command} && git add -- {shlex.quote(path)} && git commit"
