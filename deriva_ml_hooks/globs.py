"""Globs as in gitignore(5), matched in time that grows with the path and the glob, not with its stars.

A repository chooses its globs, so none may take for ever. A star here never gives back what it has taken
once the text after it was found: the first place where that stands is as good as any later one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple

MAX_BYTES = 65536
"""What the globs of one list may have together."""

_FOLDERS = rb"(?:[^/]+/)*?"
_IN_SET = rb"(?:\[:\w+:\]|\\.|(?!\[:\w+:\])[^\\\]])"
_TOKEN = re.compile(
    rb"(?P<stars>\*+)|(?P<any>\?)|\[(?P<set>(?:[!^]|(?![!^]))(?:\]|%s)%s*)\]|\\(?P<escaped>.)|(?P<plain>[^\\\[*?])"
    % (_IN_SET, _IN_SET),
    re.DOTALL,
)
_ITEM = re.compile(rb"\[:(?P<kind>\w+):\]|(?P<low>\\.|[^\\])(?:-(?P<high>\\.|[^\\]))?", re.DOTALL)
_KINDS = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"!-~",
    b"lower": rb"a-z",
    b"print": rb" -~",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb" \t-\r",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}


class Glob(NamedTuple):
    """One line as in .gitignore: what it matches, whether folders only, whether it takes back (`!`)."""

    expression: re.Pattern[bytes]
    only_folders: bool
    negated: bool

    def names(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether it matches just this path, whatever it says of the folders above."""
        return (is_folder or not self.only_folders) and self.expression.match(path) is not None


def glob(line: bytes) -> Glob | None:
    """A line of .gitignore; None for a comment or a blank line. Raises ValueError where it is no glob."""
    text = line.rstrip(b" ")
    if text != line and (len(text) - len(text.rstrip(b"\\"))) % 2:
        text += b" "  # this one is escaped
    if text.startswith(b"#"):
        return None
    negated = text.startswith(b"!")
    text = text[negated:]
    only_folders = text.endswith(b"/")
    text = text[: len(text) - only_folders]
    if not text:
        return None
    groups: list[list[bytes]] = [[]]
    if b"/" not in text:
        groups.append([text])  # in any folder
    else:
        for name in text.removeprefix(b"/").split(b"/"):
            if name == b"**":
                groups.append([])
            else:
                groups[-1].append(name)
    return Glob(re.compile(_path(groups), re.DOTALL), only_folders, negated)


def matcher(lines: Iterable[bytes]) -> Callable[[bytes], bool]:
    """Whether a path (with `/` at its end where it is a folder) is named by globs, as git would ignore it.

    The last glob that matches decides; what is in a folder that is named cannot be taken back. Raises
    ValueError where a line is no glob, or all of them have more than MAX_BYTES.
    """
    given = list(lines)
    if sum(map(len, given)) > MAX_BYTES:
        raise ValueError(f"globs of more than {MAX_BYTES} bytes")
    globs = [found for line in reversed(given) if (found := glob(line)) is not None]

    @functools.cache
    def decided(path: bytes, is_folder: bool) -> bool:
        return next((not found.negated for found in globs if found.names(path, is_folder=is_folder)), False)

    def is_named(path: bytes) -> bool:
        whole = path.rstrip(b"/")
        folders = (whole[: slash.start()] for slash in re.finditer(b"/", whole))
        return any(decided(folder, True) for folder in folders) or decided(whole, whole != path)

    return is_named


def _path(groups: Sequence[Sequence[bytes]]) -> bytes:
    """The expression for groups of names, between which any number of folders may stand (`**`)."""
    numbers = count()
    written = [[_name(name, numbers) for name in group] for group in groups]
    if len(written) == 1:
        return b"/".join(written[0]) + rb"\Z"
    first, *middle, last = (b"".join(name + b"/" for name in group) for group in written)
    between = [_once(_FOLDERS + group, numbers) for group in middle if group]
    return b"".join([first, *between, _FOLDERS + last[:-1] if last else b".+", rb"\Z"])


def _name(name: bytes, numbers: Iterator[int]) -> bytes:
    """The expression for a name, or for what stands between slashes."""
    fixed = [b""]  # what stands between the stars
    at = 0
    while at < len(name):
        token = _TOKEN.match(name, at)
        if token is None:
            raise ValueError(f"not a glob: {name!r}")
        at = token.end()
        if token["stars"]:
            fixed.append(b"")
        elif token["set"]:
            fixed[-1] += _set(token["set"])
        else:
            fixed[-1] += b"[^/]" if token["any"] else re.escape(token["escaped"] or token["plain"])
    if len(fixed) == 1:
        return fixed[0]
    first, *middle, last = fixed
    between = [_once(rb"[^/]*?" + text, numbers) for text in middle if text]
    return b"".join([first, *between, rb"[^/]*", last])


def _once(expression: bytes, numbers: Iterator[int]) -> bytes:
    """The first match of an expression, and no other: an atomic group, which `re` has from Python 3.11."""
    name = b"g%d" % next(numbers)
    return b"(?=(?P<%s>%s))(?P=%s)" % (name, expression, name)


def _set(text: bytes) -> bytes:
    """The expression for what stands in brackets; it never takes a slash (wildmatch, WM_PATHNAME)."""
    negated = text[:1] in (b"!", b"^")
    taken = b""
    for item in _ITEM.finditer(text, 1 if negated else 0):
        if item["kind"]:
            if item["kind"] not in _KINDS:
                raise ValueError(f"no such kind of character: {item['kind']!r}")
            taken += _KINDS[item["kind"]]
        else:
            low, high = item["low"][-1], (item["high"] or item["low"])[-1]
            taken += rb"\x%02x-\x%02x" % (low, max(low, high))  # git takes the `c` of [c-a] all the same
    if negated:
        return b"[^/" + taken + b"]"
    return b"(?!/)[" + taken + b"]"
