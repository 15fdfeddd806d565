"""Filters that no commit names: what they hide of a file is told, for it is not what the commit holds.

Attributes come from the commit, and from where only this machine knows: core.attributesFile, the system's
file, info/attributes, a .gitattributes that is ignored (gitattributes(5)). A clean filter named there may
make any file look like the commit's, also in the stamps that the index remembers. One that strips a
notebook is taken at its word, as long as all that nbstripout leaves is the same.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.files import read_regular
from deriva_ml_hooks.git import beside, process
from deriva_ml_hooks.git.content import Entry, differing
from deriva_ml_hooks.git.index import Listing, entry_of
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.notebooks.strip import options_of, strip

_LOSSY = ("filter", "ident", "working-tree-encoding")
_OFF = ("unspecified", "unset")
_MOST = 1 << 28
"""Bytes of a notebook that are read."""


def nbstripout_keys(repository: Repository) -> tuple[list[str], list[str]]:
    """filter.nbstripout.extrakeys and keepmetadatakeys, as git has them."""
    extra, keep = (
        repository.setting("filter", name, "nbstripout") or "" for name in ("extrakeys", "keepmetadatakeys")
    )
    return extra.split(), keep.split()


def hiding(repository: Repository, listing: Listing, settings: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The files that differ from the commit byte by byte, and the filter that hides it: path, attribute.

    Raises GitError.
    """
    if not _others_speak(repository, listing):
        return
    entries = [entry_of(indexed) for indexed in listing.entries if indexed[1].startswith(b"100")]
    heard = _attributes(repository.worktree, [entry.path for entry in entries], settings)
    filtered = [entry for entry in entries if heard.get(entry.path)]
    if not filtered:
        return
    named = _of_the_commit(repository, [entry.path for entry in filtered], listing.tree)
    foreign = [entry for entry in filtered if heard[entry.path] != named.get(entry.path)]
    for entry in differing(repository, foreign, settings, raw=True)[0]:
        if not _same_cells(repository, entry):
            yield entry.path, ", ".join(heard[entry.path])


def _others_speak(repository: Repository, listing: Listing) -> bool:
    """Whether there are attributes that the commit does not hold; cheap, for nearly always there are none."""
    top = os.fsencode(repository.worktree) + b"/"
    names = (folder + b"/.gitattributes" if folder else b".gitattributes" for folder in listing.folders)
    inside = {name for name in names if os.path.lexists(top + name)}
    return (
        repository.setting("attr", "tree") is not None
        or any(os.path.exists(file) for file in beside.attributes(repository))
        or bool(inside and inside.difference(path for *_, path, _ in listing.entries))
    )


def _attributes(
    folder: str, paths: Sequence[str], words: Sequence[str], env: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """What is set for each path of the attributes that change content (git-check-attr(1))."""
    where = ["--cached"] if env is not None else []
    stdin = b"".join(os.fsencode(path) + b"\0" for path in paths)
    done = process.run(
        *words, "check-attr", *where, "-z", "--stdin", *_LOSSY, cwd=folder, env=env, stdin=stdin
    )
    fields = os.fsdecode(done.checked()).split("\0")
    found: dict[str, tuple[str, ...]] = {}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        if value not in _OFF:
            found[path] = (*found.get(path, ()), name if value == "set" else f"{name}={value}")
    return found


def _of_the_commit(repository: Repository, paths: Sequence[str], like: str) -> dict[str, tuple[str, ...]]:
    """The same, as the commit alone has it: in a git directory without any attributes of its own."""
    with tempfile.TemporaryDirectory(prefix="deriva-ml-hooks-") as folder:
        kind = "sha256" if len(like) == 64 else "sha1"
        made = ("init", "--quiet", "--bare", f"--object-format={kind}", folder)
        process.run(*process.QUIETLY, *made, cwd=folder).checked()
        plain = ("-c", "core.splitIndex=false", "-c", "index.sparse=false")
        env = process.environment() | {"GIT_INDEX_FILE": os.path.join(folder, "index")}
        process.run(*plain, "read-tree", "HEAD", cwd=repository.worktree, env=env).checked()
        env |= {
            "GIT_DIR": folder,
            "GIT_OBJECT_DIRECTORY": os.path.join(repository.common_dir, "objects"),
            "GIT_ATTR_NOSYSTEM": "1",
        }
        return _attributes(folder, paths, ("-c", f"core.attributesFile={os.devnull}"), env)


def _same_cells(repository: Repository, entry: Entry) -> bool:
    """Whether a notebook is the committed one but for what nbstripout takes away: outputs, counts, ids."""
    if not entry.path.endswith(".ipynb"):
        return False
    keys = nbstripout_keys(repository)
    try:
        there = read_regular(os.path.join(repository.worktree, entry.path), at_most=_MOST)
        committed = repository.blob(entry.oid.encode("ascii")).data
        # Keys that only this machine strips are missing in the commit: what has another value there differs.
        as_stripped = strip(there, options_of({}, *keys))
        pairs = (as_stripped, committed), (strip(there), strip(committed))
        return any(json.loads(here) == json.loads(held) for here, held in pairs)
    except (OSError, ValueError, RecursionError, HooksError):
        return False
