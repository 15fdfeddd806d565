"""What to do about a large file, by its kind and by where it was found: the findings of check-large-files."""

from __future__ import annotations

import os
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


Undo = Callable[[Sequence[Heavy]], str]
"""The command that takes the blobs out of where they were found; empty where there is nothing to undo."""


def findings(heavy: Iterable[Heavy], *, limit: int, lfs: Collection[bytes], undo: Undo) -> list[Finding]:
    """The findings for blobs over `limit` bytes or of denied kinds, those with the same way out together.

    `lfs`: paths that git-lfs should hold, so that what is there in full was staged without it.
    """
    groups: dict[tuple[str, str], list[Heavy]] = {}
    for one in heavy:
        kind = "unfiltered" if one.path in lfs else kind_of(one.path)
        groups.setdefault((one.code, kind), []).append(one)
    told = []
    for (code, kind), group in groups.items():
        fix = _fix(code, kind, group, undo(group))
        told += [Finding(code, _shown(one), _message(one, limit), fix) for one in group]
    return told


def kind_of(path: bytes | None) -> str:
    """`result`, `data` or `other`, by the end of the name."""
    name = os.fsdecode(path or b"").lower()
    return "result" if name.endswith(RESULTS) else "data" if name.endswith(DATA) else "other"


def _fix(code: str, kind: str, group: Sequence[Heavy], undo: str) -> str:
    first = f"{undo}; then " if undo else ""
    if kind == "unfiltered":
        return (
            f"{undo + ' && ' if undo else ''}git lfs install && git add --renormalize -- {names(group)}"
            " (git-lfs is to hold it, and was not at work when it was added)"
        )
    if kind == "result":
        return (
            f"{first}register it as an output asset: execution.asset_file_path(...),"
            " it is uploaded with the execution"
        )
    if kind == "data":
        return f"{first}add it to a Deriva dataset and download it by its RID"
    if code == "denied-file":
        return f"{first}keep it out of git: name it in .gitignore"
    return (
        f"{first}keep it in git-lfs: git lfs track -- {names(group)} && git add .gitattributes {names(group)}"
    )


def names(group: Sequence[Heavy]) -> str:
    """Their paths as words for a shell, or `FILE` when they are many."""
    paths = list(dict.fromkeys(one.path for one in group if one.path is not None))
    return shlex.join(os.fsdecode(path) for path in paths) if 0 < len(paths) <= _NAMED else "FILE"


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
