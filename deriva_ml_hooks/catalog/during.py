"""Publishing while a command is run: its row before it starts, its end after it, at a bounded cost.

All that is waited for a catalog in one run is `catalog-timeout`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from deriva_ml_hooks.catalog.bounded import within
from deriva_ml_hooks.catalog.code import FindFile
from deriva_ml_hooks.catalog.errors import ForbiddenError, LateError, UnreachableError
from deriva_ml_hooks.catalog.publish import Publisher
from deriva_ml_hooks.catalog.settings import CATALOG_VARIABLE, Settings, settings_of
from deriva_ml_hooks.errors import HooksError, LedgerError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import RID_VARIABLE, Publication, Work
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.files import write_atomically

__all__ = ["CATALOG_VARIABLE", "During", "Settings", "settings_of"]

SAVE_VARIABLE = "DERIVA_ML_SAVE_EXECUTION_RID"
_WITHIN = "DERIVA_ML_HOOKS_EXECUTION"

Say = Callable[[str], None]


class During:
    """The catalog's part in one run: `prepare`, then `begin` once the ledger has the row, then `finish`.

    With `on-catalog-error = "refuse"` the first two raise CatalogError; else what fails is told once, in
    one line, and the run goes on. `complain` is given what went wrong or had to be put right;
    `records_itself` says that the command is known to make its own execution.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        execution: Execution,
        complain: Say,
        find_file: FindFile | None = None,
        *,
        records_itself: bool = False,
    ) -> None:
        self.settings = settings
        self.complain = complain
        self._publisher = Publisher(settings, ledger, find_file)
        self._left = settings.timeout
        self._connected = self._told = False
        theirs = settings.recorded_by == "deriva-ml" or (settings.recorded_by == "auto" and records_itself)
        self._second = settings.recorded_by == "runner" and records_itself
        self._work = Work(
            execution,
            Publication(execution.id, str(settings.address), recorded_by="deriva-ml" if theirs else "runner"),
            fresh=True,
        )
        nested = os.environ.get(_WITHIN)  # then what is set is the outer run's
        self._users_file = None if nested else os.environ.get(SAVE_VARIABLE)

    def prepare(self) -> None:
        """Reach the catalog, and see that it will take the execution; nothing of it is written."""
        if self._second:
            self.complain('DerivaML will record this too; with recorded-by = "runner" its row is left alone')
        self._try(self._connect)

    def begin(self) -> dict[str, str]:
        """Publish the execution as running; the variables for the command."""
        env = {}
        if self.settings.recorded_by != "runner":
            env[SAVE_VARIABLE] = self._publisher.saved_file(self._work.execution.id)
        publications = self._publisher.publications
        publication = replace(self._work.publication, catalog=publications.catalog)
        try:
            begun = publications.begin(replace(self._work, publication=publication))
        except LedgerError as error:
            self.complain(f"not published: {error}")
            return env
        if begun is None:  # a sync has been faster, and what is left to do is done at the end
            return env
        self._work = begun
        if self._connected and begun.publication.recorded_by == "runner":
            self._try(self._publish)
        rid = self._work.publication.rid
        if rid is not None and self._work.publication.state == "published":
            env[RID_VARIABLE] = rid
        return env

    def finish(self, execution: Execution) -> None:
        """Bring the row to the end of `execution`, or adopt what the command recorded itself."""
        self._fill_users_file()
        publications = self._publisher.publications
        if not self._connected:
            self._try(self._connect, bounded=False)
        ended = Work(execution, replace(self._work.publication, catalog=publications.catalog))
        try:  # with what an answer that was not waited for may have left
            mine = publications.begin(ended)
            if mine is None:
                self._tell("a sync is at work on it (later: deriva-ml-hooks sync)")
                return
            self._work = mine
            if self._connected:
                self._try(self._publish, bounded=False)
            publications.release([execution.id])
        except LedgerError as error:
            self._tell(str(error))

    def interrupted(self) -> None:
        """Say that the end was not waited for."""
        self._tell("interrupted (later: deriva-ml-hooks sync)")

    def _connect(self) -> None:
        self._publisher.connect(self._left)
        table = self._publisher.model.tables["Execution"]
        for right in ("insert", "update"):
            if self.settings.refuses and not table.may(right):
                raise ForbiddenError(
                    f"{self.settings.address}: this user may not {right} rows of Execution",
                    fix="ask the catalog's owner for this right; see: deriva-ml-hooks catalog check",
                )
        self._connected = True

    def _publish(self) -> None:
        self._publisher.connection.restart(self._left)
        outcome = self._publisher.publish([self._work])
        for line in outcome.said:
            self.complain(line)
        for _, error in outcome.failed:
            raise error
        if outcome.done:
            self._work = outcome.done[0]

    def _try(self, action: Callable[[], None], *, bounded: bool = True) -> None:
        """Do `action` in what is left of the time; refuse, or tell it once and go on."""
        refuses = self.settings.refuses and bounded
        try:
            self._within_time(action)
        except HooksError as error:
            if isinstance(error, UnreachableError):
                self._connected = False  # the thread may still be using the connection
            if refuses:
                raise
            self._tell(f"{error} ({error.fix}; later: deriva-ml-hooks sync)")

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            self.complain(f"not published: {why}")

    def _within_time(self, action: Callable[[], None]) -> None:
        if self._left <= 0:
            raise LateError(self.settings.address.host, self.settings.timeout)
        started = time.monotonic()
        try:
            within(self._left, self.settings.address.host, action)
        finally:
            self._left -= time.monotonic() - started

    def _fill_users_file(self) -> None:
        """Give the user's own file what DerivaML wrote to ours: two runs may have been told the same file."""
        try:
            if self._users_file:
                with open(self._publisher.saved_file(self._work.execution.id), "rb") as file:
                    data = file.read()
                write_atomically(self._users_file, data)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self.complain(f"{self._users_file}: cannot be written: {error.strerror}")
