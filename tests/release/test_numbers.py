"""The next number: a table of what people expect, and what must hold of any version there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml_hooks.git.versions import Version, semver
from deriva_ml_hooks.release.numbers import PARTS, PRE_RELEASES, Part, following, spelled

_identifier = st.one_of(
    st.sampled_from(["alpha", "beta", "rc", "rc1", "x", "-", "zz"]), st.integers(0, 12).map(str)
)
_numbers = st.integers(0, 30)
versions = st.builds(
    Version, st.tuples(_numbers, _numbers, _numbers), st.lists(_identifier, max_size=3).map(tuple)
)


@pytest.mark.parametrize(
    ("before", "part", "pre", "after"),
    [
        ("0.1.0", "patch", None, "0.1.1"),
        ("0.1.9", "patch", None, "0.1.10"),
        ("0.1.9", "minor", None, "0.2.0"),
        ("0.9.9", "major", None, "1.0.0"),
        ("1.2.3", "minor", "rc", "1.3.0-rc.1"),
        ("1.3.0-rc.1", "minor", "rc", "1.3.0-rc.2"),
        ("1.3.0-rc.9", "patch", "rc", "1.3.0-rc.10"),
        ("1.3.0-rc.2", "minor", None, "1.3.0"),
        ("1.3.0-rc.2", "patch", None, "1.3.0"),
        ("1.3.0-rc.2", "major", None, "2.0.0"),
        ("1.3.0-rc.2", "major", "rc", "2.0.0-rc.1"),
        ("1.3.1-rc.1", "minor", None, "1.4.0"),
        ("2.0.0-alpha.3", "patch", "beta", "2.0.0-beta.1"),
        ("2.0.0-beta.1", "patch", "alpha", "2.0.1-alpha.1"),
        ("1.0.0-rc", "patch", "rc", "1.0.0-rc.1"),
        ("1.0.0-rc.x", "patch", "rc", "1.0.1-rc.1"),
        ("1.0.0-rc1", "patch", None, "1.0.0"),
    ],
)
def test_what_follows(before: str, part: Part, pre: str | None, after: str) -> None:
    version = semver(before)
    assert version is not None
    assert spelled(following(version, part, pre)) == after


@given(versions, st.sampled_from(PARTS), st.sampled_from([None, *PRE_RELEASES]))
def test_what_follows_is_always_higher_and_is_what_was_asked_for(
    version: Version, part: Part, pre: str | None
) -> None:
    after = following(version, part, pre)
    assert after > version
    assert semver(spelled(after)) == after
    assert after.pre[:1] == (() if pre is None else (pre,))
    assert not any(after.release[PARTS.index(part) + 1 :]) or part == "patch" or version.pre


@given(versions, st.sampled_from(PARTS), st.sampled_from(PRE_RELEASES))
def test_a_series_of_pre_releases_ends_in_its_release(version: Version, part: Part, pre: str) -> None:
    first = following(version, part, pre)
    second = following(first, part, pre)
    assert second.release == first.release
    assert int(second.pre[1]) == int(first.pre[1]) + 1
    assert following(second, part).release == first.release
