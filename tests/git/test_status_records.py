"""What git prints of a status and a listing is read as it is meant: bytes in, values out."""

from __future__ import annotations

import pytest

from deriva_ml_hooks.errors import GitError
from deriva_ml_hooks.git.content import Entry
from deriva_ml_hooks.git.index import parse_listing
from deriva_ml_hooks.git.status import Change, parse_status

ZERO, ONE, TWO = b"0" * 40, b"1" * 40, b"2" * 40


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            b"1 M. N... 100644 100644 100644 %s %s a b" % (ONE, TWO),
            [Change("staged", "a b", "changed and staged, not committed")],
        ),
        (
            b"1 A. N... 000000 100644 100644 %s %s new" % (ZERO, TWO),
            [Change("staged", "new", "added and staged, not committed")],
        ),
        (
            b"1 .D N... 100644 100644 000000 %s %s gone" % (ONE, ONE),
            [Change("unstaged", "gone", "deleted since the commit, not staged")],
        ),
        (
            b"1 .T N... 100644 100644 120000 %s %s link" % (ONE, ONE),
            [Change("unstaged", "link", "changed in type since the commit, not staged")],
        ),
        (
            b"1 .M N... 100644 100644 100755 %s %s run" % (ONE, ONE),
            [Change("unstaged", "run", "made executable or not since the commit, not staged")],
        ),
        (
            b"2 R. N... 100644 100644 100644 %s %s R100 to\0from" % (ONE, ONE),
            [Change("staged", "to", "renamed and staged, not committed")],
        ),
        (
            b"2 C. N... 100644 100644 100644 %s %s C75 copy of\0? original" % (ONE, TWO),
            [Change("staged", "copy of", "copied and staged, not committed")],
        ),
        (
            b"u UU N... 100644 100644 100644 100644 %s %s %s a path" % (ONE, TWO, ONE),
            [Change("unmerged", "a path", "in conflict")],
        ),
        (
            b"1 .M SC.. 160000 160000 160000 %s %s lib" % (ONE, ONE),
            [Change("submodule", "lib", "submodule at another commit than the one recorded")],
        ),
        (
            b"1 .M S.MU 160000 160000 160000 %s %s lib" % (ONE, ONE),
            [Change("submodule", "lib", "submodule changed inside and with untracked files inside")],
        ),
        (
            b"1 M. SC.. 160000 160000 160000 %s %s lib" % (ONE, TWO),
            [Change("staged", "lib", "changed and staged, not committed")],
        ),
        (b"1 .M N... 100644 100644 100644 %s %s \xff\n" % (ONE, ONE), []),
        (b"? untracked", []),
        (b"! ignored", []),
        (b"# stash 3", []),
    ],
)
def test_a_record_of_status_is_read(record: bytes, expected: list[Change]) -> None:
    following = b"1 .D N... 100644 100644 000000 %s %s after" % (ONE, ONE)
    data = b"# branch.oid %s\0# branch.head main\0%s\0%s\0" % (ONE, record, following)
    status = parse_status(data)
    after = Change("unstaged", "after", "deleted since the commit, not staged")
    assert status.head == ONE.decode()
    assert list(status.changes) == [*expected, after]


def test_a_file_whose_content_alone_may_differ_is_a_suspect_until_it_is_hashed() -> None:
    status = parse_status(b"1 .M N... 100755 100755 100755 %s %s \xff x\n\0" % (ONE, TWO))
    assert status.suspects == (Entry("\udcff x\n", 0o100755, TWO.decode()),)
    assert status.changes == ()


def test_before_the_first_commit_there_is_no_head() -> None:
    assert parse_status(b"# branch.oid (initial)\0# branch.head main\0").head is None


@pytest.mark.parametrize("data", [b"9 from the future\0", b"M  src/train.py\0"])
def test_a_status_of_an_unknown_form_is_an_error(data: bytes) -> None:
    with pytest.raises(GitError, match="in a form that is not known"):
        parse_status(data)


def test_a_listing_is_read() -> None:
    def entry(tag: bytes, mode: bytes, stage: bytes, path: bytes) -> bytes:
        return b"%s %s %s %s\t%s\0" % (tag, mode, ONE, stage, path)

    listing = parse_listing(
        entry(b"H", b"100644", b"0", b"plain")
        + entry(b"h", b"100755", b"0", b"assumed\twith tab")
        + entry(b"S", b"100644", b"0", b"skipped")
        + entry(b"s", b"100644", b"0", b"both")
        + entry(b"H", b"160000", b"0", b"lib")
        + entry(b"h", b"160000", b"0", b"hidden lib")
        + entry(b"M", b"100644", b"1", b"conflict")
        + entry(b"M", b"160000", b"2", b"conflict of submodules")
        + b"? un\ntracked\0? nested/\0? H 100644 \0"
    )
    one = ONE.decode()
    assert listing.untracked == ("un\ntracked", "nested/", "H 100644 ")
    assert listing.flagged(b"h") == [Entry("assumed\twith tab", 0o100755, one)]
    assert listing.flagged(b"Ss") == [Entry("skipped", 0o100644, one), Entry("both", 0o100644, one)]
    assert listing.submodules == [Entry("lib", 0o160000, one), Entry("hidden lib", 0o160000, one)]


def test_an_empty_listing_is_an_empty_worktree() -> None:
    assert parse_listing(b"") == parse_listing(b"\0")
    assert parse_listing(b"").untracked == ()
