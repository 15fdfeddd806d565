"""An execution as a research object: a Process Run Crate 0.5 (w3id.org/ro/wfrun/process/0.5).

The crate says what the record says and nothing besides: code at a commit, times, how it ended. Files go
along only where the record holds their hash and they still have it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.record import Execution

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CRATE = "https://w3id.org/ro/crate/1.1"
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_STATUS = {
    "Completed": "http://schema.org/CompletedActionStatus",
    "Failed": "http://schema.org/FailedActionStatus",
    "Aborted": "http://schema.org/FailedActionStatus",
    "Running": "http://schema.org/ActiveActionStatus",
}
_LANGUAGES = {".py": "Python", ".ipynb": "Jupyter Notebook", ".sh": "Shell", ".R": "R", ".r": "R"}


class CrateError(HooksError):
    """The crate cannot be written."""


def write(execution: Execution, path: str, *, agent: str | None) -> None:
    """Write the crate of `execution` whole, as the folder `path`, or as an archive where that ends in .zip.

    `agent` is the name of who ran it, if it is known. Raises CrateError.
    """
    if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise CrateError(f"{path}: exists already", fix="name a new folder, or a new file that ends in .zip")
    folder, name = os.path.split(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".deriva-ml-hooks-", dir=folder) as scratch:
            crate = _crate(execution, agent, scratch)
            beside = os.path.join(scratch, "crate", name)
            os.mkdir(os.path.dirname(beside))
            (crate.write_zip if path.endswith(".zip") else crate.write)(beside)
            if os.path.isdir(path):
                os.rmdir(path)
            os.replace(beside, path)
    except OSError as error:
        fix = "name a new folder where you may write: --output PATH"
        raise CrateError(f"{path}: {error.strerror}", fix=fix) from None


def metadata(execution: Execution, *, agent: str | None) -> dict[str, Any]:
    """The crate's ro-crate-metadata.json alone."""
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as scratch:
        document: dict[str, Any] = _crate(execution, agent, scratch).metadata.generate()
    return document


def _crate(execution: Execution, agent: str | None, scratch: str) -> ROCrate:
    try:
        from rocrate.model.contextentity import ContextEntity
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        fix = "pip install 'deriva-ml-hooks[ro-crate]'"
        raise CrateError("a crate needs rocrate, which is not installed", fix=fix) from error
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(_TERMS)

    def add(entity_id: str, **properties: Any) -> Entity:
        known = {name.replace("type_", "@type"): v for name, v in properties.items() if v is not None}
        return crate.add(ContextEntity(crate, entity_id, properties=known))

    commit = str(execution.provenance["commit"])
    code = execution.entry_point["path"] or "the tree as a whole"
    crate.name = f"Execution {execution.id}"
    crate.description = execution.description or f"One run of {code} at commit {commit}"
    crate.datePublished = execution.ended_at or execution.started_at
    crate.license = "The license of the code applies; see its repository"
    profile = add(PROFILE, type_="CreativeWork", name="Process Run Crate", version="0.5")
    crate.root_dataset["conformsTo"] = profile

    person = add("#agent", type_="Person", name=agent) if agent else None
    if person is not None:
        crate.root_dataset["author"] = person
    action: dict[str, Any] = {
        "@type": "CreateAction",
        "name": f"Execution {execution.id} of {code}",
        "description": json.dumps([*execution.command]),
        "startTime": execution.started_at,
        "endTime": execution.ended_at,
        "actionStatus": _STATUS[execution.status],
        "instrument": _instrument(add, execution),
        "agent": person,
        "object": _one(_parameters(add, execution)),
        "result": _results(crate, execution, scratch),
    }
    if execution.status in ("Failed", "Aborted"):
        action["error"] = execution.detail or f"exit {execution.exit_code}"
    if execution.exit_code is not None:
        code_of = add("#exit-code", type_="PropertyValue", name="exit code", value=execution.exit_code)
        action["additionalProperty"] = code_of
    known = {name: value for name, value in action.items() if value is not None}
    run = crate.add(ContextEntity(crate, f"#{execution.id}", properties=known))
    crate.root_dataset["mentions"] = run
    return crate


def _instrument(add: Any, execution: Execution) -> Entity:
    entry, provenance = execution.entry_point, execution.provenance
    path = entry["path"]
    language = _LANGUAGES.get(os.path.splitext(path)[1]) if path else None
    return add(
        str(entry["url"]),
        type_=["SoftwareSourceCode", "SoftwareApplication"],
        name=path or "the tree as a whole",
        version=provenance["tag"] or provenance["version"] or provenance["commit"],
        softwareVersion=provenance["version"] or provenance["commit"],
        codeRepository=provenance["repository_url"],
        programmingLanguage=language,
        url=provenance["commit_url"] or str(entry["url"]),
        identifier=[provenance["commit"], entry["checksum"]],
    )


def _one(entities: list[Entity]) -> list[Entity] | Entity | None:
    """A single value stands alone (RO-Crate 1.1, appendix on JSON-LD); none is left out."""
    return entities if len(entities) > 1 else next(iter(entities), None)


def _parameters(add: Any, execution: Execution) -> list[Entity]:
    given: Mapping[str, Any] = (execution.notebook or {}).get("parameters", {})
    return [
        add(f"#parameter-{name}", type_="PropertyValue", name=name, value=_plain(value))
        for name, value in given.items()
    ]


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else json.dumps(value)


def _results(crate: ROCrate, execution: Execution, scratch: str) -> Entity | None:
    """The executed notebook, when it is still the one of the record."""
    about = execution.notebook or {}
    source, digest = about.get("output"), about.get("sha256")
    if not source or not digest:
        return None
    try:
        with open(source, "rb") as file:
            data = file.read()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != digest:
        return None
    name = os.path.basename(source)
    copy = os.path.join(scratch, name)
    with open(copy, "wb") as file:
        file.write(data)
    properties = {
        "name": f"{name}, executed",
        "sha256": digest,
        "encodingFormat": "application/x-ipynb+json",
        "contentSize": str(len(data)),
    }
    return crate.add_file(copy, dest_path=name, properties=properties)
