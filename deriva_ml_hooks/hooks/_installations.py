"""Finds the lines of a notebook's cells that install packages. Reads them, and runs nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import dropwhile

from deriva_ml_hooks.hooks._cells import Line, is_foreign, parsed, python_of, shown

_MAGIC = r"(?:%(?:time|timeit|capture)\s+)*"
# For lines without the white space before them.
_SHELL_LINE = re.compile(rf"(?:[\w.\[\], ]+=\s*)?{_MAGIC}(?:!!?|%(?:sx|system|sc)\s)(?P<command>.*)")
_LINE_MAGIC = re.compile(
    rf"(?:[\w.\[\], ]+=\s*)?{_MAGIC}%?(?P<command>(?:pip|conda|mamba|micromamba|uv)\s.*)"
)
_SHELL_CELL = re.compile(
    r"\s*%%(?:bash|sh|zsh|!|sx|system|script\s+(?:\S*/)?(?:env\s+)?(?:bash|sh|zsh))(?!\w)"
)
_INSTALLS = {
    "pip": {"install"},
    "pipx": {"install"},
    "conda": {"install", "create", "update", "upgrade"},
    "uv": {"add", "sync"},
    "poetry": {"add", "install"},
    "pdm": {"add", "install"},
    "pixi": {"add", "install"},
    "npm": {"install", "i", "ci"},
    "apt": {"install"},
    "apk": {"add"},
    "yum": {"install"},
    "dnf": {"install"},
    "brew": {"install"},
    "snap": {"install"},
}
_SAME = {"mamba": "conda", "micromamba": "conda", "apt-get": "apt", "aptitude": "apt"}
_IN_FRONT = {"sudo", "env", "time", "exec", "command", "nohup", "then", "do", "else", "if"}


def installations(source: str) -> Iterator[Line]:
    """The lines of a cell that install packages: by magic, shell escape, shell cell or get_ipython()."""
    tree = parsed(source)
    if tree is None:
        in_shell = _SHELL_CELL.match(source) is not None
        if is_foreign(source) and not in_shell:
            return
        for number, line in _joined(source):
            if in_shell:
                command = "" if line.lstrip().startswith(("#", "%%")) else line
            else:
                text = line.lstrip()
                found = _SHELL_LINE.match(text) or _LINE_MAGIC.match(text)
                command = found["command"] if found else ""
            if command and installs(command):
                yield number, shown(line)
        tree = parsed(python_of(source))
    lines = source.splitlines()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and (command := _asked_of_ipython(node)) and installs(command):
            yield node.lineno, shown(lines[node.lineno - 1])


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


def _asked_of_ipython(call: ast.Call) -> str:
    """The command in `get_ipython().system("...")` and its like, one a line."""
    function = call.func
    if not (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == "get_ipython"
    ):
        return ""
    words = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if function.attr in ("system", "getoutput"):
        return "\n".join(words[:1])
    if function.attr in ("run_line_magic", "magic"):
        return " ".join(words).lstrip("%")
    return "\n".join(words[2:]) if function.attr == "run_cell_magic" else ""


def installs(command: str) -> bool:
    """Whether a shell command, or one of several, installs packages."""
    return any(_installs(part.split()) for part in re.split(r"&&|\|\|?|;|\n|\$?\(|\)", command))


def _is_in_front(word: str) -> bool:
    return word in _IN_FRONT or word.startswith("-") or re.match(r"\w+=", word) is not None


def _installs(words: list[str]) -> bool:
    words = [word.strip("'\"{}") for word in words]
    if "-m" in words[1:]:  # the module that was asked for last
        words = words[len(words) - words[::-1].index("-m") :]
    words = [*dropwhile(_is_in_front, words)]
    if not words:
        return False
    program = words[0].rsplit("/", 1)[-1]
    if program == "uv" and words[1:2] in (["pip"], ["tool"]):
        return "install" in words[2:] or "sync" in words[2:]
    program = re.sub(r"^pip[\d.]+$", "pip", _SAME.get(program, program))
    if program == "conda" and words[1:2] == ["env"]:
        return words[2:3] in (["create"], ["update"])
    asked = next((word for word in words[1:] if not word.startswith("-")), "")
    return asked in _INSTALLS.get(program, ())
