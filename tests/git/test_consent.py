"""Consent is the user's: no repository can give it, in whatever file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml_hooks.git import consent
from tests.conftest import Repo


def test_consent_is_kept_for_the_user_and_can_be_taken_back(home: Path) -> None:
    assert consent.agreed("host") == frozenset()
    for value in ("catalog.example", "other.example", "catalog.example"):
        consent.agree("host", value)
    assert consent.agreed("host") == {"catalog.example", "other.example"}
    assert consent.agreed("code") == frozenset()
    consent.withdraw("host", "catalog.example")
    consent.withdraw("host", "never.given")
    assert consent.agreed("host") == {"other.example"}
    assert "trustedHost" in (home / ".gitconfig").read_text()


@pytest.mark.parametrize(
    "value", ["/data/my ledger", "/data/line\nbreak", "/data/[x]*", '/data/"quoted"', "/däta"]
)
def test_any_path_is_kept_as_it_is(value: str) -> None:
    consent.agree("place", value)
    assert consent.agreed("place") == {value}
    consent.withdraw("place", value)
    assert consent.agreed("place") == frozenset()


def test_a_repository_cannot_give_consent(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.git("config", "deriva-ml-hooks.trustedHost", "evil.example")
    repo.write("more.cfg", "[deriva-ml-hooks]\n\ttrustedHost = worse.example\n")
    repo.git("config", "include.path", "../more.cfg")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "deriva-ml-hooks.trustedHost")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "from.variables")
    monkeypatch.chdir(repo.path)
    assert consent.agreed("host") == frozenset()
