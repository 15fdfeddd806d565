"""Globs mean what they mean to git, and cost no more than they are long."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.globs import MAX_BYTES, glob, matcher

if TYPE_CHECKING:
    from tests.conftest import Repo

# Without `a**/c`: git before 2.41 compares pointers into different strings there (see gitignore(5) for it).
_LINES = r"""
a a/ /a a/b /a/b/ a/* a/** **/b a/**/c **/b/** ** * **/ /** *.py *.py/ ? ?? a?c a*c *a*b* a**c **a a/**b */*
*/b /* **/**/c a/**/**/c **/a/**/c a/*/c a/?/c */**/c **/*.py a/**/*.py **/b*/**/c* [ab] [!a] [^a] [a-c] [c-a]
[]] [!]] []-] [a-] [[:digit:]] [![:alpha:]] [[:upper:]x]* \* \? [\]] [\a-\c] \#x \!x #x !x x[[:punct:]]y caf*
a.c a+c $ ^ (a) a|c {a,b} c.py b/c.py /c.py -*
"""
_PATHS = """
a b c ab ac abc aXc a.c a+c aab xaxbx b/c a/b a/c a/b/c a/b/b/c b/a/x/c x/b/y x/y/b a/bb a/x/yb c.py b/c.py
a/x/c.py d.py/e A X1 ] - * ? #x !x x x-y x/bx/y/cx 5 $ ^ (a) a|c {a,b} café
"""
LINES = (*_LINES.split(), "a\\ ", "a ", "a  ")
PATHS = (*_PATHS.split(), "a ")


def as_git_has_it(repo: Repo, lines: Sequence[str]) -> set[str]:
    """What git ignores of PATHS below folders f0, f1, ..., each with one of `lines` as its .gitignore."""
    for number, line in enumerate(lines):
        repo.write(f"f{number}/.gitignore", line + "\n")
    asked = [f"f{number}/{path}" for number in range(len(lines)) for path in PATHS]
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=repo.path,
        input=b"\0".join(os.fsencode(path) for path in asked),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}


def test_a_glob_names_what_git_would_ignore(repo: Repo) -> None:
    ignored = as_git_has_it(repo, LINES)
    assert len(ignored) > 500
    for number, line in enumerate(LINES):
        named = matcher([line.encode()])
        ours = {path for path in PATHS if named(path.encode())}
        assert ours == {path for path in PATHS if f"f{number}/{path}" in ignored}, line


def test_the_last_glob_that_matches_decides_as_it_does_for_git(repo: Repo) -> None:
    lists = tuple(
        "\n".join(lines) for lines in itertools.permutations(("a/*", "!a/b", "*.py", "!c*", "b"), 3)
    )
    ignored = as_git_has_it(repo, lists)
    for number, lines in enumerate(lists):
        named = matcher(line.encode() for line in lines.split("\n"))
        ours = {path for path in PATHS if named(path.encode())}
        assert ours == {path for path in PATHS if f"f{number}/{path}" in ignored}, lines


def test_a_folder_has_a_slash_at_its_end() -> None:
    assert matcher([b"data/"])(b"x/data/")
    assert not matcher([b"data/"])(b"x/data")


@pytest.mark.parametrize("line", [b"[", b"a/[b", b"[!]", b"a\\", b"[[:nothing:]]", b"x[a/b]"])
def test_what_is_no_glob_is_told(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a glob|no such kind"):
        glob(line)


@pytest.mark.parametrize("line", [b"", b"   ", b"# a", b"/", b"!"])
def test_a_line_without_a_glob_is_none(line: bytes) -> None:
    assert glob(line) is None


def test_so_many_globs_are_an_error_and_not_a_wait() -> None:
    with pytest.raises(ValueError, match="more than"):
        matcher([b"*a"] * MAX_BYTES)


HOSTILE = (
    (b"*a" * 25 + b"b", b"a" * 255),
    (b"*a" * 25 + b"b", b"/".join([b"a" * 255] * 16)),
    (b"**/a/" * 25 + b"b", b"/".join([b"a"] * 2000)),
    (b"**/*a*a*a*a/" * 25 + b"b", b"/".join([b"a" * 20] * 200)),
    (b"*/" * 25 + b"b", b"/".join([b"a"] * 2000)),
    (b"a**" * 25 + b"b", b"a" * 4000),
    (b"?*" * 100 + b"b", b"a" * 4000),
    (b"*[a-z]" * 50 + b"0", b"a" * 4000),
    (b"*" * 60000 + b"b", b"a" * 4000),
    (b"[" + b"a" * 60000, b"a" * 4000),
    (b"*" + b"a" * 2000 + b"b", b"a" * 4000),
)


@pytest.mark.parametrize(("line", "path"), HOSTILE, ids=[line[:12].decode() for line, _ in HOSTILE])
def test_no_glob_takes_longer_than_it_is_long(line: bytes, path: bytes) -> None:
    before = time.process_time()
    try:
        assert not matcher([line])(path)
    except ValueError:
        assert line.startswith(b"[")
    assert time.process_time() - before < 3, "seconds of this process, not of the clock"
