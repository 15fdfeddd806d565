"""Publishes everything that is not yet in the catalog: oldest first, and a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from deriva_ml_hooks.catalog.deadline import within
from deriva_ml_hooks.catalog.errors import CatalogError, LateError
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
    reasons: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)

    def count(self, outcome: Outcome) -> None:
        """Add what became of one batch."""
        self.published += len(outcome.done)
        self.running += sum(work.execution.status == "Running" for work in outcome.done)
        self.failed += len(outcome.failed)
        self.notes += outcome.said
        for work, error in outcome.failed[: _REASONS - len(self.reasons)]:
            self.reasons.append({"id": work.execution.id, "message": str(error), "fix": error.fix})


def unreached(publisher: Publisher, error: CatalogError) -> Report:
    """The report on a catalog that could not be reached at all."""
    reason = {"id": None, "message": str(error), "fix": error.fix}
    publications = publisher.publications
    return Report(publications.catalog, left=publications.waiting(), reasons=[reason])


def sync(
    publisher: Publisher, *, limit: int | None = None, progress: Callable[[int], None] = lambda _: None
) -> Report:
    """Publish at most `limit` executions; `progress` is given how many more are done each time.

    A row that fails is left for the next time. A catalog that fails ends it: what is left is counted
    then. Raises LedgerError, and CatalogError where the catalog cannot be reached at all.
    """
    publications, settings = publisher.publications, publisher.settings
    patience = max(settings.config.catalog_timeout, PATIENCE)
    try:
        within(patience, settings.address.host, lambda: publisher.connect(patience))
    except CatalogError as error:
        publications.failed(str(error))
        raise
    report = Report(publications.catalog)
    if not publisher.catalog.schema.type_column and not settings.config.workflow_type:
        report.notes.append("workflow-type is not set: workflows that are made have no type")
    after, taken = "", 0
    while limit is None or taken < limit:
        works = publications.take(after, BATCH if limit is None else min(BATCH, limit - taken))
        if not works:  # what is left is being worked on by others
            report.left = report.failed
            return report
        after, ids = works[-1].execution.id, [work.execution.id for work in works]
        taken += len(works)
        try:
            report.count(_patiently(publisher, works, patience))
        except CatalogError as error:
            publications.failed(str(error), ids)
            report.count(Outcome(failed=[(work, error) for work in works]))
            break
        finally:
            publications.release(ids)
        progress(len(works))
    report.left = report.failed + publications.waiting(after)
    return report


def _patiently(publisher: Publisher, works: list[Work], patience: float) -> Outcome:
    """Publish; again after a fault that may pass, since nothing is spoilt by asking again."""
    for pause in (*_PAUSES, None):
        publisher.catalog.client.restart(patience)
        try:
            return within(patience, publisher.settings.address.host, lambda: publisher.publish(works))
        except CatalogError as error:
            if pause is None or not error.passing or isinstance(error, LateError):
                raise
            time.sleep(pause)
    raise AssertionError
