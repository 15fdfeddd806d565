"""What a large file is, where it belongs by its kind, and the words that name it in a finding."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable
from typing import NamedTuple

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
    """A file that is refused: why (`code`), and where it was found.

    `was`: bytes of what HEAD has there; `commit`: the first of a push that has it, `commits`: how many of
    its commits bring such a blob to the path. Without a path a tag leads to it.
    """

    code: str
    path: bytes | None
    oid: bytes
    size: int
    was: int | None = None
    commit: str | None = None
    commits: int = 1


def kind_of(path: bytes | None) -> str:
    """`result`, `data` or `other`, by the end of the name."""
    name = os.fsdecode(path or b"").lower()
    return "result" if name.endswith(RESULTS) else "data" if name.endswith(DATA) else "other"


def belongs(one: Heavy, kind: str, file: str, table: str) -> str:
    """Where such a file is kept instead, or how it may stay: by a glob in `table` of `file`."""
    if kind == "unfiltered":
        return "git-lfs should hold it, and was not at work"
    if kind == "result":
        return "a result is an output asset, uploaded with the execution: execution.asset_file_path(...)"
    if kind == "data":
        return "data belong in a Deriva dataset, and are downloaded by its RID"
    if one.code == "denied-file":
        return "name it in .gitignore"
    path = os.fsdecode(one.path or b"")
    if not path.isprintable():  # TOML cannot name it
        return "git-lfs can keep it"
    glob = json.dumps("/" + re.sub(r"([\\*?\[])", r"\\\1", path), ensure_ascii=False)
    return f"to keep it, add {glob} to allow in {file} under [{table}], or have git-lfs keep it"


def names(paths: Iterable[bytes | None]) -> str:
    """Paths as words for a shell, or `FILE` when they are many."""
    found = [*dict.fromkeys(path for path in paths if path is not None)]
    return " ".join(_word(path) for path in found) if 0 < len(found) <= _NAMED else "FILE"


def _word(path: bytes) -> str:
    """`path` as one word for bash; with $'...' where it would not print (bash(1), QUOTING)."""
    text = os.fsdecode(path)
    if text.isprintable():
        return shlex.quote(text)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in path)
    return f"$'{''.join(plain)}'"


def measured(one: Heavy, limit: int) -> str:
    """What it weighs, the `limit` in bytes, and which commit adds it."""
    parts = [size(one.size)]
    if one.was is not None:
        parts.append(f"{size(one.was)} in HEAD")
    if one.code == "denied-file":
        parts.append("of a kind that is refused at any size")
    else:
        parts.append(f"over the limit of {limit // 1024} kB")
    if one.commit is not None:
        parts.append(f"added by commit {one.commit[:12]}")
    if one.commits > 1:
        parts.append(f"and by {one.commits - 1} more")
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
