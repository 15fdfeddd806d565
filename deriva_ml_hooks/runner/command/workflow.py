"""What an execution names as its code: the file its command runs, or the tree as a whole.

A program that is in no table may run any file that it is given, so no word of its command may be code that
the commit does not hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from deriva_ml_hooks.provenance.record import NotInCommitError, Provenance
from deriva_ml_hooks.redact import redact
from deriva_ml_hooks.report import Finding
from deriva_ml_hooks.runner.command.entry_point import Invocation, Kind, invocation, is_installed

CODE = "entry-point"
NAME_IT = "name the tracked file that is the workflow: --entry-point PATH"
"""The fix for what is in no commit."""
_STREAM = re.compile(r"/dev/(?:stdin|fd/\d+)|/proc/(?:self|\d+)/fd/\d+")
_BETWEEN_WORDS = re.compile(r"[\s=,:;|&()<>'\"`]+")
_OUTPUT_OPTIONS = frozenset({"-o", "--output", "--output-file", "--outfile", "--out"})
_DEFAULTS = {
    **dict.fromkeys(("make", "gmake"), ("GNUmakefile", "makefile", "Makefile")),
    "snakemake": ("Snakefile", "snakefile", "workflow/Snakefile", "workflow/snakefile"),
    "just": ("justfile", "Justfile", ".justfile"),
    "rake": ("Rakefile", "rakefile"),
}
"""The files that a program runs where none is named; the others are what `_loose_code` sees in a folder."""
_CODE_NAMES = frozenset(Path(name).name.lower() for names in _DEFAULTS.values() for name in names)
_CODE_SUFFIX = re.compile(
    r"\.(?:py[wxco]?|ipynb|(?:ba|z|k|fi)?sh|awk|sed|r|[rq]md|jl|p[lm]|rb|[cm]?[jt]s|lua|tcl|php|m|go|rs|do|ado"
    r"|sas|sps|sql|c|cc|c[pux]{2}|cu|h|hpp|java|jar|class|so|dylib|dll|scala|f90|mk|smk|nf|[wc][dw]l|ya?ml)",
    re.IGNORECASE,
)
_LOOKED_AT = 10_000
"""Entries of a folder that are looked at."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """The code of an execution: a file of the commit, or the tree (`path` and `blob` None).

    `checksum` is DerivaML's: of the file, of the stripped notebook, or the tree's own id.
    """

    path: str | None
    blob: str | None
    checksum: str
    url: str

    def as_json(self) -> dict[str, Any]:
        """The entry point as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Resolved:
    """An entry point, or the reason why there is none; a warning where it says little."""

    entry_point: EntryPoint | None
    reason: Finding | None = None
    warning: Finding | None = None


def resolve(
    argv: Sequence[str],
    *,
    cwd: str,
    executable: str | None,
    explicit: str | None,
    provenance: Provenance,
    name_it: str = NAME_IT,
) -> Resolved:
    """The entry point of the command `argv` started in `cwd`, or why it cannot be recorded.

    `explicit` is the file that the user names as the workflow, relative to `cwd`; `name_it` the fix where
    that is none.
    """
    worktree = provenance.source.repository.worktree
    found = invocation(argv, cwd=cwd, roots=[worktree], executable=executable)
    whole = Resolved(EntryPoint(None, None, provenance.tree, provenance.tree_url()))
    # What runs has to be in the commit first, whatever is named as the workflow.
    if found.kind is Kind.STDIN:
        return Resolved(None, _standard_input(None))
    if found.kind is Kind.FILE and found.path is not None:
        seen = _file(found.path, _word_for(found, argv, cwd), provenance, worktree)
        if seen.entry_point is None:
            return seen
        warning = _guess(found, cwd, executable) or _argument(argv, found.path, cwd, provenance)
        seen = replace(seen, warning=warning)
    else:
        loose = [*_loose_defaults(argv, cwd, provenance), *_loose_code(argv[1:], cwd, provenance)]
        if loose:
            return Resolved(None, _not_committed(loose[0], cwd, provenance))
        seen = replace(whole, warning=_INLINE if found.kind is Kind.INLINE else None)
    if explicit is None:
        return seen
    named = os.path.join(cwd, explicit)
    warning = _other(found, named, cwd) or seen.warning
    return replace(_file(named, explicit, provenance, worktree, name_it), warning=warning)


