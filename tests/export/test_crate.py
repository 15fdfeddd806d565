"""The crate of an execution: valid under the profile's own validator, and true to the record."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rocrate

from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import begun
from deriva_ml_hooks.export.crate import metadata
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.cache import provenance_of

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Program = Callable[..., "Ran"]

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "p",
            "metadata": {"tags": ["parameters"]},
            "outputs": [],
            "source": "seed = 7\nrates = [1]",
        },
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "q",
            "metadata": {},
            "outputs": [],
            "source": "1 / seed",
        },
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}

CODE = {"path": None, "blob": None, "checksum": "0" * 40, "url": "https://example.org/code"}
PROVENANCE = {
    "commit": "0" * 40,
    "tree": "1" * 40,
    "tag": None,
    "version": None,
    "commit_url": None,
    "repository_url": None,
}

# No record knows it.
AFFILIATION = {
    "The author SHOULD have an organizational affiliation.",
    "The author SHOULD have a Contextual Entity which specifies the organizational `affiliation`.",
}

# What of the two contexts of a crate is not simply a term of schema.org.
SPECIAL = {"File": "http://schema.org/MediaObject", "conformsTo": "http://purl.org/dc/terms/conformsTo"}


def vocabulary() -> set[str]:
    """The terms of schema.org, as the rocrate package has them with it."""
    file = Path(rocrate.__file__).parent / "data" / "schema.jsonld"
    graph = json.loads(file.read_text())["@graph"]
    return {entity["@id"].rpartition("/")[2].rpartition(":")[2] for entity in graph}


def entities(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entity["@id"]: entity for entity in document["@graph"]}


def terms(document: dict[str, Any]) -> set[str]:
    found = {name for entity in document["@graph"] for name in entity if not name.startswith("@")}
    types = [entity["@type"] for entity in document["@graph"]]
    return found | {name for kind in types for name in ([kind] if isinstance(kind, str) else kind)}


def validated(folder: Path) -> subprocess.CompletedProcess[str]:
    """What roc-validator says without a network: the contexts, which it would fetch, are written out."""
    file = folder / "ro-crate-metadata.json"
    document = json.loads(file.read_text())
    assert document["@context"] == [
        "https://w3id.org/ro/crate/1.1/context",
        "https://w3id.org/ro/terms/workflow-run/context",
    ]
    document["@context"] = {t: SPECIAL.get(t, f"http://schema.org/{t}") for t in terms(document)}
    file.write_text(json.dumps(document))
    start = "from rocrate_validator.cli import cli; cli()"
    program = [sys.executable, "-c", start, "-y", "--disable-color", "validate", "--offline"]
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    return subprocess.run(
        [*program, "-p", "process-run-crate", "-l", "recommended", "-v", str(folder)],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )


def violations(done: subprocess.CompletedProcess[str]) -> set[str]:
    """What the validator misses: the messages of its report, put together again from its lines."""
    assert "Traceback" not in done.stderr
    text = " ".join(done.stdout.split())
    found = re.findall(r"- \[Violation[^\]]*\]:? ?(.*?)(?= - \[Violation| \[ | \[profile|$)", text)
    assert bool(found) == bool(done.returncode), done.stdout
    assert found or "is a valid process-run-crate-0.5" in done.stdout
    return {message.strip() for message in found}


@pytest.fixture
def crate(repo: Repo, program: Program, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Runs something, and makes a crate of it: the record, and the folder."""
    repo.write("fit.ipynb", json.dumps(NOTEBOOK))
    repo.git("remote", "add", "origin", "https://github.com/lab/model.git")
    repo.commit("Notebook")
    repo.git("tag", "-a", "v2.0.0", "-m", "x")

    def make(*words: str) -> tuple[dict[str, Any], Path]:
        program(*words)
        record = json.loads(program("executions", "list", "--json").out)[0]
        folder = tmp_path / "crate"
        done = program("provenance", "--format", "ro-crate", record["id"][:-2], "--output", str(folder))
        assert done.code == 0, done.err
        return record, folder

    return make


@pytest.mark.parametrize(
    ("words", "unmet"),
    [
        (("run", "--description", "a try", "--", "sh", "-c", "echo 1 > scores.json"), set()),
        (("run", "--", "sh", "-c", "echo 1 > 'two w\u00f6rds %.bin'; exit 3"), set()),
        (("run-notebook", "fit.ipynb", "-p", "seed", "0"), set()),
        (("run", "--", sys.executable, "src/train.py"), {"The Action SHOULD have a result"}),
    ],
)
def test_it_has_all_that_its_profile_recommends_and_the_record_knows(
    crate: Callable[..., tuple[Any, Path]], words: tuple[str, ...], unmet: set[str]
) -> None:
    _, folder = crate(*words)
    document = json.loads((folder / "ro-crate-metadata.json").read_text())
    assert terms(document) - set(SPECIAL) <= vocabulary() | {"sha256"}
    assert violations(validated(folder)) == unmet | AFFILIATION


