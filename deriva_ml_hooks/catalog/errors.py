"""What can go wrong with a catalog, told by what its user can do about it.

`row` says whether the fault lies with one row rather than with the catalog as a whole: a sync goes on
after the former and stops after the latter.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deriva_ml_hooks import packages
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import printable

LOGIN = "deriva-globus-auth-utils login --host {host}"


class CatalogError(HooksError):
    """A catalog does not do what is asked of it."""

    row = False


class NoDerivaError(CatalogError):
    """deriva-py is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "a catalog is asked for, but deriva is not installed",
            fix=packages.installing("deriva-ml-hooks[catalog]"),
        )


class UnreachableError(CatalogError):
    """No answer: no such host, refused, not trusted, or not in time."""


class LateError(UnreachableError):
    """No answer within the time that there was for it."""

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(
            f"{host}: no answer within {seconds:.3g} s", fix="see the network, or set catalog-timeout higher"
        )


class UntrustedError(CatalogError):
    """The user has not approved the server that a repository names, so nothing is sent there."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host}: not a server that you have approved",
            fix=f"deriva-ml-hooks catalog trust {shlex.quote(host)}",
        )


class LoginError(CatalogError):
    """401: no credential, or one that the server does not take (any more)."""


class ForbiddenError(CatalogError):
    """403: the user may not do this."""


class MissingError(CatalogError):
    """404: no such catalog, schema or table."""


class SchemaError(CatalogError):
    """The catalog has no deriva-ml schema, or one of a form that is not known."""


class TermError(CatalogError):
    """A vocabulary does not hold the term that is needed."""


class ConflictError(CatalogError):
    """409: a key that is there already, a reference to nothing, or an empty value where one must be."""

    row = True


class RequestError(CatalogError):
    """Any other answer of 400 to 499: the request is not understood."""

    row = True


class ServerError(CatalogError):
    """The server is there but cannot do its work (5xx, 429), or what it answers makes no sense."""


def not_logged_in(host: str) -> LoginError:
    """The error of a host for which there is no credential, or that takes this user for nobody."""
    return LoginError(f"{host}: nobody is logged in there", fix=LOGIN.format(host=host))


def no_right_to_close(host: str, left: str = "its row is there and open") -> ForbiddenError:
    """The error of a row that stays as it is because its user may not update it (any more)."""
    error = ForbiddenError(
        f"{host}: {left}, and this user may not update rows of Execution",
        fix="ask the catalog's owner for this right; see: deriva-ml-hooks catalog check",
    )
    error.row = True
    return error


def unstored(why: str) -> ServerError:
    """The error of an execution whose row is complete, but whose provenance is not stored yet."""
    error = ServerError(why, fix="deriva-ml-hooks sync, when it is well again")
    error.row = True
    return error


def senseless(host: str, why: str) -> ServerError:
    """The error of an answer that is none of ERMrest's."""
    return ServerError(
        f"{host}: the answer makes no sense: {why}",
        fix="see whether a login page or a proxy answers in its place",
    )


@contextmanager
def sensible(host: str) -> Iterator[None]:
    """An answer of another form than ERMrest's is its server's fault, wherever it is noticed."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise senseless(host, f"{type(error).__name__}: {error}") from error


def of_answer(host: str, status: int, text: str) -> CatalogError:
    """The error that an HTTP answer of ERMrest or Hatrac stands for."""
    said = printable(redact(" ".join(text.split())))[:300] or "no reason given"
    what = f"{host}: HTTP {status}: {said}"
    if status == 401:
        return LoginError(what, fix=LOGIN.format(host=host))
    if status == 403:
        return ForbiddenError(
            what, fix="ask the catalog's owner for this right; see: deriva-ml-hooks catalog check"
        )
    if status == 404:
        return MissingError(
            what, fix="see how the catalog and the schema are spelled: deriva-ml-hooks catalog check"
        )
    if status == 409:
        return ConflictError(what, fix="see what the catalog expects: deriva-ml-hooks catalog check")
    if 400 <= status < 500 and status not in (408, 429):
        return RequestError(what, fix=packages.installing("deriva-ml-hooks[catalog]", newer=True))
    return ServerError(what, fix="wait until it is well again")


def of_failure(
    host: str, failure: BaseException, seconds: float, masked: Callable[[str], str] = str
) -> CatalogError:
    """The error that a failed connection stands for; `seconds` is how long it was waited for.

    `masked` takes out of a text what is secret.
    """
    import requests

    if isinstance(failure, requests.exceptions.SSLError):
        return UnreachableError(
            f"{host}: its certificate is not trusted here ({masked(_reason(failure))})",
            fix="name the authority that signed it: export REQUESTS_CA_BUNDLE=/path/to/ca.pem",
        )
    if isinstance(failure, requests.exceptions.Timeout):
        return LateError(host, seconds)
    return UnreachableError(
        f"{host}: not reachable ({masked(_reason(failure))})",
        fix="see the network and how the host is spelled",
    )


def _reason(failure: Any) -> str:
    """The innermost words of a chain of errors: the outer ones repeat them between object addresses."""
    while True:
        inner = getattr(failure, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((a for a in getattr(failure, "args", ()) if isinstance(a, BaseException)), None)
        if inner is None:
            break
        failure = inner
    words = " ".join(str(failure).split()).rpartition(">: ")[2]
    words = re.sub(r"^\w+\(host=[^)]*\): ", "", words)
    return printable(redact(words))[:200] or type(failure).__name__
