"""What a catalog is left with, whatever form its schema has, whatever its policy, whoever serves it."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import catalog_server
import pytest
from catalog_server import Fault

from deriva_ml_hooks.catalog import executions
from deriva_ml_hooks.catalog.check import examine
from deriva_ml_hooks.catalog.errors import MissingError, SchemaError, ServerError, TermError
from deriva_ml_hooks.catalog.recorded import SAVED
from deriva_ml_hooks.catalog.sync import sync
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Work
from deriva_ml_hooks.provenance.record import RecordedFile

Publish = Callable[..., Work]


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1
    return rows[0]


def test_an_execution_is_a_row_with_its_workflow(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger)
    execution = place.execution()
    work = publish(execution, publisher)
    row = only(place.of(publisher, execution))
    assert (work.publication.state, work.publication.rid) == ("closed", row["RID"])
    latest = "Execution_Duration" in row
    assert row["Status"] == ("Uploaded" if latest else "Completed")
    assert row["Status_Detail"] == "exit 0"
    assert row["Execution_Duration" if latest else "Duration"] == "0.0H 0.0min 3.25sec"
    provenance = execution.provenance
    assert row["Description"] == (
        f"A first try\n\nderiva-ml-hooks execution `{execution.id}`\n\n"
        f"- commit: [`{provenance['commit']}`]({provenance['commit_url']})\n- branch: `main`\n"
        f"- version: `1.2.3`\n- repository: {provenance['repository_url']}\n"
        "- command: `python train.py`\n- lockfile: `uv.lock` bbbbbbbbbbbb"
    )
    workflow = only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
    assert workflow["Name"] == f"{place.mark}/train.py"
    assert workflow["URL"] == execution.entry_point["url"]
    assert workflow["Checksum"] == execution.entry_point["checksum"]
    assert workflow["Version"] == "1.2.3"
    if publisher.model.type_column:
        assert workflow["Workflow_Type"] == place.type
    else:
        linked = place.rows(publisher, "Workflow_Workflow_Type", f"Workflow={workflow['RID']}")
        assert only(linked)["Workflow_Type"] == place.type


def test_a_running_one_is_closed_later(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger)
    ended = place.execution(status="Failed", exit_code=3, duration=61.5)
    running = replace(ended, status="Running", exit_code=None, ended_at=None, duration=None)
    first = publish(running, publisher)
    if publisher.model.tables["Execution"].may("update"):
        assert first.publication.state == "published"
        row = only(place.of(publisher, running))
        assert (row["Status"], row["Status_Detail"]) == ("Running", None)
    publish(ended, publisher)
    row = only(place.of(publisher, running))
    assert (row["Status"], row["Status_Detail"]) == ("Failed", "exit 3")
    assert row[publisher.model.duration_column] == "0.0H 1.0min 1.5sec"


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"status": "Aborted", "detail": "signal 15", "exit_code": 143}, "Aborted", "signal 15"),
        (
            {"changed_during_run": [{"code": "unstaged", "path": "a.py", "message": "modified"}]},
            None,
            "exit 0; tree changed during the run: a.py",
        ),
        (
            {"status": "Aborted", "detail": "lost", "exit_code": None},
            "Aborted",
            "lost: its process on elsewhere",
        ),
    ],
    ids=["a signal", "a changed tree", "lost"],
)
def test_how_it_ended_is_told(
    place: Any, ledger: Ledger, publish: Publish, changes: dict[str, Any], status: str | None, detail: str
) -> None:
    publisher = place.publisher(ledger)
    execution = place.execution(**changes)
    publish(execution, publisher)
    row = only(place.of(publisher, execution))
    assert status in (None, row["Status"])
    assert row["Status_Detail"].startswith(detail)


def test_a_workflow_is_found_by_url_and_checksum_together(
    place: Any, ledger: Ledger, publish: Publish
) -> None:
    publisher = place.publisher(ledger)
    one, again = place.execution(), place.execution()
    again = replace(again, entry_point=one.entry_point, provenance=one.provenance)
    other = place.execution()  # the same file, so the same checksum, in another commit
    assert other.entry_point["checksum"] == one.entry_point["checksum"]
    first, second, third = (publish(e, publisher).publication.workflow for e in (one, again, other))
    assert first == second != third
    assert len(place.rows(publisher, "Workflow", f"URL::regexp::{place.mark}")) == 2


def test_publishing_again_adds_nothing(place: Any, ledger: Ledger, publish: Publish, tmp_path: Path) -> None:
    publisher = place.publisher(ledger)
    execution = place.execution()
    first = publish(execution, publisher)
    assert publisher.publish([first]).done[0].publication.rid == first.publication.rid
    # As after a kill before the ledger was told: it knows nothing of the row.
    forgetful = Ledger(str(tmp_path / "other.sqlite3"))
    assert publish(execution, into=forgetful).publication.rid == first.publication.rid
    assert len(place.of(publisher, execution)) == 1
    assert len(place.rows(publisher, "Workflow", f"URL::regexp::{place.mark}")) == 1


def test_a_row_that_was_deleted_is_not_made_again(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger)
    ended = place.execution()
    running = replace(ended, status="Running", exit_code=None, ended_at=None, duration=None)
    rid = publish(running, publisher).publication.rid
    if not publisher.model.tables["Execution"].may("delete") or rid is None:
        pytest.skip("this user may not delete")
    connection = publisher.connection
    connection._send("DELETE", connection._catalog(f"/entity/deriva-ml:Execution/RID={rid}"))
    closed = publish(ended, publisher)
    assert (closed.publication.state, closed.publication.error) == ("closed", executions.GONE)
    assert place.of(publisher, ended) == []


def test_the_tree_as_a_whole_is_a_workflow_too(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger, workflow_name="Everything")
    execution = place.execution(path=None)
    publish(execution, publisher)
    row = only(place.of(publisher, execution))
    assert only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))["Name"] == "Everything"


def test_an_unknown_workflow_type_names_the_near_one(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger, workflow_types=(place.type + "x",))
    execution = place.execution()
    with pytest.raises(TermError) as raised:
        publish(execution, publisher)
    assert raised.value.fix == f"did you mean {place.type}?"
    assert place.rows(publisher, "Workflow", f"URL::regexp::{place.mark}") == []
    assert place.of(publisher, execution) == []


def test_a_missing_schema_or_catalog_is_told(place: Any, ledger: Ledger) -> None:
    with pytest.raises(SchemaError, match="no schema nowhere"):
        place.publisher(ledger, schema="nowhere")
    missing = replace(place.settings().address, id="does-not-exist")
    with pytest.raises(MissingError, match="HTTP 404"):
        place.publisher(ledger, address=missing)


def test_strange_text_arrives(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger)
    odd = "100% `quoted` \N{SNOWMAN} \udcff \x00 \n- a list & <b>; (x)=y"
    words = ["sh", "-c", odd.replace("\0", "")]  # no argument can hold one
    execution = place.execution(path="sub dir/a&b;c=(d),e.py", description=odd, command=words)
    publish(execution, publisher)
    text = only(place.of(publisher, execution))["Description"]
    assert text.startswith("100% `quoted` \N{SNOWMAN} \\xff \\x00 \n- a list & <b>; (x)=y\n\nderiva-ml-hooks")
    assert "- command: ``sh -c '100% `quoted`" in text


def test_the_provenance_is_one_file_for_a_commit(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger)
    one = place.execution()
    two = replace(place.execution(), entry_point=one.entry_point, provenance=one.provenance)
    first, second = publish(one, publisher).publication, publish(two, publisher).publication
    if place.server is None and first.asset is None:
        pytest.skip("no Hatrac there that takes files")
    assert first.asset == second.asset
    assert first.asset is not None
    asset = only(place.rows(publisher, "Execution_Metadata", f"RID={first.asset}"))
    assert asset["Filename"] == "deriva-ml-hooks-provenance.json"
    links = place.rows(publisher, "Execution_Metadata_Execution", f"Execution_Metadata={first.asset}")
    assert {(row["Execution"], row["Asset_Role"]) for row in links} == {
        (first.rid, "Output"),
        (second.rid, "Output"),
    }
    types = place.rows(publisher, "Execution_Metadata_Asset_Type", f"Execution_Metadata={first.asset}")
    assert [row["Asset_Type"] for row in types] == ["Execution_Metadata"]


def test_sync_publishes_everything_once(place: Any, ledger: Ledger) -> None:
    commits = [uuid.uuid4().hex + "01234567" for _ in range(3)]
    made = [place.execution(commit=commits[i % 3], path=f"{i % 2}.py") for i in range(30)]
    made.sort(key=lambda execution: execution.id)  # several were made within one millisecond
    for execution in made:
        ledger.add(execution)
    publisher = place.publisher(ledger)
    first = sync(publisher, limit=10, progress=lambda _: None)
    assert (first.published, first.left) == (10, 20)
    assert all(len(place.of(publisher, e)) == (1 if i < 10 else 0) for i, e in enumerate(made))
    second = sync(publisher, limit=None, progress=lambda _: None)
    assert (second.published, second.left, second.reasons) == (20, 0, [])
    third = sync(publisher, limit=None, progress=lambda _: None)
    assert (third.published, third.left) == (0, 0)
    for execution in made:
        row = only(place.of(publisher, execution))
        workflow = only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
        assert workflow["URL"] == execution.entry_point["url"]
    assert len(place.rows(publisher, "Workflow", f"URL::regexp::{place.mark}")) == 6


def deriva_mls_own(place: Any, publisher: Any, execution: Any, *, commit: str) -> dict[str, Any]:
    """The rows that DerivaML makes: the workflow names an older commit with the same file."""
    url = execution.entry_point["url"].replace(execution.provenance["commit"], commit)
    workflow = {"Name": "Mine", "URL": url, "Checksum": execution.entry_point["checksum"], "Version": "0.1"}
    if publisher.model.type_column:
        workflow["Workflow_Type"] = place.type
    made = publisher.connection.insert("deriva-ml:Workflow", [workflow], query="defaults=RID")[0]
    if not publisher.model.type_column:
        link = {"Workflow": made["RID"], "Workflow_Type": place.type}
        publisher.connection.insert("deriva-ml:Workflow_Workflow_Type", [link], query="defaults=RID")
    row = {"Workflow": made["RID"], "Description": f"of {place.mark}", "Status": "Running"}
    own: dict[str, Any] = publisher.connection.insert("deriva-ml:Execution", [row], query="defaults=RID")[0]
    return own


def save(place: Any, ledger: Ledger, execution: Any, rid: str) -> None:
    host, _, catalog = place.name.rpartition("/")
    saved = {"hostname": host, "catalog_id": catalog, "workflow_rid": "x", "execution_rid": rid}
    with open(os.path.join(ledger.folder_of(execution.id), SAVED), "w", encoding="utf-8") as file:
        json.dump(saved, file)


def store_environment(publisher: Any, rid: str, execution_id: str) -> None:
    """What DerivaML stores with a row that it has made: the environment, as a file in Hatrac."""
    name = f"{uuid.uuid4().hex}.environment_snapshot_20260101_000000.txt"
    data = json.dumps({"os": {"environ": {"DERIVA_ML_HOOKS_EXECUTION": execution_id}}}).encode()
    path = f"/hatrac/Execution_Metadata/{name}"
    headers = {"Content-Type": "text/plain"}
    sent = {"data": data, "headers": headers}
    status, text, _ = publisher.connection.service("PUT", f"{path}?parents=true", **sent)
    if status >= 400:
        pytest.skip(f"this user may not write to Hatrac ({status})")
    row = {
        "URL": text.strip() or path,
        "Filename": name.partition(".")[2],
        "Length": len(data),
        "MD5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
    }
    insert = publisher.connection.insert
    made = insert("deriva-ml:Execution_Metadata", [row], query="defaults=RID")[0]
    link = {"Execution_Metadata": made["RID"], "Execution": rid, "Asset_Role": "Output"}
    insert("deriva-ml:Execution_Metadata_Execution", [link], query="defaults=RID")


@pytest.mark.parametrize("correct", [True, False])
def test_what_deriva_ml_recorded_is_adopted(
    place: Any, ledger: Ledger, publish: Publish, correct: bool
) -> None:
    publisher = place.publisher(ledger, correct_workflow=correct)
    if not publisher.model.tables["Execution"].may("update"):
        pytest.skip("this user may not update rows")
    ended = place.execution()
    running = replace(ended, status="Running", exit_code=None, ended_at=None, duration=None)
    ours = publish(running, publisher).publication.rid
    own = deriva_mls_own(place, publisher, ended, commit="0" * 40)
    save(place, ledger, ended, own["RID"])
    ledger.close(ended)
    report = sync(publisher, limit=None, progress=lambda _: None)
    assert (report.published, report.left) == (1, 0)
    row = only(place.rows(publisher, "Execution", f"RID={own['RID']}"))
    assert row["Status"] == ("Stopped" if publisher.model.status_terms else "Completed")  # it was left open
    assert row["Status_Detail"] == "exit 0"
    assert row["Description"].startswith(
        f"of {place.mark}\n\nA first try\n\nderiva-ml-hooks execution `{ended.id}`"
    )
    workflow = only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
    assert (ended.provenance["commit"] in workflow["URL"]) is correct
    assert workflow["Checksum"] == ended.entry_point["checksum"]
    said = "\n".join(report.said)
    assert f"{own['RID']} was linked to workflow" in said if correct else "correct-workflow = false" in said
    if ours is not None:
        folded = only(place.rows(publisher, "Execution", f"RID={ours}"))
        assert (folded["Status"], folded["Status_Detail"]) == ("Aborted", f"recorded as {own['RID']}")
        assert f"{ours} is marked as aborted" in said
    again = sync(publisher, limit=None, progress=lambda _: None)
    assert (again.published, again.left) == (0, 0)
    # Nor does a ledger that knows nothing of it, such as an older copy, bring ours to life again.
    before = ends(place, publisher, ended)
    copy = Ledger(f"{ledger.path}.copy")
    copy.add(ended)
    sync(place.publisher(copy), limit=None, progress=lambda _: None)
    assert ends(place, publisher, ended) == before


def ends(place: Any, publisher: Any, execution: Any) -> dict[str, tuple[str, str]]:
    found = place.of(publisher, execution)
    return {row["RID"]: (row["Status"], row["Status_Detail"]) for row in found}


def test_a_multiruns_children_are_adopted_with_their_parent(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger)
    if "Execution_Execution" not in publisher.model.tables:
        pytest.skip("executions are not nested in this schema")
    execution = place.execution(path=None)
    template = place.execution(commit=execution.provenance["commit"])
    rids = [
        deriva_mls_own(place, publisher, template, commit=commit * 40)["RID"] for commit in ("0", "1", "2")
    ]
    links = [{"Execution": rids[0], "Nested_Execution": rid} for rid in rids[1:]]
    publisher.connection.insert("deriva-ml:Execution_Execution", links, query="defaults=RID")
    ledger.add(execution)
    save(place, ledger, execution, rids[2])  # the last one that was made
    asked = []

    def find_file(of: Any, checksum: str, path: str | None) -> RecordedFile:
        asked.append((of.id, checksum, path))
        return RecordedFile("train.py", "a" * 40, checksum, template.entry_point["url"])

    publisher.find_file = find_file
    report = sync(publisher, limit=None, progress=lambda _: None)
    assert set(asked) == {(execution.id, template.entry_point["checksum"], "train.py")}
    assert len(report.said) == 1
    assert f"{rids[0]} and 2 more were linked to workflow" in report.said[0]
    rows = place.of(publisher, execution)
    assert {row["RID"] for row in rows} == set(rids)
    assert len({row["Workflow"] for row in rows}) == 1
    workflow = only(place.rows(publisher, "Workflow", f"RID={rows[0]['Workflow']}"))
    assert workflow["URL"] == template.entry_point["url"]
    (work,) = [p for p in [publisher.publications] if p.rids() == {rids[0]}]
    assert work


def test_older_siblings_of_what_was_made_stay_what_they_were(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger)
    if "Execution_Execution" not in publisher.model.tables:
        pytest.skip("executions are not nested in this schema")
    if place.server is None:
        pytest.skip("nobody can make old rows there")
    execution = place.execution()
    parent, sibling, child = (
        deriva_mls_own(place, publisher, execution, commit="0" * 40)["RID"] for _ in range(3)
    )
    kept = {rid: place.catalog.tables["Execution"].rows[rid] for rid in (parent, sibling)}
    for row in kept.values():
        row["RCT"] = "2026-01-01T00:00:00.5+00:00"
    before = {rid: dict(row) for rid, row in kept.items()}
    links = [{"Execution": parent, "Nested_Execution": rid} for rid in (sibling, child)]
    publisher.connection.insert("deriva-ml:Execution_Execution", links, query="defaults=RID")
    ledger.add(execution)
    save(place, ledger, execution, child)
    sync(publisher, limit=None, progress=lambda _: None)
    assert kept == before
    assert only(place.of(publisher, execution))["RID"] == child


def test_a_row_whose_code_is_nowhere_in_the_commit_is_marked_and_not_relinked(
    place: Any, ledger: Ledger
) -> None:
    publisher = place.publisher(ledger)
    if not publisher.model.tables["Execution"].may("update"):
        pytest.skip("this user may not update rows")
    execution = place.execution(path=None)
    template = place.execution(commit=execution.provenance["commit"])
    own = deriva_mls_own(place, publisher, template, commit="0" * 40)
    publisher.find_file = lambda *_: None
    ledger.add(execution)
    save(place, ledger, execution, own["RID"])
    report = sync(publisher, limit=None, progress=lambda _: None)
    row = only(place.rows(publisher, "Execution", f"RID={own['RID']}"))
    assert row["Workflow"] == own["Workflow"]
    assert f"- code: `{template.entry_point['checksum']}` is no file of the commit" in row["Description"]
    assert "whose code is no file of" in "".join(report.said)


@pytest.mark.parametrize("left_open", [True, False], ids=["left open", "closed by DerivaML"])
def test_a_row_that_deriva_ml_made_says_that_the_tree_changed(
    place: Any, ledger: Ledger, left_open: bool
) -> None:
    publisher = place.publisher(ledger)
    if not publisher.model.tables["Execution"].may("update"):
        pytest.skip("this user may not update rows")
    changed = [{"code": "unstaged", "path": "model.py", "message": "modified"}]
    execution = place.execution(changed_during_run=changed)
    own = deriva_mls_own(place, publisher, execution, commit=execution.provenance["commit"])
    if not left_open:
        status = {"RID": own["RID"], "Status": publisher.model.status("Completed"), "Status_Detail": "fine"}
        executions.set_columns(publisher.connection, publisher.model, ["Status", "Status_Detail"], [status])
    ledger.add(execution)
    save(place, ledger, execution, own["RID"])
    sync(publisher, limit=None, progress=lambda _: None)
    row = only(place.rows(publisher, "Execution", f"RID={own['RID']}"))
    told = "tree changed during the run: model.py"
    assert row["Status_Detail"] == f"{'exit 0' if left_open else 'fine'}; {told}"
    assert f"- {told}" in row["Description"].splitlines()


@pytest.mark.parametrize("owed", ["its end", "a changed tree", "unknown code", "other code"])
def test_what_a_withdrawn_right_leaves_undone_to_deriva_mls_row_is_done_when_it_is_back(
    place: Any, ledger: Ledger, owed: str
) -> None:
    if place.server is None:
        pytest.skip("nobody can withdraw a right there")
    publisher = place.publisher(ledger)
    changed = [{"code": "unstaged", "path": "model.py", "message": "modified"}]
    unknown = owed == "unknown code"
    execution = place.execution(
        path=None if unknown else "train.py", changed_during_run=changed if owed == "a changed tree" else []
    )
    template = place.execution(commit=execution.provenance["commit"]) if unknown else execution
    commit = "0" * 40 if owed == "other code" else execution.provenance["commit"]
    own = deriva_mls_own(place, publisher, template, commit=commit)
    row = place.catalog.tables["Execution"].rows[own["RID"]]
    if owed != "its end":
        row |= {"Status": publisher.model.status("Completed"), "Status_Detail": "fine"}
    before = dict(row)
    ledger.add(execution)
    save(place, ledger, execution, own["RID"])
    place.catalog.updates = False
    for _ in range(2):
        report = sync(place.publisher(ledger), limit=None, progress=lambda _: None)
        assert (report.published, report.left) == (0, 1)
        assert "may not update rows" in report.reasons[0]["message"]
        assert "right" in report.reasons[0]["fix"]
        assert row == before
    known = publisher.publications.of(execution.id)
    assert known is not None
    assert (known.state, known.recorded_by, known.rid) == ("published", "deriva-ml", own["RID"])
    assert "may not update rows" in (known.error or "")
    place.catalog.updates = True
    report = sync(place.publisher(ledger), limit=None, progress=lambda _: None)
    assert (report.published, report.left) == (1, 0)
    assert not publisher.model.is_open(row["Status"])
    assert (row["Workflow"] != own["Workflow"]) is (owed == "other code")
    assert ("tree changed" in row["Status_Detail"]) is (owed == "a changed tree")
    assert ("is no file of the commit" in row["Description"]) is unknown
    known = publisher.publications.of(execution.id)
    assert known is not None
    assert (known.state, known.error) == ("closed", None)


@pytest.mark.parametrize("twin", [False, True], ids=["other-content", "same-content"])
def test_a_workflow_whose_address_names_another_file_than_its_checksum_is_put_right(
    place: Any, ledger: Ledger, twin: bool
) -> None:
    publisher = place.publisher(ledger)
    if not publisher.model.tables["Execution"].may("update"):
        pytest.skip("this user may not update rows")
    execution = place.execution(path=None)
    commit = execution.provenance["commit"]
    code = place.execution(commit=commit)
    own = deriva_mls_own(place, publisher, code, commit=commit)
    at = code.entry_point["url"] if twin else code.entry_point["url"].replace("train.py", "other.py")

    def find_file(of: Any, checksum: str, path: str | None) -> RecordedFile:
        assert path == "train.py"
        return RecordedFile("train.py" if twin else "other.py", "a" * 40, checksum, at)

    publisher.find_file = find_file
    ledger.add(execution)
    save(place, ledger, execution, own["RID"])
    sync(publisher, limit=None, progress=lambda _: None)
    row = only(place.rows(publisher, "Execution", f"RID={own['RID']}"))
    workflow = only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
    assert (workflow["URL"], workflow["Checksum"]) == (at, code.entry_point["checksum"])


def test_a_workflow_of_deriva_mls_gets_the_version_that_it_lacks(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger)
    if not publisher.model.tables["Execution"].may("update"):
        pytest.skip("this user may not update rows")
    execution = place.execution(path="analysis.ipynb")
    own = deriva_mls_own(place, publisher, execution, commit=execution.provenance["commit"])
    publisher.connection.update(
        "deriva-ml:Workflow", ["Version"], [{"RID": own["Workflow"], "Version": None}]
    )
    ledger.add(execution)
    save(place, ledger, execution, own["RID"])
    sync(publisher, limit=None, progress=lambda _: None)
    assert only(place.rows(publisher, "Workflow", f"RID={own['Workflow']}"))["Version"] == "1.2.3"


def test_a_workflow_whose_url_holds_a_secret_is_left(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger)
    if not publisher.model.tables["Execution"].may("update"):
        pytest.skip("this user may not update rows")
    execution = place.execution()
    own = deriva_mls_own(place, publisher, execution, commit=execution.provenance["commit"])
    secret = execution.entry_point["url"].replace("://", "://ada:planted-secret-1@")
    publisher.connection.update("deriva-ml:Workflow", ["URL"], [{"RID": own["Workflow"], "URL": secret}])
    ledger.add(execution)
    save(place, ledger, execution, own["RID"])
    sync(publisher, limit=None, progress=lambda _: None)
    row = only(place.rows(publisher, "Execution", f"RID={own['RID']}"))
    workflow = only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
    assert workflow["URL"] == execution.entry_point["url"]


def running_row(place: Any, publisher: Any, publish: Publish) -> Any:
    """An execution whose row was made while it ran, and which has ended since."""
    ended = place.execution()
    publish(replace(ended, status="Running", exit_code=None, ended_at=None, duration=None), publisher)
    publisher.ledger.close(ended)
    return ended


@pytest.mark.parametrize("why", ["expired", "withdrawn"])
def test_a_row_that_cannot_be_closed_stays_open_here(
    place: Any, ledger: Ledger, publish: Publish, why: str
) -> None:
    if place.server is None:
        pytest.skip("the user's rights are not ours to change there")
    publisher = place.publisher(ledger)
    execution = running_row(place, publisher, publish)
    place.catalog.open = True  # who is not logged in may see what tables there are
    if why == "expired":
        place.server.cookies.pop("good")
    else:
        place.catalog.updates = False
    reached = place.publisher(ledger)
    for _ in range(2):
        report = sync(reached, limit=None, progress=lambda _: None)
        assert (report.published, report.left) == (0, 1)
        told = report.reasons[0]["message"]
        assert ("nobody is logged in" if why == "expired" else "may not update rows") in told
    place.server.cookies["good"] = catalog_server.USER
    place.catalog.updates = True
    report = sync(place.publisher(ledger), limit=None, progress=lambda _: None)
    assert (report.published, report.left) == (1, 0)
    assert only(place.of(publisher, execution))["Status_Detail"] == "exit 0"


def test_a_file_that_was_not_stored_is_stored_by_the_next_sync(place: Any, ledger: Ledger) -> None:
    if place.server is None:
        pytest.skip("no fault can be made there")
    execution = place.execution()
    ledger.add(execution)
    publisher = place.publisher(ledger)
    place.server.faults.append(Fault(503, "PUT", "/hatrac/"))
    report = sync(publisher, limit=None, progress=lambda _: None)
    assert (report.published, report.left) == (0, 1)
    assert "its row is there, its provenance file is not" in report.reasons[0]["message"]
    place.server.faults.clear()
    report = sync(publisher, limit=None, progress=lambda _: None)
    assert (report.published, report.left) == (1, 0)
    row = only(place.of(publisher, execution))
    assert len(place.rows(publisher, "Execution_Metadata_Execution", f"Execution={row['RID']}")) == 1


def test_an_adopted_rows_file_is_stored_by_the_next_sync(place: Any, ledger: Ledger) -> None:
    if place.server is None:
        pytest.skip("no fault can be made there")
    execution = place.execution()
    publisher = place.publisher(ledger)
    own = deriva_mls_own(place, publisher, execution, commit=execution.provenance["commit"])
    store_environment(publisher, own["RID"], execution.id)
    ledger.add(execution)
    place.server.faults.append(Fault(503, "PUT", "/hatrac/"))
    assert sync(publisher, limit=None, progress=lambda _: None).left == 1
    place.server.faults.clear()
    assert sync(publisher, limit=None, progress=lambda _: None).published == 1
    assert only(place.of(publisher, execution))["RID"] == own["RID"]
    (publication,) = [publisher.publications.of(execution.id)]
    assert (publication.recorded_by, publication.asset is None) == ("deriva-ml", False)


def test_a_transaction_that_was_aborted_is_tried_again(place: Any, ledger: Ledger) -> None:
    if place.server is None:
        pytest.skip("no fault can be made there")
    execution = place.execution()
    ledger.add(execution)
    publisher = place.publisher(ledger)
    aborted = "Service temporarily unavailable. Detail: Transaction aborted."
    place.server.faults.append(Fault(503, "POST", "(Workflow|Execution)[?]", times=2, text=aborted))
    publisher.publish(publisher.publications.take("", 1))
    assert len(place.of(publisher, execution)) == 1


def test_two_copies_of_a_ledger_that_meet_without_leases_leave_one_row_that_counts(
    place: Any, ledger: Ledger
) -> None:
    if place.server is None or place.catalog.leases.insert:
        pytest.skip("only where nothing keeps two apart, and somebody can come in between")
    made = sorted((place.execution() for _ in range(3)), key=lambda execution: execution.id)
    copy = Ledger(f"{ledger.path}.copy")
    for execution in made:
        ledger.add(execution)
        copy.add(execution)
    publisher, other = place.publisher(ledger), place.publisher(copy)
    call = Fault(
        "call",
        "POST",
        "deriva-ml:Execution[?]",
        times=1,
        call=lambda: sync(other, limit=None, progress=lambda _: None),
    )
    place.server.faults.append(call)
    sync(publisher, limit=None, progress=lambda _: None)
    for execution in made:
        kept, folded = sorted(place.of(publisher, execution), key=lambda row: (len(row["RID"]), row["RID"]))
        assert kept["Status"] == publisher.model.status("Completed")
        assert (folded["Status"], folded["Status_Detail"]) == ("Aborted", f"recorded as {kept['RID']}")
        rids = {p.publications.of(execution.id).rid for p in (publisher, other)}
        assert rids == {kept["RID"]}


def test_what_tests_leave_on_a_server_is_taken_away(
    place: Any, ledger: Ledger, publish: Publish, tidy: Callable[..., None]
) -> None:
    if place.server is None:
        pytest.skip("this is for our own")
    before = {name: set(table.rows) for name, table in place.catalog.tables.items()}
    publisher = place.publisher(ledger)
    publish(place.execution(), publisher)
    assert {name: set(table.rows) for name, table in place.catalog.tables.items()} != before
    tidy(place, publisher)
    assert {name: set(table.rows) for name, table in place.catalog.tables.items()} == before
    assert place.server.objects == {}


def test_rows_are_known_by_the_environment_that_is_stored_with_them(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger)
    execution = place.execution(path=None)
    mine = [deriva_mls_own(place, publisher, execution, commit="0" * 40) for _ in range(2)]
    theirs = deriva_mls_own(place, publisher, execution, commit="0" * 40)
    for row in mine:
        store_environment(publisher, row["RID"], execution.id)
    store_environment(publisher, theirs["RID"], str(uuid.uuid4()))
    ledger.add(execution)
    work = publisher.publications.take("", 1)[0]
    outcome = publisher.publish([work])
    assert [done.publication.rid for done in outcome.done] == [mine[0]["RID"]]
    if publisher.model.tables["Execution"].may("update"):
        assert {row["RID"] for row in place.of(publisher, execution)} == {row["RID"] for row in mine}


def test_a_row_of_the_same_code_at_the_same_time_is_not_taken_for_ours(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger, recorded_by="deriva-ml")
    execution = place.execution(path="analysis.ipynb")
    theirs = deriva_mls_own(place, publisher, execution, commit="0" * 40)
    ledger.add(execution)
    publisher.publish(publisher.publications.take("", 1))
    assert only(place.of(publisher, execution))["RID"] != theirs["RID"]
    unchanged = only(place.rows(publisher, "Execution", f"RID={theirs['RID']}"))
    assert {**unchanged, "RMT": theirs["RMT"]} == theirs


def test_a_dry_run_of_deriva_mls_own_is_not_published(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger, recorded_by="deriva-ml")
    execution = place.execution()
    ledger.add(execution)
    save(place, ledger, execution, "0000")
    (work,) = publisher.publications.take("", 1)
    work = replace(work, publication=replace(work.publication, recorded_by="deriva-ml"))
    outcome = publisher.publish([work])
    assert "a dry run" in outcome.said[0]
    assert place.of(publisher, execution) == []
    assert publisher.publications.waiting() == 0


def test_two_copies_of_a_ledger_make_one_row_whoever_comes_in_between(place: Any, ledger: Ledger) -> None:
    if place.server is None or not place.catalog.leases.insert:
        pytest.skip("nobody can come in between there, or nothing keeps two apart")
    first = place.execution()
    ledger.add(first)
    publisher = place.publisher(ledger)
    sync(publisher, limit=None, progress=lambda _: None)  # the workflow is there: the only lease is the row's
    execution = place.execution(commit=first.provenance["commit"])
    copy = Ledger(f"{ledger.path}.copy")
    for each in (ledger, copy):
        each.add(execution)
    other = place.publisher(copy)
    fault = Fault(
        "call", "POST", "Lease", times=1, call=lambda: sync(other, limit=None, progress=lambda _: None)
    )
    place.server.faults.append(fault)
    assert sync(publisher, limit=None, progress=lambda _: None).published == 1
    assert other.publications.waiting() == 0
    assert len(place.of(publisher, execution)) == 1


def test_a_sync_asks_no_oftener_for_more_workflows(place: Any, ledger: Ledger) -> None:
    made = [place.execution(path=f"{number}.py") for number in range(40)]
    for execution in sorted(made, key=lambda execution: execution.id):
        ledger.add(execution)
    publisher = place.publisher(ledger)
    before = publisher.connection.requests
    if place.server is not None:
        place.server.hatrac = False  # which takes one file for each commit
    report = sync(publisher, limit=None, progress=lambda _: None)
    assert report.published == 40
    if place.server is not None:
        assert report.requests - before <= 20


def test_what_never_started_is_not_published(place: Any, ledger: Ledger) -> None:
    execution = place.execution(status="Aborted", exit_code=None, detail="not started: no right")
    ledger.add(execution)
    publisher = place.publisher(ledger)
    report = sync(publisher, limit=None, progress=lambda _: None)
    assert (report.left, place.of(publisher, execution)) == (0, [])


def test_a_catalog_that_is_fit_is_found_fit(place: Any) -> None:
    points = {point.name: point for point in examine(place.settings())}
    assert [name for name, point in points.items() if point.fine is False] == []
    assert list(points) == [
        *("server", "login", "schema", "Workflow", "Execution", "RID leases", "workflow types", "hatrac"),
    ]
    assert place.type in points["workflow types"].found
    if place.server is not None:
        assert points["RID leases"].fine is (True if place.catalog.leases.insert else None)
        examine(place.settings())
        assert len(place.catalog.leases.rows) <= 1
    assert not any(method != "GET" and "Lease" not in path for method, path in seen(place))


def seen(place: Any) -> list[tuple[str, str]]:
    return place.server.seen if place.server is not None else []


def test_that_workflows_get_no_type_is_told(place: Any, ledger: Ledger) -> None:
    publisher = place.publisher(ledger, workflow_types=())
    if publisher.model.type_column:
        pytest.skip("a workflow needs a type there")
    (point,) = [p for p in examine(place.settings(workflow_types=())) if p.name == "workflow types"]
    assert (point.fine, "workflow-type is not set" in point.found) == (None, True)
    assert any("workflow-type is not set" in line for line in sync(publisher, limit=1, progress=print).said)


def test_an_answer_that_swells_when_it_is_unpacked_is_not_taken(place: Any, ledger: Ledger) -> None:
    if place.server is None:
        pytest.skip("no fault can be made there")
    publisher = place.publisher(ledger)
    place.server.faults.append(Fault("swell", "GET", times=1))
    tracemalloc.start()
    try:
        with pytest.raises(ServerError, match="more than 64 MB"):
            publisher.connection.get("/schema/deriva-ml")
        assert tracemalloc.get_traced_memory()[1] < 200 * 10**6
    finally:
        tracemalloc.stop()
