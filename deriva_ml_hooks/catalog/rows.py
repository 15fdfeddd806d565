"""What is written for an execution: the columns of its rows, and the block of its description.

Pure: values in, values out. `outgoing` is the one border to the catalog: everything that is sent of an
execution is made from what it returns.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.schema import Schema
from deriva_ml_hooks.executions.record import LOST, Execution
from deriva_ml_hooks.redact import redact_command, redacted, shown_command
from deriva_ml_hooks.report import few, printable

_LISTED = 5
_MARK = "deriva-ml-hooks execution"
_BLOCK = re.compile(rf"^{_MARK} `([^`\n]*)`$", re.MULTILINE)
_BY_DERIVA_ML = "- recorded by: DerivaML"


def outgoing(execution: Execution) -> Execution:
    """The execution without credentials: the ledger has it so, but one of an older release may not."""
    return replace(
        execution,
        command=redact_command(execution.command),
        description=redacted(execution.description),
        detail=redacted(execution.detail),
        entry_point=redacted(execution.entry_point),
        provenance=redacted(execution.provenance),
        changed_during_run=redacted(execution.changed_during_run),
    )


def workflow_of(execution: Execution, name: str | None) -> dict[str, Any]:
    """The workflow of an execution: its entry point, or the tree as a whole."""
    entry_point, provenance = execution.entry_point, execution.provenance
    path = entry_point["path"]
    where = provenance["repository_url"] or re.sub(r"^git\+|@[0-9a-f]+(#.*)?$", "", entry_point["url"])
    repository = posixpath.basename(where.rstrip("/")).removesuffix(".git")
    return {
        "Name": printable(redacted(name) or "/".join(part for part in (repository, path) if part)),
        "URL": printable(address(entry_point["url"], provenance["commit"], path)),
        "Checksum": entry_point["checksum"],
        "Version": printable(provenance["tag"] or provenance["version"] or "") or None,
        "Description": printable(f"{path or 'The whole tree'} at commit {provenance['commit'][:12]}"),
    }


def address(url: str, commit: str, path: str | None) -> str:
    """The address of code; of a repository that only this machine has, a name for it that tells no folder."""
    if not _is_local(url):
        return url
    revision = f"swh:1:rev:{commit}"  # ISO/IEC 18670
    return revision if path is None else f"{revision};path=/{quote(path, errors='surrogateescape')}"


def _is_local(url: str) -> bool:
    return url.startswith(("git+file:", "file:"))


def execution_row(execution: Execution, schema: Schema, workflow: str) -> dict[str, Any]:
    """The columns of an execution's row, without its RID."""
    return {"Workflow": workflow, "Description": described(execution)} | ending(execution, schema)


def ending(execution: Execution, schema: Schema) -> dict[str, Any]:
    """The columns that say how the execution ended, or that it runs."""
    row: dict[str, Any] = {"Status": schema.status(execution.status), "Status_Detail": detail(execution)}
    if schema.duration_column is not None:
        row[schema.duration_column] = None if execution.duration is None else duration(execution.duration)
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
    words = execution.detail or f"exit {execution.exit_code}"
    if words == LOST:
        words = f"lost: its process on {execution.host} is gone without a word"
    return "; ".join(filter(None, (printable(words), changes(execution))))


def changes(execution: Execution) -> str | None:
    """What the run changed in the tree, in a few words; None where it is still the commit."""
    shown = [str(change["path"] or change["message"]) for change in execution.changed_during_run]
    return f"tree changed during the run: {few(shown, _LISTED)}" if shown else None


def described(execution: Execution) -> str:
    """The description of a row of ours: the user's text, and below it the block of the execution."""
    return "\n\n".join([*_text(execution), _block(execution)])


def described_too(before: str | None, execution: Execution, *, unknown: str | None = None) -> str:
    """The same below what stands in a row that somebody else made, of which nothing is touched.

    `unknown`: the checksum of its code, where no file of the commit has that.
    """
    if execution.id in blocks(before):
        return before or ""
    lines = [_block(execution), _BY_DERIVA_ML]
    if changed := changes(execution):
        lines.append(f"- {changed}")
    if unknown is not None:
        lines.append(f"- code: {_code(unknown) or 'without a checksum'} is no file of the commit")
    return "\n\n".join([*([before] if before else []), *_text(execution), "\n".join(lines)])


def is_adopted(description: str | None) -> bool:
    """Whether a row with a block was made by the command itself."""
    return _BY_DERIVA_ML in (description or "")


def blocks(description: str | None) -> list[str]:
    """The ids of the executions whose blocks a description has."""
    return _BLOCK.findall(description or "")


def provenance_document(execution: Execution) -> bytes:
    """The provenance as the file that is stored beside the row: the same for every run of one commit."""
    return json.dumps(execution.provenance, indent=1).encode("ascii") + b"\n"


def _text(execution: Execution) -> list[str]:
    lines = (execution.description or "").splitlines()
    # What the user quotes of another execution must not be taken for its block.
    quoted = (f"> {line}" if line.startswith(_MARK) else line for line in lines)
    return ["\n".join(map(printable, quoted))] if lines else []


def _block(execution: Execution) -> str:
    provenance = execution.provenance
    commit, link, home = (provenance[name] for name in ("commit", "commit_url", "repository_url"))
    pairs = {
        "commit": f"[{_code(commit)}]({printable(link)})" if link else _code(commit),
        "branch": _code(provenance["branch"]) or "detached HEAD",
        "tag": _code(provenance["tag"]),
        "version": _code(provenance["version"]),
        "repository": printable(home) if home and not _is_local(home) else None,
        "command": _code(shown_command(execution.command)),
        "lockfile": ", ".join(f"{_code(f['path'])} {f['blob'][:12]}" for f in provenance["lockfiles"]),
    }
    lines = [f"- {name}: {value}" for name, value in pairs.items() if value]
    return "\n".join([f"{_MARK} `{execution.id}`", "", *lines])


def _code(text: str | None) -> str | None:
    """`text` as code in Markdown, whatever backticks it holds (CommonMark 0.31, 6.1)."""
    if not text:
        return None
    shown = printable(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"