def test_without_a_forge_only_publisher_and_address_are_not_known(
    repo: Repo, crate: Callable[..., tuple[Any, Path]]
) -> None:
    repo.git("remote", "remove", "origin")
    record, folder = crate("run", "--", sys.executable, "src/train.py")
    blob = repo.git("rev-parse", "HEAD:src/train.py")
    document = (folder / "ro-crate-metadata.json").read_text()
    found = entities(json.loads(document))
    assert record["entry_point"]["url"].startswith("git+file:")
    assert found[f"#{record['id']}"]["instrument"] == {
        "@id": f"https://archive.softwareheritage.org/swh:1:cnt:{blob}"
    }
    assert "file:" not in document
    assert str(repo.path) not in document.replace(sys.executable, "")
    assert violations(validated(folder)) == AFFILIATION | {
        "The Action SHOULD have a result",
        "The Application SHOULD have a url",
        "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
    }


@pytest.mark.parametrize(
    ("files", "address", "name"),
    [
        (
            {"pyproject.toml": '[project]\nlicense = "apache-2.0"\n'},
            "https://spdx.org/licenses/Apache-2.0",
            "Apache-2.0",
        ),
        ({"pyproject.toml": '[project]\nlicense = {text = "MIT"}\n'}, "https://spdx.org/licenses/MIT", "MIT"),
        ({"pyproject.toml": '[project]\nlicense = "MIT OR ISC"\n'}, "#license", "MIT OR ISC"),
        (
            {"pyproject.toml": '[project]\nlicense = "Mine"\n', "LICENSE.txt": "x"},
            "#license",
            "LICENSE.txt of commit",
        ),
        ({"pyproject.toml": "project = 1\n", "copying": "x"}, "#license", "copying of commit"),
        ({"pyproject.toml": "broken"}, "#license", "not stated"),
        ({}, "#license", "not stated"),
    ],
)
def test_its_license_is_the_one_of_the_commit(
    repo: Repo, program: Program, files: dict[str, str], address: str, name: str
) -> None:
    ran = commit_and_run(repo, program, files)
    repo.commit("Later", **{"pyproject.toml": '[project]\nlicense = "0BSD"\n'})
    found = entities(json.loads(program("provenance", "--format", "ro-crate", ran["id"]).out))
    assert found["./"]["license"] == {"@id": address}
    assert found[address]["@type"] == "CreativeWork"
    assert found[address]["name"].startswith(name)


