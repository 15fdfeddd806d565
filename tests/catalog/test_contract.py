"""What a catalog is left with, whatever form its schema has, whatever its policy, whoever serves it."""

from __future__ import annotations

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
from deriva_ml_hooks.catalog.errors import CatalogError, LoginError
from deriva_ml_hooks.catalog.sync import sync
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Work
from deriva_ml_hooks.executions.record import Execution

Publish = Callable[..., Work]


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1
    return rows[0]


def running(execution: Execution) -> Execution:
    """The same, before it ended."""
    return replace(execution, status="Running", exit_code=None, ended_at=None, duration=None)


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
    if publisher.catalog.schema.type_column:
        assert workflow["Workflow_Type"] == place.type
    else:
        linked = place.rows(publisher, "Workflow_Workflow_Type", f"Workflow={workflow['RID']}")
        assert only(linked)["Workflow_Type"] == place.type


def test_a_running_one_is_closed_later(place: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = place.publisher(ledger)
    ended = place.execution(status="Failed", exit_code=3, duration=61.5)
    assert publish(running(ended), publisher).publication.state == "published"
    row = only(place.of(publisher, ended))
    assert (row["Status"], row["Status_Detail"]) == ("Running", None)
    publish(ended, publisher)
    row = only(place.of(publisher, ended))
    assert (row["Status"], row["Status_Detail"]) == ("Failed", "exit 3")
    assert row[publisher.catalog.schema.duration_column] == "0.0H 1.0min 1.5sec"


def test_publishing_again_adds_nothing(place: Any, ledger: Ledger, publish: Publish, tmp_path: Path) -> None:
    publisher = place.publisher(ledger)
    execution = place.execution()
    first = publish(execution, publisher)
    assert publisher.publish([first]).done[0].publication.rid == first.publication.rid
    # As after a kill before the ledger was told: it knows nothing of the row.
    forgetful = place.publisher(Ledger(str(tmp_path / "other.sqlite3")))
    assert publish(execution, forgetful).publication.rid == first.publication.rid
    assert len(place.of(publisher, execution)) == 1
    assert len(place.rows(publisher, "Workflow", f"URL::regexp::{place.mark}")) == 1


def test_sync_publishes_everything_once(place: Any, ledger: Ledger) -> None:
    commits = [uuid.uuid4().hex + "01234567" for _ in range(3)]
    made = [place.execution(commit=commits[i % 3], path=f"{i % 2}.py") for i in range(30)]
    made.sort(key=lambda execution: execution.id)  # several were made within one millisecond
    for execution in made:
        ledger.add(execution)
    publisher = place.publisher(ledger)
    first = sync(publisher, limit=10)
    assert (first.published, first.left) == (10, 20)
    assert all(len(place.of(publisher, e)) == (1 if i < 10 else 0) for i, e in enumerate(made))
    second = place.sync(ledger)
    assert (second.published, second.left, second.reasons) == (20, 0, [])
    third = place.sync(ledger)
    assert (third.published, third.left) == (0, 0)
    for execution in made:
        row = only(place.of(publisher, execution))
        workflow = only(place.rows(publisher, "Workflow", f"RID={row['Workflow']}"))
        assert workflow["URL"] == execution.entry_point["url"]
    assert len(place.rows(publisher, "Workflow", f"URL::regexp::{place.mark}")) == 6


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
    later: Any, ledger: Ledger, publish: Publish, changes: dict[str, Any], status: str | None, detail: str
) -> None:
    publisher = later.publisher(ledger)
    execution = later.execution(**changes)
    publish(execution, publisher)
    row = only(later.of(publisher, execution))
    assert status in (None, row["Status"])
    assert row["Status_Detail"].startswith(detail)


def test_a_workflow_is_found_by_url_and_checksum_together(
    later: Any, ledger: Ledger, publish: Publish
) -> None:
    publisher = later.publisher(ledger)
    one, again = later.execution(), later.execution()
    again = replace(again, entry_point=one.entry_point, provenance=one.provenance)
    other = later.execution()  # the same file, so the same checksum, in another commit
    assert other.entry_point["checksum"] == one.entry_point["checksum"]
    first, second, third = (publish(e, publisher).publication.workflow for e in (one, again, other))
    assert first == second != third
    assert len(later.rows(publisher, "Workflow", f"URL::regexp::{later.mark}")) == 2


