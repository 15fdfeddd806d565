"""Catalogs to publish to: a small server in both forms and under both policies, and a live one.

A live one is named by DERIVA_ML_HOOKS_TEST_CATALOG (host/id), with a credential in deriva-py's own store; of
what is there only rows of these tests are touched.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from deriva_ml_hooks.catalog.errors import CatalogError
from deriva_ml_hooks.catalog.publish import Publisher
from deriva_ml_hooks.catalog.settings import Settings, parse
from deriva_ml_hooks.catalog.sync import Report, sync
from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.ledger import Ledger
from deriva_ml_hooks.executions.publications import Work
from deriva_ml_hooks.executions.record import Execution, begun, now

# The fixtures of all tests give each test a home of its own; a live catalog's credential is in the real one.
LIVE = os.environ.get("DERIVA_ML_HOOKS_TEST_CATALOG")
HOME = Path(os.environ.get("HOME", "~")).expanduser()
HAS_DERIVA = importlib.util.find_spec("deriva") is not None

_spec = importlib.util.spec_from_file_location("catalog_server", Path(__file__).with_name("server.py"))
assert _spec is not None
assert _spec.loader is not None
catalog_server = importlib.util.module_from_spec(_spec)
sys.modules["catalog_server"] = catalog_server
_spec.loader.exec_module(catalog_server)

FORMS = {
    "as-of-1.17.10": {"latest": False, "leases": False},
    "later": {"latest": True, "leases": True},
    "later-without-leases": {"latest": True, "leases": False},
    "hidden-public": {"latest": False, "leases": False, "hidden": True},
}
NAMED = ["live"] if LIVE else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without deriva nothing here can run."""
    for item in items:
        if not HAS_DERIVA and Path(__file__).parent in item.path.parents and item.path.name != "test_rows.py":
            item.add_marker(pytest.mark.skip(reason="needs deriva: pip install 'deriva-ml-hooks[catalog]'"))


@pytest.fixture(scope="session", autouse=True)
def deriva() -> None:
    """deriva-py, loaded once, with the warnings that its own dependencies give."""
    if HAS_DERIVA:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import deriva.core  # noqa: F401


@dataclass
class Place:
    """A catalog for one test: where it is, what its workflows may be, and the server if it is ours."""

    name: str
    type: str
    server: Any = None
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def catalog(self) -> Any:
        """The rows behind it, where it is ours."""
        return self.server.catalogs[parse(self.name).id]

    def settings(self, **changes: Any) -> Settings:
        """The settings for it."""
        address = changes.pop("address", parse(self.name))
        config = Config(**{"workflow_type": (self.type,), "catalog_timeout": 30.0, **changes})
        return Settings(address, named_by_user=True, config=config)

    def publisher(self, ledger: Ledger, **changes: Any) -> Publisher:
        """A publisher that has reached it."""
        publisher = Publisher(self.settings(**changes), ledger)
        publisher.connect(30.0)
        return publisher

    def sync(self, ledger: Ledger, **changes: Any) -> Report:
        """What a sync of a ledger has done."""
        return sync(Publisher(self.settings(**changes), ledger))

    def rows(self, publisher: Publisher, table: str, *filters: str) -> list[dict[str, Any]]:
        """The rows of a table that pass the filters."""
        found = publisher.catalog.client.get("/".join([f"/entity/deriva-ml:{table}", *filters]))
        assert isinstance(found, list)
        return found

    def of(self, publisher: Publisher, execution: Execution) -> list[dict[str, Any]]:
        """The Execution rows that hold the block of an execution."""
        return self.rows(publisher, "Execution", f"Description::regexp::{quote(execution.id)}")

    def execution(
        self, *, commit: str | None = None, path: str | None = "train.py", **changes: Any
    ) -> Execution:
        """An execution that has ended well, of a commit of its own by default."""
        commit = commit or uuid.uuid4().hex + "01234567"
        home = f"https://github.com/deriva-ml-hooks-tests/{self.mark}"
        url = f"{home}/blob/{commit}/{path}" if path else f"{home}/tree/{commit}"
        provenance = {
            "schema": 1,
            "commit": commit,
            "tree": "e" * 40,
            "committed_at": "2026-01-01T00:00:00+00:00",
            "branch": "main",
            "tag": None,
            "tag_object": None,
            "version": "1.2.3",
            "repository_url": home,
            "commit_url": f"{home}/commit/{commit}",
            "remote": "origin",
            "pushed": None,
            "submodules": [],
            "lockfiles": [{"path": "uv.lock", "blob": "b" * 40}],
            "shallow": False,
        }
        entry_point = {
            "path": path,
            "blob": "a" * 40 if path else None,
            "checksum": self.mark + "cafe0000",
            "url": url,
        }
        told = {
            "command": ["python", "train.py"],
            "entry_point": entry_point,
            "provenance": provenance,
            "status": "Completed",
            "exit_code": 0,
            "ended_at": now(),
            "duration": 3.25,
            "description": "A first try",
            "host": "elsewhere",
            "pid": 1,
            "process": None,
        }
        return begun(**(told | changes))


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Our own server, started once."""
    made = catalog_server.Server(tmp_path_factory.mktemp("server"), {})
    yield made
    made.stop()


@pytest.fixture
def server(running_server: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Our own server, with an empty catalog in each form, and a credential for it in deriva-py's store."""
    running_server.reset({name: catalog_server.Catalog(**form) for name, form in FORMS.items()})
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    credential = {"cookie": "webauthn=good"}
    (home / ".deriva").mkdir()
    store = {running_server.host: credential, "localhost:1": credential}
    (home / ".deriva" / "credential.json").write_text(json.dumps(store))
    return running_server


