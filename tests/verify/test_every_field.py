"""The rule of `verify`: a true record of which one field is changed is not verified any more.

Except for the fields in `NOT_TO_BE_CHECKED`, which docs/verify.md names: nothing here can show them.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.cli import main
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.location import ledger_of
from deriva_ml_hooks.executions.rows import COLUMNS, JSON
from deriva_ml_hooks.git.discovery import measured

NOT_TO_BE_CHECKED = {
    *("id", "description", "detail", "host", "pid", "process", "agent", "environment", "isolated", "job"),
    *("warnings", "changed_during_run", "results", "rerun_of", "stdin", "parent", "interpreter"),
    *("provenance.branch", "provenance.remote", "provenance.pushed", "provenance.shallow"),
    *("provenance.no_version",),
}
OTHERS: dict[str, list[Any]] = {
    "status": ["Running", "Failed", "Submitted"],
    "exit_code": [7, None, 128, -1],
    "signal": [9, 0],
    "started_at": ["2001-01-01T00:00:00.000+00:00", "2101-01-01T00:00:00.000+00:00"],
    "ended_at": ["2001-01-01T00:00:00.000+00:00", None],
    "duration": [1e6, -1.0, None],
    "command": [["python3", "/etc/x.py"], ["python", "README.md"]],
    "cwd": ["/etc", "..", "src/../..", "src"],
    "notebook": [{}, {"parameters": {}, "kernel": "python3", "output": None}],
    # What cannot be checked against anything still has to be what a run can be.
    "stdin": [{}, {"kind": "x"}, {"kind": "file"}, {"kind": "nothing", "offset": -1}],
    "agent": [{}, {"name": None, "email": None, "account": None}],
    "environment": [["B", "A"], ["A=1"], [""]],
    "rerun_of": ["{id}", "no id"],
    "pid": [0],
    "host": [""],
    "provenance.schema": [2, None],
    "provenance.commit": ["{commit~1}", "{short}", "0" * 40],
    "provenance.tree": ["1" * 40, "{short}", None],
    "provenance.committed_at": ["2020-02-02T02:02:02+00:00", None],
    "provenance.tag": [None, "v2.0.0"],
    "provenance.tag_object": [None, "1" * 40],
    "provenance.version": [None, "9.9.9"],
    "provenance.repository_url": [None, "https://evil.example/x"],
    "provenance.commit_url": ["https://evil.example/x/commit/{commit}"],
    "provenance.lockfiles": [[], "{twice}"],
    "provenance.submodules": [[{"path": "lib", "commit": "1" * 40, "url": None}]],
    "provenance.pushed": ["refs/heads/main"],
    "provenance.no_version": [{"reason": "shallow", "fix": "none"}],
    "entry_point.path": [None, "README.md", "src"],
    "entry_point.blob": [None, "1" * 40],
    "entry_point.checksum": [None, "1" * 40],
    "entry_point.url": [None, "https://evil.example/x"],
}
CASES = [(field, value) for field, values in OTHERS.items() for value in values]


@pytest.fixture(scope="module")
def true_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the record of one real run in it, pushed."""
    import subprocess

    path = tmp_path_factory.mktemp("true") / "model"
    bare = path.parent / "model.git"

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=path, check=True, capture_output=True)

    path.mkdir()
    git("init", "--quiet", "--initial-branch", "main", ".")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    files = {"src/train.py": "print(1)\n", "README.md": "x\n", "other.py": "print(2)\n", "uv.lock": "l\n"}
    files["pyproject.toml"] = "[tool.setuptools_scm]\n"
    for name, text in files.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
        git("add", "--all")
        git("commit", "--quiet", "--message", name)
    git("tag", "--annotate", "--message", "Version", "v1.0.0")
    git("init", "--quiet", "--bare", str(bare))
    git("remote", "add", "origin", str(bare))
    git("push", "--quiet", "--tags", "origin", "main")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        assert main(["run", "--quiet", "--", sys.executable, "src/train.py"]) == 0
    return path


def changed(row: dict[str, Any], field: str, value: Any, before: str) -> dict[str, Any]:
    """The row with another value in one field; `{...}` in it stands for what the row or git has."""
    values = {n: json.loads(v) if n in JSON and v is not None else v for n, v in row.items()}
    provenance = values["provenance"]
    if value == "{twice}":
        value = provenance["lockfiles"] * 2
    words = {"{commit}": provenance["commit"], "{commit~1}": before, "{short}": provenance["commit"][:10]}
    words["{id}"] = row["id"]
    if isinstance(value, str):
        for word, meant in words.items():
            value = value.replace(word, meant)
    name, _, key = field.partition(".")
    assert (values[name].get(key) if key else values[name]) != value
    values[name] = {**values[name], key: value} if key else value
    return {
        n: v if n not in JSON or (v is None and row[n] is None) else json.dumps(v) for n, v in values.items()
    }


@pytest.mark.parametrize(("field", "value"), CASES, ids=lambda value: str(value)[:40])
def test_one_changed_field_is_never_verified(
    true_record: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    field: str,
    value: Any,
) -> None:
    monkeypatch.chdir(true_record)
    repository = measured()
    before = repository.commit(repository.head() or b"").parents[0].decode("ascii")
    with closing(sqlite3.connect(ledger_of(repository, Config()).path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        names = ", ".join(COLUMNS)
        [true] = connection.execute(f"SELECT {names} FROM executions").fetchall()
        row = dict(zip(COLUMNS, true, strict=True))
        assert main(["verify", "--json"]) == 0
        capsys.readouterr()
        write = f"UPDATE executions SET {', '.join(f'{name} = ?' for name in COLUMNS)}"
        try:
            connection.execute(write, [*changed(row, field, value, before).values()])
            connection.commit()
            code = main(["verify", "--json"])
            [found] = json.loads(capsys.readouterr().out)["executions"]
        finally:
            connection.execute(write, true)
            connection.commit()
    assert (code, found["verdict"] != "verified") == (1, True), found
    assert "Error" not in str(found["findings"])
    assert all(finding["fix"] for finding in found["findings"])


def test_every_field_is_changed_or_named_as_not_to_be_checked(
    true_record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(true_record)
    [execution] = ledger_of(measured(), Config()).newest()
    fields = {name for name in COLUMNS if name not in ("provenance", "entry_point")}
    fields |= {f"provenance.{name}" for name in execution.provenance}
    fields |= {f"entry_point.{name}" for name in execution.entry_point}
    assert fields - NOT_TO_BE_CHECKED <= OTHERS.keys()
    assert fields >= NOT_TO_BE_CHECKED
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
    for name in NOT_TO_BE_CHECKED:
        assert f"`{name.removeprefix('provenance.')}`" in page, name
