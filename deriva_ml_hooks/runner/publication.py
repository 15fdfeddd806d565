"""Publishing while a command is run: its row before it starts, its end after it, at a limited cost.

Loads nothing more of the catalog where none is named.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from deriva_ml_hooks.catalog.deadline import within
from deriva_ml_hooks.catalog.errors import ASK_FOR_RIGHT, CatalogError, LateError
from deriva_ml_hooks.catalog.settings import settings_of
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.errors import HooksError, LedgerError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import RID_VARIABLE, Publication, Work
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.files import write_atomically
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.runner import child, deriva_ml

if TYPE_CHECKING:
    from deriva_ml_hooks.catalog.publish import Publisher

SAVE_VARIABLE = "DERIVA_ML_SAVE_EXECUTION_RID"
_WITHIN = "DERIVA_ML_HOOKS_EXECUTION"
_LATER = "later: deriva-ml-hooks sync"

Say = Callable[[str], None]


class NotStartedError(HooksError):
    """A signal came while the catalog was waited for, so the command was not started."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted before the command was started", fix="run it again")


def prepared(
    named: str | None,
    config: Config,
    repository: Repository,
    ledger: Ledger,
    execution: Execution,
    complain: Say,
) -> RunPublication | None:
    """The publication of a run; None where no catalog is named. `named` is what the command's words say.

    `repository`: where the commit that runs is. Raises AddressError, and CatalogError where the configuration
    refuses to run without the catalog.
    """
    settings = settings_of(config, named)
    if settings is None:
        return None
    from deriva_ml_hooks.catalog.commit_files import CommitFiles
    from deriva_ml_hooks.catalog.publish import Publisher

    publisher = Publisher(settings, ledger, CommitFiles(repository, config.hosts))
    itself = deriva_ml.records(execution.command, repository, execution.entry_point["blob"])
    if itself and config.recorded_by == "runner":
        complain('DerivaML will record this too; with recorded-by = "runner" its row is left alone')
    theirs = config.recorded_by == "deriva-ml" or (config.recorded_by == "auto" and itself)
    publication = RunPublication(publisher, execution, complain, theirs=theirs)
    publication.prepare()
    return publication


class RunPublication:
    """The publication of one run: `prepare`, then `begin` once the ledger has the row, then `finish`.

    With `on-catalog-error = "refuse"` the first two raise CatalogError; else what fails is told once, in
    one line, and the run goes on. All that is waited for the catalog is `catalog-timeout`. `theirs`: the
    command makes its own row. `complain` is given what went wrong or had to be changed.
    """

    def __init__(self, publisher: Publisher, execution: Execution, complain: Say, *, theirs: bool) -> None:
        self.complain = complain
        self._publisher = publisher
        self._config = publisher.settings.config
        self._left = self._config.catalog_timeout
        self._connected = self._told = False
        begun = Publication(
            execution.id, publisher.publications.catalog, recorded_by="deriva-ml" if theirs else "runner"
        )
        self._work = Work(execution, begun, fresh=True)
        nested = os.environ.get(_WITHIN)  # then what is set is the outer run's
        self._users_file = None if nested else os.environ.get(SAVE_VARIABLE)

    def prepare(self) -> None:
        """Reach the catalog, and see that it will take the execution; nothing of it is written."""
        self._try(self._connect, refuses=self._config.on_catalog_error == "refuse")

    def begin(self, mask: frozenset[int]) -> dict[str, str]:
        """Publish the execution as running; the variables for the command. Within `held_signals`.

        Raises NotStartedError where a signal came.
        """
        env = child.interruptible(self._begin, mask)
        if env is None:
            raise NotStartedError
        return env

    def finish(self, execution: Execution, mask: frozenset[int]) -> None:
        """Bring the row to the end of `execution`, or adopt what the command recorded itself.

        A signal leaves that to the next sync.
        """

        def finished() -> bool:
            self._finish(execution)
            return True

        if not child.interruptible(finished, mask):
            self._tell(f"interrupted ({_LATER})")

    def _begin(self) -> dict[str, str]:
        env = {}
        if self._config.recorded_by != "runner":
            env[SAVE_VARIABLE] = self._publisher.saved_file(self._work.execution.id)
        try:
            begun = self._publisher.publications.begin(self._work)
        except LedgerError as error:
            self.complain(f"not published: {error}")
            return env
        if begun is None:  # a sync has been faster, and what is left to do is done at the end
            return env
        self._work = begun
        if self._connected and begun.publication.recorded_by == "runner":
            self._try(self._publish, refuses=self._config.on_catalog_error == "refuse")
        publication = self._work.publication
        if publication.rid is not None and publication.state == "published":
            env[RID_VARIABLE] = publication.rid
        return env

    def _finish(self, execution: Execution) -> None:
        self._fill_users_file()
        if not self._connected:
            self._try(self._connect)
        try:
            # With what an answer that was not waited for may have left.
            mine = self._publisher.publications.begin(Work(execution, self._work.publication))
            if mine is None:
                self._tell(f"a sync is at work on it ({_LATER})")
                return
            self._work = mine
            if self._connected:
                self._try(self._publish)
            self._publisher.publications.release([execution.id])
        except LedgerError as error:
            self._tell(str(error))

    def _connect(self) -> None:
        self._publisher.connect(self._left)
        table = self._publisher.catalog.schema.tables["Execution"]
        for right in ("insert", "update"):
            if self._config.on_catalog_error == "refuse" and not table.may(right):
                what = f"{self._publisher.settings.address}: this user may not {right} rows of Execution"
                raise CatalogError(what, fix=ASK_FOR_RIGHT)
        self._connected = True

    def _publish(self) -> None:
        self._publisher.catalog.client.restart(self._left)
        outcome = self._publisher.publish([self._work])
        for line in outcome.said:
            self.complain(line)
        for _, error in outcome.failed:
            raise error
        if outcome.done:
            self._work = outcome.done[0]

    def _try(self, action: Callable[[], None], *, refuses: bool = False) -> None:
        """Do `action` in what is left of the time; refuse, or tell it once and go on."""
        host, started = self._publisher.settings.address.host, time.monotonic()
        try:
            if self._left <= 0:
                raise LateError(host, self._config.catalog_timeout)
            within(self._left, host, action)
        except HooksError as error:
            if isinstance(error, CatalogError) and error.passing:
                self._connected = False  # the thread may still be using the connection
            if refuses:
                raise
            self._tell(f"{error} ({error.fix}; {_LATER})")
        finally:
            self._left -= time.monotonic() - started

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            self.complain(f"not published: {why}")

    def _fill_users_file(self) -> None:
        """Give the user's own file what DerivaML wrote to ours: two runs may have been told the same file."""
        if not self._users_file:
            return
        try:
            with open(self._publisher.saved_file(self._work.execution.id), "rb") as file:
                data = file.read()
            write_atomically(self._users_file, data)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.complain(f"{self._users_file}: cannot be written: {error.strerror}")
