"""What can go wrong with a catalog, told by what its user can do about it."""

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
ASK_FOR_RIGHT = "ask the catalog's owner for this right; see: deriva-ml-hooks catalog check"


class CatalogError(HooksError):
    """A catalog does not do what is asked of it.

    `status` is that of its answer. `row`: one row is at fault, so a sync goes on with the others.
    `passing`: the same request may succeed later.
    """

    def __init__(
        self, what: str, *, fix: str, status: int | None = None, row: bool = False, passing: bool = False
    ) -> None:
        super().__init__(what, fix=fix)
        self.status = status
        self.row = row
        self.passing = passing


class NoDerivaError(CatalogError):
    """deriva-py is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "a catalog is asked for, but deriva is not installed",
            fix=packages.installing("deriva-ml-hooks[catalog]"),
        )


class LateError(CatalogError):
    """No answer within the time that there was for it."""

    def __init__(self, host: str, seconds: float) -> None:
        what = f"{host}: no answer within {seconds:.3g} s"
        super().__init__(what, fix="see the network, or set catalog-timeout higher", passing=True)


class UntrustedError(CatalogError):
    """The user has not approved the server that a repository names, so nothing is sent there."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host}: not a server that you have approved",
            fix=f"deriva-ml-hooks catalog trust {shlex.quote(host)}",
        )


class LoginError(CatalogError):
    """No credential, or one that the server does not take (any more)."""


def not_logged_in(host: str) -> LoginError:
    """The error of a host for which there is no credential, or that takes this user for nobody."""
    return LoginError(f"{host}: nobody is logged in there", fix=LOGIN.format(host=host))


def senseless(host: str, why: str) -> CatalogError:
    """The error of an answer that is none of ERMrest's."""
    return CatalogError(
        f"{host}: the answer makes no sense: {why}",
        fix="see whether a login page or a proxy answers in its place",
        passing=True,
    )


@contextmanager
def sensible(host: str) -> Iterator[None]:
    """Raise `senseless` for an answer of another form than ERMrest's, wherever that is noticed."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise senseless(host, f"{type(error).__name__}: {error}") from error


_FIXES = {
    401: LOGIN,
    403: ASK_FOR_RIGHT,
    404: "see how the catalog and the schema are spelled: deriva-ml-hooks catalog check",
    409: "see what the catalog expects: deriva-ml-hooks catalog check",
}
_PASSING = (408, 429)


def of_answer(host: str, status: int, text: str) -> CatalogError:
    """The error that an HTTP answer of ERMrest or Hatrac stands for."""
    said = printable(redact(" ".join(text.split())))[:300] or "no reason given"
    what = f"{host}: HTTP {status}: {said}"
    passing = status >= 500 or status in _PASSING
    if status in _FIXES:
        fix = _FIXES[status].format(host=host)
    elif passing:
        fix = "wait until it is well again"
    else:
        fix = packages.installing("deriva-ml-hooks[catalog]", newer=True)
    kind = LoginError if status == 401 else CatalogError
    # A RID that is not leased was used already, or is somebody else's.
    row = "non-leased" in text if status == 403 else not passing and status not in (401, 404)
    return kind(what, fix=fix, status=status, row=row, passing=passing)


def of_failure(
    host: str, failure: BaseException, seconds: float, masked: Callable[[str], str] = str
) -> CatalogError:
    """The error that a failed connection stands for; `seconds` is how long it was waited for.

    `masked` takes out of a text what is secret.
    """
    import requests

    if isinstance(failure, requests.exceptions.Timeout):
        return LateError(host, seconds)
    problem, fix = "not reachable", "see the network and how the host is spelled"
    if isinstance(failure, requests.exceptions.SSLError):
        problem = "its certificate is not trusted here"
        fix = "name the authority that signed it: export REQUESTS_CA_BUNDLE=/path/to/ca.pem"
    return CatalogError(f"{host}: {problem} ({masked(_reason(failure))})", fix=fix, passing=True)


def _reason(failure: Any) -> str:
    """The innermost words of a chain of errors: the outer ones repeat them between object addresses."""
    while True:
        causes = (getattr(failure, "reason", None), *getattr(failure, "args", ()))
        inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
        if inner is None:
            break
        failure = inner
    words = " ".join(str(failure).split()).rpartition(">: ")[2]
    words = re.sub(r"^\w+\(host=[^)]*\): ", "", words)
    return printable(redact(words))[:200] or type(failure).__name__