def test_a_row_that_was_deleted_is_not_made_again(later: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = later.publisher(ledger)
    ended = later.execution()
    rid = publish(running(ended), publisher).publication.rid
    publisher.catalog.client.delete(f"/entity/deriva-ml:Execution/RID={rid}")
    closed = publish(ended, publisher)
    assert (closed.publication.state, closed.publication.error) == ("closed", executions.GONE)
    assert later.of(publisher, ended) == []


def test_the_tree_as_a_whole_is_a_workflow_too(later: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = later.publisher(ledger, workflow_name="Everything")
    execution = later.execution(path=None)
    publish(execution, publisher)
    row = only(later.of(publisher, execution))
    assert only(later.rows(publisher, "Workflow", f"RID={row['Workflow']}"))["Name"] == "Everything"


def test_an_unknown_workflow_type_names_the_near_one(later: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = later.publisher(ledger, workflow_type=(later.type + "x",))
    execution = later.execution()
    with pytest.raises(CatalogError) as raised:
        publish(execution, publisher)
    assert raised.value.fix == f"did you mean {later.type}?"
    assert later.rows(publisher, "Workflow", f"URL::regexp::{later.mark}") == []
    assert later.of(publisher, execution) == []


def test_a_missing_schema_or_catalog_is_told(later: Any, ledger: Ledger) -> None:
    with pytest.raises(CatalogError, match="no schema nowhere"):
        later.publisher(ledger, schema="nowhere")
    missing = replace(later.settings().address, id="does-not-exist")
    with pytest.raises(CatalogError, match="HTTP 404"):
        later.publisher(ledger, address=missing)


def test_strange_text_arrives(later: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = later.publisher(ledger)
    odd = "100% `quoted` \N{SNOWMAN} \udcff \x00 \n- a list & <b>; (x)=y"
    words = ["sh", "-c", odd.replace("\0", "")]  # no argument can hold one
    execution = later.execution(path="sub dir/a&b;c=(d),e.py", description=odd, command=words)
    publish(execution, publisher)
    text = only(later.of(publisher, execution))["Description"]
    assert text.startswith("100% `quoted` \N{SNOWMAN} \\xff \\x00 \n- a list & <b>; (x)=y\n\nderiva-ml-hooks")
    assert "- command: ``sh -c '100% `quoted`" in text


def test_the_provenance_is_one_file_for_a_commit(later: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = later.publisher(ledger)
    one = later.execution()
    two = replace(later.execution(), entry_point=one.entry_point, provenance=one.provenance)
    first, second = publish(one, publisher).publication, publish(two, publisher).publication
    if later.server is None and first.asset is None:
        pytest.skip("no Hatrac there that takes files")
    assert first.asset == second.asset
    assert first.asset is not None
    asset = only(later.rows(publisher, "Execution_Metadata", f"RID={first.asset}"))
    assert asset["Filename"] == "deriva-ml-hooks-provenance.json"
    links = later.rows(publisher, "Execution_Metadata_Execution", f"Execution_Metadata={first.asset}")
    assert {(row["Execution"], row["Asset_Role"]) for row in links} == {
        (first.rid, "Output"),
        (second.rid, "Output"),
    }
    types = later.rows(publisher, "Execution_Metadata_Asset_Type", f"Execution_Metadata={first.asset}")
    assert [row["Asset_Type"] for row in types] == ["Execution_Metadata"]


def test_what_never_started_is_not_published(later: Any, ledger: Ledger) -> None:
    execution = later.execution(status="Aborted", exit_code=None, detail="not started: no right")
    ledger.add(execution)
    publisher = later.publisher(ledger)
    assert (later.sync(ledger).left, later.of(publisher, execution)) == (0, [])


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
        assert not any(method != "GET" and "Lease" not in path for method, path in place.server.seen)


def test_that_workflows_get_no_type_is_told(ours: Any, ledger: Ledger) -> None:
    (point,) = [p for p in examine(ours.settings(workflow_type=())) if p.name == "workflow types"]
    assert (point.fine, "workflow-type is not set" in point.found) == (None, True)
    notes = ours.sync(ledger, workflow_type=()).notes
    assert any("workflow-type is not set" in line for line in notes)


def test_a_row_that_cannot_be_closed_stays_open_here(ours: Any, ledger: Ledger, publish: Publish) -> None:
    publisher = ours.publisher(ledger)
    execution = ours.execution()
    publish(running(execution), publisher)
    ledger.close(execution)
    ours.catalog.updates = False
    for _ in range(2):
        report = ours.sync(ledger)
        assert (report.published, report.left) == (0, 1)
        assert "HTTP 403" in report.reasons[0]["message"]
    ours.catalog.updates = True
    report = ours.sync(ledger)
    assert (report.published, report.left) == (1, 0)
    assert only(ours.of(publisher, execution))["Status_Detail"] == "exit 0"


def test_without_the_right_to_update_a_run_is_published_when_it_has_ended(
    ours: Any, ledger: Ledger, publish: Publish
) -> None:
    ours.catalog.updates = False
    publisher = ours.publisher(ledger)
    execution = ours.execution()
    publish(running(execution), publisher)
    assert ours.of(publisher, execution) == []
    ledger.close(execution)
    for _ in range(2):  # the second time the file, which is not there the first time
        ours.server.faults[:] = [] if ours.server.faults else [Fault(503, "PUT", "/hatrac/")]
        ours.sync(ledger)
        assert only(ours.of(publisher, execution))["Status"] == "Uploaded"
    assert publisher.publications.waiting() == 0


def test_a_login_that_has_expired_is_told(ours: Any, ledger: Ledger) -> None:
    ours.catalog.open = True  # who is not logged in may see what tables there are, and no rows
    ours.server.cookies.pop("good")
    ledger.add(ours.execution())
    with pytest.raises(LoginError, match="nobody is logged in"):
        ours.sync(ledger)
    ours.server.cookies["good"] = catalog_server.USER
    assert ours.sync(ledger).published == 1


def test_a_file_that_was_not_stored_is_stored_by_the_next_sync(ours: Any, ledger: Ledger) -> None:
    execution = ours.execution()
    ledger.add(execution)
    publisher = ours.publisher(ledger)
    ours.server.faults.append(Fault(503, "PUT", "/hatrac/"))
    report = ours.sync(ledger)
    assert (report.published, report.left) == (0, 1)
    assert "its row is there, its provenance file is not" in report.reasons[0]["message"]
    ours.server.faults.clear()
    report = ours.sync(ledger)
    assert (report.published, report.left) == (1, 0)
    row = only(ours.of(publisher, execution))
    assert len(ours.rows(publisher, "Execution_Metadata_Execution", f"Execution={row['RID']}")) == 1


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


def test_two_copies_of_a_ledger_make_one_row_whoever_comes_in_between(ours: Any, ledger: Ledger) -> None:
    first = ours.execution()
    ledger.add(first)
    assert ours.sync(ledger).published == 1  # the workflow is there: the only lease is the row's
    execution = ours.execution(commit=first.provenance["commit"])
    copy = Ledger(f"{ledger.path}.copy")
    for each in (ledger, copy):
        each.add(execution)
    fault = Fault("call", "POST", "Lease", times=1, call=lambda: ours.sync(copy))
    ours.server.faults.append(fault)
    assert ours.sync(ledger).published == 1
    other = ours.publisher(copy)
    assert other.publications.waiting() == 0
    assert len(ours.of(other, execution)) == 1


def test_a_sync_asks_no_oftener_for_more_workflows(ours: Any, ledger: Ledger) -> None:
    made = [ours.execution(path=f"{number}.py") for number in range(40)]
    for execution in sorted(made, key=lambda execution: execution.id):
        ledger.add(execution)
    ours.server.hatrac = False  # which takes one file for each commit
    assert ours.sync(ledger).published == 40
    assert len(ours.server.seen) <= 20


def test_an_answer_that_swells_when_it_is_unpacked_is_not_taken(ours: Any, ledger: Ledger) -> None:
    publisher = ours.publisher(ledger)
    ours.server.faults.append(Fault("swell", "GET", times=1))
    tracemalloc.start()
    try:
        with pytest.raises(CatalogError, match="more than 64 MB"):
            publisher.catalog.client.get("/schema/deriva-ml")
        assert tracemalloc.get_traced_memory()[1] < 200 * 10**6
    finally:
        tracemalloc.stop()


def test_what_tests_leave_on_a_server_is_taken_away(
    ours: Any, ledger: Ledger, publish: Publish, tidy: Callable[..., None]
) -> None:
    before = {name: set(table.rows) for name, table in ours.catalog.tables.items()}
    publisher = ours.publisher(ledger)
    publish(ours.execution(), publisher)
    assert {name: set(table.rows) for name, table in ours.catalog.tables.items()} != before
    tidy(ours, publisher)
    assert {name: set(table.rows) for name, table in ours.catalog.tables.items()} == before
    assert ours.server.objects == {}
