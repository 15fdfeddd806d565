"""What git does not know, sorted by kind: code, which belongs into a commit, and what runs and editors leave.

Code is what has the name of code, or of a file that its folder holds already. All else is left by something
that ran; for that there are lines for .gitignore.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from deriva_ml_hooks.globs import matcher
from deriva_ml_hooks.packages import is_lockfile

FOLDERS = (
    *("checkpoints", "findings", "lightning_logs", "mlruns", "multirun", "outputs", "runs", "wandb"),
    *(".idea", ".scratch", ".snakemake", ".vscode"),
)
"""Where common tools put results and settings of their own, code among them. DerivaML, Hydra, PyTorch,
TensorBoard, MLflow, Weights & Biases, Snakemake, editors."""

ANYWHERE = ("__pycache__", ".ipynb_checkpoints", ".pytest_cache", ".venv")
"""What tools of Python leave in any folder."""

# fmt: off
_CODE = frozenset((
    ".bash", ".c", ".cc", ".cfg", ".cpp", ".cu", ".cuh", ".cwl", ".go", ".h", ".hpp", ".ini", ".ipynb",
    ".java", ".jl", ".js", ".m", ".md", ".nf", ".pl", ".py", ".pyi", ".pyx", ".r", ".rb", ".rmd", ".rs",
    ".rst", ".scala", ".sh", ".smk", ".sql", ".toml", ".ts", ".yaml", ".yml",
))
# fmt: on
_SETTINGS_OF_THE_PROJECT = (".git", ".python-version")  # .gitignore, .gitattributes, .gitmodules
_RUNS = re.compile(
    r"\.(?:py[wxco]?|ipynb|(?:ba|z|k|fi)?sh|awk|sed|r|[rq]md|jl|p[lm]|rb|[cm]?[jt]s|lua|tcl|php|m|go|rs|do|ado"
    r"|sas|sps|sql|c|cc|c[pux]{2}|cu|h|hpp|java|jar|class|so|dylib|dll|scala|f90|mk|smk|nf|[wc][dw]l)",
    re.IGNORECASE,
)
_LEFT_BY_TOOLS = (
    b"__pycache__/ *.py[co] *.egg-info/ .eggs/ .venv/ venv/ .tox/ .nox/ .pixi/ node_modules/ .pytest_cache/"
    b" .mypy_cache/ .ruff_cache/ .hypothesis/ .ipynb_checkpoints/ .coverage .coverage.* htmlcov/ .DS_Store"
)
"""What tools make anew for themselves: nobody has worked for it (github/gitignore, Python)."""
_NAMED = 20
"""Paths or lines that a command spells out."""


class Sorted(NamedTuple):
    """Untracked paths that are code, and lines for .gitignore that cover all the others."""

    code: tuple[str, ...]
    lines: tuple[str, ...]


def has_code_suffix(path: str) -> bool:
    """Whether the file at `path` is one that runs, or is compiled or linked into what runs, by its name."""
    return _RUNS.fullmatch(_suffix(path)) is not None


def is_left_by_tools(path: str) -> bool:
    """Whether a file (or a folder, with `/` at its end) is no result of anything: caches, environments."""
    return _tools()(os.fsencode(path))


@functools.cache
def _tools() -> Callable[[bytes], bool]:
    return matcher(_LEFT_BY_TOOLS.split())


def sort(untracked: Collection[str], tracked: Collection[str] | None) -> Sorted:
    """Sort paths (from the top, `/` between names) among `tracked` ones; None: those are not known.

    A line names the highest folder with nothing tracked and no code in it. Where there is none it names the
    file, or all with its ending where there are several.
    """
    kinds = {(_folder(path), _suffix(path)) for path in tracked or ()}
    code = tuple(path for path in untracked if _is_code(path, kinds))
    taken = {folder for path in (*(tracked or ()), *code) for folder in folders_above(path)}
    left = [path for path in untracked if path not in set(code)]
    alike = Counter((_folder(path), _suffix(path)) for path in left)
    lines = (_line(path, None if tracked is None else taken, alike) for path in left)
    return Sorted(code, tuple(dict.fromkeys(lines)))


def _is_code(path: str, kinds: Collection[tuple[str, str]]) -> bool:
    *folders, name = path.rstrip("/").split("/")
    if path.endswith("/") or any(folder in FOLDERS for folder in folders):
        return False
    if name.startswith("."):
        if name.startswith(_SETTINGS_OF_THE_PROJECT) or name.endswith("ignore"):
            return True
    elif _suffix(path) == "" and not folders:  # Makefile, Dockerfile, LICENSE
        return True
    suffix = _suffix(path)
    return suffix.lower() in _CODE or is_lockfile(path) or (suffix != "" and (_folder(path), suffix) in kinds)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _suffix(path: str) -> str:
    return os.path.splitext(path.rpartition("/")[2])[1]


def folders_above(path: str) -> Iterator[str]:
    """The folders above `path`, the highest first."""
    for at, character in enumerate(path):
        if character == "/":
            yield path[:at]


def _line(path: str, taken: Collection[str] | None, alike: Counter[tuple[str, str]]) -> str:
    above = () if taken is None else folders_above(path)
    own = next((folder for folder in above if folder not in (taken or ())), None)
    if own is not None:
        return f"/{_escaped(own)}/"
    folder, suffix = _folder(path), _suffix(path)
    if suffix and alike[folder, suffix] > 1:
        return f"/{_escaped(folder + '/' if folder else '')}*{_escaped(suffix)}"
    return "/" + _escaped(path)


def _escaped(path: str) -> str:
    """`path` as a line of .gitignore takes it; any byte where it would not print (gitignore(5))."""
    text = "".join(
        f"\\{c}" if c in "\\*?[" else c if c.isprintable() else "?" * len(os.fsencode(c)) for c in path
    )
    return text if not text.endswith(" ") else text[:-1] + "\\ "


def ignoring(lines: Iterable[str], file: str, *, ends: bool) -> str:
    """The command that adds `lines` to .gitignore at `file` and commits it; `ends`: its last line does."""
    words = shlex.join(["printf", "%s\\n", *([] if ends else [""]), *lines])
    name = shlex.quote(file)
    return f"{words} >> {name} && git add -- {name} && git commit -m 'Ignore what runs leave' -- {name}"


def fixes(found: Sorted, *, file: str, ends: bool, names: Collection[str]) -> tuple[str, str]:
    """How to commit the code, which is called `names` from here, and how to ignore the rest."""
    rest = ignoring(found.lines, file, ends=ends) if found.lines else ""
    if len(found.lines) > _NAMED:
        rest = f"have git ignore what is no code: name it in {shlex.quote(file)}, and commit that"
    if len(names) <= _NAMED:
        return f"git add -- {shlex.join(names)} && git commit", rest
    first = f"{rest}, then: " if len(found.lines) > _NAMED else f"{rest} && " if rest else ""
    return f"{first}git add -A && git commit", rest
