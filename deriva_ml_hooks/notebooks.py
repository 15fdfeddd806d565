"""Notebooks without their outputs: the bytes that the nbstripout program would write, to the byte.

The pre-commit hook writes them and the runner hashes them, so both ask here. nbstripout does the work;
this module adds errors with a way out, and an answer for notebooks that are clean already which costs
no import of nbformat. It reads and writes no file and asks git nothing.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from deriva_ml_hooks.errors import HooksError, UsageError

DEFAULT_EXTRA_KEYS = (
    "metadata.signature",
    "metadata.widgets",
    "cell.metadata.collapsed",
    "cell.metadata.ExecuteTime",
    "cell.metadata.execution",
    "cell.metadata.heading_collapsed",
    "cell.metadata.hidden",
    "cell.metadata.scrolled",
)
"""What nbstripout's command line strips besides outputs, counts and ids; it has no name for it to import."""

Tree: TypeAlias = "dict[str, Tree | None]"

_MARKER = re.compile(rb"^(?:<{7}|>{7})(?: |\r?$)", re.MULTILINE)
_SIZE = re.compile(r"[0-9]+[KMG]?", re.IGNORECASE)


def reopening(path: str, data: bytes = b"") -> str:
    """How to come by a notebook again at `path`, where `data` is none: Jupyter opens no merge in conflict."""
    if not path:
        return "open it in Jupyter and save it"
    name = shlex.quote(path)
    if _MARKER.search(data):
        one_side = f"git checkout --merge -- {name} && git checkout --ours -- {name} && git add -- {name}"
        forgotten = f"or take it from a commit before the merge: git log --oneline -- {name}"
        return f"it holds the markers of a conflict; keep one side: {one_side} (or --theirs); {forgotten}"
    return f"open it in Jupyter and save it, or restore it: git checkout -- {name}"


class NotebookError(HooksError):
    """What `path` holds cannot be stripped: `problem` is one line of json, nbformat or nbstripout."""

    def __init__(self, path: str, problem: str, *, fix: str | None = None) -> None:
        super().__init__(f"{path}: {problem}" if path else problem, fix=fix or reopening(path))
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class StripOptions:
    """nbstripout's options, under its own names (see `nbstripout --help`).

    `keep_output` None leaves it to each notebook's metadata; False overrules the notebook, but not its
    cells, which no option of the command line can say. `extra_keys` come on top of `DEFAULT_EXTRA_KEYS`
    (`filter.nbstripout.extrakeys` of the git configuration belongs in here), `keep_metadata_keys` are
    taken from both (`filter.nbstripout.keepmetadatakeys`). `max_size` counts characters, with K, M or G
    for thousands, millions and so on.

    With `keep_id`, cells of a 4.5 notebook that lack an id get random ones whenever it is rewritten.

    Of several `drop_tagged_cells` nbstripout 0.9.1 heeds the last only. Raises UsageError for a size, a
    tag or an output type that it would stumble over or read as something else.
    """

    keep_output: bool | None = None
    keep_count: bool = False
    keep_id: bool = False
    extra_keys: tuple[str, ...] = ()
    keep_metadata_keys: tuple[str, ...] = ()
    drop_empty_cells: bool = False
    drop_tagged_cells: tuple[str, ...] = ()
    strip_init_cells: bool = False
    max_size: str = "0"
    drop_output_type: tuple[str, ...] = ()
    keep_output_type: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _SIZE.fullmatch(self.max_size):
            raise UsageError(
                f"max size {self.max_size!r}: not a size",
                fix="give a number of characters, with K, M or G if you like: 500K",
            )
        for tag in self.drop_tagged_cells:
            if not tag or any(character.isspace() for character in tag):
                raise UsageError(
                    f"tag {tag!r}: nbstripout takes no tags with spaces", fix="rename the tag: to-drop"
                )
        for name in (*self.drop_output_type, *self.keep_output_type):
            if name.count(":") > 1:
                raise UsageError(
                    f"output type {name!r}: more than one colon", fix="write it as stream, or stream:stderr"
                )

    def stripped_keys(self) -> tuple[str, ...]:
        """The keys that are taken from metadata, defaults included."""
        keys = (*DEFAULT_EXTRA_KEYS, *self.extra_keys)
        return tuple(key for key in keys if key not in self.keep_metadata_keys and _is_valid(key))

    def ignored_keys(self) -> tuple[str, ...]:
        """The `extra_keys` that nbstripout ignores, with a line on stderr: not `metadata.X` or `cell.X`."""
        return tuple(key for key in self.extra_keys if not _is_valid(key))


