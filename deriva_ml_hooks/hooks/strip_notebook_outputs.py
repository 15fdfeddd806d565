"""Strips outputs, execution counts and passing metadata from notebooks: the bytes that nbstripout writes.

Takes nbstripout's options by its spellings and obeys its git configuration (filter.nbstripout.extrakeys
and keepmetadatakeys). A notebook is replaced whole or not at all, never when nothing changes in it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence

from deriva_ml_hooks.config import switch, text, texts
from deriva_ml_hooks.files import replace_whole, sync_folder
from deriva_ml_hooks.git.filters import nbstripout_keys
from deriva_ml_hooks.hooks._hook import Hook, parsed, read_own_file, report, repository_here
from deriva_ml_hooks.notebooks.strip import NotebookError, options_of, strip
from deriva_ml_hooks.report import LISTED, Finding

_SWITCHES = {
    "keep-output": "keep outputs",
    "keep-count": "keep execution counts",
    "keep-id": "keep cell ids, which are otherwise numbered from 0",
    "drop-empty-cells": "remove cells without anything but white space",
    "strip-init-cells": "strip cells with init_cell: true too",
}
_LISTS = {
    "extra-keys": ("KEYS", "metadata to strip besides, in one word: 'metadata.foo cell.metadata.bar'"),
    "keep-metadata-keys": ("KEYS", "metadata to keep, in one word"),
    "drop-tagged-cells": ("TAGS", "remove cells with this tag"),
}
_TYPES = {
    "drop-output-type": "drop outputs of these types though they would be kept: error, stream:stderr",
    "keep-output-type": "keep outputs of these types",
}
HOOK = Hook(
    "strip-notebook-outputs",
    stages=("pre-commit", "manual"),
    settings={
        **dict.fromkeys(_SWITCHES, switch),
        **dict.fromkeys((*_LISTS, *_TYPES), texts),
        "max-size": text,
    },
    recommended=True,
)
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
    args = parsed(_parser(), words)
    files = _files(args)
    if not files:
        return report([], as_json=args.json)
    repository = repository_here()
    keys_of_git = nbstripout_keys(repository) if repository is not None else ((), ())
    options = options_of(HOOK.chosen(repository, args), *keys_of_git)
    for key in options.ignored_keys():
        sys.stderr.write(f"deriva-ml-hooks: extra key {key!r} ignored: not metadata.KEY or cell.KEY\n")
    stripped: dict[str, bool] = {}
    failed: list[Finding] = []
    folders: set[str] = set()
    for path in files:
        if not path.endswith(SUFFIXES) and os.path.isfile(path):
            continue
        try:
            data = read_own_file(path, repository)
            left = strip(data, options, zeppelin=path.endswith(".zpln"), path=path)
            if left != data:
                if not args.check:
                    folders.add(replace_whole(path, left))
                stripped[path] = _in_ids_alone(data, left)
        except (NotebookError, OSError) as error:
            failed.append(_failure(path, error))
    for folder in folders:
        sync_folder(folder)
    return report([*_told(stripped, words, check=args.check), *failed], as_json=args.json)


def _in_ids_alone(before: bytes, after: bytes) -> bool:
    """Whether two notebooks differ in the ids of their cells, and in nothing else."""
    if b'"output_type"' in before:
        return False
    import json

    both = json.loads(before), json.loads(after)
    ids = [[cell.pop("id", None) for cell in notebook.get("cells", ())] for notebook in both]
    return bool(ids[0] != ids[1] and both[0] == both[1])


def _failure(path: str, error: Exception) -> Finding:
    if isinstance(error, NotebookError):
        return Finding("invalid-notebook", path, f"{error.problem}; left as it is", error.fix)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    fix = "give the name of a notebook that you may read and write"
    return Finding("unreadable", path, f"{reason}; left as it is", fix)


def _told(stripped: Mapping[str, bool], words: Sequence[str], *, check: bool) -> list[Finding]:
    """The findings for the notebooks `stripped`, each with whether only cell ids had to change."""
    few = len(stripped) <= LISTED
    if check:
        message = "has outputs, counts or metadata to strip"
        of_ids = "has cell ids to add or renumber, no more"
        same = shlex.join(word for word in words if word not in ("--check", "--json"))
        fix = f"deriva-ml-hooks hook {HOOK.id} {same}" if few else "run the same without --check"
    else:
        message = "stripped of outputs, counts and metadata"
        of_ids = "given cell ids, or others; there was nothing to strip"
        fix = "git add -- " + shlex.join(stripped) if few else "git add --update"
        if "PRE_COMMIT" in os.environ:  # set by pre-commit and by prek
            fix += " && git commit"
    return [Finding("outputs", path, of_ids if ids else message, fix) for path, ids in stripped.items()]


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
    parser = HOOK.parser(_DESCRIPTION)
    parser.epilog = _EPILOG
    parser.add_argument("--check", action="store_true", help="change nothing; fail and name the files")
    for name, about in _SWITCHES.items():
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=about)
    for name, (metavar, about) in _LISTS.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=about)
    size = "keep outputs up to SIZE characters: 500, 10K, 2M (default: 0)"
    parser.add_argument("--max-size", metavar="SIZE", help=size)
    for name, about in _TYPES.items():
        parser.add_argument(f"--{name}", metavar="TYPE", nargs="+", help=about)
    parser.add_argument("files", nargs="*", metavar="FILE", help="notebooks; none: nothing to do")
    return parser
