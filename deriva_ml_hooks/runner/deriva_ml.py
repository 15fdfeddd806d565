"""Whether a command makes a record of its own, through DerivaML: by its words, and by reading its code."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.gate import Verdict
from deriva_ml_hooks.gate.reasons import Reason
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner.command.launchers import steps
from deriva_ml_hooks.runner.command.options import Kind
from deriva_ml_hooks.runner.command.shell_words import split_words

DRY_RUN = "dry_run=true"
"""What has DerivaML's programs record nothing. Its variable DERIVA_ML_DRY_RUN only lets a dirty tree pass."""
_PROGRAMS = ("deriva-ml-run", "deriva-ml-run-notebook")
_MODULES = ("deriva_ml.run_model", "deriva_ml.run_notebook")
_IMPORT = re.compile(r"^[ \t]*(?:from|import)[ \t]+deriva_ml\b", re.MULTILINE)
_LARGEST = 5_000_000
"""Bytes; longer files are not read for an import."""


def starts(argv: Sequence[str]) -> bool:
    """Whether the program that `argv` really starts is one of DerivaML's, so that its words end with it."""
    for step in steps(argv, os.curdir):
        name = step.words[0] if step.words else ""
        if step.kind is Kind.MODULE and name in _MODULES:
            return True
        if step.kind in (Kind.COMMAND, Kind.PYTHON) and _program(name) in _PROGRAMS:
            return True
    return False


def records(argv: Sequence[str], repository: Repository, blob: str | None) -> bool:
    """Whether a command is known to make its own execution.

    So do DerivaML's programs, also within a shell's words, and code of the commit (`blob`) that imports it.
    """
    words = [*split_words(argv)]
    return (
        any(_program(word) in _PROGRAMS for word in words)
        or any(word == "-m" and following in _MODULES for word, following in itertools.pairwise(words))
        or (blob is not None and _imports(repository, blob))
    )


def without_credentials(verdict: Verdict, argv: Sequence[str], blob: str | None) -> Verdict:
    """The verdict on a command that may record itself: DerivaML stores the remote's URL as it stands."""
    told = tuple(finding for finding in verdict.warnings if finding.code == Reason.CREDENTIAL.code)
    by_itself = verdict.config.recorded_by == "deriva-ml"
    if not told or verdict.repository is None:
        return verdict
    if not by_itself and not records(argv, verdict.repository, blob):
        return verdict
    rest = tuple(finding for finding in verdict.warnings if finding not in told)
    return replace(verdict, reasons=verdict.reasons + told, warnings=rest)


def _program(word: str) -> str:
    return os.path.basename(word).removesuffix(".exe")


def _imports(repository: Repository, blob: str) -> bool:
    """Whether code imports deriva_ml; it is read, never run."""
    try:
        data = repository.blob(blob.encode("ascii")).data
    except HooksError:
        return False
    if b"deriva_ml" not in data or len(data) > _LARGEST:
        return False
    return any(_imported(text) for text in _sources(data.decode("utf-8", "replace")))


def _sources(text: str) -> Iterator[str]:
    """The text of a script, or of each cell of a notebook."""
    try:
        cells = json.loads(text)["cells"]
    except (ValueError, LookupError, TypeError, RecursionError):
        yield text
        return
    for cell in cells if isinstance(cells, list) else ():
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source")
            yield "".join(map(str, source)) if isinstance(source, list) else str(source)


def _imported(source: str) -> bool:
    try:
        nodes = [*ast.walk(ast.parse(source))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # IPython's magics, or no Python
        return _IMPORT.search(source) is not None
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return any(name.partition(".")[0] == "deriva_ml" for name in names)
