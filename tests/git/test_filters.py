"""A filter that no commit names hides no edit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.gate import judge

if TYPE_CHECKING:
    from tests.conftest import Repo
    from tests.git.conftest import Differences

TRAIN = "src/train.py"
HIDDEN = ("foreign-filter", TRAIN)
EDITED = "print('anything else')\n"


def users_file(repo: Repo, home: Path, line: str) -> None:
    (home / "attributes").write_text(line)
    repo.git("config", "--global", "core.attributesFile", str(home / "attributes"))


def users_default_file(repo: Repo, home: Path, line: str) -> None:
    (home / ".config/git").mkdir(parents=True)
    (home / ".config/git/attributes").write_text(line)


def included_file(repo: Repo, home: Path, line: str) -> None:
    (home / "attributes").write_text(line)
    (home / "more").write_text(f"[core]\nattributesFile = {home}/attributes\n")
    repo.git("config", "--global", f"includeIf.gitdir:{repo.path}/.path", str(home / "more"))


def info_file(repo: Repo, home: Path, line: str) -> None:
    repo.write(".git/info/attributes", line)


def ignored_file(repo: Repo, home: Path, line: str) -> None:
    repo.write(".git/info/exclude", ".gitattributes\n")
    repo.write("src/.gitattributes", line)


SOURCES = [users_file, users_default_file, included_file, info_file, ignored_file]
Source = Callable[["Repo", Path, str], None]


def define(repo: Repo, name: str, path: str) -> None:
    """A filter that makes any file look like the committed one."""
    repo.git("config", f"filter.{name}.clean", f"cat >/dev/null; git cat-file blob HEAD:{path}")


@pytest.mark.parametrize("settled", [False, True], ids=["modified", "added"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_filter_that_no_commit_names_hides_no_edit(
    repo: Repo, home: Path, differences: Differences, source: Source, settled: bool
) -> None:
    define(repo, "lossy", TRAIN)
    source(repo, home, "*.py filter=lossy\n")
    assert differences(repo) == set()
    repo.write(TRAIN, EDITED)
    if settled:
        repo.git("add", TRAIN)
        assert repo.git("status", "--porcelain") == "", "else this test shows nothing"
    assert differences(repo) == {HIDDEN}


@pytest.mark.parametrize(("policy", "places"), [("refuse", (1, 0)), ("warn", (0, 1)), ("ignore", (0, 0))])
def test_the_policy_says_what_becomes_of_it(
    repo: Repo, home: Path, policy: str, places: tuple[int, int]
) -> None:
    repo.write(".deriva-ml-hooks.toml", f'foreign-filter = "{policy}"\nno-remote = "ignore"\n')
    repo.commit()
    define(repo, "lossy", TRAIN)
    info_file(repo, home, "*.py filter=lossy\n")
    repo.write(TRAIN, EDITED)
    verdict = judge(str(repo.path))
    assert (len(verdict.reasons), len(verdict.warnings)) == places
    for finding in verdict.reasons + verdict.warnings:
        assert (finding.code, finding.path) == HIDDEN
        assert "filter=lossy" in finding.message


def test_a_filter_that_the_commit_names_is_taken_at_its_word(
    repo: Repo, home: Path, differences: Differences
) -> None:
    repo.write(".gitattributes", "*.py filter=lossy\n")
    define(repo, "lossy", TRAIN)
    repo.commit()
    info_file(repo, home, "*.md ident\n")  # so that it is looked at all
    repo.write(TRAIN, EDITED)
    assert differences(repo) == set()
    info_file(repo, home, "*.py filter=other\n")
    define(repo, "other", TRAIN)
    assert differences(repo) == {HIDDEN}


def test_an_ident_that_no_commit_asks_for_hides_no_edit(
    repo: Repo, home: Path, differences: Differences
) -> None:
    repo.write(TRAIN, "print('$Id$')\n")
    repo.commit()
    info_file(repo, home, "*.py ident\n")
    repo.write(TRAIN, "print('$Id: something else $')\n")
    assert differences(repo) == {HIDDEN}


def test_attributes_that_change_no_content_are_nobodys_business(
    repo: Repo, home: Path, differences: Differences
) -> None:
    users_file(repo, home, "*.py diff=python\n*.md -filter\n* text=auto\n")
    assert differences(repo) == set()


def notebook(source: str, outputs: list[Any], **metadata: Any) -> str:
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": metadata.get("cell", {}),
        "source": source,
        "outputs": outputs,
        "execution_count": 3 if outputs else None,
    }
    whole = {"cells": [cell], "metadata": metadata.get("whole", {}), "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1) + "\n"


OUTPUT = [{"output_type": "stream", "name": "stdout", "text": "1\n"}]


def test_a_users_own_notebook_filter_is_taken_at_its_word_where_the_cells_are_the_commits(
    repo: Repo, home: Path, differences: Differences
) -> None:
    repo.git("config", "--global", "filter.nbstripout.clean", f"{sys.executable} -m nbstripout")
    users_file(repo, home, "*.ipynb filter=nbstripout\n")
    repo.write("a.ipynb", notebook("print(1)", OUTPUT))
    repo.commit()
    repo.write("a.ipynb", notebook("print(1)", OUTPUT))
    assert differences(repo) == set()
    define(repo, "nbstripout", "a.ipynb")
    repo.write("a.ipynb", notebook("print(2)", OUTPUT))
    assert differences(repo) == {("foreign-filter", "a.ipynb")}


KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
PARAMETERS = {"tags": ["parameters"]}


@pytest.mark.parametrize(
    "executed",
    [
        notebook(
            "print(1)", OUTPUT, cell=PARAMETERS, whole={"kernelspec": {**KERNEL["kernelspec"], "name": "x"}}
        ),
        notebook("print(1)", OUTPUT, cell=PARAMETERS),
        notebook("print(1)", OUTPUT, whole=KERNEL),
        notebook("print(1)", OUTPUT, cell={"tags": ["other"]}, whole=KERNEL),
    ],
    ids=["another kernel", "no kernel", "no tag", "another tag"],
)
def test_a_foreign_notebook_filter_hides_no_metadata(
    repo: Repo, home: Path, differences: Differences, executed: str
) -> None:
    repo.write("a.ipynb", notebook("print(1)", [], cell=PARAMETERS, whole=KERNEL))
    repo.commit()
    define(repo, "lossy", "a.ipynb")
    info_file(repo, home, "*.ipynb filter=lossy\n")
    repo.write("a.ipynb", notebook("print(1)", OUTPUT, cell=PARAMETERS, whole=KERNEL))
    assert differences(repo) == set()
    repo.write("a.ipynb", executed)
    assert differences(repo) == {("foreign-filter", "a.ipynb")}


def test_a_users_notebook_filter_may_strip_more_keys(
    repo: Repo, home: Path, differences: Differences
) -> None:
    repo.git("config", "--global", "filter.nbstripout.clean", f"{sys.executable} -m nbstripout")
    repo.git("config", "--global", "filter.nbstripout.extrakeys", "metadata.kernelspec")
    users_file(repo, home, "*.ipynb filter=nbstripout\n")
    repo.write("a.ipynb", notebook("print(1)", OUTPUT, whole=KERNEL))
    repo.commit()
    assert "kernelspec" not in repo.git("show", "HEAD:a.ipynb")
    repo.write("a.ipynb", notebook("print(1)", OUTPUT, whole=KERNEL))
    assert differences(repo) == set()


def test_a_submodules_own_attributes_hide_nothing(with_submodule: Repo, differences: Differences) -> None:
    inside = replace(with_submodule, path=with_submodule.path / "lib")
    define(inside, "lossy", "lib.py")
    (inside.git_dir / "info/attributes").write_text("*.py filter=lossy\n")
    inside.write("lib.py", EDITED)
    assert differences(with_submodule) == {("submodule", "lib/lib.py")}
