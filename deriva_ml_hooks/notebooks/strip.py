"""Notebooks without their outputs: the bytes that the nbstripout program would write, to the byte.

The pre-commit hook writes them and the runner hashes them, so both ask here. nbstripout does the work;
this module adds errors with a way out, and an answer for notebooks that are clean already which costs
no import of nbformat. It reads and writes no file and asks git nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
            fix = "give a number of characters, with K, M or G if you like: 500K"
            raise UsageError(f"max size {self.max_size!r}: not a size", fix=fix)
        for tag in self.drop_tagged_cells:
            if tag.split() != [tag]:
                fix = "rename the tag: to-drop"
                raise UsageError(f"tag {tag!r}: nbstripout takes no tags with spaces", fix=fix)
        for name in (*self.drop_output_type, *self.keep_output_type):
            if name.count(":") > 1:
                fix = "write it as stream, or stream:stderr"
                raise UsageError(f"output type {name!r}: more than one colon", fix=fix)

    def stripped_keys(self) -> tuple[str, ...]:
        """The keys that are taken from metadata, defaults included."""
        keys = (*DEFAULT_EXTRA_KEYS, *self.extra_keys)
        return tuple(key for key in keys if key not in self.keep_metadata_keys and _is_valid(key))

    def ignored_keys(self) -> tuple[str, ...]:
        """The `extra_keys` that nbstripout ignores, with a line on stderr: not `metadata.X` or `cell.X`."""
        return tuple(key for key in self.extra_keys if not _is_valid(key))


DEFAULTS = StripOptions()


def options_of(
    table: Mapping[str, Any], extra_keys: Sequence[str] = (), keep_metadata_keys: Sequence[str] = ()
) -> StripOptions:
    """The options that `table` sets, by their names with hyphens; keys of the git configuration go with both.

    A list may be one string, with spaces between its items, as it is on the command line.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if isinstance(getattr(DEFAULTS, name), tuple):
            value = tuple(value.split() if isinstance(value, str) else value)
        values[name] = value
    # Off means as nbstripout without the option: the notebook's own metadata decides.
    values["keep_output"] = values.get("keep_output") or None
    values["extra_keys"] = (*extra_keys, *values.get("extra_keys", ()))
    values["keep_metadata_keys"] = (*keep_metadata_keys, *values.get("keep_metadata_keys", ()))
    return StripOptions(**values)


def strip(data: bytes, options: StripOptions = DEFAULTS, *, zeppelin: bool = False, path: str = "") -> bytes:
    """The bytes that `nbstripout FILE` leaves in a file that holds `data`.

    That is `data` itself, in whatever style it was written, where there is nothing to strip. `zeppelin`
    is nbstripout's `--mode zeppelin`; `path` is for messages only. Raises NotebookError.
    """
    if not zeppelin and is_clean(data, options):
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


def is_clean(data: bytes, options: StripOptions = DEFAULTS) -> bool:
    """Whether stripping certainly leaves `data` as it is, read without nbformat.

    True is certain. False says only that nbstripout has to be asked: outputs that the options keep, cells
    that they drop, formats before 4.0 and whatever is unusual are not looked into.
    """
    if options.drop_empty_cells or options.drop_tagged_cells:
        return False
    if b'"output_type":' in data:  # the key of an output: inside of text its quotes would be escaped
        return False
    try:
        notebook = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(notebook, dict):
        return False
    version, minor = notebook.get("nbformat"), notebook.get("nbformat_minor")
    metadata, cells = notebook.get("metadata"), notebook.get("cells")
    if type(version) is not int or version != 4 or type(minor) is not int or not 0 <= minor <= 5:
        return False
    if not isinstance(metadata, dict) or not isinstance(cells, list):
        return False
    keys = [key.split(".", 1) for key in options.stripped_keys()]
    if any(_holds(metadata, key) for kind, key in keys if kind == "metadata"):
        return False
    of_cells = [key for kind, key in keys if kind == "cell"]
    return all(
        isinstance(cell, dict)
        and _is_regular(cell)
        and _id_stays(cell, index, minor, options)
        and cell.get("outputs", []) == []
        and (
            options.keep_count or (cell.get("execution_count") is None and cell.get("prompt_number") is None)
        )
        and not any(_holds(cell, key) for key in of_cells)
        for index, cell in enumerate(cells)
    )


def _nbstripout(data: bytes, options: StripOptions, *, zeppelin: bool, path: str, in_place: bool) -> bytes:
    import io
    import warnings
    from argparse import Namespace
    from dataclasses import asdict

    from nbstripout import MetadataError
    from nbstripout._nbstripout import process_jupyter_notebook, process_zeppelin_notebook

    process = process_zeppelin_notebook if zeppelin else process_jupyter_notebook
    arguments = Namespace(**asdict(options), dry_run=False)
    arguments.drop_tagged_cells = " ".join(options.drop_tagged_cells)
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
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
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


def _holds(node: object, key: str) -> bool:
    """Whether a dotted key names something in `node`, by its whole name or head by head, as in nbstripout."""
    dot = "."
    while isinstance(node, dict) and dot:
        if key in node:
            return True
        head, dot, key = key.partition(".")
        node = node.get(head)
    return False
