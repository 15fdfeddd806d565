"""Brings executions of the ledger into a catalog, whatever is there of them already.

Every way to publish goes through here: at the start of a run, at its end, and in a sync. What is known
afterwards is in the ledger; a kill at any moment loses nothing and doubles nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from deriva_ml_hooks.catalog import adopt, assets, executions, own_rows
from deriva_ml_hooks.catalog.catalog import Catalog
from deriva_ml_hooks.catalog.commit_files import CommitFiles
from deriva_ml_hooks.catalog.errors import CatalogError, sensible
from deriva_ml_hooks.catalog.executions import changed, settled
from deriva_ml_hooks.catalog.rows import outgoing, workflow_of
from deriva_ml_hooks.catalog.settings import Settings
from deriva_ml_hooks.catalog.workflows import key_of, workflow_rids
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Publications, State, Work


@dataclass(slots=True)
class Outcome:
    """What became of some executions: those that are `done`, those that failed with why, what to say."""

    done: list[Work] = field(default_factory=list)
    failed: list[tuple[Work, CatalogError]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


class Publisher:
    """One catalog and one ledger. `connect` comes first; methods raise CatalogError and LedgerError."""

    def __init__(self, settings: Settings, ledger: Ledger, files: CommitFiles | None = None) -> None:
        self.settings = settings
        self.ledger = ledger
        self.files = files
        self.publications = Publications(ledger, str(settings.address))

    def connect(self, timeout: float) -> None:
        """Reach the catalog and read what it looks like; `timeout`: seconds for this and what follows."""
        self.catalog = Catalog.reached(self.settings, timeout)

    def publish(self, works: Sequence[Work]) -> Outcome:
        """Publish executions: those that recorded themselves are adopted, the others written.

        A fault of single rows is in the outcome; raises CatalogError where the catalog is at fault.
        """
        works = [replace(work, execution=outgoing(work.execution)) for work in works]
        outcome = Outcome()
        with sensible(self.settings.address.host):
            rids = self._own_rows(works)
            ours = [work for work in works if not self._adopt(work, rids.get(work.execution.id, []), outcome)]
            self._write([changed(work, recorded_by="runner") for work in ours], outcome)
        return outcome

    def saved_file(self, execution_id: str) -> str:
        """Where DerivaML is asked to write the RID of what it records."""
        folder = os.path.join(os.path.dirname(self.ledger.path), "executions", execution_id)
        return os.path.join(folder, own_rows.SAVED)

    def _own_rows(self, works: Sequence[Work]) -> dict[str, list[str]]:
        """The rows that commands made themselves, by execution; of those that run, they may still do so."""
        ended = [work for work in works if work.execution.status != "Running"]
        if not ended or self.settings.config.recorded_by == "runner":
            return {}
        rids = own_rows.proven(self.catalog, [work.execution for work in ended], self.publications.rids())
        for work in ended:
            publication, name = work.publication, work.execution.id
            known = publication.rid if publication.recorded_by == "deriva-ml" else None
            last = own_rows.saved(self.saved_file(name), self.catalog)
            rids[name] = [*dict.fromkeys(filter(None, (last, known, *rids.get(name, []))))]
        return rids

    def _adopt(self, work: Work, rids: Sequence[str], outcome: Outcome) -> bool:
        """Adopt the execution if the command recorded itself; whether that settles it."""
        by_itself = work.publication.recorded_by == "deriva-ml"
        if work.execution.status == "Running":
            return by_itself
        rows = [rid for rid in rids if rid != own_rows.DRY_RUN]
        if rids and not rows and by_itself:
            outcome.said.append(f"{work.execution.id}: a dry run of DerivaML's, so nothing is published")
            self.publications.put([settled(work).publication])
            outcome.done.append(settled(work))
            return True
        if not rows:
            return False
        try:
            config = self.settings.config
            work, taken, said = adopt.adopt(self.catalog, config, work, rows, self.files)
        except CatalogError as error:
            if not error.row:
                raise
            self._fail(work, error, outcome)
            return True
        outcome.said += said
        if taken:
            self._finish([(work, taken)], outcome)
        return bool(taken)

    def _write(self, works: Sequence[Work], outcome: Outcome) -> None:
        """Bring the rows of ours to what the ledger says; a row that fails does not stop the others."""
        if not works:
            return
        config = self.settings.config
        try:
            wanted = {
                work.execution.id: (workflow_of(work.execution, config.workflow_name), config.workflow_type)
                for work in works
                if work.publication.state != "published"
            }
            rids = workflow_rids(self.catalog, wanted.values())
            workflows = {name: rids[key_of(workflow)] for name, workflow in wanted.items()}
            done = executions.put(self.catalog, self.publications, works, workflows)
        except CatalogError as error:
            if not error.row:
                raise
            if len(works) == 1:
                self._fail(works[0], error, outcome)
                return
            half = len(works) // 2
            self._write(works[:half], outcome)
            self._write(works[half:], outcome)
            return
        outcome.said += [f"{w.execution.id}: {w.publication.error}" for w in done if w.publication.error]
        self._finish(
            [(w, [w.publication.rid] if w.publication.rid and not w.publication.error else []) for w in done],
            outcome,
        )

    def _finish(self, works: Sequence[tuple[Work, Sequence[str]]], outcome: Outcome) -> None:
        """Note what is done, and store the provenance of what has ended beside its rows (their RIDs)."""
        self.publications.put([work.publication for work, _ in works])  # before what can be done without
        ended = []
        for work, rids in works:
            if work.publication.state == "closed" and rids:
                ended.append((work, rids))
            else:
                outcome.done.append(work)
        try:
            stored = assets.store(self.catalog, [(w.execution, rid) for w, rids in ended for rid in rids])
        except CatalogError as error:
            why = f"its row is there, its provenance file is not: {error}"
            late = CatalogError(why, fix="deriva-ml-hooks sync, when it is well again")
            for work, _ in ended:
                self._fail(changed(work, state="published"), late, outcome)
            return
        done = [changed(work, asset=stored.get(work.publication.rid or "")) for work, _ in ended]
        self.publications.put([work.publication for work in done if work.publication.asset])
        outcome.done += done

    def _fail(self, work: Work, error: CatalogError, outcome: Outcome) -> None:
        # A row that is there stays known as that: it is updated the next time, not inserted.
        state: State = "published" if work.publication.state == "published" else "failed"
        work = changed(work, state=state, error=str(error))
        self.publications.put([work.publication])
        outcome.failed.append((work, error))
