"""Hands a record on: as shell lines, as arguments for an image build, as a file that is baked into the image.

Every form says whether the worktree was exactly the commit. An image is only ever built from one that
was: the image holds files, not the commit, and nobody can tell later.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deriva_ml_hooks.gate.image import LEFT_OUT, content_id
from deriva_ml_hooks.git import process
from deriva_ml_hooks.git.content import GITLINK, SYMLINK
from deriva_ml_hooks.globs import matcher
from deriva_ml_hooks.provenance.record import Provenance
from deriva_ml_hooks.redact import redact, redacted

PREFIX = "DERIVA_ML_HOOKS_"

_SHELL = ("commit", "tree", "branch", "tag", "version", "repository_url", "commit_url", "remote", "pushed")


def as_shell(provenance: Provenance, *, clean: bool) -> list[str]:
    """`export NAME=VALUE` lines, quoted for sh(1); what is not known is empty."""
    known = redacted(provenance.as_json())
    values = {name: known[name] or "" for name in _SHELL} | {"clean": "true" if clean else "false"}
    return [f"export {PREFIX}{name.upper()}={_quoted(value)}" for name, value in values.items()]


def _quoted(value: str) -> str:
    """`value` as one word for sh(1), which holds nothing that a terminal obeys."""
    if value.isprintable():
        return shlex.quote(value)
    plain = bytes(byte for byte in range(32, 127) if chr(byte) not in "%\\'")
    format_ = "".join(chr(b) if b in plain else f"\\{b:03o}" for b in os.fsencode(value))
    return f"\"$(printf '{format_}')\""


def as_docker(provenance: Provenance) -> list[str]:
    """Arguments for `docker build`, one a line, quoted for sh(1) and xargs(1).

    Build arguments are named as deriva-ml reads them in containers (Workflow, DERIVA_MCP_*): what only a
    build can know, DERIVA_MCP_IMAGE_NAME and DERIVA_MCP_IMAGE_DIGEST, is not among them. Labels are the
    annotations of the OCI image specification.
    """
    version = provenance.version or provenance.tag
    arguments = {
        "DERIVA_MCP_IN_DOCKER": "true",
        "DERIVA_MCP_VERSION": version,
        "DERIVA_MCP_GIT_COMMIT": provenance.commit,
    }
    labels = {
        "org.opencontainers.image.revision": provenance.commit,
        "org.opencontainers.image.source": provenance.repository_url,
        "org.opencontainers.image.version": version,
    }
    words = [f"--build-arg={name}={value}" for name, value in arguments.items() if value]
    words += [f"--label={name}={value}" for name, value in labels.items() if value]
    return [shlex.quote(redact(word)) for word in words]


def as_document(provenance: Provenance, files: Sequence[Mapping[str, Any]], *, clean: bool) -> dict[str, Any]:
    """The record with `clean`, and the `files` of the commit, so that an image can be held against them."""
    remote = provenance.source.remote
    known: dict[str, Any] = redacted(provenance.as_json())
    return known | {
        "clean": clean,
        "forge": remote.forge if remote else None,
        "files": [*files],
    }


def files_of(provenance: Provenance, left_out: Sequence[str] = ()) -> Iterator[Mapping[str, Any]]:
    """Each file by path, mode and blob; `built`, where the worktree's filters make other bytes of it.

    Files that the globs `left_out` (as in .gitignore) match are marked as such.
    A notebook's `checksum` is DerivaML's. The files of submodules are their own repositories' matter.
    """
    repository = provenance.source.repository
    is_left_out = matcher(map(os.fsencode, left_out))
    listed = process.run("ls-tree", "-r", "-z", provenance.commit, cwd=repository.worktree).checked()
    for entry in listed.split(b"\0")[:-1]:
        about, _, name = entry.partition(b"\t")
        with process.answer("ls-tree"):
            mode, _, blob = about.decode("ascii").split(" ")
            kind = int(mode, 8)
        if kind == GITLINK:
            continue
        path = os.fsdecode(name)
        found: dict[str, Any] = {"path": path, "mode": mode, "blob": blob}
        if left_out and is_left_out(name):
            found[LEFT_OUT] = True
        built = content_id(os.path.join(repository.worktree, path), like=blob)
        if built is not None and built != blob:
            found["built"] = built
        if path.endswith(".ipynb") and kind != SYMLINK:
            found["checksum"] = provenance.file(path).checksum
        yield found
