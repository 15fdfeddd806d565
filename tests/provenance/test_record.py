"""One file of the commit, and the fields that deriva-ml takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks import provenance
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.record import NotInCommitError, Source, from_json

if TYPE_CHECKING:
    from tests.conftest import Repo

NOTEBOOK = """{"cells": [{"cell_type": "code", "execution_count": 7, "metadata": {}, "source": "1 + 1",
"outputs": [{"output_type": "execute_result", "execution_count": 7, "metadata": {},
"data": {"text/plain": "2"}}]}],
"metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 4}
"""


@pytest.mark.parametrize(
    "path", ["src/train.py", "a b#c.py", "über.py", "a'b\"c.py", "a\nb.py", "bin/run", "deep/er/x.py"]
)
def test_a_file_has_its_blob_and_permalink(repo: Repo, path: str) -> None:
    repo.write(path, f"{path}\n")
    repo.commit("More")
    repo.git("remote", "add", "origin", "git@github.com:o/r.git")
    record = provenance(str(repo.path))
    found = record.file(path)
    assert found.path == path
    assert found.blob == found.checksum == repo.git("hash-object", path)
    assert found.url.startswith(f"https://github.com/o/r/blob/{record.commit}/")


def test_a_file_may_be_named_by_its_whole_path(repo: Repo, tmp_path: Path) -> None:
    record = provenance(str(repo.path))
    assert record.file(str(repo.path / "src" / "train.py")) == record.file("src/train.py")
    (tmp_path / "link").symlink_to(repo.path)
    assert record.file(str(tmp_path / "link" / "src" / "train.py")) == record.file("src/train.py")


def test_a_file_is_what_the_commit_holds_of_it(repo: Repo) -> None:
    committed = repo.git("hash-object", "src/train.py")
    repo.write("src/train.py", "changed since\n")
    assert provenance(str(repo.path)).file("src/train.py").blob == committed


@pytest.mark.parametrize(
    "path",
    ["gone.py", "src", "src/", "", ".", "./src/train.py", "../repo/README.md", "README.md/x", "/etc/passwd"],
)
def test_what_is_not_a_file_of_the_commit_is_an_error(repo: Repo, path: str) -> None:
    with pytest.raises(NotInCommitError, match="not a file of commit") as raised:
        provenance(str(repo.path)).workflow_fields(path)
    assert raised.value.fix.startswith("git add")


def test_the_fix_for_an_odd_path_can_be_pasted(repo: Repo) -> None:
    with pytest.raises(NotInCommitError) as raised:
        provenance(str(repo.path)).file("a b; rm -rf x.py")
    assert "git add --force -- 'a b; rm -rf x.py'" in raised.value.fix


@pytest.mark.parametrize("content", [NOTEBOOK, "no notebook at all\n", "{}", ""])
def test_the_checksum_of_a_notebook_is_that_of_what_nbstripout_prints(repo: Repo, content: str) -> None:
    repo.write("analysis.ipynb", content)
    repo.commit("A notebook")
    stripped = subprocess.run(
        [sys.executable, "-m", "nbstripout", "-t", "analysis.ipynb"],
        cwd=repo.path,
        capture_output=True,
        check=False,
    )
    found = provenance(str(repo.path)).file("analysis.ipynb")
    assert found.blob == repo.git("rev-parse", "HEAD:analysis.ipynb")
    if stripped.returncode == 0:
        repo.write("stripped.txt", stripped.stdout)
        assert found.checksum == repo.git("hash-object", "--no-filters", "stripped.txt")
    else:
        assert found.checksum == found.blob


def test_a_file_of_a_submodule_is_found_in_it(repo: Repo, make_repo: Callable[..., Repo]) -> None:
    lib = make_repo("lib")
    lib.commit("Lib", tool="tool\n")
    repo.git("submodule", "--quiet", "add", str(lib.path), "deps/lib")
    repo.commit("Add it")
    record = provenance(str(repo.path))
    assert record.file("deps/lib/tool").blob == lib.git("rev-parse", "HEAD:tool")
    with pytest.raises(NotInCommitError):
        record.file("deps/lib/gone")


def test_the_fields_are_those_of_a_deriva_workflow(repo: Repo) -> None:
    repo.git("remote", "add", "origin", "git@github.com:o/model.git")
    repo.git("tag", "v1.2.3")
    record = provenance(str(repo.path))
    assert record.workflow_fields("src/train.py") == {
        "name": "model/src/train.py",
        "url": f"https://github.com/o/model/blob/{record.commit}/src/train.py",
        "checksum": repo.git("hash-object", "src/train.py"),
        "version": "1.2.3",
    }
    assert record.workflow_fields() == {
        "name": "model",
        "url": f"https://github.com/o/model/tree/{record.commit}",
        "checksum": repo.git("rev-parse", "HEAD^{tree}"),
        "version": "1.2.3",
    }


def test_without_a_remote_the_folder_stands_in_for_it(repo: Repo) -> None:
    record = provenance(str(repo.path))
    fields = record.workflow_fields("src/train.py")
    assert fields["name"] == "repo/src/train.py"
    assert fields["url"] == f"git+{repo.path.as_uri()}@{record.commit}#src/train.py"


def test_the_checksum_is_git_hash_object_with_sha256_too(make_repo: Callable[..., Repo]) -> None:
    made = make_repo("long", "--object-format=sha256")
    made.write("x.py", "x\n")
    made.write("x.ipynb", NOTEBOOK)
    made.commit("First")
    record = provenance(str(made.path))
    assert record.file("x.py").checksum == made.git("hash-object", "x.py")
    assert len(record.file("x.ipynb").checksum) == 64


def test_a_record_survives_its_json(repo: Repo) -> None:
    record = provenance(str(repo.path))
    source = Source(measured(str(repo.path)), None)
    assert from_json(record.as_json(), source) == record


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("schema", 2),
            ("schema", None),
            ("commit", None),
            ("commit", 7),
            ("tree", None),
            ("committed_at", None),
        ),
        *(
            ("branch", 7),
            ("tag", []),
            ("shallow", None),
            ("shallow", "no"),
            ("submodules", None),
            ("lockfiles", {}),
        ),
    ],
)
def test_a_record_with_a_value_of_the_wrong_type_is_refused(repo: Repo, name: str, value: Any) -> None:
    document = provenance(str(repo.path)).as_json() | {name: value}
    with pytest.raises(ValueError, match=r"schema 1|wrong type"):
        from_json(document, Source(measured(str(repo.path)), None))


def test_a_record_without_one_of_its_fields_is_refused(repo: Repo) -> None:
    document = provenance(str(repo.path)).as_json()
    for name in document.keys() - {"no_version"}:  # which earlier releases have not written
        with pytest.raises(ValueError, match="schema 1"):
            from_json(
                {k: v for k, v in document.items() if k != name}, Source(measured(str(repo.path)), None)
            )
