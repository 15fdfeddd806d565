"""What to do about a large file, by its kind and by where it was found: the findings of check-large-files."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from deriva_ml_hooks.report import Finding

# fmt: off
RESULTS = (
    ".bin", ".ckpt", ".gguf", ".h5", ".hdf5", ".joblib", ".keras", ".mlmodel", ".model", ".npz", ".onnx",
    ".pb", ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".tflite", ".weights",
)
DATA = (
    ".7z", ".arrow", ".avi", ".bam", ".bmp", ".bz2", ".csv", ".czi", ".dcm", ".dicom", ".feather", ".gz",
    ".jpeg", ".jpg", ".json", ".jsonl", ".lif", ".mat", ".mha", ".mp4", ".nd2", ".nii", ".npy", ".nrrd",
    ".parquet", ".png", ".sqlite", ".svs", ".tar", ".tfrecord", ".tgz", ".tif", ".tiff", ".tsv", ".wav",
    ".xlsx", ".xz", ".zarr", ".zip", ".zst",
)
# fmt: on
_NAMED = 5
"""Paths that a fix spells out; with more it says `FILE`, and the lines above it name them."""


class Heavy(NamedTuple):
    """A blob that is refused, or a file that is not tracked: why (`code`), and where it was found.

    `was`: bytes of what HEAD has there; `commit`: the one that adds it. Without a path a tag leads to it.
    """

    code: str
    path: bytes | None
    oid: bytes
    size: int
    was: int | None = None
    commit: str | None = None


class WayOut(NamedTuple):
    """The command that takes blobs out of where they were found; `complete`: and nothing else is to do."""

    command: str
    complete: bool = False


Undo = Callable[[str, Sequence[Heavy]], WayOut]
"""The way out for blobs of one kind."""


class Allow(NamedTuple):
    """The globs that may be large: their file, the header of their table, and those that are there."""

    file: str
    header: str
    globs: tuple[str, ...]

    def line(self, found: Sequence[bytes]) -> str:
        """The line of TOML that lets the files at `found` pass too."""
        own = ["/" + re.sub(r"([\\\\*?\[])", r"\\\1", os.fsdecode(path)) for path in found]
        return f"allow = {json.dumps([*self.globs, *own], ensure_ascii=False)}"


def findings(
    heavy: Iterable[Heavy], *, limit: int, lfs: Collection[bytes], undo: Undo, allow: Allow
) -> list[Finding]:
    """The findings for blobs over `limit` bytes or of denied kinds, those with the same way out together.

    `lfs`: paths that git-lfs should hold, so that what is there in full was staged without it.
    """
    groups: dict[tuple[str, str, bool], list[Heavy]] = {}
    for one in heavy:
        kind = "unfiltered" if one.path in lfs else kind_of(one.path)
        groups.setdefault((one.code, kind, one.commit is None), []).append(one)
    told = []
    for (code, kind, _), group in groups.items():
        fix = _let_pass(code, kind, group, allow) + _fix(code, kind, group, undo(kind, group))
        told += [Finding(code, _shown(one), _message(one, limit), fix) for one in group]
    return told


def kind_of(path: bytes | None) -> str:
    """`result`, `data` or `other`, by the end of the name."""
    name = os.fsdecode(path or b"").lower()
    return "result" if name.endswith(RESULTS) else "data" if name.endswith(DATA) else "other"


def _let_pass(code: str, kind: str, group: Sequence[Heavy], allow: Allow) -> str:
    """How a large file that is neither data nor a result may stay as it is."""
    found = paths(group)
    if code != "large-file" or kind != "other" or not 0 < len(found) <= _NAMED:
        return ""
    if not all(map(_is_text, found)):  # TOML cannot name it
        return ""
    return f"to keep it as it is, in {allow.file} under [{allow.header}]: {allow.line(found)}; or: "


def _is_text(path: bytes) -> bool:
    return os.fsdecode(path).isprintable()


def _fix(code: str, kind: str, group: Sequence[Heavy], undo: WayOut) -> str:
    if undo.complete:
        return undo.command
    first = f"{undo.command}; then " if undo.command else ""
    if kind == "unfiltered":
        in_history = any(one.commit is not None for one in group)
        again = first if in_history else ""
        unstage = "" if in_history else f"git rm --cached -- {names(group)} && "
        again += f"git lfs install --skip-repo && {unstage}git add -- {names(group)} .gitattributes"
        return f"{again} (git-lfs was not at work before); commit, and before the push: {SENT}"
    if kind == "result":
        return (
            f"{first}register it as an output asset: execution.asset_file_path(...),"
            f" it is uploaded with the execution, {_ASIDE}"
        )
    if kind == "data":
        return f"{first}add it to a Deriva dataset and download it by its RID, {_ASIDE}"
    if code == "denied-file":
        return f"{first}keep it out of git: name it in .gitignore"
    tracked = f"git lfs track -- {names(group)} && git add -- .gitattributes {names(group)}"
    keep = f"keep it in git-lfs: git lfs install --skip-repo && {tracked}"
    return f"{first}{keep}; commit, and before the push: {SENT}"


_ASIDE = "and name it in .gitignore, or move it out of the repository"
SENT = "git lfs push --all REMOTE"


def names(group: Iterable[Heavy]) -> str:
    """Their paths as words for a shell, or `FILE` when they are many."""
    found = paths(group)
    return " ".join(word(path) for path in found) if 0 < len(found) <= _NAMED else "FILE"


def paths(group: Iterable[Heavy]) -> list[bytes]:
    """Their paths, each once."""
    return [*dict.fromkeys(one.path for one in group if one.path is not None)]


def word(path: bytes) -> str:
    """`path` as one word for bash; with $'...' where it would not print (bash(1), QUOTING)."""
    text = os.fsdecode(path)
    if text.isprintable():
        return shlex.quote(text)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in path)
    return f"$'{''.join(plain)}'"


def _shown(one: Heavy) -> str | None:
    return None if one.path is None else os.fsdecode(one.path)


def _message(one: Heavy, limit: int) -> str:
    parts = [size(one.size)]
    if one.was is not None:
        parts.append(f"{size(one.was)} in HEAD")
    if one.code == "denied-file":
        parts.append("of a kind that is refused at any size")
    else:
        parts.append(f"over the limit of {limit // 1024} kB")
    if one.commit is not None:
        parts.append(f"added by commit {one.commit[:12]}")
    if one.path is None:
        parts.insert(0, f"blob {one.oid[:12].decode()}, which a tag leads to")
    return ", ".join(parts)


def size(count: int) -> str:
    """Bytes in kB, MB or GB of 1024, rounded up: what is over a limit never looks as if it were not."""
    tenths, unit = -(-count * 10 // 1024), "kB"
    for larger in ("MB", "GB"):
        if tenths < 10240:
            break
        tenths, unit = -(-tenths // 1024), larger
    return f"{tenths // 10}.{tenths % 10} {unit}" if tenths % 10 else f"{tenths // 10} {unit}"
