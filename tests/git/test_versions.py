"""Which tag names are versions, and their order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deriva_ml_hooks.git.versions import right_spelling, same_release, semver, version_of, version_tag


@pytest.mark.parametrize(
    "tag",
    [
        *("v1.2.3", "V1.2.3", "1.2.3", "v1.2", "0.0.1", "v1.2.3.4", "v1.0.0-rc.1", "v1.0.0rc1", "1.0a1"),
        *("v1.0.0.post1", "v1.0.0.dev3", "v1.0.0+build.5", "v2026.11.3", "v1.0.0-alpha-2.x"),
    ],
)
def test_a_version_is_known_by_its_name(tag: str) -> None:
    assert version_of(tag) is not None


@pytest.mark.parametrize(
    "tag",
    [
        *(
            "",
            "v",
            "v1",
            "7",
            "latest",
            "release",
            "release-1.2.3",
            "v1.2.3.4.5",
            "data/v1.2.3",
            "v1.2.",
            "vv1.2",
        ),
        *(
            "v1.2.3-",
            "v1.2.3 ",
            "v1.2.3\n",
            "exp-2026.01",
            "v1.2.3_final",
            "v1.2x",
            "v\u0661.\u0662.\u0663",
            "v1.-2.3",
        ),
    ],
)
def test_any_other_name_is_not_a_version(tag: str) -> None:
    assert version_of(tag) is None


@given(
    st.from_regex(r"\A[vV]?[0-9]{1,3}(\.[0-9]{1,3}){0,3}[-+._a-z0-9]{0,12}\Z"),
    st.sampled_from(["v", "", "model-v"]),
)
@example("v9.8.7+meta+meta", "v")
@example("v1.2.3-+a", "v")
@example("v1.2.3-0_1+.a", "v")
def test_the_right_spelling_of_a_version_is_a_version(name: str, prefix: str) -> None:
    right = right_spelling(name, prefix)
    assert right is None or version_tag(right, prefix) is not None


ASCENDING = (
    *(
        "v0.9.9",
        "v1.0.0.dev9",
        "v1.0.0.dev10",
        "v1.0.0-1",
        "v1.0.0-alpha",
        "v1.0.0-alpha.1",
        "v1.0.0-alpha.beta",
    ),
    *("v1.0.0-beta.2", "v1.0.0-beta.11", "v1.0.0-rc.1", "1.0.0rc9", "1.0.0rc10", "v1.0.0", "v1.0.0.post1"),
    *("v1.0.0.post2", "v1.0.1", "v1.2", "v1.9.0", "v1.10.0", "v2.0.0", "v2.0.0.1", "v10.0.0", "v2026.1.1"),
)


@pytest.mark.parametrize(("low", "high"), list(itertools.pairwise(ASCENDING)))
def test_versions_are_in_the_order_of_semver_and_pep_440(low: str, high: str) -> None:
    lower, higher = version_of(low), version_of(high)
    assert lower is not None
    assert higher is not None
    assert lower < higher
    assert not higher < lower
    assert lower != higher


@pytest.mark.parametrize(
    ("one", "other"),
    [("v1.2", "1.2.0"), ("v1.0.0rc1", "v1.0.0-rc.1"), ("v1.0.0+a", "v1.0.0+b"), ("v01.2.0", "v1.2.0")],
)
def test_two_spellings_of_a_version_are_equal(one: str, other: str) -> None:
    assert version_of(one) == version_of(other)
    assert hash(version_of(one)) == hash(version_of(other))


def test_a_version_equals_nothing_else() -> None:
    assert version_of("v1.2.3") != (1, 2, 3)


IDENTIFIERS = st.from_regex(r"(0|[1-9][0-9]{0,3}|[0-9]{0,2}[A-Za-z-][0-9A-Za-z-]{0,4})", fullmatch=True)
NUMBERS = st.integers(0, 10**6)


@given(NUMBERS, NUMBERS, NUMBERS, st.lists(IDENTIFIERS, max_size=3), st.sampled_from(["", "v", "model-v"]))
def test_what_semver_spells_is_a_version_under_every_prefix(
    major: int, minor: int, patch: int, pre: list[str], prefix: str
) -> None:
    text = f"{major}.{minor}.{patch}" + ("-" + ".".join(pre) if pre else "")
    version = version_tag(prefix + text, prefix)
    assert version is not None
    assert (version.release, version.pre) == ((major, minor, patch), tuple(pre))
    assert right_spelling(prefix + text, prefix) is None


@pytest.mark.parametrize(
    "text",
    [
        *("1.2", "01.2.3", "1.02.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+", "1.2.3-é", "1.2.3\n"),
        *("1.2.\N{ARABIC-INDIC DIGIT THREE}", "1.2.3.4", "-1.2.3", "1.2.3+a+b", "9" * 300 + ".0.0", ""),
    ],
)
def test_what_semver_does_not_spell_is_no_version(text: str) -> None:
    assert semver(text) is None


@pytest.mark.parametrize(
    ("tag", "right"),
    [
        ("v1.2.3rc1", "v1.2.3-rc.1"),
        ("v1.2rc1", "v1.2.0-rc.1"),
        ("v1.2-rc1", "v1.2.0-rc1"),
        ("1.2.3.dev4", "v1.2.3-dev.4"),
        ("v1.2.3a1", "v1.2.3-alpha.1"),
        ("v1.2.3-rc.01", "v1.2.3-rc.1"),
        ("v1.2.3.post1", "v1.2.3"),
        ("V1.2+cu118", "v1.2.0+cu118"),
        *((tag, None) for tag in ("exp-1", "exp-1.2", "data-2026", "2026-11-23", "2026", "nightly", "vgg16")),
        *(
            (tag, None)
            for tag in ("v", "", "v1.x", "v1..2", "model-v1.2.3", "v1.2.3.4.5", "v" + "1" * 300 + ".0")
        ),
    ],
)
def test_a_look_alike_is_read_as_what_was_meant_and_no_other_name_is(tag: str, right: str | None) -> None:
    assert right_spelling(tag, "v") == right


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1.2.0", "1.2.0", True),
        ("1.2", "1.2.0", True),
        ("1.2.0rc1", "1.2.0-rc.1", True),
        ("1.2.0a1", "1.2.0-alpha.1", True),
        ("1.2.0.dev1", "1.2.0-dev.1", True),
        ("1.2.0", "1.2.0+cu118", True),
        ("1.2.0", "1.2.1", False),
        ("1.2.0rc1", "1.2.0", False),
        ("nonsense", "1.2.0", False),
    ],
)
def test_python_and_semver_spellings_of_one_release_are_the_same(first: str, second: str, same: bool) -> None:
    assert same_release(first, second) is same
