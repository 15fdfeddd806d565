"""The gate of an image that has no repository: the record that its build left in a file.

Nothing here can tell what commit the image's files are of; the build could, and wrote it down together
with the id of every file. So each file of the commit that is there has to be the one that the file
names, and each that the build did not leave out has to be there. What else is in the image is not vouched
for.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from deriva_ml_hooks.config import load
from deriva_ml_hooks.errors import IMAGE_VARIABLE, HooksError
from deriva_ml_hooks.gate.reasons import Reason
from deriva_ml_hooks.gate.verdict import Verdict
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.content import object_id
from deriva_ml_hooks.git.remotes import Remote
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance, RecordedFile, Source, from_json
from deriva_ml_hooks.report import Finding

LEDGER_VARIABLE = "DERIVA_ML_HOOKS_LEDGER"
"""Names the ledger of an image: the user's word needs nobody's consent."""
LEFT_OUT = "left_out"
"""The mark of a file that the image may lack."""

_EXPORT = "on a clean worktree: deriva-ml-hooks provenance --format json --output FILE; then build again"


class ProvenanceFileError(HooksError):
    """The file that is named is not the record of this image's build."""

    def __init__(self, path: str, problem: str) -> None:
        self.message = f"cannot be taken for the record of this image: {problem}"
        super().__init__(f"{path}: {self.message}", fix=_EXPORT)


@dataclass(frozen=True, slots=True)
class ImageSource(Source):
    """The files of the commit, as the build listed them."""

    files: Mapping[str, Mapping[str, str]]

    def file(self, commit: str, tree: str, path: str) -> RecordedFile:
        """What is known of `path`; raises NotInCommitError."""
        entry = self.files.get(path)
        if entry is None or entry["mode"] == "120000":
            raise NotInCommitError(path, commit, fix=self.adding(path))
        url = remotes.permalink(self.remote, repository=self.repository.worktree, oid=commit, path=path)
        return RecordedFile(path, entry["blob"], entry.get("checksum", entry["blob"]), url)

    def holds(self, tree: str, path: str) -> bool:
        """Whether the commit has anything at `path`, be it a folder."""
        return path in ("", ".") or any(f"{name}/".startswith(f"{path}/") for name in self.files)

    def adding(self, path: str) -> str:
        """How a user makes `path` a file of the commit: not here."""
        return f"commit {path} where the repository is, then build the image again"


