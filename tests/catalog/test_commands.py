"""Runs, syncs and checks with the real program and a catalog that may be well, ill, slow or not there."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from catalog_server import Catalog, Fault

SECRET = "planted-secret-1"
Program = Callable[..., Any]


@pytest.fixture
def catalog(server: Any, repo: Any) -> Iterator[Any]:
    """A catalog with the later schema, configured in `repo`; nothing that is stored holds the secret."""
    configure(repo, server, "later")
    yield server.catalogs["later"]
    for file in (repo.path / ".git" / "deriva-ml-hooks").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    assert SECRET not in json.dumps(
        [list(table.rows.values()) for table in server.catalogs["later"].tables.values()]
    )


def configure(repo: Any, server: Any, name: str, *lines: str) -> None:
    text = "\n".join([f'catalog = "{server.host}/{name}"', 'workflow-type = "Training"', *lines])
    repo.write("pyproject.toml", f"[tool.deriva-ml-hooks]\n{text}\n")
    repo.commit("Configure")


def rows(catalog: Any, table: str = "Execution") -> list[dict[str, Any]]:
    return list(catalog.tables[table].rows.values())


def own_row(catalog: Any, **values: Any) -> dict[str, Any]:
    """A row that the command makes itself: later than its run has begun."""
    row: dict[str, Any] = catalog.add(catalog.tables["Execution"], values, "ada")
    row["RCT"] = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    return row


def records(program: Program) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(program("executions", "list", "--json").out)
    return found


def test_a_run_is_published_while_it_runs_and_closed_after_it(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    repo.write("src/train.py", "import os\nprint(os.environ['DERIVA_ML_HOOKS_EXECUTION_RID'])\n")
    repo.commit()
    words = ("--token", SECRET, f"--url=https://ada:{SECRET}@example.org/x", f"API_KEY={SECRET}")
    written = repo.path.parent / "record.json"
    what = ("--description", f"with password={SECRET}", "--json", str(written))
    done = program("run", *what, "--", "python", "src/train.py", *words)
    assert done.code == 0, done.err
    (row,) = rows(catalog)
    assert done.out.strip() == row["RID"]
    assert (row["Status"], row["Status_Detail"]) == ("Uploaded", "exit 0")
    assert row["Description"].startswith("with password=***\n")
    assert "- command: `python src/train.py --token *** " in row["Description"]
    (record,) = records(program)
    assert json.loads(written.read_text()) == record
    (publication,) = record["publications"]
    url = f"https://{server.host}/chaise/record/#later/deriva-ml:Execution/RID={row['RID']}"
    assert (publication["rid"], publication["state"], publication["url"]) == (row["RID"], "closed", url)
    assert url in program("executions", "show", record["id"]).out
    assert row["RID"] in program("executions", "list").out
    assert program("sync").out == f"0 published to {server.host}/later, 0 left\n"
    (stored,) = server.objects.values()
    assert json.loads(stored)["commit"] == record["commit"]


@pytest.mark.parametrize(("end", "status"), [("pass", "Uploaded"), ("raise ValueError('no')", "Failed")])
def test_a_script_that_records_itself_has_its_row_too(
    catalog: Any, repo: Any, program: Program, end: str, status: str
) -> None:
    code = f"""\
import os
from deriva_ml_hooks import recorded

with recorded("From inside"):
    print(os.environ["DERIVA_ML_HOOKS_EXECUTION_RID"], os.environ["DERIVA_ML_SAVE_EXECUTION_RID"])
    {end}
