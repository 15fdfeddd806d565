"""Publishing while a command is run: its row before it starts, its end after it, at a bounded cost.

All that is waited for a catalog in one run is `catalog-timeout`. The waiting is done beside a thread,
since nothing else bounds the look-up of a host's name. The thread heeds no signal: those are the run's.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deriva_ml_hooks.catalog.code import FindFile
from deriva_ml_hooks.catalog.errors import CatalogError, ForbiddenError, UnreachableError
from deriva_ml_hooks.catalog.publish import Publisher
from deriva_ml_hooks.catalog.recorded import records_itself
from deriva_ml_hooks.catalog.settings import CATALOG_VARIABLE, Settings, settings_of
from deriva_ml_hooks.errors import HooksError, LedgerError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Publication, Work
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.files import write_atomically

__all__ = ["CATALOG_VARIABLE", "During", "Settings", "settings_of"]

RID_VARIABLE = "DERIVA_ML_HOOKS_EXECUTION_RID"
SAVE_VARIABLE = "DERIVA_ML_SAVE_EXECUTION_RID"
_WITHIN = "DERIVA_ML_HOOKS_EXECUTION"

Say = Callable[[str], None]


class During:
    """The catalog's part in one run: `prepare`, then `begin` once the ledger has the row, then `finish`.

    With `on-catalog-error = "refuse"` the first two raise CatalogError; else what fails is told once, in
    one line, and the run goes on. `complain` is given what went wrong or had to be put right.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        execution: Execution,
        complain: Say,
        find_file: FindFile | None = None,
    ) -> None:
        self.settings = settings
        self.complain = complain
        self._publisher = Publisher(settings, ledger, find_file)
        self._left = settings.timeout
        self._connected = self._told = False
        theirs = settings.recorded_by == "deriva-ml" or (
            settings.recorded_by == "auto" and records_itself(execution.command)
        )
        self._work = Work(
            execution,
            Publication(execution.id, str(settings.address), recorded_by="deriva-ml" if theirs else "runner"),
            fresh=True,
        )
        within = os.environ.get(_WITHIN)
        self._users_file = None if within else os.environ.get(SAVE_VARIABLE)

    def prepare(self) -> None:
        """Reach the catalog, and see that it will take the execution; nothing of it is written."""
        self._try(self._connect)

    def begin(self) -> dict[str, str]:
        """Publish the execution as running; the variables for the command."""
        env = {}
        if self.settings.recorded_by != "runner":
            env[SAVE_VARIABLE] = self._publisher.saved_file(self._work.execution.id)
        try:
            catalog = self._publisher.publications.catalog
            self._work = replace(self._work, publication=replace(self._work.publication, catalog=catalog))
            self._publisher.publications.put([self._work.publication])
            self._publisher.publications.claim(self._work.execution.id)
        except LedgerError as error:
            self.complain(f"not published: {error}")
            return env
        if self._connected and self._work.publication.recorded_by == "runner":
            self._try(self._publish)
        rid = self._work.publication.rid
        if rid is not None and self._work.publication.state == "published":
            env[RID_VARIABLE] = rid
        return env

    def finish(self, execution: Execution) -> None:
        """Bring the row to the end of `execution`, or adopt what the command recorded itself."""
        self._fill_users_file()
        try:  # what an answer that was not waited for may have left
            noted = self._publisher.publications.of(execution.id) or self._work.publication
        except LedgerError as error:
            self.complain(f"not published: {error}")
            return
        self._work = Work(execution, noted)
        if not self._connected:
            self._try(self._connect, bounded=False)
        if self._connected:
            self._try(self._publish, bounded=False)
        try:
            self._publisher.publications.release([execution.id])
        except LedgerError as error:
            self.complain(f"not published: {error}")

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
            if not self._told:
                self._told = True
                self.complain(f"not published: {error} ({error.fix}; later: deriva-ml-hooks sync)")

    def _within_time(self, action: Callable[[], None]) -> None:
        if self._left <= 0:
            raise self._late()
        result: list[BaseException | None] = []
        done = threading.Event()

        def work() -> None:
            try:
                action()
                result.append(None)
            except BaseException as error:
                result.append(error)
            finally:
                done.set()

        started = time.monotonic()
        try:
            _start_deaf(threading.Thread(target=work, name="catalog", daemon=True))
            done.wait(self._left)
        finally:
            self._left -= time.monotonic() - started
        if not result:
            raise self._late()
        if result[0] is not None:
            raise result[0]

    def _late(self) -> CatalogError:
        return UnreachableError(
            f"{self.settings.address.host}: no answer within {self.settings.timeout:g} s",
            fix="see the network, or set catalog-timeout higher",
        )

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


def _start_deaf(thread: threading.Thread) -> None:
    """Start a thread to which the system never gives a signal that is meant for the run."""
    mask: Any = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        thread.start()
        return
    before = mask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        mask(signal.SIG_SETMASK, before)
