"""What to do about a large file, by its kind and by where it was found: the findings of check-large-files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from deriva_ml_hooks.git.blobs import Place
from deriva_ml_hooks.report import Finding

if TYPE_CHECKING:
    from deriva_ml_hooks.git.outgoing import Outgoing
    from deriva_ml_hooks.git.pushes import RefUpdate

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

    `was`: bytes of what HEAD has there; `commit`: the one that adds it, `gone`: and a later one takes it
    away again. Without a path a tag leads to it.
    """

    code: str
    path: bytes | None
    oid: bytes
    size: int
    was: int | None = None
    commit: str | None = None
    gone: bool = False


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
    if undo and all(one.gone or one.path is None for one in group):
        return undo
    first = f"{undo}; then " if undo else ""
    if kind == "unfiltered":
        in_history = any(one.commit is not None for one in group)
        again = first if in_history else ""
        unstage = "" if in_history else f"git rm --cached -- {names(group)} && "
        again += f"git lfs install --skip-repo && {unstage}git add {names(group)} .gitattributes"
        return f"{again} (git-lfs was not at work before); {_SENT}"
    if kind == "result":
        return (
            f"{first}register it as an output asset: execution.asset_file_path(...),"
            f" it is uploaded with the execution, {_ASIDE}"
        )
    if kind == "data":
        return f"{first}add it to a Deriva dataset and download it by its RID, {_ASIDE}"
    if code == "denied-file":
        return f"{first}keep it out of git: name it in .gitignore"
    tracked = f"git lfs track -- {names(group)} && git add .gitattributes {names(group)}"
    return f"{first}keep it in git-lfs: git lfs install --skip-repo && {tracked}; {_SENT}"


_ASIDE = "and name it in .gitignore, or move it out of the repository"
_SENT = "commit, and before the push: git lfs push --all REMOTE"


def names(group: Iterable[Heavy]) -> str:
    """Their paths as words for a shell, or `FILE` when they are many."""
    paths = list(dict.fromkeys(one.path for one in group if one.path is not None and not one.gone))
    return " ".join(word(path) for path in paths) if 0 < len(paths) <= _NAMED else "FILE"


def word(path: bytes) -> str:
    """`path` as one word for bash; with $'...' where it would not print (bash(1), QUOTING)."""
    text = os.fsdecode(path)
    if text.isprintable():
        return shlex.quote(text)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in path)
    return f"$'{''.join(plain)}'"


def squashed(
    place: Place, out: Outgoing, updates: Sequence[RefUpdate], oldest: str, group: Sequence[Heavy]
) -> str:
    """What makes one commit, without the blobs of `group`, of all from `oldest` on; files stay on disk.

    A rebase would not do: it stops where a commit becomes empty, or where files that it left untracked
    are in its way.
    """
    branch, switch = _branch_with(place, updates, oldest)
    tip = place.git("rev-parse", "--verify", branch).checked().decode("ascii").strip()
    base = _base(place, out, oldest, tip)
    start = f"git reset --soft {base[:12]}" if base else "git update-ref -d HEAD"
    there = contents(place, [tip])
    files = names(staying) if (staying := [one for one in group if (one.path, one.oid) in there]) else ""
    unstage = "git restore --staged" if base else "git rm --quiet --cached --force"
    drop = f" && {unstage} -- {files}" if files else ""
    commit = f"{{ git diff --cached --quiet || git commit --reuse-message={tip[:12]}; }}"
    tagged = ", tags on them have to be made again" if any(update.is_tag for update in updates) else ""
    return f"{switch}{start}{drop} && {commit} (one commit in place of all from {oldest[:12]} on{tagged})"


def _branch_with(place: Place, updates: Sequence[RefUpdate], commit: str) -> tuple[str, str]:
    """The branch to mend, one that is pushed before others, and the command that leads there."""
    head = os.fsdecode(place.git("symbolic-ref", "--quiet", "HEAD").stdout).strip()
    form = ("for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/heads/")
    holding = os.fsdecode(place.git(*form).checked()).splitlines()
    sent = [head if update.local_ref == "HEAD" else update.local_ref for update in updates]
    wanted = [*(ref for ref in sent if ref == head), *sent, head, *holding]
    branch = next((ref for ref in wanted if ref in holding), None)
    if branch is None:
        tip = next((update.local_oid for update in updates if not update.is_deletion), "HEAD")
        return f"{tip}^{{commit}}", f"git switch --detach {tip[:12]} && "
    name = shlex.quote(branch.removeprefix("refs/heads/"))
    return branch, "" if branch == head else f"git switch {name} && "


def _base(place: Place, out: Outgoing, oldest: str, tip: str) -> str | None:
    """The commit to begin again from; None for none at all.

    It is the parent of `oldest`, or where there are merges since, what the remote has of `tip`.
    """
    from dataclasses import replace

    parents = place.git("rev-parse", f"{oldest}^@").checked().decode("ascii").split()
    merges = ("rev-list", "--min-parents=2", "--max-count=1", tip, *(f"^{parent}" for parent in parents))
    if not place.git(*merges).checked():
        return parents[0] if parents else None
    words = ("rev-list", "--boundary", *out.arguments())
    stdin = replace(out, tips=(tip,)).stdin()
    listed = place.git(*words, stdin=stdin).checked().decode("ascii").split()
    edge = [oid[1:] for oid in listed if oid.startswith("-")]
    if len(edge) > 1:
        edge = place.git("merge-base", "--independent", *edge).checked().decode("ascii").split()
    return next((oid for oid in edge if oid in out.known), edge[0] if edge else None)


def contents(place: Place, revisions: Iterable[str]) -> set[tuple[bytes, bytes]]:
    """Path and oid of all that the trees of `revisions` hold."""
    found = set()
    for revision in revisions:
        listed = place.git("ls-tree", "-r", "-z", "--full-tree", revision).checked()
        for record in listed.split(b"\0"):
            facts, _, path = record.partition(b"\t")
            found.add((path, facts.rpartition(b" ")[2]))
    return found


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
