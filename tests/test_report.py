"""Findings in their forms: text that is safe to print, JSON, annotations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deriva_ml_hooks.errors import HooksError
from deriva_ml_hooks.report import (
    LISTED,
    Finding,
    as_annotations,
    as_error,
    as_line,
    as_text,
    few,
    printable,
    wants_annotations,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain words", "plain words"),
        ("über/ñ 漢字 🎉", "über/ñ 漢字 🎉"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x00\x07\x7f", "\\x00\\x07\\x7f"),
        ("\udcff\udc80.py", "\\xff\\x80.py"),
        ("\ud800", "\\ud800"),
        ("a\u202eb\u2028c\x85", "a\\u202eb\\u2028c\\x85"),
        ("a\\b", "a\\b"),
    ],
)
def test_text_is_made_safe_to_print(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_one_line_that_every_encoding_can_hold(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown


def test_a_line_begins_with_the_path_where_there_is_one() -> None:
    assert as_line(Finding("c", "a\nb.py", "is\twrong", "mend it")) == "a\\nb.py: is\\twrong"
    assert as_line(Finding("c", None, "is wrong", "mend it")) == "is wrong"


def test_findings_with_the_same_way_out_stand_together() -> None:
    findings = [
        Finding("untracked", "a", "not tracked", "git add"),
        Finding("staged", "b", "staged", "git commit"),
        Finding("untracked", "c", "not tracked", "git add"),
        Finding("untracked", "d", "not tracked", "another way"),
    ]
    assert as_text(findings) == (
        "a: not tracked\nc: not tracked\nfix: git add\n\n"
        "b: staged\nfix: git commit\n\n"
        "d: not tracked\nfix: another way"
    )


@pytest.mark.parametrize(
    ("count", "more"), [(LISTED - 1, None), (LISTED, None), (LISTED + 1, 1), (5000, 4980)]
)
def test_of_many_findings_the_first_are_listed_and_the_rest_is_counted(count: int, more: int | None) -> None:
    text = as_text(Finding("c", f"{n}.py", "wrong", "mend it") for n in range(count)).splitlines()
    assert text[: min(count, LISTED)] == [f"{n}.py: wrong" for n in range(min(count, LISTED))]
    assert text[min(count, LISTED) :] == ([f"... and {more} more"] if more else []) + ["fix: mend it"]


def test_without_findings_there_is_nothing_to_say() -> None:
    assert as_text([]) == as_annotations([]) == ""


def test_a_finding_as_json_has_its_four_keys() -> None:
    assert Finding("c", None, "m", "f").as_json() == {"code": "c", "path": None, "message": "m", "fix": "f"}


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (Finding("code", "a.py", "wrong", "mend"), "::error file=a.py,title=code::wrong%0Afix: mend"),
        (Finding("code", None, "100% wrong", "mend"), "::error title=code::100%25 wrong%0Afix: mend"),
        (Finding("c", "a:b,c%.py", "x", "y"), "::error file=a%3Ab%2Cc%25.py,title=c::x%0Afix: y"),
        (
            Finding("c", "a\n::error::b", "x\r\ny", "z"),
            "::error file=a\\n%3A%3Aerror%3A%3Ab,title=c::x\\r\\ny%0Afix: z",
        ),
    ],
)
def test_an_annotation_is_escaped_as_github_wants_it(finding: Finding, line: str) -> None:
    assert as_annotations([finding]) == line
    assert as_annotations([finding, finding], level="warning") == "\n".join(
        [line.replace("::error ", "::warning ", 1)] * 2
    )


@pytest.mark.parametrize(("value", "wanted"), [("true", True), ("false", False), ("", False), (None, False)])
def test_annotations_are_for_github_actions(
    monkeypatch: pytest.MonkeyPatch, value: str | None, wanted: bool
) -> None:
    if value is not None:
        monkeypatch.setenv("GITHUB_ACTIONS", value)
    assert wants_annotations() is wanted


def test_an_error_is_two_lines_without_secrets() -> None:
    error = HooksError(
        "git: \x1b https://ada:Hunter2@host.org/r\nfailed", fix="git push https://Hunter2@host.org/r"
    )
    assert as_error(error) == (
        "deriva-ml-hooks: git: \\x1b https://***@host.org/r\\nfailed\nfix: git push https://***@host.org/r"
    )


@pytest.mark.parametrize(
    ("names", "most", "shown"),
    [
        (["a"], 1, "a"),
        (["a\n", "b"], 1, "a\\n and 1 more"),
        (["a", "b"], 2, "a, b"),
        (["a", "b", "c", "d"], 2, "a, b and 2 more"),
    ],
)
def test_a_few_names_and_how_many_more(names: list[str], most: int, shown: str) -> None:
    assert few(names, most) == shown
