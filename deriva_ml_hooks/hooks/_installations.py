"""Finds the lines of a notebook's cells that install packages. Reads them, and runs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import dropwhile

from deriva_ml_hooks.notebooks.cells import Line, is_foreign, parsed, shown

_MAGIC = r"(?:[\w.\[\], ]+=\s*)?(?:%(?:time|timeit|capture)\s+)*"
# For lines without the white space before them.
_COMMAND = re.compile(
    rf"{_MAGIC}(?:(?:!!?|%(?:sx|system|sc)\s)(?P<shell>.*)|%?(?P<magic>(?:pip|conda|mamba|micromamba|uv)\s.*))"
)
_SHELL_CELL = re.compile(
    r"\s*%%(?:bash|sh|zsh|!|sx|system|script\s+(?:\S*/)?(?:env\s+)?(?:bash|sh|zsh))(?!\w)"
)
_INSTALLS = {
    **dict.fromkeys(
        ("pip", "pipx", "apt", "apt-get", "aptitude", "yum", "dnf", "brew", "snap"), ("install",)
    ),
    **dict.fromkeys(("conda", "mamba", "micromamba"), ("install", "create", "update", "upgrade")),
    **dict.fromkeys(("poetry", "pdm", "pixi"), ("add", "install")),
    "uv": ("add", "sync", "install"),
    "npm": ("install", "i", "ci"),
    "apk": ("add",),
}
_GROUPS = {"pip", "tool", "env"}
"""Words between the program and its verb: `uv pip install`, `conda env update`."""
_IN_FRONT = {"sudo", "env", "time", "exec", "command", "nohup", "then", "do", "else", "if"}


def installations(source: str) -> Iterator[Line]:
    """The lines of a cell that install packages: by magic, by shell escape, in a shell cell."""
    if parsed(source) is not None:
        return
    in_shell = _SHELL_CELL.match(source) is not None
    if is_foreign(source) and not in_shell:
        return
    for number, line in _joined(source):
        text = line.lstrip()
        if in_shell:
            command = "" if text.startswith(("#", "%%")) else text
        else:
            found = _COMMAND.match(text)
            command = found["shell"] or found["magic"] or "" if found else ""
        if any(_installs(part.split()) for part in re.split(r"&&|\|\|?|;|\$?\(|\)", command)):
            yield number, shown(line)


def _joined(source: str) -> Iterator[Line]:
    """Lines, with those that a backslash continues joined to the first."""
    parts: list[str] = []
    number = 0
    for number, line in enumerate(source.splitlines(), start=1):
        if line.endswith("\\"):
            parts.append(line[:-1] + " ")
        else:
            yield number - len(parts), "".join([*parts, line])
            parts.clear()
    if parts:
        yield number - len(parts) + 1, "".join(parts)


def _is_in_front(word: str) -> bool:
    return word in _IN_FRONT or word.startswith("-") or re.match(r"\w+=", word) is not None


def _installs(words: list[str]) -> bool:
    """Whether a shell command, word for word, installs packages."""
    words = [word.strip("'\"{}") for word in words]
    if "-m" in words[1:]:  # the module that was asked for last
        words = words[len(words) - words[::-1].index("-m") :]
    words = [*dropwhile(_is_in_front, words)]
    if not words:
        return False
    program = re.sub(r"^pip[\d.]+$", "pip", words[0].rsplit("/", 1)[-1])
    verbs = [word for word in words[1:] if not word.startswith("-")]
    if verbs and verbs[0] in _GROUPS:
        del verbs[0]
    return bool(verbs) and verbs[0] in _INSTALLS.get(program, ())
