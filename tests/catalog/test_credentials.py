"""A repository names a server: what that server gets to see, and what it leaves behind here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks import cli
from deriva_ml_hooks.catalog.credentials import credential_of, require_approved
from deriva_ml_hooks.catalog.errors import LoginError, UntrustedError
from deriva_ml_hooks.git import consent

TOKEN = "good"
OURS = "https://auth.globus.org/scopes/localhost/deriva_all"
THEIRS = "https://auth.globus.org/scopes/www.example.org/deriva_all"
UUID = "https://auth.globus.org/scopes/0f0f0f0f-1111-2222-3333-444444444444/deriva_all"
GROUPS = "urn:globus:auth:scope:groups.api.globus.org:view_my_groups"
Run = Callable[..., Any]


@pytest.fixture
def run(repo: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the program in this process, in `repo`: exit code, and everything that was said."""
    monkeypatch.chdir(repo.path)

    def run(*words: str) -> tuple[int, str]:
        code = cli.main([*words])
        return code, "".join(capfd.readouterr())

    return run


@pytest.fixture
def evil(server: Any, repo: Any, home: Path) -> Any:
    """A server that nobody has approved, named by a clone, after the token of a user of another one."""
    server.scope = THEIRS
    repo.write("pyproject.toml", f'[tool.deriva-ml-hooks]\ncatalog = "{server.host}/later"\n')
    repo.commit("Name a server")
    (home / ".deriva" / "credential.json").write_text("{}")
    keep(home, {"www.example.org": THEIRS}, THEIRS)
    return server


def keep(home: Path, scopes: dict[str, str], token_of: str) -> None:
    """What a login leaves: which scope each server wants, and a token for one of them."""
    (home / ".deriva").mkdir(exist_ok=True)
    noted = {host: {"deriva-all": scope} for host, scope in scopes.items()}
    (home / ".deriva" / "config.json").write_text(json.dumps({"oauth2_scopes": noted}))
    token = {
        "scope": token_of,
        "access_token": TOKEN,
        "refresh_token": None,
        "token_type": "Bearer",
        "expires_at_seconds": int(time.time()) + 10**6,
        "resource_server": "server",
    }
    (home / ".deriva" / "globus-credential.json").write_text(json.dumps({f"server:({token_of})": token}))