def _place(request: pytest.FixtureRequest, ledger: Ledger, form: str) -> Iterator[Place]:
    if form != "live":
        server = request.getfixturevalue("server")
        yield Place(f"{server.host}/{form}", "Training", server)
        return
    assert LIVE is not None
    request.getfixturevalue("home").joinpath(".deriva").symlink_to(HOME / ".deriva")
    place = Place(LIVE, "")
    publisher = place.publisher(ledger)
    known = place.rows(publisher, "Workflow_Type")
    if not known:
        pytest.skip(f"{LIVE} has no workflow type")
    place.type = known[0]["Name"]
    yield place
    _tidy(place, publisher)


@pytest.fixture(params=[*FORMS, *NAMED])
def place(request: pytest.FixtureRequest, ledger: Ledger) -> Iterator[Place]:
    """A catalog in every form and under every policy, and a live one where it is named."""
    yield from _place(request, ledger, request.param)


@pytest.fixture(params=["later", *NAMED])
def later(request: pytest.FixtureRequest, ledger: Ledger) -> Iterator[Place]:
    """A catalog in the later form, and a live one: for what does not depend on the form."""
    yield from _place(request, ledger, request.param)


@pytest.fixture
def ours(request: pytest.FixtureRequest, ledger: Ledger) -> Iterator[Place]:
    """Our own catalog in the later form: for what needs faults, or rights that come and go."""
    yield from _place(request, ledger, "later")


@pytest.fixture
def tidy() -> Callable[[Place, Publisher], None]:
    """What is done at the end on a live catalog."""
    return _tidy


def _tidy(place: Place, publisher: Publisher) -> None:
    """Delete what a test has made, as far as the user may."""
    publisher.catalog.client.restart()
    mine = f"::regexp::{place.mark}"
    executions = place.rows(publisher, "Execution", f"Description{mine}")
    tables = publisher.catalog.schema.tables
    files = [
        link["Execution_Metadata"]
        for row in executions
        if "Execution_Metadata_Execution" in tables
        for link in place.rows(publisher, "Execution_Metadata_Execution", f"Execution={row['RID']}")
    ]
    links = [t for t in ("Execution_Metadata_Execution", "Execution_Execution") if t in tables]
    for row in executions:
        _delete(
            publisher, *(f"{table}/Execution={row['RID']}" for table in links), f"Execution/RID={row['RID']}"
        )
    for rid in dict.fromkeys(files):
        for row in place.rows(publisher, "Execution_Metadata", f"RID={rid}"):
            _delete(
                publisher,
                f"Execution_Metadata_Execution/Execution_Metadata={rid}",
                f"Execution_Metadata_Asset_Type/Execution_Metadata={rid}",
                f"Execution_Metadata/RID={rid}",
            )
            publisher.catalog.client.service("DELETE", row["URL"].partition(":")[0])
    for row in place.rows(publisher, "Workflow", f"URL{mine}"):
        if "Workflow_Workflow_Type" in tables:
            _delete(publisher, f"Workflow_Workflow_Type/Workflow={row['RID']}")
        _delete(publisher, f"Workflow/RID={row['RID']}")
    publisher.catalog.client.close()


def _delete(publisher: Publisher, *paths: str) -> None:
    for path in paths:
        try:
            publisher.catalog.client.delete(f"/entity/deriva-ml:{path}")
        except CatalogError:
            continue


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """A ledger of its own."""
    return Ledger(str(tmp_path / "ledger" / "executions.sqlite3"))


@pytest.fixture
def publish() -> Callable[[Execution, Publisher], Work]:
    """Adds an execution to the ledger, or brings it there to what it is, and publishes it once."""

    def run(execution: Execution, publisher: Publisher) -> Work:
        publisher.catalog.client.restart()
        if any(known.id == execution.id for known in publisher.ledger.newest()):
            publisher.ledger.close(execution)
        else:
            publisher.ledger.add(execution)
        work = next(w for w in publisher.publications.take("", 1000) if w.execution.id == execution.id)
        publisher.publications.release([execution.id])
        outcome = publisher.publish([work])
        for _, error in outcome.failed:
            raise error
        return outcome.done[0] if outcome.done else work

    return run


@pytest.fixture
def old_execution() -> Execution:
    """An execution, for a ledger without a catalog."""
    return Place("localhost/1", "Training").execution()