_BRING = "put it into the repository and commit it"
_INLINE = Finding(
    CODE,
    None,
    "the code stands in the command itself and is recorded only there",
    "put it into a file and commit it",
)


def _other(found: Invocation, named: str, cwd: str) -> Finding | None:
    """A warning, kept in the record, where the user names one file as the workflow and runs another."""
    if found.kind is not Kind.FILE or found.path is None:
        return None
    if os.path.realpath(found.path) == os.path.realpath(named):
        return None
    shown = redact(os.path.relpath(found.path, cwd))
    message = "the command runs it, and you have named another file as the workflow"
    return Finding(CODE, shown, message, "nothing, if that is what you mean; else leave --entry-point out")


def _standard_input(shown: str | None) -> Finding:
    message = "the code comes from standard input, so it is in no commit"
    return Finding(CODE, shown, message, "put it into a file and commit it")


def _not_committed(real: str, cwd: str, provenance: Provenance) -> Finding:
    worktree = provenance.source.repository.worktree
    if not _inside(real, worktree):
        message = f"code outside the repository {worktree}, so no commit of it holds it"
        return Finding(CODE, redact(real), message, _BRING)
    shown = os.path.relpath(real, cwd)
    message = f"code that is not a file of commit {provenance.commit[:12]} (untracked or ignored)"
    fix = provenance.source.adding(redact(shown))
    if not Path(real).suffix:
        fix += ", or give it the suffix of the data that it is"
    return Finding(CODE, redact(shown), message, fix)


def _argument(argv: Sequence[str], entry: str, cwd: str, provenance: Provenance) -> Finding | None:
    """A warning where a script is given code that the commit does not hold: it may run it, or write it."""
    for real in _loose_code(argv[1:], cwd, provenance):
        if not (real.endswith(".ipynb") and entry.endswith(".ipynb")):  # the notebook that papermill writes
            finding = _not_committed(real, cwd, provenance)
            return finding._replace(message=f"given to the command, and {finding.message}")
    return None


def _loose_code(words: Sequence[str], cwd: str, provenance: Provenance) -> list[str]:
    """The code files that `words` name and the commit does not hold; their real paths.

    Also the modules in a folder that they name, where the commit has not got it. What was installed is no
    such thing.
    """
    names = list(dict.fromkeys(_names(words)))
    named = [folder for name in names if name and os.path.isdir(folder := os.path.join(cwd, name))]
    paths = [os.path.join(folder, name) for name in names for folder in (cwd, *named)]
    for folder in named:
        paths += _within(os.path.normpath(folder), provenance)
    return [os.path.realpath(path) for path in dict.fromkeys(paths) if _is_loose_code(path, provenance)]


def _loose_defaults(argv: Sequence[str], cwd: str, provenance: Provenance) -> list[str]:
    """The files that a program of `argv` runs unnamed, in the folders it may look in."""
    words = {os.path.basename(word) for text in argv for word in _BETWEEN_WORDS.split(text)}
    names = [name for program in words for name in _DEFAULTS.get(program, ())]
    folders = (cwd, *(os.path.join(cwd, word) for word in argv[1:]))
    paths = [os.path.join(folder, name) for name in names for folder in folders]
    return [os.path.realpath(path) for path in paths if _is_loose_code(path, provenance)]


def _within(folder: str, provenance: Provenance) -> Iterator[str]:
    """The modules in a folder of the worktree that the commit has not got, as far as one may look."""
    worktree, real = provenance.source.repository.worktree, os.path.realpath(folder)
    if _inside(real, worktree) and not provenance.source.holds(
        provenance.tree, os.path.relpath(real, worktree)
    ):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in islice(entries, _LOOKED_AT):
                if entry.name.endswith(".py"):  # the rest is too often what a run has made
                    yield entry.path


def _is_loose_code(path: str, provenance: Provenance) -> bool:
    worktree = provenance.source.repository.worktree
    try:
        if not os.path.isfile(path) or is_installed(os.path.normpath(path), [worktree]):
            return False
    except ValueError:  # a NUL
        return False
    real = os.path.realpath(path)
    if not _inside(real, worktree):
        return not is_installed(real, [worktree]) and _is_code(path, real, bare=False)
    return _is_code(path, real) and not _is_committed(real, provenance)


