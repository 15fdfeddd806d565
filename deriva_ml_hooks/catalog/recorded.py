"""Which rows a command made itself, through DerivaML, and how that is known.

It writes the RID to the file that DERIVA_ML_SAVE_EXECUTION_RID names, of several the last; its notebook
runner names a file of its own. And it stores with each row the environment that it was given, where `run`
has set the id of the execution. Nothing else is proof: at the same time others may run the same code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from deriva_ml_hooks.catalog.errors import CatalogError, MissingError
from deriva_ml_hooks.catalog.model import Model
from deriva_ml_hooks.catalog.rows import holds_any
from deriva_ml_hooks.catalog.session import Connection
from deriva_ml_hooks.executions.record import Execution

SAVED = "execution_rid.json"
"""The name of the file that DerivaML is asked for, in the folder of the execution."""
DRY_RUN = "0000"
"""The RID that DerivaML gives a dry run, of which it makes no row."""
SLACK = timedelta(seconds=2)
"""How far clocks may be apart beyond what the server's own answers tell."""
_MOST = 100
"""Environments that are read for one batch of executions."""
_RID = re.compile(r"[0-9A-Z]+(?:-[0-9A-Z]+)*")
_ENVIRONMENT = re.compile(r'"DERIVA_ML_HOOKS_EXECUTION": *"([0-9a-f-]{36})"')


def saved(path: str, connection: Connection) -> str | None:
    """The RID that DerivaML has written to `path`, if it is one of this catalog; None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        rid, host, catalog = (str(document[name]) for name in ("execution_rid", "hostname", "catalog_id"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not _RID.fullmatch(rid) or host.lower() != connection.address.host:
        return None
    name = catalog.partition("@")[0]
    try:
        same = name == connection.address.id or connection.id_of(name) == connection.address.id
    except MissingError:
        return None
    return rid if same else None


def proven(
    connection: Connection, model: Model, executions: Sequence[Execution], taken: set[str]
) -> dict[str, list[str]]:
    """The rows that the commands of these executions made, by id, oldest first; without those in `taken`.

    Found among the rows that this user made meanwhile, by the environment that is stored with them.
    """
    client = connection.whoami() or {}
    if not executions or not client.get("id") or "Execution_Metadata_Execution" not in model.tables:
        return {}
    begun = min(datetime.fromisoformat(execution.started_at) for execution in executions)
    # Nobody knows when a lost one ended.
    ended = max(
        datetime.fromisoformat(execution.ended_at) if execution.ended_at else datetime.now(timezone.utc)
        for execution in executions
    )
    first, last = begun + connection.clock_skew - SLACK, ended + connection.clock_skew + SLACK
    path = (
        f"/attribute/E:={model.name('Execution')}/RCB={quote(str(client['id']), safe='')}"
        f"&RCT::geq::{quote(first.isoformat(), safe='')}&RCT::leq::{quote(last.isoformat(), safe='')}"
        f"/L:=(RID)=({model.name('Execution_Metadata_Execution')}:Execution)"
        f"/M:=(Execution_Metadata)=({model.name('Execution_Metadata')}:RID)"
        "/Filename::regexp::%5Eenvironment_snapshot_/rid:=E:RID,text:=E:Description,url:=M:URL"
    )
    found = [row for row in connection.get(path) if row["rid"] not in taken and not holds_any(row["text"])]
    found.sort(key=lambda row: (len(row["rid"]), row["rid"]))
    wanted = {execution.id for execution in executions}
    rids: dict[str, list[str]] = {}
    for row in found[:_MOST]:
        told = _told(connection, row["url"])
        if told in wanted and row["rid"] not in rids.setdefault(told, []):
            rids[told].append(row["rid"])
    return rids


def _told(connection: Connection, url: str) -> str | None:
    """The execution that an environment in Hatrac names; nothing else of it is looked at."""
    path = (url or "").removeprefix(f"https://{connection.address.host}")
    if not path.startswith("/hatrac/"):
        return None
    try:
        status, text, _ = connection.service("GET", path)
    except CatalogError:
        return None
    named = _ENVIRONMENT.search(text) if status == 200 else None
    return named[1] if named else None
