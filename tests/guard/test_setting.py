"""Whether a folder is guarded: by the repository, by one clone, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.errors import ConfigError
from deriva_ml_hooks.guard import setting

if TYPE_CHECKING:
    from tests.conftest import Repo

TABLE = "[tool.deriva-ml-hooks]\n"


@pytest.mark.parametrize(
    ("settings", "clone", "on"),
    [
        (None, None, False),
        (TABLE, None, False),
        (f"{TABLE}guard = true\n", None, True),
        (f"{TABLE}guard = false\n", "true", False),
        (f"{TABLE}guard = true\n", "false", True),
        (None, "true", True),
        (None, "yes", True),
        (None, "false", False),
        ("[tool.other]\nguard = true\n", None, False),
    ],
)
def test_the_repositorys_own_setting_wins(
    repo: Repo, settings: str | None, clone: str | None, on: bool
) -> None:
    if settings is not None:
        repo.write("pyproject.toml", settings)
    if clone is not None:
        repo.git("config", setting.KEY, clone)
    assert setting.of(str(repo.path / "src")).on == on


def test_a_linked_worktree_has_that_of_its_clone(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert not setting.of(str(tmp_path / "linked")).on
    repo.git("config", setting.KEY, "true")
    found = setting.of(str(tmp_path / "linked"))
    assert (found.on, found.worktree) == (True, str(tmp_path / "linked"))


def test_the_users_own_configuration_is_not_that_of_a_clone(repo: Repo) -> None:
    repo.git("config", "--global", setting.KEY, "true")
    assert not setting.of(str(repo.path)).on


def test_there_is_none_without_a_repository(tmp_path: Path) -> None:
    assert setting.of(str(tmp_path)) == (False, "no repository", None)


def test_a_setting_that_cannot_be_read_is_an_error(repo: Repo) -> None:
    repo.write("pyproject.toml", f"{TABLE}guard = 'often'\n")
    with pytest.raises(ConfigError):
        setting.of(str(repo.path))


def test_it_is_installed_and_taken_away(repo: Repo, program: Any) -> None:
    before = (repo.path / ".git/config").read_bytes()
    assert "guard: off (the default)" in program("doctor").out
    assert "deriva-ml-hooks.guard true" in program("install", "--guard", "--dry-run").out
    assert (repo.path / ".git/config").read_bytes() == before
    assert program("install", "--guard").code == 0
    assert program("install", "--guard").out.startswith("everything is in place already")
    assert "guard: on (the setting of this clone)" in program("doctor").out
    assert program("uninstall").code == 0
    assert not setting.of(str(repo.path)).on
    assert b"guard" not in (repo.path / ".git/config").read_bytes()
