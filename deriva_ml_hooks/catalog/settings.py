"""Where executions are published, and how: the words of a command, the environment, the configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from deriva_ml_hooks.config import Config
from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.redact import redact

CATALOG_VARIABLE = "DERIVA_ML_HOOKS_CATALOG"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123, 2.1
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::\d{{1,5}})?"
_ID = r"[A-Za-z0-9_.-]+"
_FORMS = (
    rf"(?i:https)://(?P<host>{_HOST})/chaise/\w+/\??#(?P<id>{_ID})(?:/.*)?",
    rf"(?i:https)://(?P<host>{_HOST})/(?:ermrest/catalog/)?(?P<id>{_ID})(?:/.*)?",
    rf"(?P<host>{_HOST})/(?P<id>{_ID})/?",
)


class AddressError(UsageError):
    """The words that should name a catalog do not."""


@dataclass(frozen=True, slots=True)
class Address:
    """A catalog: `host` (with its port if it has one) and the catalog's id or alias."""

    host: str
    id: str

    def __str__(self) -> str:
        return f"{self.host}/{self.id}"

    def record_url(self, schema: str, table: str, rid: str) -> str:
        """Where Chaise, Deriva's web interface, shows a row."""
        return f"https://{self.host}/chaise/record/#{self.id}/{quote(schema)}:{quote(table)}/RID={rid}"


def parse(text: str) -> Address:
    """The catalog that `text` names, also as a browser or ERMrest has it; raises AddressError."""
    words = text.strip()
    if re.match(r"(?:[A-Za-z]+://)?[^/]*@", words):
        raise AddressError(
            f"{redact(words)}: an address with a credential in it",
            fix="take it out; log in instead: deriva-globus-auth-utils login --host HOST",
        )
    if "@" in words:
        raise AddressError(
            f"{redact(words)}: a snapshot is read-only, so no execution can be published there",
            fix=f"name the catalog itself: {redact(words.partition('@')[0])}",
        )
    for form in _FORMS:
        found = re.fullmatch(form, words)
        if found is not None:
            return Address(found["host"].lower(), found["id"])
    raise AddressError(
        f"{redact(words)}: not the address of a catalog", fix="write it as host/catalog-id: www.example.org/7"
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """A catalog, and the configuration of what is to be done there.

    `named_by_user`: the words of this very call name the catalog. An environment variable is no such word:
    editors and direnv take it from files of the repository.
    """

    address: Address
    named_by_user: bool
    config: Config


def settings_of(
    config: Config, explicit: str | None = None, env: Mapping[str, str] = os.environ
) -> Settings | None:
    """The settings where a catalog is named; `explicit` is what the command's words say.

    Raises AddressError.
    """
    named = explicit or env.get(CATALOG_VARIABLE) or config.catalog
    return Settings(parse(named), bool(explicit), config) if named else None


def required(config: Config, explicit: str | None = None) -> Settings:
    """Like `settings_of`; raises UsageError where no catalog is named."""
    settings = settings_of(config, explicit)
    if settings is None:
        raise UsageError(
            "no catalog is named",
            fix='name it: --catalog HOST/ID, or catalog = "HOST/ID" in [tool.deriva-ml-hooks]',
        )
    return settings