DEFAULTS = StripOptions()


def options_of(
    table: Mapping[str, Any],
    extra_keys: Sequence[str] = (),
    keep_metadata_keys: Sequence[str] = (),
    *,
    given: Mapping[str, Any] | None = None,
) -> StripOptions:
    """The options in force: what is `given` as arguments before the `table` of the settings.

    The keys are those of the git configuration, which go with both.
    """
    arguments = given or {}

    def wanted(name: str) -> tuple[str, ...]:
        value = arguments.get(name)
        if value is None:
            value = table.get(name.replace("_", "-"), ())
        return tuple(value.split() if isinstance(value, str) else value)

    def switched(name: str) -> bool:
        value = arguments.get(name)
        return bool(table.get(name.replace("_", "-"), False) if value is None else value)

    max_size = arguments.get("max_size")
    return StripOptions(
        # Off means as nbstripout without the option: the notebook's own metadata decides.
        keep_output=switched("keep_output") or None,
        keep_count=switched("keep_count"),
        keep_id=switched("keep_id"),
        extra_keys=(*extra_keys, *wanted("extra_keys")),
        keep_metadata_keys=(*keep_metadata_keys, *wanted("keep_metadata_keys")),
        drop_empty_cells=switched("drop_empty_cells"),
        drop_tagged_cells=wanted("drop_tagged_cells"),
        strip_init_cells=switched("strip_init_cells"),
        max_size=table.get("max-size", "0") if max_size is None else max_size,
        drop_output_type=wanted("drop_output_type"),
        keep_output_type=wanted("keep_output_type"),
    )


def strip(data: bytes, options: StripOptions = DEFAULTS, *, zeppelin: bool = False, path: str = "") -> bytes:
    """The bytes that `nbstripout FILE` leaves in a file that holds `data`.

    That is `data` itself, in whatever style it was written, where there is nothing to strip. `zeppelin`
    is nbstripout's `--mode zeppelin`; `path` is for messages only. Raises NotebookError.
    """
    if is_clean(data, options, zeppelin=zeppelin):
        return data
    return _nbstripout(data, options, zeppelin=zeppelin, path=path, in_place=True)


def textconv(
    data: bytes, options: StripOptions = DEFAULTS, *, zeppelin: bool = False, path: str = ""
) -> bytes:
    """The bytes that `nbstripout --textconv FILE` prints: serialised anew, also when nothing changes.

    The same for every way to write the same notebook, so this is the one to hash. Arguments and errors
    are those of `strip`.
    """
    return _nbstripout(data, options, zeppelin=zeppelin, path=path, in_place=False)


def is_clean(data: bytes, options: StripOptions = DEFAULTS, *, zeppelin: bool = False) -> bool:
    """Whether stripping certainly leaves `data` as it is, read without nbformat.

    True is certain. False says only that nbstripout has to be asked: outputs that the options keep,
    formats before 4.0 and whatever is unusual are not looked into.
    """
    if b'"output_type":' in data:  # the key of an output: inside of text its quotes would be escaped
        return False
    try:
        notebook = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(notebook, dict):
        return False
    return _zeppelin_is_clean(notebook) if zeppelin else _jupyter_is_clean(notebook, options)


def _nbstripout(data: bytes, options: StripOptions, *, zeppelin: bool, path: str, in_place: bool) -> bytes:
    import io
    import warnings
    from argparse import Namespace

    from nbstripout import MetadataError
    from nbstripout._nbstripout import (
        process_jupyter_notebook,
        process_zeppelin_notebook,
    )

    process = process_zeppelin_notebook if zeppelin else process_jupyter_notebook
    arguments = Namespace(
        keep_output=options.keep_output,
        keep_count=options.keep_count,
        keep_id=options.keep_id,
        drop_empty_cells=options.drop_empty_cells,
        drop_tagged_cells=" ".join(options.drop_tagged_cells),
        strip_init_cells=options.strip_init_cells,
        max_size=options.max_size,
        drop_output_type=options.drop_output_type,
        keep_output_type=options.keep_output_type,
        dry_run=False,
    )
    try:
        source = io.StringIO(data.decode("utf-8"))
        target = source if in_place else io.StringIO()  # the same stream is how it knows "in place"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ids that are missing or double: nbformat mends them
            process(source, target, arguments, list(options.stripped_keys()))
        return target.getvalue().encode("utf-8")
    except MetadataError as error:
        fix = "open it in Jupyter and take the keep_output tag, or the keep_output metadata, from that cell"
        raise NotebookError(path, str(error), fix=fix) from error
    except Exception as error:  # with data that is no notebook, both libraries fail wherever they are
        raise NotebookError(path, _problem(error), fix=reopening(path, data)) from error


