"""How a worktree is asked for its differences, and a repository with submodules in two levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.status import measure

if TYPE_CHECKING:
    from tests.conftest import Repo

Differences = Callable[..., set[tuple[str, str | None]]]


@pytest.fixture
def differences() -> Differences:
    """The code and the path of everything in which a repository differs from its commit."""

    def of(repo: Repo, *, paranoid: bool = False) -> set[tuple[str, str | None]]:
        found = measure(measured(str(repo.path)), paranoid=paranoid)
        assert found.head == repo.git("rev-parse", "HEAD")
        return {(change.code, change.path) for change in found.changes}

    return of


@pytest.fixture
def with_submodule(repo: Repo, make_repo: Callable[..., Repo]) -> Repo:
    """`repo` with a submodule `lib`, which holds lib.py and a submodule `deep` of its own with deep.py."""
    deep = make_repo("deep")
    deep.write("deep.py")
    deep.commit()
    library = make_repo("library")
    library.write("lib.py", "one\n")
    library.git("submodule", "--quiet", "add", str(deep.path), "deep")
    library.commit()
    repo.git("submodule", "--quiet", "add", str(library.path), "lib")
    repo.git("submodule", "--quiet", "update", "--init", "--recursive")
    repo.commit("Use the library")
    return repo