def commit_and_run(repo: Repo, program: Program, files: dict[str, str]) -> dict[str, Any]:
    repo.commit("Files", **files)
    execution = begun(
        command=["true"],
        entry_point=CODE,
        provenance=provenance_of(measured(str(repo.path)), Config()).as_json(),
    )
    Ledger(str(repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3")).add(execution)
    return execution.as_json()


def test_the_validator_would_see_a_run_without_its_code(crate: Callable[..., tuple[Any, Path]]) -> None:
    _, folder = crate("run", "--", "true")
    file = folder / "ro-crate-metadata.json"
    document = json.loads(file.read_text())
    for entity in document["@graph"]:
        entity.pop("instrument", None)
    file.write_text(json.dumps(document))
    done = validated(folder)
    assert done.returncode == 1
    assert "instrument" in done.stdout


def test_it_says_what_the_record_says(repo: Repo, crate: Callable[..., tuple[Any, Path]]) -> None:
    record, folder = crate("run", "--description", "a try", "--", sys.executable, "src/train.py")
    found = entities(json.loads((folder / "ro-crate-metadata.json").read_text()))
    action = found[f"#{record['id']}"]
    assert action["@type"] == "CreateAction"
    assert (action["startTime"], action["endTime"]) == (record["started_at"], record["ended_at"])
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert action["description"] == shlex.join(record["command"])
    assert found[action["agent"]["@id"]]["name"] == "Ada"
    assert found[action["additionalProperty"]["@id"]]["value"] == 0
    assert "error" not in action
    code = found[action["instrument"]["@id"]]
    commit = repo.git("rev-parse", "HEAD")
    assert code["@id"] == f"https://github.com/lab/model/blob/{commit}/src/train.py"
    assert (code["name"], code["version"]) == ("src/train.py", "2.0.0")
    assert "softwareVersion" not in code
    assert code["identifier"] == [commit, repo.git("rev-parse", "HEAD:src/train.py")]
    root = found["./"]
    assert root["description"] == "a try"
    assert found[root["publisher"]["@id"]] == {
        "@id": "https://github.com/lab",
        "@type": "Organization",
        "name": "lab",
        "url": "https://github.com/lab",
    }
    assert root["mentions"] == {"@id": f"#{record['id']}"}


def test_its_agent_is_who_ran_it_and_not_who_exports_it(
    repo: Repo, crate: Callable[..., tuple[Any, Path]], program: Program, home: Path
) -> None:
    record, _ = crate("run", "--", "true")
    (home / ".gitconfig").write_text("[user]\n\tname = Somebody Else\n")
    found = entities(json.loads(program("provenance", "--format", "ro-crate", record["id"]).out))
    assert found["#agent"]["name"] == "Ada"
    assert found["#agent"]["email"] == "ada@example.org"


@pytest.mark.parametrize(
    ("agent", "name"), [(None, None), ({"name": None, "email": None, "account": "ada"}, "ada")]
)
def test_its_agent_is_the_account_or_nobody_where_the_record_has_no_name(
    repo: Repo, agent: dict[str, Any] | None, name: str | None
) -> None:
    execution = replace(begun(command=["true"], entry_point=CODE, provenance=PROVENANCE), agent=agent)
    found = entities(metadata(execution, None)[0])
    action = found[f"#{execution.id}"]
    assert (found[action["agent"]["@id"]]["name"] if "agent" in action else None) == name


def test_results_go_along_as_they_were_recorded_or_not_at_all(
    repo: Repo, crate: Callable[..., tuple[Any, Path]], program: Program, tmp_path: Path
) -> None:
    record, folder = crate("run", "--", "sh", "-c", "mkdir out; echo 1 > out/a.csv; echo 2 > out/b.csv")
    found = entities(json.loads((folder / "ro-crate-metadata.json").read_text()))
    results = found[f"#{record['id']}"]["result"]
    assert results == [{"@id": "files/out/a.csv"}, {"@id": "files/out/b.csv"}]
    about = found["files/out/a.csv"]
    assert (about["name"], about["encodingFormat"], about["contentSize"]) == ("out/a.csv", "text/csv", "2")
    assert about["sha256"] == hashlib.sha256((folder / "files/out/a.csv").read_bytes()).hexdigest()
    repo.write("out/a.csv", "later\n")
    done = program("provenance", "--format", "ro-crate", record["id"])
    assert entities(json.loads(done.out))[f"#{record['id']}"]["result"] == {"@id": "files/out/b.csv"}
    assert "left out, since not to be had as it was recorded: out/a.csv" in done.err


def test_a_failed_notebook_goes_along_with_its_parameters(crate: Callable[..., tuple[Any, Path]]) -> None:
    record, folder = crate("run-notebook", "fit.ipynb", "-p", "seed", "0", "-p", "rates", "x")
    found = entities(json.loads((folder / "ro-crate-metadata.json").read_text()))
    action = found[f"#{record['id']}"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert "ZeroDivisionError" in action["error"]
    parameters = {found[entry["@id"]]["name"]: found[entry["@id"]]["value"] for entry in action["object"]}
    assert parameters == {"seed": 0, "rates": "x"}
    result = found[action["result"]["@id"]]
    data = (folder / result["@id"]).read_bytes()
    assert result["sha256"] == hashlib.sha256(data).hexdigest() == record["notebook"]["sha256"]


def test_a_result_that_is_not_the_recorded_one_any_more_stays_out(
    repo: Repo, crate: Callable[..., tuple[Any, Path]], program: Program, tmp_path: Path
) -> None:
    record, _ = crate("run-notebook", "fit.ipynb")
    Path(record["notebook"]["output"]).write_text("{}")
    document = json.loads(program("provenance", "--format", "ro-crate", record["id"]).out)
    assert "result" not in entities(document)[f"#{record['id']}"]


def test_as_an_archive_and_never_over_something(
    crate: Callable[..., tuple[Any, Path]], program: Program, tmp_path: Path
) -> None:
    record, folder = crate("run", "--", "true")
    words = ("provenance", "--format", "ro-crate", record["id"], "--output")
    assert program(*words, str(tmp_path / "x.zip")).code == 0
    assert "ro-crate-metadata.json" in zipfile.ZipFile(tmp_path / "x.zip").namelist()
    for path in (folder, tmp_path / "x.zip"):
        done = program(*words, str(path))
        assert done.code == 1
        assert "exists already" in done.err


def test_what_cannot_be_written_whole_is_not_there(
    repo: Repo, crate: Callable[..., tuple[Any, Path]], tmp_path: Path
) -> None:
    record, _ = crate("run", "--", "true")
    import resource

    before = sorted(tmp_path.iterdir())
    for name in ("again", "again.zip"):
        words = ("provenance", "--format", "ro-crate", record["id"], "--output", str(tmp_path / name))
        done = subprocess.run(
            [sys.executable, "-m", "deriva_ml_hooks", *words],
            cwd=repo.path,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
        )
        assert done.returncode == 1
        assert f"{name}: File too large" in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_without_rocrate_it_says_what_to_install(repo: Repo, program: Program) -> None:
    program("run", "--", "true")
    script = (
        "import sys; sys.modules['rocrate'] = None; sys.modules['rocrate.rocrate'] = None\n"
        "from deriva_ml_hooks.cli import main\n"
        "sys.exit(main(['provenance', '--format', 'ro-crate', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=repo.path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'deriva-ml-hooks[ro-crate]'" in done.stderr
