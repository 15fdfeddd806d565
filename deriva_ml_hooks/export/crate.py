"""An execution as a research object: a Process Run Crate 0.5 (w3id.org/ro/wfrun/process/0.5).

The crate says what the record says and nothing besides: code at a commit, times, how it ended. Files go
along only where the record holds their hash and they still have it.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Mapping
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deriva_ml_hooks import packages
from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.executions.record import Execution
from deriva_ml_hooks.files import sha256_of
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.redact import shown_command
from deriva_ml_hooks.toml import parse_toml

if TYPE_CHECKING:
    from dulwich.objects import Tree
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_CRATE = "https://w3id.org/ro/crate/1.1"
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_STATUS = {
    "Completed": "http://schema.org/CompletedActionStatus",
    "Failed": "http://schema.org/FailedActionStatus",
    "Aborted": "http://schema.org/FailedActionStatus",
    "Submitted": "http://schema.org/PotentialActionStatus",
    "Running": "http://schema.org/ActiveActionStatus",
}
_LANGUAGES = {".py": "Python", ".ipynb": "Jupyter Notebook", ".sh": "Shell", ".R": "R", ".r": "R"}
_FORMATS = {".ipynb": "application/x-ipynb+json"}
_BYTES = "application/octet-stream"
_LICENSE_FILE = re.compile(rb"(?:licen[cs]e|copying)(?:[.-].*)?", re.IGNORECASE)


class CrateError(HooksError):
    """The crate cannot be written."""


def write(execution: Execution, path: str, repository: Repository | None) -> list[str]:
    """Write the crate of `execution` whole, as the folder `path`, or as an archive where that ends in .zip.

    `repository` is where its results and the license of its code are; None: they stay out. Gives the results
    that stay out, since they are not what the record names any more. Raises CrateError.
    """
    if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise CrateError(f"{path}: exists already", fix="name a new folder, or a new file that ends in .zip")
    folder, name = os.path.split(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".deriva-ml-hooks-", dir=folder) as scratch:
            crate, left_out = _crate(execution, repository, scratch)
            beside = os.path.join(scratch, "crate", name)
            os.mkdir(os.path.dirname(beside))
            (crate.write_zip if path.endswith(".zip") else crate.write)(beside)
            if os.path.isdir(path):
                os.rmdir(path)
            os.replace(beside, path)
    except OSError as error:
        fix = "name a new folder where you may write: --output PATH"
        raise CrateError(f"{path}: {error.strerror}", fix=fix) from None
    return left_out


def metadata(execution: Execution, repository: Repository | None) -> tuple[dict[str, Any], list[str]]:
    """The crate's ro-crate-metadata.json alone, and what `write` gives."""
    crate, left_out = _crate(execution, repository, None)
    return crate.metadata.generate(), left_out


def _crate(
    execution: Execution, repository: Repository | None, scratch: str | None
) -> tuple[ROCrate, list[str]]:
    try:
        from rocrate.model.contextentity import ContextEntity
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        fix = packages.installing("deriva-ml-hooks[ro-crate]")
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
    crate.license = _license(add, repository, commit)
    profile = add(PROFILE, type_="CreativeWork", name="Process Run Crate", version="0.5")
    crate.root_dataset["conformsTo"] = profile
    publisher = _publisher(add, execution.provenance)
    if publisher is not None:
        crate.root_dataset["publisher"] = publisher

    agent = _agent(add, execution.agent or {})
    if agent is not None:
        crate.root_dataset["author"] = agent
    results, left_out = _results(crate, execution, repository, scratch)
    if results:
        crate.root_dataset["hasPart"] = _one(results)
    action: dict[str, Any] = {
        "@type": "CreateAction",
        "name": f"Execution {execution.id} of {code}",
        "description": shown_command(execution.command),
        "startTime": execution.started_at,
        "endTime": execution.ended_at,
        "actionStatus": _STATUS[execution.status],
        "instrument": _instrument(add, execution),
        "agent": agent,
        "object": _one(_parameters(add, execution)),
        "result": _one(results),
    }
    if execution.status in ("Failed", "Aborted"):
        action["error"] = execution.detail or f"exit {execution.exit_code}"
    if execution.exit_code is not None:
        code_of = add("#exit-code", type_="PropertyValue", name="exit code", value=execution.exit_code)
        action["additionalProperty"] = code_of
    known = {name: value for name, value in action.items() if value is not None}
    run = crate.add(ContextEntity(crate, f"#{execution.id}", properties=known))
    crate.root_dataset["mentions"] = run
    return crate, left_out


def _agent(add: Any, agent: Mapping[str, Any]) -> Entity | None:
    name = agent.get("name") or agent.get("account")
    return add("#agent", type_="Person", name=name, email=agent.get("email")) if name else None


