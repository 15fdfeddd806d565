"""The catalog's part in a run, where a catalog is named; loads nothing of it otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from deriva_ml_hooks.config import Config
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.runner import child, deriva_ml

if TYPE_CHECKING:
    from deriva_ml_hooks.catalog.during import During
    from deriva_ml_hooks.git.repository import Repository

CATALOG_VARIABLE = "DERIVA_ML_HOOKS_CATALOG"


class NotStartedError(HooksError):
    """A signal came while the catalog was waited for, so the command was not started."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted before the command was started", fix="run it again")


def part_in_run(
    named: str | None,
    config: Config,
    repository: Repository,
    ledger: Ledger,
    execution: Execution,
    complain: Callable[[str], None],
) -> During | None:
    """The catalog's part, prepared; None where no catalog is named. `named` is what the command's words say.

    `repository`: where the commit that runs is.

    Raises AddressError, and CatalogError where the configuration refuses to run without the catalog.
    """
    if not (named or os.environ.get(CATALOG_VARIABLE) or config.catalog):
        return None
    from deriva_ml_hooks.catalog.code import Code
    from deriva_ml_hooks.catalog.during import During, settings_of

    settings = settings_of(config, named)
    if settings is None:
        return None
    itself = deriva_ml.records(execution.command, repository, execution.entry_point["blob"])
    code = Code(repository, config.hosts)
    during = During(settings, ledger, execution, complain, code.find, records_itself=itself)
    during.prepare()
    return during


def begin(during: During, mask: frozenset[int]) -> dict[str, str]:
    """Publish the execution; the variables that the command gets. Within `held_signals`.

    Raises NotStartedError, and CatalogError where the configuration refuses to run without the catalog.
    """
    env = child.interruptible(during.begin, mask)
    if env is None:
        raise NotStartedError
    return env


def finish(during: During | None, execution: Execution, mask: frozenset[int]) -> None:
    """Bring the catalog to the end of `execution`; a signal leaves that to the next sync."""
    if during is None:
        return

    def finished() -> bool:
        during.finish(execution)
        return True

    if not child.interruptible(finished, mask):
        during.interrupted()
