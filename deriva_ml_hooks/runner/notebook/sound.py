"""Whether a file is a notebook that papermill can execute as it stands.

What is executed has to be what is committed, so nothing is mended on the way: what papermill would trip
over is told before anything starts.
"""

from __future__ import annotations

import codecs
import json
import shlex
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from deriva_ml_hooks.notebooks import reopening
from deriva_ml_hooks.runner.notebook.kernels import NotebookRunError

_CONVERT = "import nbformat; nbformat.write(nbformat.read({path!r}, 4), {path!r})"
_STRIP = "import pathlib; p = pathlib.Path({path!r}); p.write_bytes(p.read_bytes()[3:])"


def document(path: str, data: bytes) -> dict[str, Any]:
    """The notebook in `data`, sources as texts; `path` is for messages and for what mends it.

    Raises NotebookRunError.
    """
    import nbformat

    name = shlex.quote(path)
    if not path.endswith(".ipynb"):
        fix = f"name a notebook; if it is one: git mv -- {name} {shlex.quote(path + '.ipynb')}"
        raise NotebookRunError(f"{path}: not a notebook (its name does not end in .ipynb)", fix=fix)
    if data.startswith(codecs.BOM_UTF8):
        what = f"{path}: begins with a byte order mark, which no reader of notebooks expects"
        raise NotebookRunError(what, fix=_mending(_STRIP, path))
    reopen = reopening(path, data)
    try:
        found: dict[str, Any] = json.loads(data.decode("utf-8"))
        version = found["nbformat"]
        problem = _problem(found) if version == 4 else None
        if version == 4 and problem is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of cells without ids, which papermill gives them
                nbformat.reads(data.decode("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:  # nbformat lets out whatever it runs into
        raise NotebookRunError(f"{path}: not a notebook ({type(error).__name__})", fix=reopen) from error
    if version in (1, 2, 3):
        what = f"{path}: in notebook format {version}, and papermill executes format 4"
        raise NotebookRunError(what, fix=_mending(_CONVERT, path))
    if version != 4:
        what = f"{path}: in notebook format {json.dumps(version)}, and papermill executes format 4"
        raise NotebookRunError(what, fix=reopen)
    if problem:
        raise NotebookRunError(f"{path}: not a valid notebook: {problem}", fix=f"{reopen}; then commit it")
    return found | {"cells": [cell | {"source": "".join(cell["source"])} for cell in found["cells"]]}


def _mending(script: str, path: str) -> str:
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(script.format(path=path))}"
    return f"{command} && git add -- {shlex.quote(path)} && git commit"


def _problem(found: Mapping[str, Any]) -> str | None:
    """What papermill would trip over, where that is not what the format demands."""
    about, cells = found.get("metadata"), found.get("cells")
    if not isinstance(about, dict):
        return "it has no metadata"
    for key in ("kernelspec", "language_info", "papermill"):
        if not isinstance(about.get(key, {}), dict):
            return f"metadata.{key} is not a table"
    for key, name in (("kernelspec", "name"), ("kernelspec", "language"), ("language_info", "name")):
        if not isinstance(about.get(key, {}).get(name, ""), str):
            return f"metadata.{key}.{name} is not a word"
    if not isinstance(cells, list):
        return "it has no list of cells"
    for index, cell in enumerate(cells):
        problem = _problem_of_cell(cell)
        if problem:
            return f"cell {index}: {problem}"
    return None


def _problem_of_cell(cell: Any) -> str | None:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return "neither code nor markdown nor raw"
    if not isinstance(cell.get("metadata"), dict):
        return "it has no metadata"
    tags, source = cell["metadata"].get("tags", []), cell.get("source")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return "metadata.tags is not a list of words"
    is_lines = isinstance(source, list) and all(isinstance(line, str) for line in source)
    return None if isinstance(source, str) or is_lines else "its source is not a text"