"""
    repo.write("src/train.py", code)
    repo.commit()
    done = repo.run(sys.executable, "src/train.py")
    (row,) = rows(catalog)
    assert done.stdout.decode().split()[0] == row["RID"], done.stderr
    assert row["Status"] == status
    assert row["Description"].startswith("From inside")
    (record,) = records(program)
    assert [made["rid"] for made in record["publications"]] == [row["RID"]]


def test_what_the_run_did_is_told(catalog: Any, repo: Any, program: Program) -> None:
    assert program("run", "--", "sh", "-c", "echo >> README.md; exit 3").code == 3
    (row,) = rows(catalog)
    assert (row["Status"], row["Status_Detail"]) == (
        "Failed",
        "exit 3; tree changed during the run: README.md",
    )


def test_a_command_that_cannot_be_started_is_closed_as_failed(
    catalog: Any, repo: Any, program: Program
) -> None:
    repo.write("broken", "#!/nowhere/at/all\n").chmod(0o755)
    repo.commit()
    assert program("run", "--", "./broken").code == 126
    assert [row["Status"] for row in rows(catalog)] == ["Failed"]


@pytest.mark.parametrize("kind", [409, 503])
def test_a_refusing_catalog_does_not_stop_a_run(
    catalog: Any, repo: Any, program: Program, server: Any, kind: int
) -> None:
    server.faults.append(Fault(kind, "POST"))
    done = program("run", "--", "true")
    assert done.code == 0
    told = [line for line in done.err.splitlines() if "not published" in line]
    assert len(told) == 1
    assert f"HTTP {kind}" in told[0]
    assert told[0].endswith("later: deriva-ml-hooks sync)")
    assert SECRET not in done.err
    server.faults.clear()
    assert program("sync").code == 0
    assert len(rows(catalog)) == 1


def test_a_transaction_that_met_another_one_is_tried_again(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    configure(repo, server, "later", 'on-catalog-error = "refuse"')
    server.faults.append(Fault(503, times=2))
    server.faults.append(Fault(503, "POST", "Execution[?]", times=2))
    done = program("run", "--", "true")
    assert done.code == 0, done.err
    assert "not published" not in done.err
    assert [row["Status"] for row in rows(catalog)] == ["Uploaded"]


@pytest.mark.parametrize("kind", [403, "hang"])
def test_with_refuse_nothing_starts(
    catalog: Any, repo: Any, program: Program, server: Any, kind: Any
) -> None:
    configure(repo, server, "later", 'on-catalog-error = "refuse"', "catalog-timeout = 0.7")
    server.faults.append(Fault(kind))
    done = program("run", "--", "touch", "started")
    assert done.code == 125
    assert "fix: " in done.err
    assert not (repo.path / "started").exists()
    assert records(program) == []
    assert rows(catalog) == []


def test_with_refuse_an_execution_that_was_begun_is_aborted(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    configure(repo, server, "later", 'on-catalog-error = "refuse"', "catalog-timeout = 4")
    server.faults.append(Fault("drop", "POST", "Execution", times=1))
    assert program("run", "--", "touch", "started").code == 125
    assert not (repo.path / "started").exists()
    (record,) = records(program)
    assert record["status"] == "Aborted"
    assert record["detail"].startswith("not started: ")
    assert program("sync").code == 0
    (row,) = rows(catalog)
    assert row["Status"] == "Aborted"


@pytest.mark.parametrize("fault", [Fault("hang"), Fault("drip", "GET", "/schema/")], ids=["hangs", "drips"])
def test_a_slow_catalog_costs_no_more_than_its_time(
    catalog: Any, repo: Any, program: Program, server: Any, fault: Fault
) -> None:
    configure(repo, server, "later", "catalog-timeout = 0.7")
    server.faults.append(fault)
    for words in (("catalog", "check"), ("run", "--", "true")):
        started = time.monotonic()
        done = program(*words)
        assert time.monotonic() - started < 10
        assert "no answer within" in done.out + done.err
    server.faults.clear()
    assert program("sync").code == 0
    assert len(rows(catalog)) == 1


def test_a_port_where_nobody_listens_costs_nothing(repo: Any, program: Program, server: Any) -> None:
    done = program("run", "--catalog", "localhost:1/7", "--", "true")
    assert done.code == 0
    assert "not published: localhost:1: not reachable" in done.err
    assert program("sync", "--catalog", "localhost:1/7").code == 1


def test_an_untrusted_certificate_is_told_at_once(
    repo: Any, program: Program, server: Any, tmp_path: Path
) -> None:
    import certifi

    configure(repo, server, "later")
    started = time.monotonic()
    done = program("run", "--", "true", env={"REQUESTS_CA_BUNDLE": certifi.where()})
    assert time.monotonic() - started < 8  # deriva-py itself tries for minutes
    assert done.code == 0
    assert "its certificate is not trusted here" in done.err
    assert "REQUESTS_CA_BUNDLE" in done.err


def interrupted(repo: Any, server: Any, method: str, *command: str) -> tuple[int, str]:
    """Exit code and messages of a run that gets a signal while the catalog hangs."""
    server.faults.append(Fault("hang", method))
    words = [sys.executable, "-m", "deriva_ml_hooks", "run", "--", *command]
    process = subprocess.Popen(words, cwd=repo.path, stderr=subprocess.PIPE, text=True)
    server.wait_for(method)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    server.faults.clear()
    return process.returncode, err


def test_a_signal_while_the_catalog_hangs_starts_nothing(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    code, err = interrupted(repo, server, "POST", "touch", "started")
    assert code == 130, err
    assert not (repo.path / "started").exists()
    (record,) = records(program)
    why = "not started: interrupted before the command was started"
    assert (record["status"], record["detail"]) == ("Aborted", why)


def test_a_signal_while_the_end_is_published_says_what_is_left(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    code, err = interrupted(repo, server, "PUT", "true")
    assert code == 0
    assert "not published: interrupted (later: deriva-ml-hooks sync)" in err
    assert program("sync").code == 0
    assert [row["Status"] for row in rows(catalog)] == ["Uploaded"]


def test_a_run_that_was_killed_is_closed_by_a_sync(
    catalog: Any, repo: Any, program: Program, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    words = [sys.executable, "-m", "deriva_ml_hooks", "run", "--", "sh", "-c", f"echo > {started}; sleep 60"]
    process = subprocess.Popen(words, cwd=repo.path, start_new_session=True, stderr=subprocess.DEVNULL)
    started.read_text()  # waits for the command
    assert program("sync").code == 0
    assert [row["Status"] for row in rows(catalog)] == ["Running"]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = program("sync", "--json")
    assert (done.code, json.loads(done.out)["published"]) == (0, 1)
    (row,) = rows(catalog)
    assert row["Status"] == "Aborted"
    assert row["Status_Detail"].startswith("lost: its process")


@pytest.mark.parametrize(
    ("method", "path", "form"),
    [
        ("POST", "Lease", "later"),
        ("POST", "Workflow", "later"),
        ("POST", "deriva-ml:Execution[?]", "later"),
        ("PUT", "Execution", "later"),
        ("POST", "deriva-ml:Execution[?]", "as-of-1.17.10"),
    ],
)
def test_an_answer_that_is_lost_makes_no_second_row(
    server: Any, repo: Any, program: Program, method: str, path: str, form: str
) -> None:
    configure(repo, server, form, "catalog-timeout = 5")
    server.faults.append(Fault("drop", method, path, times=1))
    assert program("run", "--", "true").code == 0
    assert program("sync").code == 0
    (row,) = rows(server.catalogs[form])
    assert row["Status"] in ("Completed", "Uploaded")
    assert len(rows(server.catalogs[form], "Workflow")) == 1


SCRIPT = """\
import json, os
from pathlib import Path
saved = {"hostname": os.environ["HOST"], "catalog_id": "later", "execution_rid": os.environ["OWN"]}
Path(os.environ["DERIVA_ML_SAVE_EXECUTION_RID"]).write_text(json.dumps(saved))
"""


@pytest.mark.parametrize("setting", ["auto", "runner", "deriva-ml"])
def test_a_command_that_records_itself_is_one_execution(
    catalog: Any, repo: Any, program: Program, server: Any, setting: str
) -> None:
    configure(repo, server, "later", f'recorded-by = "{setting}"')
    repo.write("src/train.py", SCRIPT)
    repo.commit()
    code = {
        "URL": "https://example.org/blob/0000000/a.py",
        "Checksum": repo.git("rev-parse", "HEAD:src/train.py"),
    }
    workflow = catalog.add(catalog.tables["Workflow"], code, "ada")
    own = own_row(catalog, Workflow=workflow["RID"], Description="mine")
    env = {"HOST": server.host, "OWN": own["RID"], "DERIVA_ML_SAVE_EXECUTION_RID": str(repo.path / "x.log")}
    done = program("run", "--", "python", "src/train.py", env=env)
    assert done.code == 0, done.err
    ours = [row for row in rows(catalog) if row["RID"] != own["RID"]]
    (record,) = records(program)
    (publication,) = record["publications"]
    if setting == "runner":
        assert [row["Status"] for row in ours] == ["Uploaded"]
        assert own["Description"] == "mine"
        return
    assert (publication["rid"], publication["recorded_by"]) == (own["RID"], "deriva-ml")
    assert own["Description"].startswith("mine\n\nderiva-ml-hooks execution")
    right = catalog.tables["Workflow"].rows[own["Workflow"]]
    assert record["commit"] in right["URL"]
    assert f"{own['RID']} was linked to workflow {workflow['RID']} of other code" in done.err
    assert (repo.path / "x.log").exists()  # the user's own file stays theirs
    if setting == "auto":
        (folded,) = ours
        assert (folded["Status"], folded["Status_Detail"]) == ("Aborted", f"recorded as {own['RID']}")
        assert f"{folded['RID']} is marked as aborted" in done.err
    else:
        assert ours == []


def test_code_that_imports_deriva_ml_gets_no_row_of_ours_before_it_runs(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    repo.write("src/train.py", f"{SCRIPT}\ndef later():\n    import deriva_ml\n")
    repo.commit()
    own = own_row(catalog, Description="mine")
    done = program("run", "--", "python", "src/train.py", env={"HOST": server.host, "OWN": own["RID"]})
    assert done.code == 0, done.err
    assert rows(catalog) == [own]
    (publication,) = records(program)[0]["publications"]
    assert (publication["rid"], publication["recorded_by"]) == (own["RID"], "deriva-ml")


def test_with_rows_of_ours_alone_it_is_told_that_deriva_mls_is_left(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    configure(repo, server, "later", 'recorded-by = "runner"')
    repo.write("src/train.py", "def later():\n    import deriva_ml\n")
    repo.commit()
    done = program("run", "--", "python", "src/train.py")
    assert 'with recorded-by = "runner" its row is left alone' in done.err
    assert len(rows(catalog)) == 1


def test_code_that_deriva_ml_ran_dirty_is_not_laundered(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    repo.write("src/model.py", "rate = 1\n")
    repo.write("src/train.py", f"{SCRIPT}\nPath('src/model.py').write_text('rate = 2\\n')\n")
    repo.commit()
    dirty = {"URL": "https://example.org/blob/0000000/src/model.py", "Checksum": "d" * 40}
    workflow = catalog.add(catalog.tables["Workflow"], dirty, "ada")
    own = own_row(catalog, Workflow=workflow["RID"], Description="mine", Status="Uploaded")
    env = {"HOST": server.host, "OWN": own["RID"], "DERIVA_ML_ALLOW_DIRTY": "true"}
    done = program("run", "--", "python", "src/train.py", env=env)
    assert done.code == 0, done.err
    assert own["Workflow"] == workflow["RID"]
    assert own["Status_Detail"] == "tree changed during the run: src/model.py"
    assert f"- code: `{'d' * 40}` is no file of the commit" in own["Description"]
    assert "whose code is no file of" in done.err


def test_the_users_own_file_gets_what_deriva_ml_wrote_though_two_runs_were_told_it(
    catalog: Any, repo: Any, program: Program, server: Any, tmp_path: Path
) -> None:
    repo.write("src/train.py", SCRIPT)
    repo.commit()
    own = [own_row(catalog, Description="mine")["RID"] for _ in range(3)]
    shared = tmp_path / "shared.json"
    env = {"HOST": server.host, "DERIVA_ML_SAVE_EXECUTION_RID": str(shared)}
    nested = f"{sys.executable} -m deriva_ml_hooks run -- python src/train.py"
    assert program("run", "--", "sh", "-c", nested, env=env | {"OWN": own[0]}).code == 0
    assert not shared.exists()  # that run was within another, which has not been told any
    for rid in own[1:]:
        assert program("run", "--", "python", "src/train.py", env=env | {"OWN": rid}).code == 0
        assert json.loads(shared.read_text())["execution_rid"] == rid


def test_a_catalog_by_an_alias_gets_no_second_row(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    server.aliases["demo"] = "later"
    assert program("run", "--catalog", f"{server.host}/demo", "--", "true").code == 0
    assert program("sync").out == f"1 published to {server.host}/later, 0 left\n"
    assert len(rows(catalog)) == 1


def test_an_execution_that_the_command_has_reopened_stays_what_it_was(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    repo.write("src/train.py", SCRIPT)
    repo.commit()
    old = own_row(catalog, Description="of an older commit", Workflow=None, Status="Uploaded")
    old["RCT"] = "2026-01-01T00:00:00.12345+00:00"
    before = dict(old)
    done = program("run", "--", "python", "src/train.py", env={"HOST": server.host, "OWN": old["RID"]})
    assert done.code == 0
    assert f"{old['RID']} was made before this run, at a commit of its own: it is left as it is" in done.err
    assert old == before
    (ours,) = [row for row in rows(catalog) if row is not old]
    assert ours["Status"] == "Uploaded"


def test_the_rid_of_another_run_is_not_passed_on(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    server.faults.append(Fault("hang"))
    configure(repo, server, "later", "catalog-timeout = 0.5")
    name = "DERIVA_ML_HOOKS_EXECUTION_RID"
    assert program("run", "--", "printenv", name, env={name: "OLD"}).code == 1


@pytest.mark.parametrize(
    "answer",
    ["[]", "{}", "[1]", "[" * 100_000, "<html>log in</html>", '[{"RID": 5}]'],
)
def test_an_answer_of_another_form_costs_only_the_publication(
    catalog: Any, repo: Any, program: Program, server: Any, answer: str
) -> None:
    methods = ("GET", "POST", "PUT")
    for method in methods:
        server.faults[:] = [Fault("say", method, "/ermrest/", text=answer)]
        done = program("run", "--", "sh", "-c", "exit 3")
        assert done.code == 3, (method, done.err)
        assert "Traceback" not in done.err, method
    assert [record["status"] for record in records(program)] == ["Failed"] * len(methods)
    server.faults.clear()
    synced = program("sync")
    assert synced.code == 0, synced.err
    assert len(rows(catalog)) == len(methods)


def test_a_login_page_is_no_place_of_a_file(catalog: Any, repo: Any, program: Program, server: Any) -> None:
    server.faults.append(Fault("say", "PUT", "/hatrac/", text="<html>log in, token=planted-secret-1</html>"))
    assert program("run", "--", "true").code == 0
    assert rows(catalog, "Execution_Metadata") == []


@pytest.mark.parametrize("kind", [302, 401, 409])
def test_a_server_that_shows_the_credential_or_sends_it_elsewhere(
    catalog: Any, repo: Any, program: Program, server: Any, kind: int
) -> None:
    cookie = {"cookie": f"webauthn={SECRET}"}
    store = Path.home() / ".deriva" / "credential.json"
    store.write_text(json.dumps({server.host: cookie}))
    server.cookies[SECRET] = "https://example.org/ada"
    server.faults.append(Fault(kind, path="/ermrest/", text=f"You sent: Cookie: webauthn={SECRET}"))
    done = program("run", "--", "true")
    assert done.code == 0
    assert f"HTTP {kind}" in done.err
    assert SECRET not in done.err + program("sync").err + program("executions", "list", "--json").out


@pytest.mark.parametrize("where", ["/ermrest/", "/entity/"], ids=["at-once", "in-between"])
def test_a_sync_that_is_refused_says_so_as_json_and_keeps_the_reason(
    catalog: Any, repo: Any, program: Program, server: Any, where: str
) -> None:
    server.faults.append(Fault("drop"))
    assert program("run", "--", "true").code == 0
    server.faults[:] = [Fault(401, path=where)]
    done = program("sync", "--json")
    assert done.code == 1
    told = json.loads(done.out)
    assert (told["published"], told["left"]) == (0, 1)
    assert "HTTP 401" in told["reasons"][0]["message"]
    assert "login" in told["reasons"][0]["fix"]
    (publication,) = records(program)[0]["publications"]
    assert publication["state"] != "closed"
    assert "HTTP 401" in publication["error"]
    server.faults.clear()
    assert json.loads(program("sync", "--json").out)["published"] == 1
    (publication,) = records(program)[0]["publications"]
    assert (publication["state"], publication["error"]) == ("closed", None)


@pytest.mark.parametrize("cookie", ["a=b\nplanted-secret-1", 5, "planted-secret-1", "webauthn=\u20ac"])
def test_a_credential_of_another_form_is_told_without_it(
    catalog: Any, repo: Any, program: Program, server: Any, cookie: Any
) -> None:
    store = Path.home() / ".deriva" / "credential.json"
    store.write_text(json.dumps({server.host: {"cookie": cookie}}))
    for words in (("run", "--", "true"), ("sync",), ("catalog", "check")):
        done = program(*words)
        assert done.code == (0 if words[0] == "run" else 1), done.err
        assert "Traceback" not in done.err
        assert SECRET not in done.out + done.err


def test_a_row_that_may_not_be_updated_keeps_no_other_from_being_published(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    assert program("run", "--", "true").code == 0
    (theirs,) = rows(catalog)
    server.faults.append(Fault("drop"))
    for _ in range(3):
        assert program("run", "--", "true").code == 0
    server.faults.clear()
    ledger = sqlite3.connect(repo.git_dir / "deriva-ml-hooks" / "executions.sqlite3")
    with ledger:
        ledger.execute("UPDATE publications SET state = 'published' WHERE rid = ?", (theirs["RID"],))
    ledger.close()
    theirs["Status"] = "Running"
    catalog.protected.add(theirs["RID"])
    done = program("sync")
    assert done.code == 1
    assert done.out == f"3 published to {server.host}/later, 1 left, 1 of them failed\n"
    assert "HTTP 403" in done.err
    assert len(rows(catalog)) == 4


def test_deriva_mls_programs_are_not_published_before_they_run(
    catalog: Any, repo: Any, program: Program, server: Any
) -> None:
    repo.write("bin/deriva-ml-run", '#!/bin/sh\ntest -z "$DERIVA_ML_HOOKS_EXECUTION_RID"\n').chmod(0o755)
    repo.commit()
    assert program("run", "--", "bin/deriva-ml-run").code == 0
    assert [row["Status"] for row in rows(catalog)] == ["Uploaded"]  # it recorded nothing, so the run is ours


def test_catalog_check_tells_what_is_missing(server: Any, repo: Any, program: Program, home: Path) -> None:
    def check(name: str, *words: str) -> Any:
        return program("catalog", "check", "--catalog", f"{server.host}/{name}", *words)

    good = check("later")
    assert good.code == 0
    assert "ok       login: as ada\n" in good.out
    points = json.loads(check("later", "--json").out)
    assert all(point["ok"] for point in points)
    server.catalogs["bare"] = Catalog(latest=True, leases=True)
    server.catalogs["bare"].tables.clear()
    bare = check("bare")
    assert bare.code == 1
    assert "FAILED   schema: " in bare.out
    forbidden = Catalog(latest=True, leases=False)
    for table in forbidden.tables.values():
        table.insert = False
    forbidden.updates = False
    server.catalogs["forbidden"] = forbidden
    rights = check("forbidden")
    assert rights.code == 1
    assert "FAILED   Execution: no right to insert and update rows\n" in rights.out
    assert "without  RID leases: no right" in rights.out
    untyped = Catalog(latest=False, leases=True, types=())
    server.catalogs["untyped"] = untyped
    assert "FAILED   workflow types: none\n" in check("untyped").out
    server.hatrac = False
    assert "without  hatrac: not there" in check("later").out
    (home / ".deriva" / "credential.json").write_text("{}")
    nobody = check("later")
    assert nobody.code == 1
    assert f"fix: deriva-globus-auth-utils login --host {server.host}" in nobody.out
    run = program("run", "--catalog", f"{server.host}/later", "--", "true")
    assert run.code == 0
    assert f"nobody is logged in there (deriva-globus-auth-utils login --host {server.host}" in run.err


def test_no_catalog_is_an_error_of_usage(repo: Any, program: Program) -> None:
    for words in (
        ("sync",),
        ("catalog", "check"),
        ("sync", "--catalog", "host/1@2AB"),
        ("sync", "--catalog", "x"),
    ):
        done = program(*words)
        assert done.code == 2
        assert "fix: " in done.err