@dataclass(frozen=True, slots=True)
class ImageProvenance(Provenance):
    """A record that was read from the file of a build; how many `files` it names, and how many are here.

    `compared` is None where nobody has looked.
    """

    files: int = 0
    compared: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as JSON, which says where it is from, and what was held against it."""
        return Provenance.as_json(self) | {"source": "file", "files": self.files, "compared": self.compared}


def judge_image(start: str, *, require_tag: bool) -> Verdict:
    """The verdict on the image around the folder `start`, by the record that IMAGE_VARIABLE names."""
    path = os.environ[IMAGE_VARIABLE]
    try:
        provenance = _read(path)
    except ProvenanceFileError as error:
        return Verdict((Reason.PROVENANCE_FILE.finding(error.message, path=path, fix=error.fix),))
    repository = provenance.source.repository
    root = repository.worktree
    reasons = differences(provenance)
    compared = sum(os.path.lexists(os.path.join(root, file)) for file in _source(provenance).files)
    if not compared:
        said = f"no file of the commit is in {root}, where it stands"
        fix = "put the file at the top of the folder that the commit's files are copied into"
        reasons.append(Reason.PROVENANCE_FILE.finding(said, path=path, fix=fix))
    here = os.path.realpath(start)
    if os.path.commonpath([here, root]) != root:
        said = f"outside {root}, of which this is the record: {path}"
        reasons.append(Reason.PROVENANCE_FILE.finding(said, path=here, fix=f"cd {shlex.quote(root)}"))
    config = load(root)._replace(ledger=os.environ.get(LEDGER_VARIABLE))  # that is the image's matter
    if provenance.tag is None and (require_tag or config.untagged == "refuse"):
        fix = "deriva-ml-hooks bump-version, then build again"
        reasons.append(Reason.UNTAGGED.finding(provenance.commit[:12], fix=fix))
    said = (
        f"the record is the one of the build: {compared} of {provenance.files} files of the commit compared; "
        "other files are not known here"
    )
    fix = "run where the repository is, to have everything measured"
    warning = Reason.PROVENANCE_FILE.finding(said, path=path, fix=fix)
    provenance = replace(provenance, compared=compared)
    return Verdict(tuple(reasons), (warning,), provenance, repository, config)


def image_provenance() -> ImageProvenance | None:
    """The record of this image's build, whatever has become of its files; None where no file is named.

    Raises ProvenanceFileError.
    """
    path = os.environ.get(IMAGE_VARIABLE)
    return _read(path) if path else None


def differences(provenance: Provenance) -> list[Finding]:
    """The files of the commit that are not what the build saw, or not here though the build left them in."""
    source = _source(provenance)
    found, missing = [], []
    for path, entry in source.files.items():
        here = os.path.join(source.repository.worktree, path)
        if content_id(here, like=entry["blob"]) in (entry["blob"], entry.get("built", entry["blob"])):
            continue
        # A folder in its place, or what cannot be read, is not left out.
        if os.path.lexists(here):
            said, fix = "not the file that the image was built with", "build the image again, from the commit"
            found.append(Reason.UNSTAGED.finding(said, path=path, fix=fix))
        elif LEFT_OUT not in entry:
            missing.append(path)
    if missing:
        more = f", and {len(missing) - 1} more files of the commit" if len(missing) > 1 else ""
        left_out = shlex.join(["deriva-ml-hooks", "provenance", "--format", "json", "--left-out", missing[0]])
        fix = f"copy it into the image, or name at the export what the image leaves out: {left_out}"
        found.append(Reason.UNSTAGED.finding(f"not here{more}", path=missing[0], fix=fix))
    return found


def content_id(path: str, *, like: str) -> str | None:
    """The id that git gives the bytes at `path` as they are, or to where a link leads; None without a file.

    `like` is an id of the same hash function.
    """
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return object_id("blob", os.fsencode(os.readlink(path)), like=like)
        if not stat.S_ISREG(mode):
            return None
        with open(path, "rb") as file:
            return object_id("blob", file.read(), like=like)
    except OSError:
        return None


def state_folder() -> str:
    """What an image has in the place of a git directory: the user's state (XDG Base Directory)."""
    home = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.environ.get("XDG_STATE_HOME") or home


def _source(provenance: Provenance) -> ImageSource:
    if not isinstance(provenance.source, ImageSource):
        raise TypeError("not the record of an image")
    return provenance.source


def _read(path: str) -> ImageProvenance:
    try:
        return _parsed(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise ProvenanceFileError(path, problem or type(error).__name__) from error


def _parsed(path: str) -> ImageProvenance:
    with open(path, "rb") as file:
        document = json.loads(file.read())
    if document.get("clean") is not True:
        raise ValueError("it was written on a worktree that was not the commit")
    files = {entry["path"]: entry for entry in document["files"]}
    if not all(isinstance(entry["blob"], str) and isinstance(entry["mode"], str) for entry in files.values()):
        raise ValueError("its files are not as they were written")
    # A link is where it stands: a mounted file leads into a folder of the system's own.
    root = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    state = state_folder()
    name = document["remote"]
    remote = Remote(name, document["repository_url"], document["forge"]) if name else None
    source = ImageSource(Repository(root, state, state), remote, files)
    record = from_json(document, source)
    known = {field.name: getattr(record, field.name) for field in fields(Provenance)}
    return ImageProvenance(**known, files=len(files))
