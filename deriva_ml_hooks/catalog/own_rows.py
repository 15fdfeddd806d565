"""Which rows a command made itself, through DerivaML, and how that is known.

DerivaML writes the RID (of several the last) to the file that DERIVA_ML_SAVE_EXECUTION_RID names. And it
stores with each row the environment that it was given, where `run` has set the id of the execution. Nothing
else is proof: at the same time others may run the same code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from deriva_ml_hooks.catalog.catalog import Catalog
from deriva_ml_hooks.catalog.errors import CatalogError
from deriva_ml_hooks.catalog.rows import blocks
from deriva_ml_hooks.catalog.settings import Address
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


def saved(path: str, catalog: Catalog) -> str | None:
    """The RID that DerivaML has written to `path`, if it is one of this catalog."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        rid, host, name = (str(document[key]) for key in ("execution_rid", "hostname", "catalog_id"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    there = Address(host.lower(), name.partition("@")[0])
    return rid if there == catalog.client.address and _RID.fullmatch(rid) else None


def proven(catalog: Catalog, executions: Sequence[Execution], taken: set[str]) -> dict[str, list[str]]:
    """The rows that the commands of these executions made, by id, oldest first; without those in `taken`.

    Found among the rows that this user made meanwhile, by the environment that is stored with them.
    """
    if not executions or not catalog.has("Execution_Metadata_Execution"):
        return {}
    first = min(begun(execution, catalog) for execution in executions)
    now = datetime.now(timezone.utc).isoformat()  # nobody knows when a lost one ended
    ended = max(datetime.fromisoformat(execution.ended_at or now) for execution in executions)
    last = ended + catalog.client.clock_skew + SLACK
    tests = {"RCB=": catalog.user, "RCT::geq::": first.isoformat(), "RCT::leq::": last.isoformat()}
    meanwhile = "&".join(test + quote(value, safe="") for test, value in tests.items())
    path = (
        f"/attribute/E:={catalog.name('Execution')}/{meanwhile}"
        f"/L:=(RID)=({catalog.name('Execution_Metadata_Execution')}:Execution)"
        f"/M:=(Execution_Metadata)=({catalog.name('Execution_Metadata')}:RID)"
        "/Filename::regexp::%5Eenvironment_snapshot_/rid:=E:RID,text:=E:Description,url:=M:URL"
    )
    rows = [r for r in catalog.client.get(path) if r["rid"] not in taken and not blocks(r["text"])]
    rids: dict[str, list[str]] = {execution.id: [] for execution in executions}
    for row in sorted(rows, key=lambda row: (len(row["rid"]), row["rid"]))[:_MOST]:
        of_it = rids.get(_named_in(catalog, row["url"] or ""), [])
        if row["rid"] not in of_it:
            of_it.append(row["rid"])
    return rids


def begun(execution: Execution, catalog: Catalog) -> datetime:
    """The server's time before which the command of an execution can have made no row."""
    return datetime.fromisoformat(execution.started_at) + catalog.client.clock_skew - SLACK


def _named_in(catalog: Catalog, url: str) -> str:
    """The execution that an environment in Hatrac names; nothing else of it is looked at."""
    path = url.removeprefix(f"https://{catalog.client.address.host}")
    if not path.startswith("/hatrac/"):
        return ""
    try:
        status, text, _ = catalog.client.service("GET", path)
    except CatalogError:
        return ""
    named = _ENVIRONMENT.search(text) if status == 200 else None
    return named[1] if named else ""
