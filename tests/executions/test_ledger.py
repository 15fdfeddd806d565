"""The ledger: real files, real interpreters beside each other, and real kills."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.cli import main
from deriva_ml_hooks.errors import LedgerError, NoSuchExecutionError
from deriva_ml_hooks.executions import ledger as ledgers
from deriva_ml_hooks.executions import processes, schema
from deriva_ml_hooks.executions.ledger import SCHEMA, Ledger
from deriva_ml_hooks.executions.publications import Publication, Publications, everywhere
from deriva_ml_hooks.executions.record import Execution, begun, now
from deriva_ml_hooks.executions.rows import COLUMNS, Damaged

PROVENANCE = {
    "schema": 1,
    "commit": "0" * 40,
    "tree": "1" * 40,
    "committed_at": "2026-01-01T00:00:00+00:00",
    **dict.fromkeys(("branch", "tag", "tag_object", "version"), None),
    **dict.fromkeys(("repository_url", "commit_url", "remote", "pushed"), None),
    "submodules": [],
    "lockfiles": [],
    "shallow": False,
}


def made(**values: Any) -> Execution:
    """An execution that this process could have begun."""
    code = {"path": None, "blob": None, "checksum": "0" * 40, "url": "file:///x"}
    told = {"command": ["true"], "entry_point": code, "provenance": PROVENANCE}
    return begun(**(told | values))


def edited(ledger: Ledger, column: str, value: Any, execution_id: str) -> None:
    """What a hand, or another program, can do to a row."""
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE executions SET {column} = ? WHERE id = ?", (value, execution_id))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path / "ledger" / "executions.sqlite3"))


def integrity(path: str | Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_what_was_added_is_read_again(ledger: Ledger) -> None:
    execution = made(
        description="first\ntry",
        command=["python", "x y.py", "--n=1"],
        warnings=[{"code": "unpushed", "path": None, "message": "m", "fix": "f"}],
    )
    ledger.add(execution)
    assert ledger.newest() == [execution]
    assert ledger.find(execution.id) == execution


def test_closing_replaces_the_row(ledger: Ledger) -> None:
    execution = made()
    ledger.add(execution)
    closed = replace(execution, status="Failed", exit_code=3, duration=0.25, ended_at=now())
    ledger.close(closed)
    assert ledger.newest() == [closed]


def test_no_secret_of_whatever_field_reaches_the_disk(ledger: Ledger) -> None:
    secret = "https://ada:hunter2-hidden@example.org/x"
    document = {"path": secret, "sha256": "0", "code": secret, "message": secret}
    execution = made(
        **dict.fromkeys(("description", "detail", "cwd"), secret),
        command=["curl", "--password", "hunter2-hidden", secret],
        entry_point={"path": secret, "blob": None, "checksum": None, "url": secret},
        provenance={**PROVENANCE, "repository_url": secret},
        warnings=[document],
        changed_during_run=[document],
        notebook={"parameters": {"api_key": "hunter2-hidden"}, "output": secret},
        agent={"name": secret, "email": secret, "account": None},
        stdin={"kind": "file", "path": "x?token=hunter2-hidden"},
        results=[document],
        job={"submitter": "sbatch", "id": None, "host": secret, "at": now()},
        interpreter={"executable": secret},
    )
    ledger.add(execution)
    ledger.close(execution)
    publications = Publications(ledger, "host/1")
    publications.failed(f"no answer from {secret}")
    publications.put([Publication(execution.id, "host/2", error=secret)])
    assert (ledger.find(execution.id).agent or {})["name"] == "https://***@example.org/x"
    assert b"hunter2" not in Path(ledger.path).read_bytes()


@pytest.mark.parametrize("text", ["caf\udce9", "line\nbreak", "'; DROP TABLE executions; --", "日本", ""])
def test_any_text_that_a_file_name_can_be_survives(ledger: Ledger, text: str) -> None:
    execution = made(cwd=text, description=text, detail=text, command=[text])
    ledger.add(execution)
    assert ledger.newest() == [execution]
    assert json.loads(json.dumps(ledger.newest()[0].as_json()))["cwd"] == text


def test_a_ledger_of_an_earlier_schema_takes_jobs_and_keeps_its_rows(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(description="caf\udce9", notebook={"parameters": {"a": 1}})
    with monkeypatch.context() as before:
        steps = [
            step.replace("'Submitted', ", "")
            for step in schema.MIGRATIONS[: schema.MIGRATIONS.index(schema._JOBS)]
        ]
        before.setattr(schema, "MIGRATIONS", steps)
        before.setattr(schema, "SCHEMA", len(steps))
        before.setattr(ledgers, "COLUMNS", COLUMNS[: COLUMNS.index("job")])
        ledger.add(first)
        with pytest.raises(LedgerError, match="CHECK"):
            ledger.add(made(status="Submitted"))
    assert ledger.newest() == [first]
    job = {"submitter": "sbatch", "id": "1", "host": "login", "at": now()}
    second = made(status="Submitted", job=job)
    ledger.add(second)
    assert ledger.newest() == [second, first]
    assert integrity(ledger.path) == "ok"


def test_a_job_is_not_published_before_it_runs(ledger: Ledger) -> None:
    waiting, running = made(status="Submitted"), made()
    ledger.add(waiting)
    ledger.add(running)
    publications = Publications(ledger, "host/1")
    assert publications.waiting() == 1
    assert [work.execution for work in publications.take("", 10)] == [running]


def test_a_row_is_changed_only_as_it_is_by_then(ledger: Ledger) -> None:
    first = made(status="Submitted")
    ledger.add(first)
    running = replace(first, status="Running")
    for expected in (True, False):
        changed = ledger.change(first.id, lambda row: running if row.status == "Submitted" else None)
        assert changed is expected
    assert ledger.newest() == [running]
    assert ledger.change("0" * 36, lambda row: row) is False


def test_a_row_is_durable_and_the_journal_is_no_write_ahead_log(ledger: Ledger) -> None:
    ledger.add(made())
    connection = sqlite3.connect(ledger.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    connection.close()
    assert os.listdir(os.path.dirname(ledger.path)) == ["executions.sqlite3"]
    with ledger.transaction("BEGIN") as (own, _):
        assert own.execute("PRAGMA synchronous").fetchone() == (3,)


def test_reading_makes_no_ledger(ledger: Ledger) -> None:
    assert ledger.newest() == []
    with pytest.raises(NoSuchExecutionError):
        ledger.find("01")
    assert not os.path.exists(os.path.dirname(ledger.path))


def test_the_newest_come_first_and_only_as_many_as_asked_for(ledger: Ledger) -> None:
    ids = [f"0189000{n}-0000-7000-8000-000000000000" for n in range(5)]
    for execution_id in (ids[2], ids[0], ids[4], ids[1], ids[3]):
        ledger.add(made(id=execution_id))
    assert [e.id for e in ledger.newest()] == ids[::-1]
    assert [e.id for e in ledger.newest(2)] == ids[:2:-1]


class TestFinding:
    IDS = (
        "01890000-0000-7000-8000-000000000000",
        "01890000-0000-7000-8000-0000000000ff",
        "01890001-0000-7000-8000-000000000000",
    )

    @pytest.fixture(autouse=True)
    def rows(self, ledger: Ledger) -> None:
        for execution_id in self.IDS:
            ledger.add(made(id=execution_id))

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("01890001", 2),
            ("01890001-", 2),
            ("01890000-0000-7000-8000-0000000000f", 1),
            ("01890000-0000-7000-8000-0000000000FF", 1),
            (IDS[0], 0),
        ],
    )
    def test_enough_of_an_id_finds_it(self, ledger: Ledger, prefix: str, expected: int) -> None:
        assert ledger.find(prefix).id == self.IDS[expected]

    @pytest.mark.parametrize("prefix", ["0", "0189", "01890000-0000-7"])
    def test_too_little_names_the_candidates(self, ledger: Ledger, prefix: str) -> None:
        with pytest.raises(NoSuchExecutionError, match=self.IDS[0]) as caught:
            ledger.find(prefix)
        assert "give more" in caught.value.fix

    @pytest.mark.parametrize("prefix", ["", "02", "zz", "%", "_", "01890000_", "\udce9"])
    def test_what_begins_no_id_finds_nothing(self, ledger: Ledger, prefix: str) -> None:
        with pytest.raises(NoSuchExecutionError, match="no execution") as caught:
            ledger.find(prefix)
        assert "executions list" in caught.value.fix


class TestLost:
    def test_a_running_row_of_a_process_that_is_gone_is_shown_as_aborted(self, ledger: Ledger) -> None:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
            execution = made(pid=child.pid, process=processes.identity(child.pid))
            ledger.add(execution)
            assert ledger.newest()[0].status == "Running"
        shown = ledger.newest()[0]
        assert (shown.status, shown.detail) == ("Aborted", "lost")

    def test_a_reused_pid_is_not_taken_for_the_runner(self, ledger: Ledger) -> None:
        ledger.add(made(process="another boot/1"))
        assert ledger.newest()[0].detail == "lost"

    def test_of_another_host_nothing_can_be_said(self, ledger: Ledger) -> None:
        ledger.add(made(host="elsewhere.example.org", process="another boot/1"))
        assert ledger.newest()[0].status == "Running"

    def test_a_closed_row_stays_as_it_was_closed(self, ledger: Ledger) -> None:
        execution = made(process="another boot/1", status="Completed", exit_code=0)
        ledger.add(execution)
        assert ledger.newest() == [execution]


class TestUnusable:
    """Whatever cannot be a ledger is an error with a way out, and stays as it is."""

    def refused(self, ledger: Ledger) -> LedgerError:
        path = Path(ledger.path)
        before = path.read_bytes() if path.is_file() else None
        for action in (
            lambda: ledger.add(made()),
            lambda: ledger.close(made()),
            lambda: ledger.newest(),
            lambda: ledger.find("01"),
        ):
            with pytest.raises(LedgerError) as caught:
                action()
            assert ledger.path in str(caught.value)
            assert caught.value.fix
        assert (path.read_bytes() if path.is_file() else None) == before
        return caught.value

    @pytest.fixture(autouse=True)
    def folder(self, ledger: Ledger) -> None:
        os.mkdir(os.path.dirname(ledger.path))

    def test_a_folder_in_its_place(self, ledger: Ledger) -> None:
        os.mkdir(ledger.path)
        self.refused(ledger)

    def test_a_text_file(self, ledger: Ledger) -> None:
        Path(ledger.path).write_text("not a database, and long enough to have a header\n" * 40)
        self.refused(ledger)

    def test_a_ledger_of_a_newer_schema(self, ledger: Ledger) -> None:
        ledger.add(made())
        connection = sqlite3.connect(ledger.path)
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        connection.close()
        error = self.refused(ledger)
        assert "newer" in str(error)
        assert "upgrade" in error.fix

    def test_somebody_elses_database(self, ledger: Ledger) -> None:
        connection = sqlite3.connect(ledger.path)
        connection.execute("CREATE TABLE runs (id)")
        connection.close()
        self.refused(ledger)

    @pytest.mark.parametrize("kept", [0.25, 0.5, 0.95])
    def test_a_ledger_that_was_cut_off(self, ledger: Ledger, kept: float) -> None:
        for _ in range(40):
            ledger.add(made(description="x" * 300))
        os.truncate(ledger.path, int(os.path.getsize(ledger.path) * kept))
        self.refused(ledger)

    def test_a_ledger_whose_pages_are_garbage(self, ledger: Ledger) -> None:
        for _ in range(40):
            ledger.add(made(description="x" * 300))
        with open(ledger.path, "r+b") as file:
            file.seek(100)
            file.write(os.urandom(os.path.getsize(ledger.path) - 100))
        self.refused(ledger)


def test_a_ledger_that_a_kill_left_empty_is_a_ledger_without_rows(ledger: Ledger) -> None:
    os.mkdir(os.path.dirname(ledger.path))
    Path(ledger.path).touch()
    assert ledger.newest() == []
    with pytest.raises(NoSuchExecutionError):
        ledger.find("01")
    execution = made()
    ledger.add(execution)
    assert ledger.newest() == [execution]


def test_a_folder_that_cannot_be_made_is_a_ledger_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(str(tmp_path / "file" / "ledger.sqlite3"))
    with pytest.raises(LedgerError):
        ledger.add(made())
    with pytest.raises(LedgerError):
        ledger.folder_of("01")


WRITER = """
import sys
from dataclasses import replace
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.record import begun

