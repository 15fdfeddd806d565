"""Requests to one catalog's server through deriva-py's session, with one deadline for all of them.

deriva-py's own settings try again for minutes where there is no hope (a certificate that is not trusted:
over eight), so its session gets an adapter that never does: what to send again is decided where it is known
what a second time can spoil. Credentials come from deriva-py's own store and are never shown or kept.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from deriva_ml_hooks.catalog.credentials import credential_of, require_approved
from deriva_ml_hooks.catalog.errors import (
    LOGIN,
    CatalogError,
    LoginError,
    NoDerivaError,
    of_answer,
    of_failure,
    senseless,
)
from deriva_ml_hooks.catalog.settings import Settings
from deriva_ml_hooks.redact import MASK

Row = dict[str, Any]
Answer = tuple[int, str, Mapping[str, str]]

_LARGEST = 64 * 1024 * 1024
"""Bytes of an answer, unpacked; more is nothing that was asked for."""
_PAUSES = (0.1, 0.3, 0.9)
"""Seconds, about, before a transaction that was rolled back is tried again."""


class Client:
    """ERMrest's and Hatrac's requests for one catalog; each raises CatalogError.

    `timeout` is in seconds, for everything together from the last `restart` on; `clock_skew` how far the
    server's clock is ahead of this one.
    """

    def __init__(self, settings: Settings, timeout: float) -> None:
        self.address = settings.address
        self.timeout = timeout
        self.requests = 0
        self.clock_skew = timedelta()
        self._ends = time.monotonic() + timeout
        host = self.address.host
        try:
            from deriva.core import DEFAULT_SESSION_CONFIG, ErmrestCatalog
        except ImportError:
            raise NoDerivaError from None
        for name in ("bdbag", "deriva", "globus_sdk", "urllib3"):  # what matters is raised; the rest is noise
            logging.getLogger(name).addHandler(logging.NullHandler())
        try:
            require_approved(host, named_by_user=settings.named_by_user)
            binding = ErmrestCatalog(
                "https", host, self.address.id, None, caching=False, session_config={**DEFAULT_SESSION_CONFIG}
            )
            self._session: Any = binding._session
            self._session.auth = lambda request: request  # else requests takes ~/.netrc's for the host
            self._mount()
            credential = credential_of(host)
            binding.set_credentials(credential, host)
        except CatalogError:
            raise
        except OSError as failure:  # the network, where a token has to be renewed
            raise of_failure(host, failure, timeout) from None
        except Exception as failure:  # a store of another form: what is told of it may hold a credential
            raise LoginError(
                f"{host}: deriva-py's credential cannot be used ({type(failure).__name__})",
                fix=f"see ~/.deriva/credential.json, or {LOGIN.format(host=host)}",
            ) from None
        self.has_credential = bool(credential)
        self._secrets = _secrets(credential)

    def restart(self, timeout: float | None = None) -> None:
        """Begin a new deadline, in `timeout` seconds or in as many as before."""
        self._ends = time.monotonic() + (self.timeout if timeout is None else timeout)

    def close(self) -> None:
        """Give the sockets back."""
        self._session.close()

    def get(self, path: str) -> Any:
        """The JSON document at `path`, below the catalog."""
        return self._json(self._send("GET", self._url(path)))

    def send_rows(self, method: str, path: str, rows: Sequence[Row]) -> list[Row]:
        """Send rows as JSON; those that the server says it has written."""
        data = json.dumps(rows).encode("ascii")
        headers = {"Content-Type": "application/json"}
        found = self._json(self._send(method, self._url(path), data=data, headers=headers))
        if not isinstance(found, list):
            raise senseless(self.address.host, "rows were expected")
        return found

    def delete(self, path: str) -> None:
        """Delete what `path` names, below the catalog."""
        self._send("DELETE", self._url(path))

    def _url(self, path: str) -> str:
        return f"https://{self.address.host}/ermrest/catalog/{quote(self.address.id, safe='')}{path}"

    def whoami(self) -> Row | None:
        """Who the server takes this user for; None where nobody is logged in."""
        try:
            document = self._json(self._send("GET", f"https://{self.address.host}/authn/session"))
        except CatalogError as error:
            if error.status in (401, 404):
                return None
            raise
        client = document.get("client") if isinstance(document, dict) else None
        return client if isinstance(client, dict) else None

    def service(self, method: str, path: str, **sent: Any) -> Answer:
        """Status, text and headers of a request to another service of the host (Hatrac)."""
        return self._request(method, f"https://{self.address.host}{path}", **sent)

    def _send(self, method: str, url: str, **sent: Any) -> Answer:
        answer = self._request(method, url, **sent)
        for pause in _PAUSES:
            # An insertion can be repeated where what is there already is passed over, and where ERMrest says
            # that it has rolled it back because it met another transaction.
            repeatable = method != "POST" or "onconflict=skip" in url
            if answer[0] != 503 or not (repeatable or "transaction aborted" in answer[1].lower()):
                break
            pause *= 0.5 + random.random()  # noqa: S311  # those that met should not meet again
            if time.monotonic() + pause >= self._ends:
                break
            time.sleep(pause)
            answer = self._request(method, url, **sent)
        status, text, _ = answer
        if status >= 400:
            raise of_answer(self.address.host, status, self._masked(text))  # it may show what it was sent
        if status >= 300:
            raise senseless(self.address.host, f"HTTP {status}")
        return answer

    def _request(self, method: str, url: str, **sent: Any) -> Answer:
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        self.requests += 1
        try:
            response, body = self._exchange(method, url, **sent)
        except (RequestException, HTTPError, OSError, ValueError) as failure:
            raise of_failure(self.address.host, failure, self.timeout, self._masked) from None
        self._note_clock(response.headers.get("Date"))
        return response.status_code, body.decode("utf-8", "replace"), response.headers

    def _exchange(self, method: str, url: str, **sent: Any) -> tuple[Any, bytes]:
        """An answer and its body, which is not read to its end where it is too large.

        ERMrest redirects nobody, and a credential must not follow to wherever an answer says.
        """
        body = bytearray()
        with self._session.request(method, url, allow_redirects=False, stream=True, **sent) as response:
            for part in response.iter_content(16 * 1024):
                body += part
                if len(body) > _LARGEST:
                    raise senseless(self.address.host, f"more than {_LARGEST // 1024 // 1024} MB")
        return response, bytes(body)

    def _note_clock(self, date: str | None) -> None:
        """How far the server's clock is ahead of this one, to the second (RFC 9110, 6.6.1)."""
        try:
            there = parsedate_to_datetime(date or "")
        except (TypeError, ValueError):
            return
        if there.tzinfo is None:  # `-0000`
            there = there.replace(tzinfo=timezone.utc)
        self.clock_skew = there - datetime.now(timezone.utc)

    def _json(self, answer: Answer) -> Any:
        try:
            return json.loads(answer[1])
        except (ValueError, RecursionError):
            raise senseless(self.address.host, "no JSON") from None

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def _mount(self) -> None:
        import urllib3
        from requests.adapters import HTTPAdapter
        from requests.exceptions import Timeout

        client = self

        class Adapter(HTTPAdapter):
            def send(self, request: Any, *args: Any, **settings: Any) -> Any:
                left = client._ends - time.monotonic()
                if left <= 0:
                    raise Timeout(request=request)
                settings["timeout"] = left
                return super().send(request, *args, **settings)

        self._session.mount("https://", Adapter(max_retries=urllib3.Retry(0, read=False, redirect=0)))
        if not self._session.verify:  # deriva-py trusts localhost, whatever it shows
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _secrets(credential: Any) -> list[str]:
    """What of a credential must not be shown: its values, and what follows the name of a cookie."""
    values = [value for value in (credential or {}).values() if isinstance(value, str)]
    parts = {part for value in values for part in (value, *re.split(r"[=;\s]+", value)[1:])}
    return sorted((part for part in parts if len(part) > 3), key=len, reverse=True)
