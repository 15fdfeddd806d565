"""Strips outputs, execution counts and passing metadata from notebooks: the bytes that nbstripout writes.

Takes nbstripout's options by its spellings and obeys its git configuration (filter.nbstripout.extrakeys
and keepmetadatakeys). A notebook is replaced whole or not at all, never when nothing changes in it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from deriva_ml_hooks.git.filters import nbstripout_keys
from deriva_ml_hooks.hooks._common import arguments, parsed, repository_here, require_own_file, settings, tell
from deriva_ml_hooks.notebooks import NotebookError, StripOptions, options_of, strip
from deriva_ml_hooks.report import LISTED, Finding

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from deriva_ml_hooks.git.repository import Repository

HOOK = "strip-notebook-outputs"
SUFFIXES = (".ipynb", ".zpln")
"""The file names that nbstripout touches unless it is forced; `.zpln` are Zeppelin's."""

_DESCRIPTION = (
    "Strip outputs, execution counts and passing metadata from Jupyter (.ipynb) and Zeppelin (.zpln) "
    "notebooks, in place, to the bytes that nbstripout writes. Files with other endings are left alone."
)
_EPILOG = (
    "Every option has a key of the same name in [tool.deriva-ml-hooks.strip-notebook-outputs], where lists "
    "are arrays; an option given here replaces what the key says. The git configuration's "
    "filter.nbstripout.extrakeys and keepmetadatakeys are added to both. exit code: 0 nothing had to be "
    "stripped, 1 files were stripped (with --check: would be) or could not be, 2 the options do not fit."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Strip the notebooks that `argv` names; 1 when one was changed or could not be read."""
    words = list(sys.argv[1:] if argv is None else argv)
    given = parsed(_parser(), words)
    files = _files(given)
    if not files:
        return tell([], as_json=given.json)
    repository = repository_here()
    keys_of_git = nbstripout_keys(repository) if repository is not None else ((), ())
    options = options_of(settings(HOOK, repository), *keys_of_git, given=vars(given))
    for key in options.ignored_keys():
        sys.stderr.write(f"deriva-ml-hooks: extra key {key!r} ignored: not metadata.KEY or cell.KEY\n")
    stripped, ids, findings = _strip_all(files, options, repository, check=given.check)
    return tell([*_told(stripped, ids, words, check=given.check), *findings], as_json=given.json)


def _strip_all(
    files: Sequence[str], options: StripOptions, repository: Repository | None, *, check: bool
) -> tuple[list[str], set[str], list[Finding]]:
    """Strip every file; which were changed (with `check`: would be), of these the ones that had only cell ids
    to change, and what went wrong with others."""
    stripped: list[str] = []
    ids: set[str] = set()
    failed: list[tuple[str, Exception]] = []
    with _Writer() as writer:
        for path in files:
            try:
                left, is_ids = _stripped(path, options, repository)
            except (NotebookError, OSError) as error:
                failed.append((path, error))
                continue
            if is_ids:
                ids.add(path)
            if left is not None and check:
                stripped.append(path)
            elif left is not None:
                writer.write(path, left)
    for path, problem in writer.outcomes():
        if problem is None:
            stripped.append(path)
        else:
            failed.append((path, problem))
    return stripped, ids, [_failure(path, error) for path, error in failed]


def _stripped(path: str, options: StripOptions, repository: Repository | None) -> tuple[bytes | None, bool]:
    """What has to be in the file instead (None where it is right), and whether it differs in cell ids alone.

    Raises NotebookError and OSError.
    """
    if not path.endswith(SUFFIXES) and os.path.isfile(path):
        return None, False
    require_own_file(path, repository)
    with open(path, "rb", buffering=0) as file:
        data = file.readall()
    left = strip(data, options, zeppelin=path.endswith(".zpln"), path=path)
    return (None, False) if left == data else (left, _in_ids_alone(data, left))


def _in_ids_alone(before: bytes, after: bytes) -> bool:
    if b'"output_type"' in before:
        return False
    import json

    both = json.loads(before), json.loads(after)
    ids = [[cell.pop("id", None) for cell in notebook.get("cells", ())] for notebook in both]
    return bool(ids[0] != ids[1] and both[0] == both[1])


class _Writer:
    """Replaces files in threads: to wait for the disk takes about as long as to strip, so do both at once."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._pending: list[tuple[str, Future[str]]] = []

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is None:
            return
        from deriva_ml_hooks.files import sync_folder

        self._pool.shutdown()
        for folder in {future.result() for _, future in self._pending if future.exception() is None}:
            sync_folder(folder)

    def write(self, path: str, data: bytes) -> None:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(max_workers=4)
        from deriva_ml_hooks.files import replace_whole

        self._pending.append((path, self._pool.submit(replace_whole, path, data)))

    def outcomes(self) -> Iterator[tuple[str, OSError | None]]:
        """Each file in the order written, and why it could not be."""
        for path, future in self._pending:
            problem = future.exception()
            if problem is not None and not isinstance(problem, OSError):
                raise problem
            yield path, problem


def _failure(path: str, error: Exception) -> Finding:
    if isinstance(error, NotebookError):
        return Finding("invalid-notebook", path, f"{error.problem}; left as it is", error.fix)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    fix = "give the name of a notebook that you may read and write"
    return Finding("unreadable", path, f"{reason}; left as it is", fix)


def _told(
    stripped: Sequence[str], ids: Collection[str], words: Sequence[str], *, check: bool
) -> list[Finding]:
    few = len(stripped) <= LISTED
    if check:
        message, of_ids = (
            "has outputs, counts or metadata to strip",
            "has cell ids to add or renumber, no more",
        )
        same = shlex.join(word for word in words if word not in ("--check", "--json"))
        fix = f"deriva-ml-hooks hook {HOOK} {same}" if few else "run the same without --check"
    else:
        message = "stripped of outputs, counts and metadata"
        of_ids = "given cell ids, or others; there was nothing to strip"
        fix = "git add -- " + shlex.join(stripped) if few else "git add --update"
        if "PRE_COMMIT" in os.environ:  # set by pre-commit and by prek
            fix += " && git commit"
    return [Finding("outputs", path, of_ids if path in ids else message, fix) for path in stripped]


def _files(given: argparse.Namespace) -> list[str]:
    """The files, each once, in the order given.

    Runners put file names right behind the arguments, where `--drop-output-type error` would take them
    for types; no type ends like a notebook.
    """
    swallowed = []
    for name in ("drop_output_type", "keep_output_type"):
        types = getattr(given, name) or []
        swallowed += [word for word in types if word.endswith(SUFFIXES)]
        kept = [word for word in types if not word.endswith(SUFFIXES)]
        setattr(given, name, None if getattr(given, name) is None else kept)
    return list(dict.fromkeys([*swallowed, *given.files]))


def _parser() -> argparse.ArgumentParser:
    parser = arguments(HOOK, _DESCRIPTION)
    parser.epilog = _EPILOG
    parser.add_argument("--check", action="store_true", help="change nothing; fail and name the files")
    switches = {
        "--keep-output": "keep outputs",
        "--keep-count": "keep execution counts",
        "--keep-id": "keep cell ids, which are otherwise numbered from 0",
        "--drop-empty-cells": "remove cells without anything but white space",
        "--strip-init-cells": "strip cells with init_cell: true too",
    }
    for switch, text in switches.items():
        parser.add_argument(switch, action=argparse.BooleanOptionalAction, help=text)
    lists = {
        "--extra-keys": ("KEYS", "metadata to strip besides, in one word: 'metadata.foo cell.metadata.bar'"),
        "--keep-metadata-keys": ("KEYS", "metadata to keep, in one word"),
        "--drop-tagged-cells": ("TAGS", "remove cells with this tag"),
        "--max-size": ("SIZE", "keep outputs up to SIZE characters: 500, 10K, 2M (default: 0)"),
    }
    for option, (metavar, text) in lists.items():
        parser.add_argument(option, metavar=metavar, help=text)
    for option, text in {
        "--drop-output-type": "drop outputs of these types though they would be kept: error, stream:stderr",
        "--keep-output-type": "keep outputs of these types",
    }.items():
        parser.add_argument(option, metavar="TYPE", nargs="+", help=text)
    parser.add_argument("files", nargs="*", metavar="FILE", help="notebooks; none: nothing to do")
    return parser
