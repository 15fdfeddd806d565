"""Our folder in a git directory: whose rights its files have, and that no planted link is followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.git import own
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.cache import provenance_of

from ..executions.test_ledger import made


@pytest.mark.parametrize(
    ("value", "bits", "folder_bits"),
    [
        (None, 0o600, 0o700),
        ("umask", 0o600, 0o700),
        ("false", 0o600, 0o700),
        ("0", 0o600, 0o700),
        ("group", 0o660, 0o2770),
        ("true", 0o660, 0o2770),
        ("1", 0o660, 0o2770),
        ("all", 0o664, 0o2775),
        ("world", 0o664, 0o2775),
        ("0640", 0o640, 0o2750),
        ("0666", 0o666, 0o2777),
        ("nonsense", 0o600, 0o700),
    ],
)
def test_files_of_ours_are_for_their_owner_or_for_whom_git_shares_the_repository(
    repo: Any, value: str | None, bits: int, folder_bits: int
) -> None:
    """The cache, the ledger and its journal, whatever the umask."""
    if value is not None:
        with open(repo.path / ".git" / "config", "a", encoding="ascii") as file:
            file.write(f"[core]\n\tsharedRepository = {value}\n")
    repository = measured(str(repo.path))
    before = os.umask(0)
    try:
        provenance_of(repository, Config())
        ledger = ledger_of(repository, Config())
        ledger.add(made())
        with ledger.transaction("BEGIN IMMEDIATE") as (connection, _):
            connection.execute("UPDATE executions SET detail = 'x'")
            assert os.path.exists(f"{ledger.path}-journal")
            found = modes(repo)
        ledger.folder_of("01")
    finally:
        os.umask(before)
    assert {name for name, _ in found} == {
        "provenance.json",
        "executions.sqlite3",
        "executions.sqlite3-journal",
    }
    assert {mode for _, mode in found} == {bits}
    ours = repo.path / ".git" / "deriva-ml-hooks"
    for folder in (ours, ours / "executions", ours / "executions" / "01"):
        assert stat.S_IMODE(folder.stat().st_mode) == folder_bits


def modes(repo: Any) -> list[tuple[str, int]]:
    ours = repo.path / ".git" / "deriva-ml-hooks"
    return [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in ours.iterdir() if path.is_file()]


def test_a_link_planted_for_the_cache_is_replaced(repo: Any, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs\n")
    (repo.path / ".git" / "deriva-ml-hooks").mkdir()
    (repo.path / ".git" / "deriva-ml-hooks" / "provenance.json").symlink_to(victim)
    provenance_of(measured(str(repo.path)), Config())
    assert victim.read_text() == "theirs\n"
    assert not (repo.path / ".git" / "deriva-ml-hooks" / "provenance.json").is_symlink()


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_nothing_is_written_into_a_folder_that_is_a_planted_link(
    repo: Any, tmp_path: Path, inside: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    ours = repo.path / ".git" / "deriva-ml-hooks"
    (ours / inside).parent.mkdir(exist_ok=True)
    (ours / inside).symlink_to(victim)
    repository = measured(str(repo.path))
    provenance_of(repository, Config())  # only slower
    with pytest.raises(OSError, match="symbolic link"):
        own.write(repository, str(ours / inside / "file"), b"x")
    assert list(victim.iterdir()) == []
