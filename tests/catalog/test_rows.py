"""Addresses, and what a catalog is asked and told: pure, so without a catalog."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.catalog.adopt import _moment
from deriva_ml_hooks.catalog.errors import LoginError, of_answer
from deriva_ml_hooks.catalog.rows import blocks, described, duration, outgoing, workflow_of
from deriva_ml_hooks.catalog.settings import AddressError, parse, settings_of
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions import schema
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Publication, Publications, Work, everywhere
from deriva_ml_hooks.executions.record import new_id


@pytest.mark.parametrize(
    "text",
    [
        "www.example.org/7",
        "WWW.example.org/7/",
        "https://www.example.org/7",
        "https://www.example.org/ermrest/catalog/7",
        "https://www.example.org/ermrest/catalog/7/schema",
        "https://www.example.org/chaise/recordset/#7/deriva-ml:Execution",
        "https://www.example.org/chaise/record/?#7/deriva-ml:Execution/RID=1-ABC",
    ],
)
def test_an_address_is_understood(text: str) -> None:
    assert str(parse(text)) == "www.example.org/7"


@pytest.mark.parametrize(
    "text",
    [
        *("", "7", "www.example.org", "www.example.org/7@2ZX", "http://www.example.org/7"),
        *("https://ada:planted-secret@www.example.org/7", "www.example.org/7/8", "a b/7", "-x/7"),
        *("ada:planted-secret@www.example.org/7", "a..b/7", "x" * 64 + "/7", "a-/7"),
    ],
)
def test_another_text_is_refused_without_its_secrets(text: str) -> None:
    with pytest.raises(AddressError) as raised:
        parse(text)
    assert "planted" not in f"{raised.value} {raised.value.fix}"


def test_a_snapshot_is_refused_for_what_it_is() -> None:
    with pytest.raises(AddressError, match="read-only"):
        parse("https://www.example.org/ermrest/catalog/7@2ZX-ABC")


def test_words_go_before_the_environment_and_that_before_the_configuration() -> None:
    config = Config(catalog="c/3")
    env = {"DERIVA_ML_HOOKS_CATALOG": "b/2"}
    found = [settings_of(config, "a/1", env), settings_of(config, None, env), settings_of(config, None, {})]
    assert [str(s.address) for s in found if s] == ["a/1", "b/2", "c/3"]
    assert settings_of(Config(), None, {}) is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.0H 0.0min 0.0sec"),
        (59.9996, "0.0H 0.0min 59.9996sec"),
        (3725.5, "1.0H 2.0min 5.5sec"),
        (360000.0, "100.0H 0.0min 0.0sec"),
    ],
)
def test_a_duration_is_told_as_deriva_ml_tells_it(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_what_the_user_quotes_is_not_taken_for_a_block(old_execution: Any) -> None:
    other = replace(old_execution, id=new_id())
    quoted = replace(old_execution, description=f"Again, see below\nderiva-ml-hooks execution `{other.id}`")
    assert blocks(described(quoted)) == [old_execution.id]
    inline = replace(old_execution, description=f"After deriva-ml-hooks execution `{other.id}`")
    assert blocks(described(inline)) == [old_execution.id]


def test_what_is_sent_of_an_execution_holds_no_secret(old_execution: Any) -> None:
    secret = "planted-secret-1"
    url = f"https://ada:{secret}@git.example.org/x"
    leaky = replace(
        old_execution,
        command=["python", "x.py", "--token", secret],
        description=f"password={secret}\nand more",
        detail=f"token={secret}",
        entry_point=old_execution.entry_point | {"url": url},
        provenance=old_execution.provenance | {"repository_url": url, "branch": f"token={secret}"},
        changed_during_run=[{"code": "unstaged", "path": f"token={secret}", "message": "modified"}],
    )
    sent = outgoing(leaky)
    assert secret not in repr(sent)
    assert sent.command == ["python", "x.py", "--token", "***"]
    assert described(sent).startswith("password=***\nand more\n")
    assert outgoing(old_execution) == old_execution


@pytest.mark.parametrize("digits", ["", ".1", ".12345", ".123456", ".1234567"])
def test_a_time_is_read_with_any_number_of_digits(digits: str) -> None:
    read = _moment(f"2026-11-23T15:57:50{digits}+00:00")
    assert read.isoformat().startswith("2026-11-23T15:57:50")
    assert read.utcoffset() == timedelta()


@pytest.mark.parametrize(
    ("status", "text", "row", "passing"),
    [
        (400, "bad", True, False),
        (401, "", False, False),
        (403, "insert access", False, False),
        (403, "insert access with non-leased value '1-A'", True, False),
        (404, "", False, False),
        (409, "duplicate key", True, False),
        (429, "slowly", False, True),
        (503, "<html>", False, True),
    ],
)
def test_an_answer_is_told_by_what_can_be_done_about_it(
    status: int, text: str, row: bool, passing: bool
) -> None:
    error = of_answer("h", status, text + "\n password=planted-secret " + "x" * 1000)
    assert (error.status, error.row, error.passing) == (status, row, passing)
    assert isinstance(error, LoginError) is (status == 401)
    assert error.fix
    assert "planted" not in str(error)
    assert len(str(error)) < 400


def test_a_ledger_of_the_first_schema_is_read_and_kept(tmp_path: Path, old_execution: Any) -> None:
    path = tmp_path / "executions.sqlite3"
    ledger = Ledger(str(path))
    ledger.add(old_execution)
    connection = sqlite3.connect(path)
    with connection:
        first = schema.MIGRATIONS[0]
        connection.execute("ALTER TABLE executions RENAME TO newest")
        connection.execute(first)
        names = ", ".join(row[1] for row in connection.execute("PRAGMA table_info(executions)"))
        connection.execute(f"INSERT INTO executions ({names}) SELECT {names} FROM newest")
        connection.execute("DROP TABLE newest")
        connection.execute("DROP TABLE publications")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert [e.id for e in ledger.newest()] == [old_execution.id]
    assert everywhere(ledger, [old_execution.id]) == {}
    publications = Publications(ledger, "host/1")
    assert (publications.waiting(), publications.rids()) == (1, set())
    (work,) = publications.take("", 10)
    assert (work.execution.id, work.publication) == (
        old_execution.id,
        Publication(old_execution.id, "host/1"),
    )
    publications.put([replace(work.publication, state="closed", rid="1-ABC")])
    assert publications.take("", 10) == []
    assert [e.id for e in ledger.newest()] == [old_execution.id]
    assert [p.rid for p in everywhere(ledger, [old_execution.id])[old_execution.id]] == ["1-ABC"]


def test_what_somebody_works_on_is_left_to_them(tmp_path: Path, old_execution: Any) -> None:
    ledger = Ledger(str(tmp_path / "executions.sqlite3"))
    ledger.add(old_execution)
    mine, theirs = Publications(ledger, "host/1"), Publications(ledger, "host/1")
    theirs._me = "another-host\t1\tx"
    assert len(theirs.take("", 10)) == 1
    assert mine.take("", 10) == []
    begun = Work(old_execution, Publication(old_execution.id, "host/1"), fresh=True)
    assert mine.begin(begun) is None
    assert len(Publications(ledger, "host/2").take("", 10)) == 1
    theirs.note([Work(old_execution, Publication(old_execution.id, "host/1", rid="1-ABC"))])
    theirs.release([old_execution.id])
    after = mine.begin(begun)
    assert after is not None
    assert (after.publication.rid, after.fresh) == ("1-ABC", False)  # what was noted stays, and is looked for
    assert len(mine.take("", 10)) == 1
    gone = Publications(ledger, "host/1")
    gone._me = mine._me.split("\t")[0] + "\t999999999\tx"  # of a process of this host that has ended
    mine.release([old_execution.id])
    assert len(gone.take("", 10)) == 1
    assert len(mine.take("", 10)) == 1


def test_code_of_a_repository_without_a_remote_is_named_without_a_folder(old_execution: Any) -> None:
    commit = old_execution.provenance["commit"]
    provenance = old_execution.provenance | {"repository_url": None, "commit_url": None}
    for path, local, told in (
        ("a b.py", f"git+file:///home/ada/model@{commit}#a%20b.py", f"swh:1:rev:{commit};path=/a%20b.py"),
        (None, f"git+file:///home/ada/model@{commit}", f"swh:1:rev:{commit}"),
        ("a.py", f"git+ssh://git.example.org/x@{commit}#a.py", f"git+ssh://git.example.org/x@{commit}#a.py"),
    ):
        entry_point = old_execution.entry_point | {"url": local, "path": path}
        execution = replace(old_execution, provenance=provenance, entry_point=entry_point)
        assert workflow_of(execution, None)["URL"] == told
        assert "/home/" not in str(workflow_of(execution, None)) + described(execution)
