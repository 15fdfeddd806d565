"""Whatever bytes git writes: what reads them gives an answer, or an error of ours that says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.export import code as export
from deriva_ml_hooks.gate import judge
from deriva_ml_hooks.git import (
    blobs,
    configuration,
    index,
    lfs,
    objects,
    outgoing,
    process,
    pushes,
    status,
    tags,
    versions,
)
from deriva_ml_hooks.git.discovery import discover
from deriva_ml_hooks.git.outgoing import Outgoing
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.provenance.version import Named, scm_version, scm_versions

if TYPE_CHECKING:
    from tests.conftest import Repo

# Pieces of what git writes, so that a random row of them gets past the first test of a parser.
PIECES = [
    *(b"\0", b"\n", b"\t", b" ", b":", b"1 ", b"2 ", b"u ", b"? ", b"# branch.oid ", b"missing", b"blob"),
    *(b"tag", b"commit", b"tree", b"100644", b"160000", b"120000", b"M.", b".M", b"S...", b"N...", b"H "),
    *(b"h ", b"S ", b"object ", b"type ", b"\n\n", b"refs/tags/v1", b"0", b"-1", b"9" * 30, b"\xff\xfe"),
    *(b"a" * 40, b"0" * 40, b"-0-g", b"(initial)", b"\xd9\xa3"),  # the last one is a digit, and no ASCII
]
BYTES = st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join))


PARSERS: dict[str, Callable[[bytes], Any]] = {
    "for-each-ref": tags.parse_refs,
    "a tag object": tags.parse_tag_object,
    "ls-remote": tags.parse_remote_refs,
    "status": status.parse_status,
    "ls-files": index.parse_listing,
    "diff-index": blobs.parse_raw,
    "cat-file --batch": lambda data: objects.parse(data, with_data=True),
    "config": configuration.parse,
    "pre-push": pushes.parse_ref_updates,
}


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=150, deadline=None)
@given(data=BYTES)
def test_a_parser_reads_any_bytes_or_says_that_it_cannot(name: str, data: bytes) -> None:
    with suppress(HooksError):
        PARSERS[name](data)


TEXTS = st.one_of(st.text(max_size=40), st.from_regex(r"v?[0-9.]{1,20}([-+.]?(a|rc|dev)?[0-9٣²]{0,9}){0,3}"))


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_any_name_of_a_tag_is_a_version_or_none(text: str) -> None:
    for read in (versions.version_of, versions.semver):
        found = read(text)
        assert found is None or found <= found
    versions.right_spelling(text, "v")
    versions.same_release(text, "1.0.0")


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
    "updates": lambda place: pushes.updates_from_pre_commit(place, {"PRE_COMMIT_TO_REF": "HEAD"}),
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
    place = discover(str(repo.path))
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
