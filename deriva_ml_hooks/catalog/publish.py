"""Brings executions of the ledger into a catalog, whatever is there of them already.

Every way to publish goes through here: at the start of a run, at its end, and in a sync. What is known
afterwards is in the ledger; a kill at any moment loses nothing and doubles nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from deriva_ml_hooks.catalog import adopt, assets, executions, model, recorded
from deriva_ml_hooks.catalog.code import FindFile
from deriva_ml_hooks.catalog.errors import CatalogError, no_right_to_close, not_logged_in, sensible, unstored
from deriva_ml_hooks.catalog.rows import workflow_of
from deriva_ml_hooks.catalog.session import Connection
from deriva_ml_hooks.catalog.settings import Settings
from deriva_ml_hooks.catalog.workflows import workflow_rids
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Publications, State, Work


@dataclass(slots=True)
class Outcome:
    """What became of some executions: those that are `done`, those that failed with why, what to say."""

    done: list[Work] = field(default_factory=list)
    failed: list[tuple[Work, CatalogError]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in what became of others."""
        self.done += other.done
        self.failed += other.failed
        self.said += other.said


class Publisher:
    """One catalog and one ledger. `connect` comes first; methods raise CatalogError and LedgerError."""

    def __init__(self, settings: Settings, ledger: Ledger, find_file: FindFile | None = None) -> None:
        self.settings = settings
        self.ledger = ledger
        self.find_file = find_file
        self.publications = Publications(ledger, str(settings.address))

    def connect(self, timeout: float) -> None:
        """Reach the catalog and read what it looks like; `timeout`: seconds for this and what follows."""
        settings = self.settings
        self.connection = Connection(settings.address, timeout, named_by_user=settings.named_by_user)
        if not self.connection.has_credential:
            raise not_logged_in(self.settings.address.host)
        with sensible(self.settings.address.host):
            self.connection.settle_address()
            self.publications.rename(str(self.connection.address))
            self.model = model.read(self.connection, self.settings.schema)

    def publish(self, works: Sequence[Work]) -> Outcome:
        """Publish executions: those that recorded themselves are adopted, the others written.

        A fault of single rows is in the outcome; raises CatalogError where the catalog is at fault.
        """
        with sensible(self.settings.address.host):
            return self._publish(works)

    def _publish(self, works: Sequence[Work]) -> Outcome:
        outcome = Outcome()
        ours = []
        works = [
            replace(w, publication=replace(w.publication, catalog=self.publications.catalog)) for w in works
        ]
        rids = self._recorded(works)
        for work in works:
            if not self._adopted(work, rids.get(work.execution.id, []), outcome):
                ours.append(work)
        outcome.add(self._written(ours))
        return outcome

    def saved_file(self, execution_id: str) -> str:
        """Where DerivaML is asked to write the RID of what it records."""
        folder = os.path.join(os.path.dirname(self.ledger.path), "executions", execution_id)
        return os.path.join(folder, recorded.SAVED)

    def _recorded(self, works: Sequence[Work]) -> dict[str, list[str]]:
        """The rows that commands made themselves, by execution; of those that run, they may still do so."""
        known = {
            work.execution.id: [work.publication.rid]
            for work in works
            if (work.publication.recorded_by, work.publication.state) == ("deriva-ml", "published")
            and work.publication.rid is not None
        }
        ended = [work.execution for work in works if work.execution.status != "Running"]
        if not ended or self.settings.recorded_by == "runner":
            return {}
        rids = known | recorded.proven(self.connection, self.model, ended, self.publications.rids())
        for execution in ended:
            last = recorded.saved(self.saved_file(execution.id), self.connection)
            if last is not None:
                others = [rid for rid in rids.get(execution.id, []) if rid != last]
                rids[execution.id] = [last, *others]
        return rids

    def _adopted(self, work: Work, rids: Sequence[str], outcome: Outcome) -> bool:
        """Adopt the execution if the command recorded itself; whether that settles it."""
        publication = work.publication
        if work.execution.status == "Running":
            return publication.recorded_by == "deriva-ml"
        rows = [rid for rid in rids if rid != recorded.DRY_RUN]
        if rids and not rows and publication.recorded_by == "deriva-ml":
            outcome.said.append(f"{work.execution.id}: a dry run of DerivaML's, so nothing is published")
            settled = replace(publication, state="closed", error=None)
            self.publications.put([settled])
            outcome.done.append(replace(work, publication=settled))
            return True
        if not rows:
            return False
        try:
            adopted = adopt.adopt(self.connection, self.model, self.settings, work, rows, self.find_file)
        except CatalogError as error:
            if not error.row:
                raise
            outcome.add(self._failed(work, error))
            return True
        outcome.said += adopted.said
        if adopted.work is None:
            return False
        if adopted.error is not None:
            outcome.add(self._failed(adopted.work, adopted.error))
            return True
        self.publications.put([adopted.work.publication])
        outcome.add(_settled(adopted.work))
        return True

    def _written(self, works: Sequence[Work]) -> Outcome:
        if not works:
            return Outcome()
        works = [replace(w, publication=replace(w.publication, recorded_by="runner")) for w in works]
        try:
            done = self._write(works)
        except CatalogError as error:
            if not error.row:
                raise
            if len(works) == 1:
                return self._failed(works[0], error)
            half = len(works) // 2  # the fault is with one of them: the others must not wait for it
            outcome = self._written(works[:half])
            outcome.add(self._written(works[half:]))
            return outcome
        outcome = Outcome()
        known = {work.execution.id for work in done}
        if not self.model.tables["Execution"].may("update"):
            for work in works:
                if work.execution.status != "Running" and work.execution.id not in known:
                    outcome.add(self._failed(work, no_right_to_close(self.settings.address.host)))
        for work in done:
            outcome.add(_settled(work))
        gone = [work for work in outcome.done if work.publication.error]
        outcome.said += [f"{work.execution.id}: {work.publication.error}" for work in gone]
        return outcome

    def _write(self, works: Sequence[Work]) -> list[Work]:
        settings = self.settings
        wanted = {
            work.execution.id: workflow_of(work.execution, settings.workflow_name, settings.workflow_types)
            for work in works
            if work.publication.state != "published"
        }
        rids = workflow_rids(self.connection, self.model, wanted.values()) if wanted else {}
        workflows = {name: rids[w.url, w.checksum] for name, w in wanted.items()}
        done = executions.put(self.connection, self.model, self.publications, works, workflows)
        self.publications.put(work.publication for work in done)  # before what can be done without
        ended = [
            (work.execution, work.publication.rid)
            for work in done
            if work.publication.state == "closed" and not work.publication.error and work.publication.rid
        ]
        stored = assets.store(self.connection, self.model, ended)
        with_rows = {rid for _, rid in ended}
        stored_too = [
            replace(w, publication=stored.noted(w.publication)) if w.publication.rid in with_rows else w
            for w in done
        ]
        self.publications.put(work.publication for work in stored_too if work not in done)
        return stored_too

    def _failed(self, work: Work, error: CatalogError) -> Outcome:
        # A row that is there stays known as that: it is updated the next time, not inserted.
        state: State = "published" if work.publication.state == "published" else "failed"
        publication = replace(work.publication, state=state, error=str(error))
        self.publications.put([publication])
        return Outcome(failed=[(replace(work, publication=publication), error)])


def _settled(work: Work) -> Outcome:
    """Done, but for what is known to be missing though its row is there."""
    error = work.publication.error
    if error and work.publication.state != "closed":
        return Outcome(failed=[(work, unstored(error))])
    return Outcome(done=[work])