def _names(words: Sequence[str]) -> Iterator[str]:
    """Everything in `words` that may name a file: words, values in them, the words of a quoted command.

    Not what is named as the output.
    """
    before = ""
    for word in words:
        option = word.partition("=")[0] if word.startswith("-") else before
        before = word
        if option in _OUTPUT_OPTIONS:
            continue
        yield word
        yield word.partition("=")[2]
        if word.startswith("-"):
            yield word[2:]
        yield from _BETWEEN_WORDS.split(word)


def _is_code(path: str, real: str, *, bare: bool = True) -> bool:
    """Whether a file is code, by its name or its beginning; `bare`: also a text without a suffix."""
    for name in (path, real):
        if _CODE_SUFFIX.fullmatch(Path(name).suffix) or Path(name).stem.lower() in _CODE_NAMES:
            return True
    try:
        with open(real, "rb") as stream:
            beginning = stream.read(512)
    except OSError:
        return False
    if beginning.startswith((b"#!", b"\x7fELF", b"\xcf\xfa\xed\xfe")):
        return True
    return bare and not Path(real).suffix and beginning != b"" and b"\0" not in beginning


def _is_committed(real: str, provenance: Provenance) -> bool:
    try:
        provenance.file(real)
    except NotInCommitError:
        return False
    return True


def _inside(real: str, worktree: str) -> bool:
    inside = os.path.relpath(real, worktree)
    return inside != os.pardir and not inside.startswith(os.pardir + os.sep)


def _guess(found: Invocation, cwd: str, executable: str | None) -> Finding | None:
    """A warning where nothing shows that the module which Python finds is the file in the tree."""
    if found.guessed is None or found.path is None:
        return None
    if executable is not None and os.path.basename(executable).startswith("python"):
        environment = Path(cwd, executable).parent.parent  # a link here belongs to the environment
        if any(
            _is_editable(site, found.guessed, found.path)
            for site in environment.glob("lib/python3*/site-packages")
        ):
            return None
    message = "taken for the module that runs; it is, if the project is installed from here"
    return Finding(CODE, os.path.relpath(found.path, cwd), message, "install it editable: pip install -e .")


def _is_editable(site: Path, source: str, module: str) -> bool:
    """Whether the environment of `site` takes the module from `source`: by a .pth file or a finder."""
    top = os.path.relpath(module, source).split(os.sep)[0]
    if (site / top).exists():
        return False
    mapped = repr(os.path.join(source, top.removesuffix(".py")))
    try:
        return any(
            source in file.read_text(errors="surrogateescape").splitlines() for file in site.glob("*.pth")
        ) or any(
            mapped in file.read_text(errors="surrogateescape")
            for file in site.glob("__editable__*_finder.py")
        )
    except OSError:
        return False


def _word_for(found: Invocation, argv: Sequence[str], cwd: str) -> str:
    path = found.path or ""
    if path in argv:
        return path
    return os.path.relpath(path, cwd) if os.path.isabs(path) else path


def _file(path: str, shown: str, provenance: Provenance, worktree: str, name_it: str = NAME_IT) -> Resolved:
    shown = redact(shown)  # it may be an address with a password in it
    if "://" in path and not os.path.lexists(path):
        message = "not in the repository, so no commit of it holds this code"
        return Resolved(None, Finding(CODE, shown, message, _BRING))
    if _STREAM.fullmatch(path):
        return Resolved(None, _standard_input(shown))
    real = os.path.realpath(path)
    if os.path.exists(real) and not os.path.isfile(real):
        message = "not a regular file, so no commit holds this code"
        return Resolved(None, Finding(CODE, shown, message, "put it into a file and commit it"))
    if not os.path.isfile(real):
        return Resolved(None, Finding(CODE, shown, "no such file", "see how it is spelled"))
    if not _inside(real, worktree):
        message = f"outside the repository {worktree}, so no commit of it holds this code"
        return Resolved(None, Finding(CODE, shown, message, _BRING))
    try:
        found = provenance.file(real)
    except NotInCommitError as error:
        message = f"not a file of commit {provenance.commit[:12]} (untracked or ignored)"
        return Resolved(None, Finding(CODE, shown, message, error.fix))
    return Resolved(EntryPoint(found.path, found.blob, found.checksum, found.url))
