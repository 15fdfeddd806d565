"""A pattern that a repository has written is matched as `re` matches it, and cannot hang who asks."""

from __future__ import annotations

import re
import resource
import threading
from pathlib import Path
from typing import Literal

import pytest

from deriva_ml_hooks.patterns import SECONDS, PatternError, fits

TEXTS = ["feature/x", "Feature/x", "", "feature/x\n", "feature/\udce4", "feature/ä/b"]


@pytest.mark.parametrize("how", ["match", "fullmatch", "search"])
@pytest.mark.parametrize("pattern", ["feature/.*", "(?i)FEATURE/x$", r"^[\w/]+\Z", "", "x|y"])
def test_it_says_what_re_says(pattern: str, how: Literal["match", "fullmatch", "search"]) -> None:
    method = getattr(re.compile(pattern), how)
    assert fits(pattern, TEXTS, how) == [method(text) is not None for text in TEXTS]


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*$", r"([a-z]+)*!"])
def test_a_pattern_that_takes_for_ever_is_told_within_its_cpu_time(pattern: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(PatternError, match="no answer within"):
        fits(pattern, ["a" * 60 + "\n\n"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < SECONDS + 2


def test_any_thread_may_ask() -> None:
    told: list[list[bool]] = []
    thread = threading.Thread(target=lambda: told.append(fits("a*", ["aaa", "b"])))
    thread.start()
    thread.join()
    assert told == [[True, False]]


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "[z-a]"])
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    with pytest.raises(PatternError, match="not a regular expression"):
        fits(pattern, ["a"])


def test_nothing_of_the_working_directory_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "re.py", "sitecustomize.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'planted')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path}")
    assert fits("a", ["a"]) == [True]
    assert not (tmp_path / "planted").exists()
