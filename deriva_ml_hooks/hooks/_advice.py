"""What to do about a large file, by its kind and by where it was found: the findings of check-large-files.

The message says where such a file belongs; the fix is the command that takes it out of where it was found.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from deriva_ml_hooks.git.pushes import RefUpdate
from deriva_ml_hooks.git.repository import Repository
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
_SOURCES = ("GITHUB_HEAD_REF", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
"""Variables of CI (GitHub, GitLab) that name the branch which is asked to be merged."""
_REMOTE_BRANCH = re.compile(r"refs/remotes/(?!pull/)[^/]+/(?!HEAD$)")


class Heavy(NamedTuple):
    """A blob that is refused, or a file that is not tracked: why (`code`), and where it was found.

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


Undo = Callable[[Sequence[Heavy]], str]
"""The command that takes blobs, of one kind and one commit, out of where they were found."""


def findings(
    heavy: Iterable[Heavy], *, limit: int, lfs: Collection[bytes], undo: Undo, allow: tuple[str, str]
) -> list[Finding]:
    """The findings for blobs over `limit` bytes or of denied kinds, those with the same fix together.

    `lfs`: paths that git-lfs should hold, so that what is there in full was staged without it. `allow`: the
    file, and the header of the table in it, with the globs that may be large.
    """
    groups: dict[tuple[str, str, str | None], list[Heavy]] = {}
    for one in heavy:
        kind = "unfiltered" if one.path in lfs else kind_of(one.path)
        groups.setdefault((one.code, kind, one.commit), []).append(one)
    told = []
    for (code, kind, commit), group in groups.items():
        fix = undo(group)
        if kind == "unfiltered" and commit is None:
            fix = (
                f"git lfs install --skip-repo && git rm --cached -- {names(group)}"
                f" && git add -- {names(group)} .gitattributes"
            )
        for one in group:
            shown = None if one.path is None else os.fsdecode(one.path)
            message = f"{_measured(one, limit)}; {_belongs(one, kind, allow)}"
            told.append(Finding(code, shown, message if one.path else _measured(one, limit), fix))
    return told


def kind_of(path: bytes | None) -> str:
    """`result`, `data` or `other`, by the end of the name."""
    name = os.fsdecode(path or b"").lower()
    return "result" if name.endswith(RESULTS) else "data" if name.endswith(DATA) else "other"


def _belongs(one: Heavy, kind: str, allow: tuple[str, str]) -> str:
    """Where such a file is kept instead, or how it may stay."""
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
    glob = "/" + re.sub(r"([\\\\*?\[])", r"\\\1", path)
    written = json.dumps(glob, ensure_ascii=False)
    return f"to keep it, add {written} to allow in {allow[0]} under [{allow[1]}], or have git-lfs keep it"


def way_out(place: Repository, updates: Sequence[RefUpdate], group: Sequence[Heavy]) -> str:
    """The usual command that takes the files of `group` out of the commits of a push.

    From the first commit that has one on, all becomes one commit without them; they stay on the disk.
    """
    commit = group[0].commit
    head = os.fsdecode(place.git("symbolic-ref", "--quiet", "HEAD").stdout).strip()
    sent = [head if update.local_ref == "HEAD" else update.local_ref for update in updates]
    form = "--format=%(refname) %(objecttype) %(*objecttype)"
    listed = place.git("for-each-ref", form, *([f"--contains={commit}"] if commit else sent)).checked()
    kinds = dict(line.split(" ", 1) for line in os.fsdecode(listed).splitlines())
    holding = [ref for ref, kind in kinds.items() if commit or "commit" not in kind]
    tags = [ref.removeprefix("refs/tags/") for ref in holding if ref in sent and ref.startswith("refs/tags/")]
    steps = [shlex.join(["git", "tag", "--delete", "--", *tags])] if tags else []
    branches = [ref for ref in (*sent, head, *holding) if ref in holding and ref.startswith("refs/heads/")]
    if commit is None or (tags and head and not branches):
        return "".join(steps)
    name = next(iter(branches), head).removeprefix("refs/heads/")
    if not head:  # in CI it is the merge of a request, whose branch is the remote's
        there = [ref.split("/", 3)[-1] for ref in holding if _REMOTE_BRANCH.match(ref)]
        name = next(filter(None, [*map(os.environ.get, _SOURCES), *there]), "")
    if name and f"refs/heads/{name}" != head:
        steps.append(f"git switch {shlex.quote(name)}")
    if place.git("rev-parse", "--verify", "--quiet", f"{commit}^").returncode:
        steps += ["git update-ref -d HEAD", f"git rm --quiet --cached -f --ignore-unmatch -- {names(group)}"]
    else:
        steps += [f"git reset --soft {commit[:12]}^", f"git reset --quiet -- {names(group)}"]
    return " && ".join([*steps, f"git commit --allow-empty --reuse-message={commit[:12]}"])


def names(group: Iterable[Heavy]) -> str:
    """Their paths as words for a shell, or `FILE` when they are many."""
    found = [*dict.fromkeys(one.path for one in group if one.path is not None)]
    return " ".join(word(path) for path in found) if 0 < len(found) <= _NAMED else "FILE"


def word(path: bytes) -> str:
    """`path` as one word for bash; with $'...' where it would not print (bash(1), QUOTING)."""
    text = os.fsdecode(path)
    if text.isprintable():
        return shlex.quote(text)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in path)
    return f"$'{''.join(plain)}'"


def _measured(one: Heavy, limit: int) -> str:
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
