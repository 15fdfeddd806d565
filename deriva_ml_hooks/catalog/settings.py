"""Where executions are published, and how: the words of a command, the environment, the configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from deriva_ml_hooks.catalog.address import Address, parse
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.errors import UsageError

CATALOG_VARIABLE = "DERIVA_ML_HOOKS_CATALOG"


@dataclass(frozen=True, slots=True)
class Settings:
    """A catalog and what is to be done there; the fields are documented in the README's table."""

    address: Address
    named_by_user: bool
    """Whether the words of this very call name the catalog. An environment variable is no such word: editors
    and direnv take it from files of the repository."""
    schema: str
    workflow_types: tuple[str, ...]
    workflow_name: str | None
    refuses: bool
    timeout: float
    recorded_by: str
    correct_workflow: bool


class NoCatalogError(UsageError):
    """No catalog is named anywhere."""

    def __init__(self) -> None:
        super().__init__(
            "no catalog is named",
            fix='name it: --catalog HOST/ID, or catalog = "HOST/ID" in [tool.deriva-ml-hooks]',
        )


def settings_of(
    config: Config, explicit: str | None = None, env: Mapping[str, str] = os.environ
) -> Settings | None:
    """The settings for `config`, where a catalog is named; `explicit` is what the command's words say.

    Raises AddressError.
    """
    named = explicit or env.get(CATALOG_VARIABLE) or config.catalog
    if not named:
        return None
    return Settings(
        address=parse(named),
        named_by_user=bool(explicit),
        schema=config.schema,
        workflow_types=config.workflow_type,
        workflow_name=config.workflow_name,
        refuses=config.on_catalog_error == "refuse",
        timeout=config.catalog_timeout,
        recorded_by=config.recorded_by,
        correct_workflow=config.correct_workflow,
    )


def required(config: Config, explicit: str | None = None) -> Settings:
    """Like `settings_of`; raises NoCatalogError where no catalog is named."""
    settings = settings_of(config, explicit)
    if settings is None:
        raise NoCatalogError
    return settings