def written(home: Path) -> dict[str, bytes]:
    """Every file of deriva-py's and bdbag's folders."""
    return {
        str(path): path.read_bytes()
        for folder in (".deriva", ".bdbag")
        for path in (home / folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def own_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """deriva-py has settled where its folder is when it was loaded: here it is the test's own."""
    from deriva.core.utils import globus_auth_utils

    monkeypatch.setattr(globus_auth_utils, "DEFAULT_CONFIG_PATH", str(home / ".deriva"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", "--", "true"), 0),
        (("catalog", "check"), 1),
        (("catalog", "check", "--json"), 1),
        (("sync",), 1),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_a_server_that_a_clone_names_is_sent_nothing(
    evil: Any, run: Run, home: Path, words: tuple[str, ...], code: int
) -> None:
    before = written(home)
    done, said = run(*words)
    assert done == code, said
    assert f"{evil.host}: not a server that you have approved" in said
    assert f"deriva-ml-hooks catalog trust {evil.host}" in said
    assert evil.seen == []
    assert written(home) == before


def test_an_environment_variable_is_no_consent_to_a_server(
    evil: Any, run: Run, repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("pyproject.toml", "")
    repo.commit()
    monkeypatch.setenv("DERIVA_ML_HOOKS_CATALOG", f"{evil.host}/later")
    assert "not a server that you have approved" in run("catalog", "check")[1]
    assert evil.seen == []


def test_with_refuse_a_server_that_is_not_approved_starts_nothing(evil: Any, run: Run, repo: Any) -> None:
    repo.write("pyproject.toml", (repo.path / "pyproject.toml").read_text() + 'on-catalog-error = "refuse"\n')
    repo.commit()
    assert run("run", "--", "touch", "started")[0] == 125
    assert not (repo.path / "started").exists()
    assert evil.seen == []


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "named in the words"])
def test_an_approved_server_is_not_asked_whose_token_it_wants(
    evil: Any, run: Run, home: Path, trusted: bool
) -> None:
    before = written(home)
    if trusted:
        assert run("catalog", "trust", evil.host)[0] == 0
        code, said = run("catalog", "check")
    else:
        code, said = run("catalog", "check", "--catalog", f"{evil.host}/later")
    assert (code, "FAILED   login: no credential" in said) == (1, True), said
    assert evil.seen != []
    assert "/authn/discovery" not in {path for _, path in evil.seen}
    assert evil.credentials == set()
    assert written(home) == before


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize(
    ("scope", "others"),
    [(THEIRS, {}), (UUID, {"www.example.org": UUID}), (GROUPS, {}), (OURS + "/x", {})],
    ids=["by its name", "by the note of another", "a scope of Globus itself", "of another form"],
)
def test_a_token_of_another_server_is_not_sent(
    evil: Any, run: Run, home: Path, scope: str, others: dict[str, str]
) -> None:
    keep(home, {evil.host: scope, **others}, scope)  # as deriva-py has noted what the server said
    consent.agree("host", evil.host)
    code, said = run("catalog", "check")
    assert (code, "belongs to another server" in said) == (1, True), said
    assert evil.credentials == set()
    assert TOKEN not in said


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("scope", [OURS, UUID], ids=["by its name", "by nobody else's note"])
def test_a_servers_own_token_is_sent(evil: Any, run: Run, home: Path, scope: str) -> None:
    keep(home, {evil.host: scope, "www.example.org": THEIRS}, scope)
    before = written(home)
    consent.agree("host", evil.host)
    _, said = run("catalog", "check")
    assert "login: as ada" in said
    assert evil.credentials == {f"Bearer {TOKEN}"}
    assert written(home) == before  # nor has bdbag's keychain got it


@pytest.mark.parametrize("host", ["www.example.org.evil.example", "example.org", "www.example.org:444", ""])
def test_only_the_very_name_of_a_server_is_approved_by_a_credential(home: Path, host: str) -> None:
    (home / ".deriva").mkdir()
    (home / ".deriva" / "credential.json").write_text('{"www.example.org": {"cookie": "webauthn=x"}}')
    require_approved("www.example.org")
    assert credential_of("www.example.org") == {"cookie": "webauthn=x"}
    with pytest.raises(UntrustedError):
        require_approved(host)
    assert credential_of(host) is None


def test_who_asks_for_a_credential_makes_no_folder(home: Path) -> None:
    assert credential_of("www.example.org") is None
    assert written(home) == {}
    assert not (home / ".deriva").exists()


def test_a_token_that_is_not_to_be_sent_is_an_error_of_login(home: Path) -> None:
    keep(home, {"evil.example": THEIRS}, THEIRS)
    with pytest.raises(LoginError, match="belongs to another server"):
        credential_of("evil.example")


@pytest.mark.parametrize(
    ("scopes", "token_of", "approved"),
    [
        ({"www.example.org": THEIRS}, THEIRS, True),
        ({"WWW.Example.org": THEIRS}, THEIRS, True),
        ({"www.example.org": THEIRS}, OURS, False),
        ({}, THEIRS, False),
        ({"www.example.org": UUID}, UUID, False),
        ({"www.example.org": OURS}, OURS, False),
        ({"www.example.org": GROUPS}, GROUPS, False),
    ],
    ids=[
        "a login",
        "in another case",
        "a scope that deriva-py noted, without a token",
        "a token without a note",
        "a scope without a name",
        "the scope of another server",
        "a scope of Globus itself",
    ],
)
def test_a_login_through_globus_approves_the_server_whose_name_its_scope_has(
    home: Path, scopes: dict[str, str], token_of: str, approved: bool
) -> None:
    keep(home, scopes, token_of)
    if approved:
        require_approved("www.example.org")
    else:
        with pytest.raises(UntrustedError):
            require_approved("www.example.org")
    for other in ("example.org", "www.example.org:444", "evil.example"):
        with pytest.raises(UntrustedError):
            require_approved(other)


def test_the_name_of_a_server_is_the_same_in_any_case(home: Path) -> None:
    (home / ".deriva").mkdir()
    (home / ".deriva" / "credential.json").write_text('{"WWW.Example.ORG": {"cookie": "webauthn=x"}}')
    require_approved("www.example.org")
    assert credential_of("www.example.org") == {"cookie": "webauthn=x"}


@pytest.mark.parametrize("kept", ["{}", '{"HOST": {}}', '{"HOST": {"cookie": ""}}', '{"HOST": null}'])
def test_a_trusted_server_without_a_login_any_more_is_told_as_that(
    server: Any, repo: Any, run: Run, home: Path, kept: str
) -> None:
    repo.write("pyproject.toml", f'[tool.deriva-ml-hooks]\ncatalog = "{server.host}/later"\n')
    repo.commit()
    consent.agree("host", server.host)
    (home / ".deriva" / "credential.json").write_text(kept.replace("HOST", server.host))
    code, said = run("sync")
    assert (code, "nobody is logged in there" in said) == (1, True), said


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("token", [True, False], ids=["token", "cookie"])
@pytest.mark.parametrize("line", ["default", "machine localhost"])
def test_a_netrc_says_nothing_to_a_catalog(
    server: Any, repo: Any, run: Run, home: Path, line: str, token: bool
) -> None:
    (home / ".netrc").write_text(f"{line} login ada password planted-secret-1\n")
    (home / ".netrc").chmod(0o600)
    repo.write("pyproject.toml", f'[tool.deriva-ml-hooks]\ncatalog = "{server.host}/later"\n')
    repo.commit()
    if token:
        (home / ".deriva" / "credential.json").write_text("{}")
        keep(home, {server.host: OURS}, OURS)
        consent.agree("host", server.host)
    assert "login: as ada" in run("catalog", "check")[1]
    assert server.credentials == ({f"Bearer {TOKEN}"} if token else {"webauthn=good"})
