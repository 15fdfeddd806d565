"""Whatever bytes git writes: what reads them gives an answer, or an error of ours that says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.export import code as export
from deriva_ml_hooks.gate import judge
from deriva_ml_hooks.git import blobs, lfs, outgoing, process, pushes, tags, versions
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.outgoing import Outgoing
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.version import Named, scm_version, scm_versions

if TYPE_CHECKING:
    from tests.conftest import Repo


@pytest.mark.parametrize(
    "name", ["1.2." + "3" * 4500, "1.2.3-" + "4" * 4500, "1.2.3.dev" + "5" * 4500, "9" * 4500]
)
def test_a_number_that_has_no_end_is_no_version(name: str) -> None:
    assert versions.version_of(name) is None
    assert versions.semver(name) is None
    assert versions.right_spelling(name, "v") is None
    assert not versions.same_release(name, "1.2.3")


OID = "a" * 40
OUT = Outgoing((OID,), (OID,), ("origin",))
UPDATES = [pushes.RefUpdate("refs/heads/x", OID, "refs/heads/x", "b" * 40)]
QUESTIONS: dict[str, Callable[[Repository], Any]] = {
    "all_tags": tags.all_tags,
    "read_tag": lambda place: tags.read_tag(place, "v1", OID),
    "highest_below": lambda place: tags.highest_below(place, [OID], {OID: 1}),
    "beyond": lambda place: tags.beyond(place, ["c" * 40], OUT),
    "on_no_branch": lambda place: tags.on_no_branch(place, [OID]),
    "branch_with": lambda place: tags.branch_with(place, OID),
    "remote_refs": lambda place: tags.remote_refs(place, "."),
    "commits_here": lambda place: tags.commits_here(place, [OID]),
    "files_at": lambda place: tags.files_at(place, [OID], "x"),
    "outgoing": lambda place: outgoing.outgoing(place, UPDATES, "origin"),
    "new_blobs": lambda place: outgoing.new_blobs(place, OUT, -1, lambda path: True),
    "already_there": lambda place: outgoing.already_there(place, OUT, [OID.encode()]),
    "updates": lambda place: pushes.push_of_pre_commit(place, {"PRE_COMMIT_TO_REF": "HEAD"}),
    "staged": blobs.staged,
    "indexed": blobs.indexed,
    "sizes": lambda place: blobs.sizes(place, [OID.encode()]),
    "in_trees": lambda place: blobs.in_trees(place, ["HEAD"], [OID.encode()]),
    "pointers": lambda place: lfs.pointer_blobs(place, [OID.encode()]),
    "the gate": lambda place: judge(place.worktree),
    "a version": lambda place: scm_version(place, head_of(place)),
    "versions": lambda place: scm_versions(place, [Named(head_of(place), None)]),
    "files": lambda place: [*export.files_of(_provenance(place))],
}
GARBAGE = [
    *(
        b"",
        b"\n",
        b"\0",
        b"\xff\xfe\0\n",
        b"a b c d e f g h i\0j\n",
        b"blob\n\n\n",
        b"x " + b"9" * 5000 + b"\n",
    ),
    *(b":100644 100644 " + OID.encode() + b"\0", b"commit\n" * 9, b"tag tag tag\n", b"1 a b\0002 c\0"),
]


def head_of(place: Repository) -> bytes:
    head = place.head()
    assert head is not None
    return head


def _provenance(place: Repository) -> Any:
    from deriva_ml_hooks.config import Config
    from deriva_ml_hooks.provenance.cache import provenance_of

    return provenance_of(place, Config(), refresh=True)


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_a_git_that_writes_garbage_is_an_error_of_git(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    repo.git("tag", "v1.0.0")
    place = measured(str(repo.path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "garbage").write_bytes(GARBAGE[number])
    program = tmp_path / "bin" / "git"
    program.write_text(f'#!/bin/sh\nexec /bin/cat "{tmp_path}/garbage"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    place = replace(place, env=process.hook_environment())
    for question in QUESTIONS.values():
        with suppress(HooksError):
            question(place)
    if GARBAGE[number].strip():
        assert not judge(str(repo.path)).accepted
