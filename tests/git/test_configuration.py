"""The configuration is what git has, wherever git takes it from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git.configuration import Setting, parse
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.filters import nbstripout_keys
from deriva_ml_hooks.git.remotes import chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Ran, Repo

MORE = """\
[url "https://github.com/lab/"]
    insteadOf = ssh://lab/
[filter "nbstripout"]
    extrakeys = metadata.kernelspec cell.metadata.tags
"""


@pytest.fixture
def included(repo: Repo, home: Path) -> Repo:
    """A repository whose user has settings for its folder alone."""
    (home / "lab.inc").write_text(MORE)
    repo.git("config", "--global", f"includeIf.gitdir:{repo.path.parent}/.path", str(home / "lab.inc"))
    repo.git("remote", "add", "origin", "ssh://lab/mine.git")
    return repo


def test_a_conditional_include_leads_to_the_url_that_git_uses(included: Repo) -> None:
    remote = chosen(measured(str(included.path)), configured=None, hosts={})
    assert remote is not None
    assert (
        f"{remote.url}.git"
        == included.git("remote", "get-url", "origin")
        == "https://github.com/lab/mine.git"
    )


def test_provenance_names_that_url(included: Repo, program: Callable[..., Ran]) -> None:
    assert re.search(r"repository_url +https://github\.com/lab/mine\n", program("provenance").out)


def test_a_conditional_include_counts_for_the_keys_that_a_filter_strips(included: Repo) -> None:
    assert nbstripout_keys(measured(str(included.path)))[0] == ["metadata.kernelspec", "cell.metadata.tags"]


def test_a_linked_worktree_has_the_settings_of_its_own(included: Repo, tmp_path: Path) -> None:
    included.git("config", "extensions.worktreeConfig", "true")
    included.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    included.git("-C", str(tmp_path / "linked"), "config", "--worktree", "user.name", "Linked")
    assert measured(str(tmp_path / "linked")).setting("user", "name") == "Linked"
    assert measured(str(included.path)).setting("user", "name") == "Ada"


@pytest.mark.parametrize("where", ["config", "../../home.inc"])
def test_a_broken_file_is_named_and_not_quoted(repo: Repo, where: str) -> None:
    repo.git("config", "include.path", "../../home.inc")
    path = repo.git_dir / where
    with path.open("a") as file:
        file.write('[remote "origin"\n\turl = https://ada:Hunter2@github.com/o/r\n')
    with pytest.raises(GitError) as raised:
        measured(str(repo.path))
    assert "Hunter2" not in str(raised.value)
    assert raised.value.fix == f"mend it: git config --file {path} --edit"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ()),
        (b"local\0core.bare\0", (Setting("local", "core", None, "bare", "true"),)),
        (b'local\0a.B.c"d.key\n\0', (Setting("local", "a", 'B.c"d', "key", ""),)),
        (
            b"system\0url.https://x.y/.insteadof\nz\n\xff\0",
            (Setting("system", "url", "https://x.y/", "insteadof", "z\n\udcff"),),
        ),
    ],
)
def test_the_answer_of_git_is_read(data: bytes, expected: tuple[Setting, ...]) -> None:
    assert parse(data) == expected


@pytest.mark.parametrize("data", [b"local", b"local\0", b"local\0a.b\n1", b"\n"])
def test_another_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(GitError):
        parse(data)