ledger = Ledger(sys.argv[1])
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    provenance = {"commit": "0" * 40, "filler": "x" * 900}
    execution = begun(command=["run", str(number)], entry_point={}, provenance=provenance)
    ledger.add(execution)
    ledger.close(replace(execution, status="Completed", exit_code=0))
"""


@pytest.mark.slow
def test_sixteen_writers_at_once_lose_no_row_and_wait_for_each_other(ledger: Ledger) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, ledger.path, "50"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(16)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    for writer in writers:
        assert writer.stderr is not None
        said = writer.stderr.read().decode()
        writer.stderr.close()
        assert writer.wait() == 0, said
    rows = ledger.newest()
    assert len(rows) == 16 * 50
    assert {row.status for row in rows} == {"Completed"}
    assert {(row.pid, row.command[1]) for row in rows} == {
        (writer.pid, str(number)) for writer in writers for number in range(50)
    }
    assert integrity(ledger.path) == "ok"


KILLED = """
import os, signal, sys
from deriva_ml_hooks.cli import main

at, lines = int(sys.argv[1]), 0

def count(frame, event, argument):
    global lines
    if not frame.f_code.co_filename.endswith(("ledger.py", "recorded.py", "child.py")):
        return None
    lines += 1
    if lines == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return count

sys.settrace(count)
code = main(["run", "--", *sys.argv[3:]])
sys.settrace(None)
os.write(int(sys.argv[2]), str(lines).encode())
sys.exit(code)
"""


@pytest.mark.slow
def test_a_kill_of_the_runner_at_any_moment_leaves_a_readable_ledger_and_the_row(
    repo: Any, tmp_path: Path
) -> None:
    """Killed at 24 lines of the runner, evenly spread, in one repository."""
    path = repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3"
    marker = tmp_path / "marker"

    def killed(at: int) -> tuple[int, str]:
        marker.unlink(missing_ok=True)
        reading, writing = os.pipe()
        command = ["sh", "-c", f"echo $DERIVA_ML_HOOKS_EXECUTION > {marker}"]
        runner = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(at), str(writing), *command],
            cwd=repo.path,
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as progress:
            said = progress.read()  # until runner and command have both ended: both hold the other end
        return runner.wait(), said

    killed(0)  # makes the ledger: a longer way
    code, lines = killed(0)
    assert code == 0
    moments = [int(lines) * i // 25 for i in range(1, 25)]  # a run has some lines more or less than another
    started = 0
    for at in moments:
        code, _ = killed(at)
        assert code == -signal.SIGKILL, at
        assert integrity(path) == "ok"
        listed = {execution.id: execution for execution in Ledger(str(path)).newest()}
        assert all(execution.status != "Running" for execution in listed.values())
        if marker.exists():
            started += 1
            row = listed[marker.read_text().strip()]
            assert (row.status, row.detail) in [("Aborted", "lost"), ("Completed", None)], at
    assert 3 <= started < 24
    assert not list(path.parent.glob("*-journal"))


def changed_in(column: str, **values: Any) -> str:
    """The JSON of a column with some of its keys changed."""
    return json.dumps(getattr(made(), column) | values)


DAMAGED = [
    ("status", "Finished"),
    ("status", b"Running"),
    ("exit_code", "seven"),
    ("signal", 1.5),
    ("detail", b"\xff"),
    ("started_at", b"2026"),
    ("ended_at", b"7"),
    ("duration", "long"),
    ("duration", float("inf")),
    ("description", b"blob"),
    ("command", "python x.py"),
    ("command", "[]"),
    ("command", "[1]"),
    ("cwd", b"."),
    ("cwd", "a\0b"),
    ("host", b"here"),
    ("pid", "many"),
    ("pid", b"1"),
    ("process", b"boot"),
    ("entry_point", "[" * 100_000),
    ("entry_point", changed_in("entry_point", path=7)),
    ("entry_point", changed_in("entry_point", path="a\0b")),
    ("provenance", "{}"),
    ("provenance", "null"),
    ("provenance", changed_in("provenance", commit=None)),
    ("provenance", changed_in("provenance", tag=["v1"])),
    ("provenance", changed_in("provenance", lockfiles=[{"path": "uv.lock"}])),
    ("provenance", changed_in("provenance", submodules="x")),
    ("warnings", '["w"]'),
    ("warnings", "[{}]"),
    ("changed_during_run", '[{"code": "head"}]'),
    ("environment", '["A", 1]'),
    ("isolated", "1"),
    ("rerun_of", b"x"),
    ("notebook", '{"output": 7}'),
    ("notebook", '{"parameters": []}'),
    ("id", "../../etc/passwd"),
    ("id", b"\x01\x89"),
    ("id", "it's; --"),
]


@pytest.mark.parametrize(("column", "value"), DAMAGED)
def test_whatever_is_odd_in_a_row_is_told_of_that_row_and_stops_no_other(
    ledger: Ledger, column: str, value: Any
) -> None:
    first, second, third = made(), made(), made()
    for execution in (first, second, third):
        ledger.add(execution)
    edited(ledger, column, value, second.id)
    rows = list(ledger.rows())
    sound = [row for row in rows if isinstance(row, Execution)]
    assert sorted(row.id for row in sound) == sorted([first.id, third.id])
    [damaged] = [row for row in rows if isinstance(row, Damaged)]
    assert damaged.problem
    with pytest.raises(LedgerError) as caught:
        ledger.sound(damaged)
    assert "sqlite3" in caught.value.fix
    if column != "id":
        assert damaged.id == second.id
        with pytest.raises(LedgerError, match=second.id):
            ledger.find(second.id)
    assert ledger.find(third.id) == third


def test_a_pid_that_no_system_has_is_one_that_is_gone(ledger: Ledger) -> None:
    ledger.add(made(pid=2**62, process=None))
    assert ledger.newest()[0].detail == "lost"


def test_rows_are_read_a_page_at_a_time_and_keep_no_writer_out(ledger: Ledger) -> None:
    """A reader in the middle of its walk: a row can be written, and closed, without waiting for it."""
    ledger.add(made())
    with contextlib.closing(sqlite3.connect(ledger.path)) as connection, connection:
        connection.execute("CREATE TEMP TABLE one AS SELECT * FROM executions")
        for number in range(1_200):
            connection.execute("UPDATE one SET id = ?", (f"00000000-{number:04x}",))
            connection.execute("INSERT INTO executions SELECT * FROM one")
    rows = ledger.rows()
    first = [next(rows) for _ in range(3)]
    added = made()
    with ledger.transaction("BEGIN EXCLUSIVE"):
        pass
    ledger.add(added)
    ids = [row.id for row in (*first, *rows)]
    assert len(ids) == 1_201
    assert ids == sorted(ids, reverse=True)
    assert added.id not in ids


OTHER = """\
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def refused_to_others(path: str) -> str:
    """What another process is told that wants to write there."""
    words = [sys.executable, "-c", OTHER, path]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param(lambda ledger: ledger.newest(), id="reads-rows"),
        pytest.param(lambda ledger: everywhere(ledger, ["0"]), id="reads-publications"),
        pytest.param(lambda ledger: Ledger(ledger.path)._make(), id="makes-it"),
    ],
)
def test_a_transaction_keeps_its_lock_whatever_else_this_process_does_with_the_ledger(
    ledger: Ledger, meanwhile: Any
) -> None:
    # The kernel drops a process's locks on a file when any descriptor of it is closed.
    ledger.add(made())
    with ledger.transaction("BEGIN IMMEDIATE"):
        assert refused_to_others(ledger.path) == "database is locked"
        meanwhile(ledger)
        assert refused_to_others(ledger.path) == "database is locked"
    assert refused_to_others(ledger.path) == ""


