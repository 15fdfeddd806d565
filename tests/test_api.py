"""What other programs import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import deriva_ml_hooks
from deriva_ml_hooks import provenance, require_clean
from deriva_ml_hooks.errors import BareRepositoryError, ConfigError, GitError, HooksError, NotARepositoryError
from deriva_ml_hooks.gate import RefusedError

if TYPE_CHECKING:
    from tests.conftest import Repo

USE = """
record = provenance()
print(record.commit, require_clean().tree, record.workflow_fields("src/train.py")["checksum"])
"""
FROM = "from deriva_ml_hooks import provenance, require_clean"


def python(code: str, cwd: Path, *options: str) -> str:
    words = [sys.executable, *options, "-c", code]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    "imports",
    [
        FROM,
        f"import deriva_ml_hooks.provenance.cache\n{FROM}",
        f"{FROM}\nimport deriva_ml_hooks.provenance.cache",
        f"import deriva_ml_hooks.gate\n{FROM}",
        f"from deriva_ml_hooks.provenance.record import Provenance\n{FROM}",
        f"{FROM}\nprovenance()\n{FROM}",
        "from deriva_ml_hooks.api import provenance, require_clean",
        "import deriva_ml_hooks as d\nprovenance, require_clean = d.provenance, d.require_clean",
        "import deriva_ml_hooks.cli\nfrom deriva_ml_hooks import *",
        f"import importlib\nimportlib.import_module('deriva_ml_hooks.provenance.cache')\n{FROM}",
    ],
)
def test_it_is_the_same_in_whatever_order_things_are_imported(repo: Repo, imports: str) -> None:
    expected = " ".join(repo.git("rev-parse", name) for name in ("HEAD", "HEAD^{tree}", "HEAD:src/train.py"))
    assert python(f"{imports}\n{USE}", repo.path, "-W", "error").strip() == expected


def test_the_public_names_are_functions_with_a_docstring() -> None:
    names = ["guard", "load_ipython_extension", "provenance", "recorded", "require_clean"]
    assert sorted(deriva_ml_hooks.__all__) == names
    for name in deriva_ml_hooks.__all__:
        assert inspect.isfunction(getattr(deriva_ml_hooks, name))
        assert inspect.getdoc(getattr(deriva_ml_hooks, name))


def test_it_works_where_no_file_is_the_main_one(repo: Repo) -> None:
    """As in a notebook's kernel: the code comes from elsewhere, and __main__ has no file."""
    code = f"import __main__\nassert not hasattr(__main__, '__file__')\nfrom deriva_ml_hooks import *\n{USE}"
    assert python(code, repo.path).split()[0] == repo.git("rev-parse", "HEAD")


def test_it_works_on_another_thread(repo: Repo) -> None:
    code = (
        "import threading\nfrom deriva_ml_hooks import *\n"
        "def work():\n    print(provenance().commit)\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    )
    assert python(code, repo.path).split()[0] == repo.git("rev-parse", "HEAD")


@pytest.mark.parametrize("start", [".", "src"])
def test_it_serves_the_repository_of_any_folder_in_it(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: str
) -> None:
    monkeypatch.chdir(repo.path / start)
    assert provenance().commit == require_clean().commit == repo.git("rev-parse", "HEAD")
    assert provenance().workflow_fields("src/train.py")["checksum"] == repo.git("hash-object", "src/train.py")
    monkeypatch.chdir(tmp_path)
    assert provenance(str(repo.path / start)).commit == require_clean(str(repo.path / start)).commit


def test_what_is_in_the_way_is_carried_by_the_error(repo: Repo) -> None:
    repo.write("src/train.py", "edited\n")
    repo.write("new.py")
    with pytest.raises(RefusedError) as raised:
        require_clean(str(repo.path))
    assert {(reason.code, reason.path) for reason in raised.value.reasons} == {
        ("unstaged", "src/train.py"),
        ("untracked", "new.py"),
    }
    assert all(reason.message and reason.fix for reason in raised.value.reasons)
    assert isinstance(raised.value, HooksError)
    assert "(and 1 more)" in str(raised.value)
    assert raised.value.verdict.provenance == provenance(str(repo.path))


def test_the_record_is_told_whatever_state_the_files_are_in(repo: Repo) -> None:
    clean = provenance(str(repo.path))
    repo.write("src/train.py", "edited\n")
    repo.write("new.py")
    assert provenance(str(repo.path)) == clean


def test_a_policy_that_refuses_is_carried_too(repo: Repo) -> None:
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks]\nuntagged = "refuse"\nno-remote = "refuse"\n')
    repo.commit("Strict")
    with pytest.raises(RefusedError) as raised:
        require_clean(str(repo.path))
    assert {reason.code for reason in raised.value.reasons} == {"untagged", "no-remote"}


def test_paranoia_finds_what_a_glance_does_not(repo: Repo) -> None:
    repo.git("update-index", "--refresh")
    assert require_clean(str(repo.path), paranoid=True).commit == repo.git("rev-parse", "HEAD")


def test_a_file_that_is_not_there_is_a_clear_error(repo: Repo) -> None:
    with pytest.raises(HooksError, match=r"src/gone\.py: not a file of commit [0-9a-f]{12}"):
        provenance(str(repo.path)).workflow_fields("src/gone.py")


def test_where_there_is_nothing_to_name_the_error_says_what(
    tmp_path: Path, make_repo: Callable[..., Repo], repo: Repo
) -> None:
    with pytest.raises(NotARepositoryError):
        provenance(str(tmp_path))
    with pytest.raises(BareRepositoryError):
        provenance(str(repo.git_dir))
    with pytest.raises(GitError, match="no commit yet"):
        provenance(str(make_repo("empty").path))
    with pytest.raises(RefusedError, match="not inside a git repository"):
        require_clean(str(tmp_path))
    repo.write("pyproject.toml", "[tool.deriva-ml-hooks]\nnonsense = 1\n")
    with pytest.raises(ConfigError):
        provenance(str(repo.path))
    with pytest.raises(ConfigError):
        require_clean(str(repo.path))


def test_the_fields_fit_what_deriva_ml_takes(repo: Repo) -> None:
    """deriva-ml 1.17.10, Workflow: name is text; url, version and checksum are text or None."""
    fields = provenance(str(repo.path)).workflow_fields("src/train.py")
    assert set(fields) == {"name", "url", "checksum", "version"}
    assert isinstance(fields["name"], str)
    assert fields["name"]
    assert all(value is None or isinstance(value, str) for value in fields.values())
