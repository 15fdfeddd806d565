"""Every verdict of `verify`: its name, what it means, the usual fix; and how all of them are reported.

A new verdict is one member here. The table in the documentation is made from this list.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from deriva_ml_hooks.report import Finding, as_text, few, printable

SCHEMA = 1
_MISMATCH = (
    "tree, entry point, checksum, address, tag, version, lockfile or submodule is not what was recorded,"
    " or was left out; the record contradicts itself (completed with exit code 7, begun before its commit,"
    " another file in the command, a duration that does not fit the times); its row cannot be read"
)


class Verdict(Enum):
    """From the best to the gravest: an execution has the verdict of its gravest finding."""

    VERIFIED = "verified", "all of it holds", ""
    UNKNOWN = (
        "unknown",
        "it cannot be told: a remote does not answer, or a partial clone lacks what has to be read",
        "see why; the command that has git fetch it",
    )
    UNPUSHED = (
        "unpushed",
        "the commit is not on its remote, or there is no remote",
        "`git push REMOTE BRANCH`",
    )
    MOVED_TAG = (
        "moved-tag",
        "the version tag is gone, or is another object, or on another commit",
        "`git tag --force TAG OBJECT`",
    )
    MISMATCH = (
        "mismatch",
        _MISMATCH,
        "see the record",
    )
    MISSING_COMMIT = (
        "missing-commit",
        "the commit, or a part of it, is not here",
        "`git fetch REMOTE COMMIT`",
    )

    def __init__(self, code: str, meaning: str, usual_fix: str) -> None:
        self.code = code
        self.meaning = meaning
        self.usual_fix = usual_fix

    def finding(self, message: str, fix: str, path: str | None = None) -> Finding:
        """A finding that leads to this verdict."""
        return Finding(self.code, path, message, fix)


GRAVEST_FIRST = (*reversed(Verdict),)


def mismatch(execution_id: str, message: str, path: str | None = None) -> Finding:
    """The finding that a record, or one file that it names, is not true."""
    see = f"deriva-ml-hooks executions show {shlex.quote(execution_id)}"
    return Verdict.MISMATCH.finding(message, f"not to be trusted; see the whole record: {see}", path)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of one row. `notes` say what is not as one might expect, and still no finding."""

    id: str
    commit: str | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict of the gravest finding; `VERIFIED` without any."""
        codes = {finding.code for finding in self.findings}
        return next((verdict for verdict in GRAVEST_FIRST if verdict.code in codes), Verdict.VERIFIED)

    def as_json(self) -> dict[str, Any]:
        """The verification as JSON."""
        return {
            "id": self.id,
            "commit": self.commit,
            "verdict": self.verdict.code,
            "findings": [finding.as_json() for finding in self.findings],
            "notes": [*self.notes],
        }


class Verifications:
    """What was found of all rows, as the exit code, the JSON and the text that the command gives."""

    def __init__(self, found: Sequence[Verification]) -> None:
        self._by_verdict = {verdict: [v for v in found if v.verdict is verdict] for verdict in Verdict}
        self._all = found
        self.exit_code = 0 if len(self._by_verdict[Verdict.VERIFIED]) == len(found) else 1

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "schema": SCHEMA,
            "executions": [verification.as_json() for verification in self._all],
            "verified": self.exit_code == 0,
            "counts": {verdict.code: len(found) for verdict, found in self._by_verdict.items()},
        }

    def findings(self) -> str:
        """The findings for people, the gravest executions first; those with the same fix together."""
        return as_text(
            finding._replace(
                path=f"{v.id} {finding.code}" + (f": {finding.path}" if finding.path is not None else ""),
                fix=finding.fix.replace(v.id, "ID"),  # so that those of several executions are one group
            )
            for verdict in GRAVEST_FIRST
            for v in self._by_verdict[verdict]
            for finding in v.findings
        )

    def notes(self) -> list[str]:
        """The notes for people, each once, with the executions that have it."""
        ids: dict[str, list[str]] = {}
        for verification in self._all:
            for note in verification.notes:
                ids.setdefault(note, []).append(verification.id)
        return [f"note: {few(having)}: {printable(note)}" for note, having in ids.items()]

    def summary(self) -> str:
        """How many executions have which verdict."""
        if not self._all:
            return "no executions"
        counts = ", ".join(f"{len(found):,} {v.code}" for v, found in self._by_verdict.items() if found)
        return f"{len(self._all):,} execution{'' if len(self._all) == 1 else 's'}: {counts}"