class TestLostAndFound:
    """What happens to a ledger while a command runs must not lose the record of the run."""

    @pytest.mark.parametrize("what", ["the file", "the folder", "the row", "another in its place", "emptied"])
    def test_a_record_that_is_gone_is_written_again_when_it_is_closed(
        self, ledger: Ledger, tmp_path: Path, what: str
    ) -> None:
        execution, other = made(), made()
        ledger.add(execution)
        if what == "the file":
            os.unlink(ledger.path)
        elif what == "the folder":
            shutil.rmtree(os.path.dirname(ledger.path))
        elif what == "the row":
            with contextlib.closing(sqlite3.connect(ledger.path)) as connection, connection:
                connection.execute("DELETE FROM executions")
        elif what == "emptied":
            os.truncate(ledger.path, 0)
        else:
            Ledger(str(tmp_path / "other")).add(other)
            os.replace(tmp_path / "other", ledger.path)
        closed = replace(execution, status="Completed", exit_code=0, ended_at=now(), duration=0.1)
        assert not ledger.close(closed)
        assert closed in ledger.newest()
        assert os.stat(ledger.path).st_mode & 0o777 == 0o600
        assert ledger.close(closed)
        assert ledger.newest().count(closed) == 1

    def test_the_program_says_so_and_keeps_the_record(
        self, repo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(repo.path)
        assert main(["run", "--", "rm", "-r", ".git/deriva-ml-hooks"]) == 0
        assert "was gone from the ledger, and is written to it again" in capsys.readouterr().err
        assert main(["executions", "list", "--json"]) == 0
        assert [e["status"] for e in json.loads(capsys.readouterr().out)] == ["Completed"]

    def test_where_the_repository_is_gone_the_record_is_printed_without_what_is_secret(
        self, repo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(repo.path)
        assert main(["run", "--", "sh", "-c", "rm -rf .git # --password=hunter2secret"]) == 0
        said = capsys.readouterr().err
        printed = said.partition("in case that ledger is lost: ")[2].partition("\n")[0]
        assert json.loads(printed)["status"] == "Completed"
        assert "hunter2secret" not in said

    def test_where_nothing_can_be_written_the_record_is_printed(
        self, repo: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(repo.path)
        path = ".git/deriva-ml-hooks/executions.sqlite3"
        assert main(["run", "--", "sh", "-c", f"rm {path}; echo mine > {path}"]) == 0
        said = capsys.readouterr().err
        printed = said.partition("no ledger has it so: ")[2].partition("\n")[0]
        assert json.loads(printed)["status"] == "Completed"
        assert (repo.path / path).read_text() == "mine\n"


class TestElsewhere:
    """A run in another PID namespace, or on another machine: nobody here can tell how it fares."""

    def known(self, **parts: str) -> str:
        own = (processes.identity(os.getpid()) or "").split("/")
        names = dict(zip(("boot", "start", "namespace", "machine"), own, strict=True))
        return "/".join((names | parts).values())

    @pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="no PID namespaces here")
    @pytest.mark.parametrize(
        "parts",
        [
            {"namespace": "1"},
            {"machine": "another"},
            {"namespace": "1", "boot": "another"},
            {"machine": "another", "boot": "another", "start": "1"},
        ],
    )
    @pytest.mark.parametrize("there", [True, False])
    def test_it_stays_running(self, ledger: Ledger, parts: dict[str, str], there: bool) -> None:
        pid = os.getpid() if there else 2**22 - 1
        execution = made(process=self.known(**parts), pid=pid)
        ledger.add(execution)
        assert ledger.newest() == [execution]
        assert processes.is_elsewhere(execution.host, execution.process)
        assert not processes.is_gone(pid, execution.process)

    @pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="no PID namespaces here")
    def test_another_boot_of_this_machine_ends_what_ran_in_its_first_namespace_only(self) -> None:
        first = os.stat("/proc/self/ns/pid").st_ino == 0xEFFFFFFC
        assert processes.is_gone(os.getpid(), self.known(boot="another")) == first

    def test_a_start_at_another_time_is_of_a_process_that_is_gone(self) -> None:
        assert processes.is_gone(os.getpid(), self.known(start="1"))

    def test_a_real_run_in_another_namespace_is_running_elsewhere(
        self, repo: Any, capfd: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """unshare(1): the same host name, the same boot, and numbers that mean nothing here."""
        new = ("unshare", "--pid", "--fork", "--mount-proc")
        if subprocess.run([*new, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no PID namespaces may be made here")
        words = [*new, sys.executable, "-m", "deriva_ml_hooks", "run", "--", "cat"]
        with subprocess.Popen(words, cwd=repo.path, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as runner:
            assert runner.stderr is not None
            assert b"main" in runner.stderr.readline()  # it is told once the row is there
            monkeypatch.chdir(repo.path)
            assert main(["executions", "list", "--json"]) == 0
            [listed] = json.loads(capfd.readouterr().out)
            assert main(["executions", "list"]) == 0
            assert "Running (elsewhere)" in capfd.readouterr().out
            runner.communicate()
        assert (listed["status"], listed["detail"]) == ("Running", None)
        assert main(["executions", "list", "--json"]) == 0
        assert json.loads(capfd.readouterr().out)[0]["status"] == "Completed"
