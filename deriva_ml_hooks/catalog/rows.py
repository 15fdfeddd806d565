"""What is written for an execution: the columns of its row, and the block of its description.

Pure: values in, values out. Everything has been redacted for the ledger already and is once more here, the
command word by word: in a joined line the quotes are the shell's.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.model import Model
from deriva_ml_hooks.executions.record import LOST, Execution
from deriva_ml_hooks.redact import redact, redacted, shown_command
from deriva_ml_hooks.report import few, printable

_LISTED = 5
_MARK = "deriva-ml-hooks execution"
_BY_DERIVA_ML = "- recorded by: DerivaML"


@dataclass(frozen=True, slots=True)
class WorkflowRow:
    """The code of an execution as a workflow: found by `url` and `checksum` together."""

    name: str
    url: str
    checksum: str
    version: str | None
    description: str
    types: tuple[str, ...] = ()


def workflow_of(execution: Execution, name: str | None, types: tuple[str, ...]) -> WorkflowRow:
    """The workflow of an execution: its entry point, or the tree as a whole."""
    entry_point, provenance = execution.entry_point, execution.provenance
    path = entry_point["path"]
    where = provenance["repository_url"] or re.sub(r"^git\+|@[0-9a-f]+(#.*)?$", "", entry_point["url"])
    repository = posixpath.basename(where.rstrip("/")).removesuffix(".git")
    commit = provenance["commit"][:12]
    return WorkflowRow(
        name=_plain(name or "/".join(part for part in (repository, path) if part)),
        url=_plain(address(entry_point["url"], provenance["commit"], path)),
        checksum=entry_point["checksum"],
        version=_plain(provenance["tag"] or provenance["version"] or "") or None,
        description=_plain(f"{path or 'The whole tree'} at commit {commit}"),
        types=types,
    )


def address(url: str, commit: str, path: str | None) -> str:
    """The address of code; of a repository that only this machine has, a name for it that tells no folder."""
    if not _is_local(url):
        return url
    revision = f"swh:1:rev:{commit}"  # ISO/IEC 18670
    return revision if path is None else f"{revision};path=/{quote(path, errors='surrogateescape')}"


def _is_local(url: str) -> bool:
    return url.startswith(("git+file:", "file:"))


def execution_row(execution: Execution, model: Model, workflow: str) -> dict[str, Any]:
    """The columns of an execution's row, without its RID."""
    row = {
        "Workflow": workflow,
        "Description": described(execution),
        "Status": model.status(execution.status),
        "Status_Detail": detail(execution),
    }
    if model.duration_column is not None:
        row[model.duration_column] = None if execution.duration is None else duration(execution.duration)
    return row


def duration(seconds: float) -> str:
    """A duration in the form that DerivaML writes, in both of its schemas."""
    hours, rest = divmod(float(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{round(hours, 0)}H {round(minutes, 0)}min {round(left, 4)}sec"


def detail(execution: Execution) -> str | None:
    """How the execution ended, in a few words; None while it runs."""
    if execution.status == "Running":
        return None
    words = execution.detail
    if words == LOST:
        words = f"lost: its process on {execution.host} is gone without a word"
    if not words:
        words = f"exit {execution.exit_code}"
    changed = changes(execution)
    return _plain(f"{words}; {changed}" if changed else words)


def changes(execution: Execution) -> str | None:
    """What the run changed in the tree, in a few words; None where it is still the commit."""
    shown = [str(change["path"] or change["message"]) for change in execution.changed_during_run]
    return _plain(f"tree changed during the run: {few(shown, _LISTED)}") if shown else None


def described(execution: Execution) -> str:
    """The description of a row of ours: the user's text, and below it the block of the execution."""
    return "\n\n".join([*_text(execution), _block(execution)])


def described_too(before: str | None, execution: Execution, *, unknown: str | None = None) -> str:
    """The same below what stands in a row that somebody else made, of which nothing is touched.

    `unknown`: the checksum of its code, where no file of the commit has that.
    """
    if holds(before, execution.id):
        return before or ""
    lines = [_block(execution), _BY_DERIVA_ML]
    if changed := changes(execution):
        lines.append(f"- {changed}")
    if unknown is not None:
        lines.append(f"- code: {_code(unknown) or 'without a checksum'} is no file of the commit")
    block = "\n".join(lines)
    return "\n\n".join([*([before] if before else []), *_text(execution), block])


def is_adopted(description: str | None, execution_id: str) -> bool:
    """Whether a row with the block of this execution was made by the command itself."""
    return holds(description, execution_id) and _BY_DERIVA_ML in (description or "")


def _text(execution: Execution) -> list[str]:
    lines = (execution.description or "").splitlines()
    # What the user quotes of another execution must not be taken for its block.
    quoted = (f"> {line}" if line.startswith(_MARK) else line for line in lines)
    return ["\n".join(printable(redact(line)) for line in quoted)] if lines else []


def holds(description: str | None, execution_id: str) -> bool:
    """Whether a description has the block of this execution."""
    return f"{_MARK} `{execution_id}`" in (description or "").splitlines()


def holds_any(description: str | None) -> bool:
    """Whether a description has the block of any execution."""
    return any(line.startswith(_MARK) for line in (description or "").splitlines())


def _block(execution: Execution) -> str:
    provenance = execution.provenance
    commit = provenance["commit"]
    link, home = provenance["commit_url"], provenance["repository_url"] or ""
    locked = ", ".join(f"{_code(f['path'])} {f['blob'][:12]}" for f in provenance["lockfiles"])
    pairs: Sequence[tuple[str, str | None]] = (
        ("commit", f"[{_code(commit)}]({_plain(link)})" if link else _code(commit)),
        ("branch", _code(provenance["branch"]) if provenance["branch"] else "detached HEAD"),
        ("tag", _code(provenance["tag"])),
        ("version", _code(provenance["version"])),
        ("repository", None if _is_local(home) else _plain(home)),
        ("command", _fenced(printable(shown_command(execution.command)))),
        ("lockfile", locked or None),
    )
    lines = [f"- {name}: {value}" for name, value in pairs if value]
    return "\n".join([f"{_MARK} `{execution.id}`", "", *lines])


def _code(text: str | None) -> str | None:
    """`text` as code in Markdown, whatever backticks it holds (CommonMark 0.31, 6.1)."""
    return _fenced(_plain(text)) if text else None


def _fenced(shown: str) -> str:
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _plain(text: str) -> str:
    return printable(redact(text))


def provenance_document(execution: Execution) -> bytes:
    """The provenance as the file that is stored beside the row: the same for every run of one commit."""
    return json.dumps(redacted(execution.provenance), indent=1).encode("ascii") + b"\n"
