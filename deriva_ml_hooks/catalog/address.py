"""Where a catalog is: `host/catalog-id`, also as it stands in a browser or in ERMrest's own address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.redact import redact

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123, 2.1
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::\d{{1,5}})?"
_ID = r"[A-Za-z0-9_.-]+"
_FORMS = (
    re.compile(rf"(?P<host>{_HOST})/(?P<id>{_ID})/?"),
    re.compile(rf"(?i:https)://(?P<host>{_HOST})/(?:ermrest/catalog/)?(?P<id>{_ID})(?:/.*)?"),
    re.compile(rf"(?i:https)://(?P<host>{_HOST})/chaise/\w+/\??#(?P<id>{_ID})(?:/.*)?"),
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
    """The catalog that `text` names; raises AddressError."""
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
    for form in reversed(_FORMS):
        found = form.fullmatch(words)
        if found is not None:
            return Address(found["host"].lower(), found["id"])
    raise AddressError(
        f"{redact(words)}: not the address of a catalog", fix="write it as host/catalog-id: www.example.org/7"
    )
