"""What becomes of the rows that a command made itself, through DerivaML."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from catalog_server import Fault

from deriva_ml_hooks.catalog.own_rows import SAVED
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Work, everywhere
from deriva_ml_hooks.provenance.record import RecordedFile

Publish = Callable[..., Work]


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1
    return rows[0]


def deriva_mls_own(place: Any, publisher: Any, execution: Any, *, commit: str) -> dict[str, Any]:
    """The rows that DerivaML makes: the workflow names an older commit with the same file."""
    catalog = publisher.catalog
    url = execution.entry_point["url"].replace(execution.provenance["commit"], commit)
    workflow = {"Name": "Mine", "URL": url, "Checksum": execution.entry_point["checksum"], "Version": "0.1"}
    if catalog.schema.type_column:
        workflow["Workflow_Type"] = place.type
    made = catalog.insert("Workflow", [workflow], once=False)[0]
    if not catalog.schema.type_column:
        catalog.insert(
            "Workflow_Workflow_Type", [{"Workflow": made["RID"], "Workflow_Type": place.type}], once=False
        )
    row = {"Workflow": made["RID"], "Description": f"of {place.mark}", "Status": "Running"}
    own: dict[str, Any] = catalog.insert("Execution", [row], once=False)[0]
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
    sent = {"data": data, "headers": {"Content-Type": "text/plain"}}
    status, text, _ = publisher.catalog.client.service("PUT", f"{path}?parents=true", **sent)
    if status >= 400:
        pytest.skip(f"this user may not write to Hatrac ({status})")
    row = {
        "URL": text.strip() or path,
        "Filename": name.partition(".")[2],
        "Length": len(data),
        "MD5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
    }
    made = publisher.catalog.insert("Execution_Metadata", [row], once=False)[0]
    link = {"Execution_Metadata": made["RID"], "Execution": rid, "Asset_Role": "Output"}
    publisher.catalog.insert("Execution_Metadata_Execution", [link], once=False)


class Files:
    """The one file of every commit, and what was asked for."""

    def __init__(self, path: str | None, url: str = "") -> None:
        self.path, self.url = path, url
        self.asked: list[tuple[str, str, list[str]]] = []

    def find(self, execution: Any, checksum: str, paths: list[str]) -> RecordedFile | None:
        self.asked.append((execution.id, checksum, paths))
        return RecordedFile(self.path, "a" * 40, checksum, self.url) if self.path else None


@pytest.mark.parametrize("correct", [True, False])
def test_what_deriva_ml_recorded_is_adopted(
    place: Any, ledger: Ledger, publish: Publish, correct: bool
) -> None:
    publisher = place.publisher(ledger)
    ended = place.execution()
    running = replace(ended, status="Running", exit_code=None, ended_at=None, duration=None)
    ours = publish(running, publisher).publication.rid
    own = deriva_mls_own(place, publisher, ended, commit="0" * 40)
    save(place, ledger, ended, own["RID"])
    ledger.close(ended)
    report = place.sync(ledger, correct_workflow=correct)
    assert (report.published, report.left) == (1, 0)
    row = only(place.rows(publisher, "Execution", f"RID={own['RID']}"))
    left_open = "Stopped" if publisher.catalog.schema.status_terms else "Completed"
    assert (row["Status"], row["Status_Detail"]) == (left_open, "exit 0")
    assert row["Description"].startswith(
        f"of {place.mark}\n\nA first try\n\nderiva-ml-hooks execution `{ended.id}`"
    )
    workflow = only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
    assert (ended.provenance["commit"] in workflow["URL"]) is correct
    assert workflow["Checksum"] == ended.entry_point["checksum"]
    said = "\n".join(report.notes)
    assert f"{own['RID']} was linked to workflow" in said if correct else "correct-workflow = false" in said
    folded = only(place.rows(publisher, "Execution", f"RID={ours}"))
    assert (folded["Status"], folded["Status_Detail"]) == ("Aborted", f"recorded as {own['RID']}")
    assert f"{ours} is marked as aborted" in said
    again = place.sync(ledger, correct_workflow=correct)
    assert (again.published, again.left) == (0, 0)
    # Nor does a ledger that knows nothing of it, such as an older copy, bring ours to life again.
    before = ends(place, publisher, ended)
    copy = Ledger(f"{ledger.path}.copy")
    copy.add(ended)
    place.sync(copy)
    assert ends(place, publisher, ended) == before


def ends(place: Any, publisher: Any, execution: Any) -> dict[str, tuple[str, str]]:
    found = place.of(publisher, execution)
    return {row["RID"]: (row["Status"], row["Status_Detail"]) for row in found}


def test_a_multiruns_children_are_adopted_with_their_parent(later: Any, ledger: Ledger) -> None:
    publisher = later.publisher(ledger)
    execution = later.execution(path=None)
    template = later.execution(commit=execution.provenance["commit"])
    rids = [deriva_mls_own(later, publisher, template, commit=c * 40)["RID"] for c in ("0", "1", "2")]
    links = [{"Execution": rids[0], "Nested_Execution": rid} for rid in rids[1:]]
    publisher.catalog.insert("Execution_Execution", links, once=False)
    ledger.add(execution)
    save(later, ledger, execution, rids[2])  # the last one that was made
    publisher.files = Files("train.py", template.entry_point["url"])
    outcome = publisher.publish(publisher.publications.take("", 1))
    asked = (execution.id, template.entry_point["checksum"], ["train.py"])
    assert publisher.files.asked == [asked] * 3
    assert len(outcome.said) == 1
    assert f"{rids[0]} and 2 more were linked to workflow" in outcome.said[0]
    rows = later.of(publisher, execution)
    assert {row["RID"] for row in rows} == set(rids)
    assert len({row["Workflow"] for row in rows}) == 1
    workflow = only(later.rows(publisher, "Workflow", f"RID={rows[0]['Workflow']}"))
    assert workflow["URL"] == template.entry_point["url"]
    assert publisher.publications.rids() == {rids[0]}


def test_older_siblings_of_what_was_made_stay_what_they_were(ours: Any, ledger: Ledger) -> None:
    publisher = ours.publisher(ledger)
    execution = ours.execution()
    parent, sibling, child = (
        deriva_mls_own(ours, publisher, execution, commit="0" * 40)["RID"] for _ in range(3)
    )
    kept = {rid: ours.catalog.tables["Execution"].rows[rid] for rid in (parent, sibling)}
    for row in kept.values():
        row["RCT"] = "2026-01-01T00:00:00.5+00:00"
    before = {rid: dict(row) for rid, row in kept.items()}
    links = [{"Execution": parent, "Nested_Execution": rid} for rid in (sibling, child)]
    publisher.catalog.insert("Execution_Execution", links, once=False)
    ledger.add(execution)
    save(ours, ledger, execution, child)
    ours.sync(ledger)
    assert kept == before
    assert only(ours.of(publisher, execution))["RID"] == child


@pytest.mark.parametrize("left_open", [True, False], ids=["left open", "closed by DerivaML"])
def test_a_row_that_deriva_ml_made_says_that_the_tree_changed(
    later: Any, ledger: Ledger, left_open: bool
) -> None:
    publisher = later.publisher(ledger)
    changed = [{"code": "unstaged", "path": "model.py", "message": "modified"}]
    execution = later.execution(changed_during_run=changed)
    own = deriva_mls_own(later, publisher, execution, commit=execution.provenance["commit"])
    if not left_open:
        status = {"Status": publisher.catalog.schema.status("Completed"), "Status_Detail": "fine"}
        publisher.catalog.update("Execution", {own["RID"]: status})
    ledger.add(execution)
    save(later, ledger, execution, own["RID"])
    later.sync(ledger)
    row = only(later.rows(publisher, "Execution", f"RID={own['RID']}"))
    told = "tree changed during the run: model.py"
    assert row["Status_Detail"] == f"{'exit 0' if left_open else 'fine'}; {told}"
    assert f"- {told}" in row["Description"].splitlines()


@pytest.mark.parametrize("owed", ["its end", "a changed tree", "unknown code", "other code"])
def test_what_a_withdrawn_right_leaves_undone_is_done_when_it_is_back(
    ours: Any, ledger: Ledger, owed: str
) -> None:
    publisher = ours.publisher(ledger)
    changed = [{"code": "unstaged", "path": "model.py", "message": "modified"}]
    unknown = owed == "unknown code"
    execution = ours.execution(
        path=None if unknown else "train.py", changed_during_run=changed if owed == "a changed tree" else []
    )
    template = ours.execution(commit=execution.provenance["commit"]) if unknown else execution
    commit = "0" * 40 if owed == "other code" else execution.provenance["commit"]
    own = deriva_mls_own(ours, publisher, template, commit=commit)
    row = ours.catalog.tables["Execution"].rows[own["RID"]]
    if owed != "its end":
        row |= {"Status": publisher.catalog.schema.status("Completed"), "Status_Detail": "fine"}
    before = dict(row)
    ledger.add(execution)
    save(ours, ledger, execution, own["RID"])
    ours.catalog.updates = False
    for _ in range(2):
        report = ours.sync(ledger)
        assert (report.published, report.left, row) == (0, 1, before)
        assert "HTTP 403" in report.reasons[0]["message"]
        assert "right" in report.reasons[0]["fix"]
    ours.catalog.updates = True
    report = ours.sync(ledger)
    assert (report.published, report.left) == (1, 0)
    assert not publisher.catalog.schema.is_open(row["Status"])
    assert (row["Workflow"] != own["Workflow"]) is (owed == "other code")
    assert ("tree changed" in row["Status_Detail"]) is (owed == "a changed tree")
    assert ("is no file of the commit" in row["Description"]) is unknown
    (known,) = everywhere(ledger, [execution.id])[execution.id]
    assert (known.state, known.error) == ("closed", None)


def test_a_row_whose_code_is_nowhere_in_the_commit_is_marked_and_not_relinked(
    later: Any, ledger: Ledger
) -> None:
    publisher = later.publisher(ledger)
    execution = later.execution(path=None)
    template = later.execution(commit=execution.provenance["commit"])
    own = deriva_mls_own(later, publisher, template, commit="0" * 40)
    publisher.files = Files(None)
    ledger.add(execution)
    save(later, ledger, execution, own["RID"])
    outcome = publisher.publish(publisher.publications.take("", 1))
    row = only(later.rows(publisher, "Execution", f"RID={own['RID']}"))
    assert row["Workflow"] == own["Workflow"]
    assert f"- code: `{template.entry_point['checksum']}` is no file of the commit" in row["Description"]
    assert "whose code is no file of" in "".join(outcome.said)


@pytest.mark.parametrize("path", ["train.py", "other.py"], ids=["same-content", "other-content"])
def test_a_workflow_whose_address_names_another_file_than_its_checksum_is_corrected(
    later: Any, ledger: Ledger, path: str
) -> None:
    publisher = later.publisher(ledger)
    execution = later.execution(path=None)
    commit = execution.provenance["commit"]
    code = later.execution(commit=commit)
    own = deriva_mls_own(later, publisher, code, commit=commit)
    at = code.entry_point["url"].replace("train.py", path)
    publisher.files = Files(path, at)
    ledger.add(execution)
    save(later, ledger, execution, own["RID"])
    publisher.publish(publisher.publications.take("", 1))
    row = only(later.rows(publisher, "Execution", f"RID={own['RID']}"))
    workflow = only(later.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
    assert (workflow["URL"], workflow["Checksum"]) == (at, code.entry_point["checksum"])


def test_a_workflow_whose_url_holds_a_secret_is_left(later: Any, ledger: Ledger) -> None:
    publisher = later.publisher(ledger)
    execution = later.execution()
    own = deriva_mls_own(later, publisher, execution, commit=execution.provenance["commit"])
    secret = execution.entry_point["url"].replace("://", "://ada:planted-secret-1@")
    publisher.catalog.update("Workflow", {own["Workflow"]: {"URL": secret}})
    ledger.add(execution)
    save(later, ledger, execution, own["RID"])
    later.sync(ledger)
    row = only(later.rows(publisher, "Execution", f"RID={own['RID']}"))
    workflow = only(later.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
    assert workflow["URL"] == execution.entry_point["url"]


def test_an_adopted_rows_file_is_stored_by_the_next_sync(ours: Any, ledger: Ledger) -> None:
    execution = ours.execution()
    publisher = ours.publisher(ledger)
    own = deriva_mls_own(ours, publisher, execution, commit=execution.provenance["commit"])
    store_environment(publisher, own["RID"], execution.id)
    ledger.add(execution)
    ours.server.faults.append(Fault(503, "PUT", "/hatrac/"))
    assert ours.sync(ledger).left == 1
    ours.server.faults.clear()
    assert ours.sync(ledger).published == 1
    assert only(ours.of(publisher, execution))["RID"] == own["RID"]
    (publication,) = everywhere(ledger, [execution.id])[execution.id]
    assert (publication.recorded_by, publication.asset is None) == ("deriva-ml", False)


def test_rows_are_known_by_the_environment_that_is_stored_with_them(later: Any, ledger: Ledger) -> None:
    publisher = later.publisher(ledger)
    execution = later.execution(path=None)
    mine = [deriva_mls_own(later, publisher, execution, commit="0" * 40) for _ in range(2)]
    theirs = deriva_mls_own(later, publisher, execution, commit="0" * 40)
    for row in mine:
        store_environment(publisher, row["RID"], execution.id)
    store_environment(publisher, theirs["RID"], str(uuid.uuid4()))
    ledger.add(execution)
    outcome = publisher.publish(publisher.publications.take("", 1))
    assert [done.publication.rid for done in outcome.done] == [mine[0]["RID"]]
    assert {row["RID"] for row in later.of(publisher, execution)} == {row["RID"] for row in mine}


def test_a_row_of_the_same_code_at_the_same_time_is_not_taken_for_ours(later: Any, ledger: Ledger) -> None:
    publisher = later.publisher(ledger, recorded_by="deriva-ml")
    execution = later.execution(path="analysis.ipynb")
    theirs = deriva_mls_own(later, publisher, execution, commit="0" * 40)
    ledger.add(execution)
    publisher.publish(publisher.publications.take("", 1))
    assert only(later.of(publisher, execution))["RID"] != theirs["RID"]
    unchanged = only(later.rows(publisher, "Execution", f"RID={theirs['RID']}"))
    assert {**unchanged, "RMT": theirs["RMT"]} == theirs


def test_a_dry_run_of_deriva_mls_own_is_not_published(later: Any, ledger: Ledger) -> None:
    publisher = later.publisher(ledger, recorded_by="deriva-ml")
    execution = later.execution()
    ledger.add(execution)
    save(later, ledger, execution, "0000")
    (work,) = publisher.publications.take("", 1)
    work = replace(work, publication=replace(work.publication, recorded_by="deriva-ml"))
    outcome = publisher.publish([work])
    assert "a dry run" in outcome.said[0]
    assert later.of(publisher, execution) == []
    assert publisher.publications.waiting() == 0
