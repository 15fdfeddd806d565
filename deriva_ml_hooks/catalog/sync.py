"""Publishes everything that is not yet in the catalog: oldest first, and a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deriva_ml_hooks.catalog.bounded import within
from deriva_ml_hooks.catalog.errors import CatalogError, LateError, ServerError, UnreachableError
from deriva_ml_hooks.catalog.publish import Outcome, Publisher
from deriva_ml_hooks.executions.publications import Work

BATCH = 200
"""Executions in one request."""
PATIENCE = 60.0
"""Seconds that one batch may take at least; `catalog-timeout` is made for runs, where somebody waits."""
_PAUSES = (0.5, 2.0)
_REASONS = 20


@dataclass(slots=True)
class Report:
    """What a sync has done: counts, and why something is left (the first reasons, by execution id).

    `published`: those that are in the catalog now, the `running` ones among them not closed yet. `left`:
    those that failed, and those that it did not come to.
    """

    catalog: str
    published: int = 0
    left: int = 0
    failed: int = 0
    running: int = 0
    requests: int = 0
    reasons: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "catalog": self.catalog,
            "published": self.published,
            "left": self.left,
            "failed": self.failed,
            "running": self.running,
            "reasons": self.reasons,
            "notes": self.said,
        }


def unreached(publisher: Publisher, error: CatalogError) -> Report:
    """The report on a catalog that could not be reached at all."""
    left = publisher.publications.waiting()
    reason = {"id": None, "message": str(error), "fix": error.fix}
    return Report(publisher.publications.catalog, left=left, reasons=[reason])


def sync(publisher: Publisher, *, limit: int | None, progress: Callable[[int], None]) -> Report:
    """Publish at most `limit` executions; `progress` is given how many more are done each time.

    A row that fails is left for the next time. A catalog that fails ends it: what is left is counted
    then. Raises LedgerError, and CatalogError where the catalog cannot be reached at all.
    """
    publications = publisher.publications
    patience = max(publisher.settings.timeout, PATIENCE)
    try:
        within(patience, publisher.settings.address.host, lambda: publisher.connect(patience))
    except CatalogError as error:
        publications.failed(str(error))
        raise
    report = Report(publications.catalog)
    if not publisher.model.type_column and not publisher.settings.workflow_types:
        report.said.append("workflow-type is not set: workflows that are made have no type")
    after, taken, came_to_an_end = "", 0, False
    while limit is None or taken < limit:
        works = publications.take(after, BATCH if limit is None else min(BATCH, limit - taken))
        if not works:  # what is left is being worked on by others
            came_to_an_end = True
            break
        after = works[-1].execution.id
        taken += len(works)
        try:
            outcome = _patiently(publisher, works)
        except CatalogError as error:
            publications.failed(str(error), [work.execution.id for work in works])
            _count(report, works, Outcome(failed=[(work, error) for work in works]))
            break
        finally:
            publications.release([work.execution.id for work in works])
        _count(report, works, outcome)
        progress(len(works))
    report.requests = publisher.connection.requests
    report.left = report.failed + (0 if came_to_an_end else publications.waiting(after))
    return report


def _patiently(publisher: Publisher, works: list[Work]) -> Outcome:
    """Publish; once more after a fault that may pass, since nothing is spoilt by asking again."""
    patience = max(publisher.settings.timeout, PATIENCE)
    for pause in (*_PAUSES, None):
        publisher.connection.restart(patience)
        try:
            return within(patience, publisher.settings.address.host, lambda: publisher.publish(works))
        except (UnreachableError, ServerError) as error:
            if pause is None or isinstance(error, LateError):
                raise
            time.sleep(pause)
    raise AssertionError


def _count(report: Report, works: list[Work], outcome: Outcome) -> None:
    report.published += len(outcome.done)
    report.running += sum(work.execution.status == "Running" for work in works)
    report.failed += len(outcome.failed)
    report.said += outcome.said
    for work, error in outcome.failed[: _REASONS - len(report.reasons)]:
        report.reasons.append({"id": work.execution.id, "message": str(error), "fix": error.fix})
