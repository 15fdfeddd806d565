"""The id of an execution, and its JSON form."""

from __future__ import annotations

import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from deriva_ml_hooks.executions.record import Execution, new_id, now

RECORD = Execution(
    id="01890000-0000-7000-8000-000000000000",
    status="Completed",
    exit_code=0,
    signal=None,
    detail=None,
    started_at="2026-01-01T00:00:00.000+00:00",
    ended_at="2026-01-01T00:00:01.000+00:00",
    duration=1.0,
    description=None,
    command=("python", "x.py"),
    cwd=".",
    host="here",
    pid=1,
    process="boot/1",
    entry_point={"path": "x.py"},
    provenance={"commit": "c" * 40},
    warnings=[],
    changed_during_run=[],
)


def test_an_id_is_a_uuid_of_version_7_and_holds_the_time_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = [new_id() for _ in range(500)]
    after = time.time_ns() // 1_000_000
    for text in made:
        value = uuid.UUID(text)
        assert str(value) == text
        assert value.version == 7
        assert value.variant == uuid.RFC_4122
        assert before <= value.int >> 80 <= after


def test_ids_of_later_milliseconds_sort_behind() -> None:
    earlier = new_id()
    stamp = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= stamp:
        continue
    assert earlier < new_id()


def test_no_two_ids_are_the_same() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_id(), range(20_000)))
    assert len(set(made)) == len(made)


def test_times_are_in_utc_to_the_millisecond() -> None:
    text = now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", text)
    assert abs(datetime.fromisoformat(text) - datetime.now(timezone.utc)).total_seconds() < 60


def test_the_json_form_has_the_fields_that_were_promised() -> None:
    document = RECORD.as_json()
    promised = (
        "id status exit_code signal started_at ended_at duration description command cwd host pid entry_point"
        " provenance changed_during_run commit"
    )
    assert set(promised.split()) <= document.keys()
    assert document["command"] == ["python", "x.py"]
    assert document["commit"] == "c" * 40
