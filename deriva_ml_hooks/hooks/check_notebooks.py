"""Checks that notebooks have the structure DerivaML runs them by: parameters, order, no installations.

Reads the files as they are and changes nothing. The rules and their names are `RULES`; each can be
switched off. Code is read with `ast`, never run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.config import some_of
from deriva_ml_hooks.hooks._hook import Hook, parsed, read_own_file, report, repository_here
from deriva_ml_hooks.hooks._installations import installations
from deriva_ml_hooks.notebooks.cells import (
    assigned,
    assigns_from,
    code_cells,
    is_python,
    names,
    shown,
    unfit_parameters,
)
from deriva_ml_hooks.notebooks.strip import reopening
from deriva_ml_hooks.report import Finding

if TYPE_CHECKING:
    from deriva_ml_hooks.git.repository import Repository

_DESCRIPTION = "Check that notebooks have the structure that DerivaML runs them by. Changes nothing."
_EPILOG = """\
rules:
  parameters       at most one code cell is tagged 'parameters' (papermill), it assigns literals only,
                   and no cell before it uses those names; or it calls DerivaML's run_notebook
  execution-order  execution counts, where present, are 1, 2, 3 and so on
  install-magics   no cell installs packages: %pip, !pip, conda, uv, apt and the like
  format           the file is a valid notebook of nbformat 3 or 4

skip = ["RULE", ...] in [tool.deriva-ml-hooks.check-notebooks] leaves out rules too; --skip replaces it.
exit code: 0 nothing found, 1 something found, 2 the options do not fit.
"""

Problem = tuple[str, str]
"""What is wrong, and the fix."""


def main(argv: Sequence[str] | None = None) -> int:
    """Check the notebooks that `argv` names; 1 when one breaks a rule or cannot be read."""
    parser = HOOK.parser(_DESCRIPTION)
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    names = ", ".join(RULES)
    parser.add_argument(
        "--skip", action="append", choices=RULES, metavar="RULE", help=f"leave out a rule: {names}"
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="notebooks; none: nothing to do")
    args = parsed(parser, argv)
    repository = repository_here()
    skipped = HOOK.chosen(repository, args).get("skip", ())
    rules = [rule for rule in RULES if rule not in skipped]
    findings = [finding for path in dict.fromkeys(args.files) for finding in _check(path, rules, repository)]
    return report(findings, as_json=args.json)


def _check(path: str, rules: Sequence[str], repository: Repository | None) -> Iterator[Finding]:
    try:
        data = read_own_file(path, repository)
    except OSError as error:
        reason = error.strerror or str(error)
        yield Finding("unreadable", path, reason, "give the name of a notebook that you may read")
        return
    try:
        notebook = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        if "format" in rules:
            kind = "UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
            yield Finding("format", path, f"not a notebook, no {kind}: {error}", reopening(path, data))
        return
    for rule in rules:
        for message, fix in RULES[rule](notebook):
            yield Finding(rule, path, message, fix or reopening(path))


_REOPEN = ""
"""The fix that is `reopening`."""


def _parameters(notebook: Any) -> Iterator[Problem]:
    """papermill puts its values right behind the tagged cell, and reads the defaults from it."""
    if not is_python(notebook):
        return
    cells = code_cells(notebook)
    tagged = [cell for cell in cells if "parameters" in cell.tags]
    if not tagged:
        return
    first = tagged[0]
    for cell in tagged[1:]:
        message = f"cell {cell.number}: tagged parameters, as cell {first.number} is already"
        yield message, "keep one cell tagged parameters, and put all of them there"
    if assigns_from(first.source, "run_notebook"):
        return  # DerivaML's convention: the values come from its configuration
    try:
        unfit = unfit_parameters(first.source)
    except SyntaxError as error:
        message = f"cell {first.number}: the parameters are no Python: line {error.lineno}: {error.msg}"
        yield message, "write one assignment of a literal per parameter: rate = 0.01"
        return
    for line, text in unfit:
        message = f"cell {first.number}: line {line} is no assignment of a literal: {text}"
        yield message, "move it to a cell below; a parameter is a name and a literal: rate = 0.01"
    parameters = assigned(first.source)
    for cell in cells:
        if cell.number < first.number and (used := parameters & names(cell.source)):
            message = f"cell {cell.number}: uses {', '.join(sorted(used))} before the parameters"
            yield message, f"move the parameters, cell {first.number}, above it"
            return


def _execution_order(notebook: Any) -> Iterator[Problem]:
    """Jupyter counts the cells of a kernel as they run: gaps and jumps are runs that no reader sees."""
    expected = 1
    for cell in code_cells(notebook):
        if cell.count is None:
            continue
        if cell.count != expected:
            message = f"cell {cell.number}: execution count {cell.count} where {expected} was expected"
            yield message, "restart the kernel, run all cells and save"
            return
        expected += 1


def _install_magics(notebook: Any) -> Iterator[Problem]:
    """What a notebook installs is in no lock file, so no record of the run can name it."""
    if not is_python(notebook):
        return
    fix = "add the package to the project's dependencies (pyproject.toml), and take the line out"
    for cell in code_cells(notebook):
        for line, text in installations(cell.source):
            yield f"cell {cell.number}: line {line} installs packages: {text}", fix


def _format(notebook: Any) -> Iterator[Problem]:
    """nbformat's schema; it validates as the file is, where `nbformat.validate` would first repair ids."""
    if not isinstance(notebook, dict) or type(notebook.get("nbformat")) is not int:
        yield "not a notebook, it says no nbformat", _REOPEN
        return
    version = notebook["nbformat"]
    if version not in (3, 4):
        message = f"nbformat {version} cannot be checked, only 3 and 4"
        yield message, "open it in Jupyter and save it as nbformat 4"
        return
    if (problem := _schema_problem(notebook)) is not None:
        yield problem, _REOPEN
        return
    seen: dict[str, int] = {}
    for number, cell in enumerate(notebook.get("cells", ()), start=1):
        if "id" in cell and (other := seen.setdefault(cell["id"], number)) != number:
            fix = "open it in Jupyter and save it, or let strip-notebook-outputs number the cells"
            yield f"cell {number}: has the id of cell {other}, {cell['id']!r}", fix


def _schema_problem(notebook: dict[str, Any]) -> str | None:
    """The first thing that nbformat's schema says, in one line; None where it is content."""
    from nbformat.validator import iter_validate

    try:
        error = next(iter_validate(notebook), None)  # type: ignore[no-untyped-call]
    except Exception as failed:  # where cells and metadata are not even of the right type
        return f"{type(failed).__name__}: {failed}".splitlines()[0]
    if error is None:
        return None
    text, place = shown(error.message.splitlines()[0]), list(error.absolute_path)
    if place[:1] == ["cells"] and len(place) > 1:
        text = ".".join(map(str, place[2:])) + (f": {text}" if place[2:] else text)
        return f"cell {place[1] + 1}: {text}"
    return f"{'.'.join(map(str, place))}: {text}" if place else text


RULES: Mapping[str, Callable[[Any], Iterator[Problem]]] = {
    "parameters": _parameters,
    "execution-order": _execution_order,
    "install-magics": _install_magics,
    "format": _format,
}
"""Every rule by its name, those that cost nothing before the one that has to import nbformat."""

HOOK = Hook(
    "check-notebooks", stages=("pre-commit", "manual"), settings={"skip": some_of(*RULES)}, recommended=True
)