def _problem(error: Exception) -> str:
    if isinstance(error.__cause__, json.JSONDecodeError):
        error = error.__cause__  # nbformat quotes the file instead of naming the place
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    if isinstance(error, json.JSONDecodeError):
        return f"not a notebook, no JSON: {reason}"
    if isinstance(error, UnicodeDecodeError):
        return f"not a notebook, no UTF-8: {reason}"
    key = reason.strip("'")
    if isinstance(error, (AttributeError, KeyError)) and key.isidentifier():
        reason = f"{key!r} is missing"  # both libraries say no more than the key
    return f"not a notebook that can be stripped: {reason}"


def _is_valid(key: str) -> bool:
    return key.startswith(("metadata.", "cell."))


def _zeppelin_is_clean(notebook: dict[str, Any]) -> bool:
    paragraphs = notebook.get("paragraphs")
    return isinstance(paragraphs, list) and all(
        isinstance(paragraph, dict) and paragraph.get("results", {}) == {} for paragraph in paragraphs
    )


def _jupyter_is_clean(notebook: dict[str, Any], options: StripOptions) -> bool:
    version, minor = notebook.get("nbformat"), notebook.get("nbformat_minor")
    if not (type(version) is int and version == 4 and type(minor) is int and 0 <= minor <= 5):
        return False
    metadata, cells = notebook.get("metadata"), notebook.get("cells")
    if not (isinstance(metadata, dict) and isinstance(cells, list)):
        return False
    notebook_keys, cell_keys = _trees(options)
    if _holds(metadata, notebook_keys):
        return False
    tags = options.drop_tagged_cells
    return all(
        isinstance(cell, dict)
        and _is_regular(cell)
        and _id_stays(cell, index, minor, options)
        and cell.get("outputs", []) == []
        and (
            options.keep_count or (cell.get("execution_count") is None and cell.get("prompt_number") is None)
        )
        and not (options.drop_empty_cells and not "".join(cell["source"]).strip())
        and not (tags and any(tag in cell["metadata"].get("tags", []) for tag in tags))
        and not _holds(cell, cell_keys)
        for index, cell in enumerate(cells)
    )


def _is_regular(cell: dict[str, Any]) -> bool:
    """Whether nbformat and nbstripout read this cell without an error or a repair."""
    metadata, source = cell.get("metadata"), cell.get("source")
    if not isinstance(metadata, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return False
    if not (isinstance(source, str) or (isinstance(source, list) and set(map(type, source)) <= {str})):
        return False
    if "tags" in metadata:
        tags = metadata["tags"]
        if not isinstance(tags, list) or ("keep_output" in tags and "keep_output" in metadata):
            return False  # an error where the two contradict
    if "attachments" in cell:
        bundles = cell["attachments"]
        return isinstance(bundles, dict) and set(map(type, bundles.values())) <= {dict}
    return True


def _id_stays(cell: dict[str, Any], index: int, minor: int, options: StripOptions) -> bool:
    """nbstripout numbers ids from "0"; nbformat gives one to each cell of 4.5 that has none."""
    if "id" not in cell:
        return minor < 5
    identifier = cell["id"]
    return isinstance(identifier, str) and (options.keep_id or identifier == str(index))


@functools.lru_cache(maxsize=8)
def _trees(options: StripOptions) -> tuple[Tree, Tree]:
    """The keys to strip from a notebook's metadata, and those to strip from its cells."""
    keys = [key.split(".", 1) for key in options.stripped_keys()]
    return (
        _tree([key for kind, key in keys if kind == "metadata"]),
        _tree([key for kind, key in keys if kind == "cell"]),
    )


def _tree(keys: Sequence[str]) -> Tree:
    """Dotted keys as nbstripout looks them up: each by its whole name first, then head by head."""
    tree: Tree = dict.fromkeys(keys)
    tails: dict[str, list[str]] = {}
    for key in keys:
        head, dot, tail = key.partition(".")
        if dot and head not in tree:
            tails.setdefault(head, []).append(tail)
    return {**tree, **{head: _tree(rest) for head, rest in tails.items()}}


def _holds(node: object, tree: Tree | None) -> bool:
    """Whether one of the keys names something inside `node`."""
    if tree is None:
        return True
    if not node or not isinstance(node, dict):
        return False
    return any(_holds(node[name], tree[name]) for name in tree if name in node)