def _publisher(add: Any, provenance: Mapping[str, Any]) -> Entity | None:
    """Whoever holds the repository on its forge; an address elsewhere names nobody."""
    if not provenance["commit_url"] or not provenance["repository_url"]:
        return None
    owner = posixpath.dirname(provenance["repository_url"])
    return add(owner, type_="Organization", name=urlsplit(owner).path.strip("/"), url=owner)


def _license(add: Any, repository: Repository | None, commit: str) -> Entity:
    """What the commit says of the license of its code."""
    about = "The license of the code applies to what its run has made."
    name = "not stated"
    try:
        if repository is not None:
            tree = repository.tree(repository.commit(commit.encode("ascii")).tree)
            identifier = _spdx(repository, tree)
            if identifier is not None and " " not in identifier and not identifier.startswith("LicenseRef-"):
                address = f"https://spdx.org/licenses/{identifier}"
                return add(address, type_="CreativeWork", name=identifier, description=about)
            files = [os.fsdecode(entry) for entry in tree if _LICENSE_FILE.fullmatch(entry)]
            name = identifier or (f"{files[0]} of commit {commit}" if files else name)
    except HooksError:  # not here, or broken
        pass
    return add("#license", type_="CreativeWork", name=name, description=about)


def _spdx(repository: Repository, tree: Tree) -> str | None:
    """The SPDX expression of pyproject.toml (PEP 639), or of the older form that only holds one."""
    try:
        from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
    except ImportError:
        return None
    if b"pyproject.toml" not in tree:
        return None
    document = parse_toml(repository.blob(tree[b"pyproject.toml"][1]).data, "pyproject.toml")
    project = document.get("project")
    said = project.get("license") if isinstance(project, dict) else None
    said = said.get("text") if isinstance(said, dict) else said
    try:
        return canonicalize_license_expression(said) if isinstance(said, str) and len(said) < 200 else None
    except InvalidLicenseExpression:
        return None


def _instrument(add: Any, execution: Execution) -> Entity:
    entry, provenance = execution.entry_point, execution.provenance
    path, url, repository = entry["path"], str(entry["url"]), provenance["repository_url"] or ""
    language = _LANGUAGES.get(os.path.splitext(path)[1]) if path else None
    identifier = url
    if not url.startswith("http"):  # of no page: a place on a disk names nothing to anybody else
        identifier = _swhid(entry["blob"], "cnt") or _swhid(provenance["tree"], "dir") or "#code"
    return add(
        identifier,
        type_=["SoftwareSourceCode", "SoftwareApplication"],
        name=path or "the tree as a whole",
        version=provenance["version"] or provenance["tag"] or provenance["commit"],
        codeRepository=repository if not repository.startswith("file:") else None,
        programmingLanguage=language,
        url=provenance["commit_url"] or (url if not url.startswith("git+file:") else None),
        identifier=[provenance["commit"], entry["checksum"]],
    )


def _swhid(oid: str | None, kind: str) -> str | None:
    """The identifier of a git object wherever it is (swhid.org), with the archive that looks it up."""
    return f"https://archive.softwareheritage.org/swh:1:{kind}:{oid}" if oid and len(oid) == 40 else None


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


def _results(
    crate: ROCrate, execution: Execution, repository: Repository | None, scratch: str | None
) -> tuple[list[Entity], list[str]]:
    """The files that the run has made, and the names of those that are not the recorded ones any more."""
    about = execution.notebook or {}
    named = [(str(result["path"]), str(result["sha256"])) for result in execution.results]
    top = repository.worktree if repository is not None else None
    wanted = [(os.path.join(top, path) if top else None, f"files/{path}", sha) for path, sha in named]
    if about.get("output") and about.get("sha256"):
        wanted.insert(0, (about["output"], os.path.basename(about["output"]), about["sha256"]))
    found, left_out = [], []
    for number, (source, name, sha256) in enumerate(wanted):
        copy = os.path.join(scratch, str(number)) if scratch is not None else None
        held = _held(source, sha256, copy) if source is not None and name.isprintable() else None
        if held is None:
            left_out.append(name.removeprefix("files/"))
            continue
        properties = {
            "name": name.removeprefix("files/"),
            "sha256": sha256,
            "encodingFormat": _FORMATS.get(os.path.splitext(name)[1]) or guess_type(name)[0] or _BYTES,
            "contentSize": str(os.path.getsize(held)),
        }
        found.append(crate.add_file(held, dest_path=name, properties=properties))
    return found, left_out


def _held(source: str, sha256: str, copy: str | None) -> str | None:
    """`source`, copied to `copy` where that is given, if it still has this hash."""
    if not os.path.isfile(source):
        return None
    try:
        if copy is not None:  # what was hashed is what goes along
            source = shutil.copyfile(source, copy)
        with open(source, "rb") as file:
            return source if sha256_of(file.fileno()) == sha256 else None
    except (FileNotFoundError, PermissionError):
        return None
