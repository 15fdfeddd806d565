"""Which server may be sent what: only those that the user has approved, and only what is kept for them.

deriva-py's own `get_credential` asks a server which scope it wants, sends it the token of that scope, whoever
it was issued for, and writes both to bdbag's keychain and its configuration. Here no server is asked: the
scope is the one that the user's own login has written down.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from deriva_ml_hooks.catalog.errors import LOGIN, LoginError, UntrustedError
from deriva_ml_hooks.git import consent

_SCOPE = re.compile(r"https://auth\.globus\.org/scopes/([^/]+)/deriva_all")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def require_approved(host: str, *, named_by_user: bool = False) -> None:
    """Raises UntrustedError unless the user wants this server (with its port) to be talked to.

    That is so where the user has named it in the words of this call, keeps a credential under its very
    name, has logged in to it through Globus, or has trusted it. Nothing is sent.
    """
    kept = named_by_user or host in _by_host(_document("credential.json")) or _is_logged_in(host)
    if not kept and host not in consent.agreed("host"):
        raise UntrustedError(host)


def _is_logged_in(host: str) -> bool:
    """Whether the user holds a token for the scope that has this server's own name, and notes it for it.

    The note alone is no consent: deriva-py writes what any server says that it is asked for. That a token of
    the scope is held, is: the user has agreed to it by its name in a browser. A scope without the name of a
    server, and a port of its own, which the name does not tell, need `trust`.
    """
    scope = _by_host(_scopes().get(host)).get("deriva-all")
    named = _SCOPE.fullmatch(scope) if isinstance(scope, str) else None
    if named is None or named[1].lower() != host:
        return False
    tokens = (token for token in _document("globus-credential.json").values() if isinstance(token, dict))
    return any(scope in str(token.get("scope")).split() and token.get("access_token") for token in tokens)


def credential_of(host: str) -> dict[str, Any] | None:
    """What deriva-py keeps for exactly this server. Raises OSError, and LoginError for another's."""
    kept = _by_host(_document("credential.json")).get(host) or {}
    kept = {name: value for name, value in kept.items() if value}
    scopes = _scopes()
    scope = (scopes.get(host) or {}).get("deriva-all")
    if scope is None or not os.path.isfile(_path("globus-credential.json")):
        return kept or None
    if not _is_of(host, scope, scopes):
        raise LoginError(
            f"{host}: the scope that is noted for it belongs to another server, so no token is sent there",
            fix=f"take {host} out of ~/.deriva/config.json, then {LOGIN.format(host=host)}",
        )
    from deriva.core.utils.globus_auth_utils import GlobusNativeLogin

    login = GlobusNativeLogin(hosts=[host])
    tokens = login.is_logged_in(exclude_defaults=True, hosts_to_scope_map={host: [scope]})
    token = login.find_access_token_for_scope(scope, tokens or {})
    return {**kept, **({"bearer-token": token} if token else {})} or None


def _is_of(host: str, scope: str, scopes: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a scope is this server's: by its name, or by nobody else's having it."""
    named = _SCOPE.fullmatch(scope)
    if named is None:
        return False
    if not _UUID.fullmatch(named[1]):
        return named[1].lower() == host.partition(":")[0]
    return all(scope not in theirs.values() for name, theirs in scopes.items() if name != host)


def _scopes() -> dict[str, Any]:
    return _by_host(_document("config.json").get("oauth2_scopes"))


def _by_host(document: Any) -> dict[str, Any]:
    """What is kept by the names of servers, which are the same in any case (RFC 4343)."""
    return {n.lower(): value for n, value in document.items()} if isinstance(document, dict) else {}


def _document(name: str) -> dict[str, Any]:
    """A file of deriva-py's own folder, which is not made where it is not there."""
    try:
        with open(_path(name), encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as failure:
        raise LoginError(
            f"{_path(name)}: cannot be read ({type(failure).__name__})",  # what is told may hold a credential
            fix="see its owner and whether it is JSON, or log in again: deriva-globus-auth-utils login",
        ) from None
    return document if isinstance(document, dict) else {}


def _path(name: str) -> str:
    return os.path.join(os.path.expanduser("~"), ".deriva", name)
