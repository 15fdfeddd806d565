"""`deriva-ml-hooks trust`: each kind of consent is given, listed and taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from deriva_ml_hooks import cli
from tests.conftest import Repo


def test_trust(
    repo: Repo, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo.path)

    def said(*words: str) -> str:
        assert cli.main(["trust", *words]) == 0
        return capsys.readouterr().out

    assert said() == ""
    assert said("code") == f"code {repo.git_dir}: trusted\n"
    assert said("host", "Catalog.Example:8443") == "host catalog.example:8443: trusted\n"
    assert said("place", "~/ledgers") == f"place {home}/ledgers: trusted\n"
    assert cli.main(["catalog", "trust", "other.example"]) == 0
    assert capsys.readouterr().out == "host other.example: trusted\n"
    assert said().splitlines() == [
        f"code   {repo.git_dir}",
        "host   catalog.example:8443",
        "host   other.example",
        f"place  {home}/ledgers",
    ]
    assert said("host", "other.example", "--remove") == "host other.example: not trusted any more\n"
    assert "other.example" not in said()


@pytest.mark.parametrize("name", ["https://a.example", "a.example/1", "", "-a", "a b"])
def test_what_is_no_host_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trust", "host", "--", name]) == 2
    assert "fix: write it as HOST or HOST:PORT" in capsys.readouterr().err
