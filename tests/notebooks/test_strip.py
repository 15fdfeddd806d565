"""Stripped notebooks against nbstripout: its program on files, its `main` on notebooks made at random."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbstripout._nbstripout
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.notebooks.strip import (
    DEFAULT_EXTRA_KEYS,
    NotebookError,
    StripOptions,
    is_clean,
    strip,
    textconv,
)

DATA = Path(__file__).parents[1] / "data" / "notebooks"
ON_DISK = {path.name: path.read_bytes() for path in sorted(DATA.iterdir())}
ZEPPELIN = {name: data for name, data in ON_DISK.items() if name.endswith(".zpln")}
JUPYTER = {name: data for name, data in ON_DISK.items() if name.endswith(".ipynb")}
JUPYTER |= {
    "crlf.ipynb": JUPYTER["v4.ipynb"].replace(b"\n", b"\r\n"),
    "crlf_clean.ipynb": JUPYTER["clean_v4_5.ipynb"].replace(b"\n", b"\r\n"),
    "no_newline_at_the_end.ipynb": JUPYTER["v4.ipynb"].rstrip(b"\n"),
    "compact.ipynb": json.dumps(json.loads(JUPYTER["v4.ipynb"])).encode(),
    "ascii.ipynb": json.dumps(json.loads(JUPYTER["text.ipynb"])).encode(),
}
WITHOUT_PROPER_IDS = ("v4_5_double_ids.ipynb", "v4_5_missing_ids.ipynb")

OPTIONS = {
    "defaults": StripOptions(),
    "keep output": StripOptions(keep_output=True),
    "keep count and small outputs": StripOptions(keep_count=True, max_size="1k"),
    "keep output and count": StripOptions(keep_output=True, keep_count=True),
    "keep id": StripOptions(keep_id=True),
    "extra keys": StripOptions(
        extra_keys=("metadata.foo.bar", "cell.metadata.tags", "cell.metadata.foo", "kernelspec", "foo.bar")
    ),
    "keep metadata keys": StripOptions(
        extra_keys=("metadata.foo",),
        keep_metadata_keys=("metadata.foo", "metadata.widgets", "cell.metadata.collapsed"),
    ),
    "drop empty and tagged cells": StripOptions(
        drop_empty_cells=True, drop_tagged_cells=("other", "to-drop"), keep_id=True
    ),
    "strip init cells": StripOptions(strip_init_cells=True),
    "max size": StripOptions(max_size="100"),
    "drop output types": StripOptions(keep_output=True, drop_output_type=("error", "stream:stderr")),
    "keep output types": StripOptions(keep_output_type=("stream:stdout", "execute_result")),
}


def words(options: StripOptions) -> list[str]:
    """The command line of nbstripout that says `options`, to come after the files."""
    flags = ("keep_output", "keep_count", "keep_id", "drop_empty_cells", "strip_init_cells")
    line = [f"--{name.replace('_', '-')}" for name in flags if getattr(options, name)]
    line += ["--extra-keys", " ".join(options.extra_keys), "--max-size", options.max_size]
    line += ["--keep-metadata-keys", " ".join(options.keep_metadata_keys)]
    line += ["--drop-tagged-cells", " ".join(options.drop_tagged_cells)]
    for name in ("drop_output_type", "keep_output_type"):
        line += [f"--{name.replace('_', '-')}", *getattr(options, name)] if getattr(options, name) else []
    return line


def program(directory: Path, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "nbstripout", *arguments],
        cwd=directory,
        env={**environment, "GIT_CEILING_DIRECTORIES": str(directory.parent), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(directory: Path, *arguments: str, **variables: str) -> bytes:
    with program(directory, *arguments, **variables) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return out


def lay_out(directory: Path, notebooks: dict[str, bytes]) -> None:
    for name, data in notebooks.items():
        (directory / name).write_bytes(data)


def left_by_program(directory: Path, notebooks: dict[str, bytes], *arguments: str) -> dict[str, bytes]:
    lay_out(directory, notebooks)
    run(directory, *notebooks, *arguments)
    return {name: (directory / name).read_bytes() for name in notebooks}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_strip_leaves_what_the_program_leaves(tmp_path: Path, options: StripOptions) -> None:
    left = left_by_program(tmp_path, JUPYTER, *words(options))
    assert {name: strip(data, options, path=name) for name, data in JUPYTER.items()} == left
    assert [
        name for name in JUPYTER if is_clean(JUPYTER[name], options) and left[name] != JUPYTER[name]
    ] == []
    assert left["v4.ipynb"] != JUPYTER["v4.ipynb"]
    assert left["clean_v4_5.ipynb"] == JUPYTER["clean_v4_5.ipynb"]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_textconv_is_what_the_program_prints(tmp_path: Path, options: StripOptions) -> None:
    notebooks = {name: data for name, data in JUPYTER.items() if name not in WITHOUT_PROPER_IDS}
    if not options.keep_id:  # otherwise nbformat's random ids stay
        notebooks = JUPYTER
    lay_out(tmp_path, notebooks)
    printed = run(tmp_path, *notebooks, "--textconv", *words(options))
    assert b"".join(textconv(data, options) for data in notebooks.values()) == printed


def test_zeppelin_notebooks_come_out_as_the_program_writes_them(tmp_path: Path) -> None:
    left = left_by_program(tmp_path, ZEPPELIN, "--mode", "zeppelin")
    assert {name: strip(data, zeppelin=True) for name, data in ZEPPELIN.items()} == left
    assert left["zeppelin.zpln"] != ZEPPELIN["zeppelin.zpln"]
    printed = run(tmp_path, *ZEPPELIN, "--mode", "zeppelin", "--textconv")
    assert b"".join(textconv(data, zeppelin=True) for data in ZEPPELIN.values()) == printed


def test_keep_output_false_overrules_the_notebook_but_not_its_cells() -> None:
    kept = json.loads(strip(JUPYTER["cell_metadata.ipynb"], StripOptions(keep_output=False)))
    assert [bool(cell.get("outputs")) for cell in kept["cells"]] == [True, True, False, True] + [False] * 4
    gone = json.loads(strip(JUPYTER["notebook_keep_output.ipynb"], StripOptions(keep_output=False)))
    assert [cell["outputs"] for cell in gone["cells"]] == [[], []]


# What cannot be stripped


def notebook(**changes: Any) -> dict[str, Any]:
    """A clean notebook of format 4.5 with one markdown and one code cell, and `changes` on top."""
    return {**json.loads(JUPYTER["clean_v4_5.ipynb"]), **changes}


def with_cell(**changes: Any) -> dict[str, Any]:
    """The clean notebook with `changes` in its code cell."""
    made = notebook()
    made["cells"][1].update(changes)
    return made


def without(made: dict[str, Any], *keys: str) -> dict[str, Any]:
    """`made` without the keys, and without those of its code cell."""
    made = {key: value for key, value in made.items() if key not in keys}
    if "cells" in made:
        made["cells"][1] = {key: value for key, value in made["cells"][1].items() if key not in keys}
    return made


def dumped(made: object) -> bytes:
    return json.dumps(made, indent=1).encode()


BROKEN: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "no JSON: Expecting value: line 1 column 1"),
    "half a file": (JUPYTER["v4.ipynb"][:500], "no JSON: "),
    "a merge conflict": (b'{\n<<<<<<< HEAD\n "cells": []\n', "no JSON: Expecting property name"),
    "a byte order mark": (b"\xef\xbb\xbf" + JUPYTER["v4.ipynb"], "no JSON: Unexpected UTF-8 BOM"),
    "another encoding": ('{"cells": ["ä"]}'.encode("latin-1"), "no UTF-8: "),
    "UTF-16": ("{}".encode("utf-16"), "no UTF-8: "),
    "a list": (b"[]", "'list' object has no attribute 'get'"),
    "a string": (b'"cells"', "'str' object has no attribute 'get'"),
    "nothing in it": (b"{}", "'metadata' is missing"),
    "no cells": (dumped(without(notebook(), "cells")), "cells"),
    "no metadata": (dumped(without(notebook(), "metadata")), "metadata"),
    "no worksheets": (dumped({"nbformat": 3, "metadata": {}}), "worksheets"),
    "a format to come": (dumped(notebook(nbformat=5)), "Unsupported nbformat version 5"),
    "a format of another kind": (dumped(notebook(nbformat={})), "unhashable type"),
    "cells of another kind": (dumped(notebook(cells=[1, 2])), "'int'"),
    "a cell without metadata": (dumped(without(with_cell(), "metadata")), "metadata"),
    "a cell without outputs, to be rewritten": (
        dumped(without(with_cell(execution_count=1), "outputs")),
        "outputs",
    ),
    "half a surrogate pair, to be rewritten": (
        dumped(with_cell(execution_count=1, source="\ud800")),
        "surrogates not allowed",
    ),
    "brackets without end": (b"[" * 100_000, "recursion"),
}


@pytest.mark.parametrize(("data", "said"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_notebook_is_named_with_the_reason_and_the_way_out(data: bytes, said: str) -> None:
    with pytest.raises(NotebookError) as caught:
        strip(data, path="my work/a b.ipynb")
    assert str(caught.value).startswith("my work/a b.ipynb: not a notebook")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    jupyter = "open it in Jupyter and save it, or restore it: git checkout -- 'my work/a b.ipynb'"
    assert (caught.value.fix == jupyter) == (b"<<<<<<<" not in data)
    with pytest.raises(NotebookError):
        textconv(data)
    assert not is_clean(data)


def test_the_program_fails_on_the_same_files(tmp_path: Path) -> None:
    names = [f"{number}.ipynb" for number in range(len(BROKEN))]
    lay_out(tmp_path, dict(zip(names, (data for data, _ in BROKEN.values()), strict=True)))
    processes = [program(tmp_path, name) for name in names]
    for process in processes:
        process.communicate()
    codes = [process.returncode for process in processes]
    assert dict(zip(BROKEN, codes, strict=True)) == dict.fromkeys(BROKEN, 1)


def test_a_cell_that_contradicts_itself_is_told_apart() -> None:
    data = dumped(with_cell(metadata={"keep_output": False, "tags": ["keep_output"]}))
    with pytest.raises(NotebookError, match=r"^a\.ipynb: cell metadata contradicts tags") as caught:
        strip(data, path="a.ipynb")
    assert "take the keep_output tag" in caught.value.fix


def test_zeppelin_notebooks_without_paragraphs_are_refused() -> None:
    with pytest.raises(NotebookError, match=r"^a\.zpln: .* 'paragraphs' is missing$"):
        strip(b"{}", zeppelin=True, path="a.zpln")


def test_without_a_path_the_fix_names_none() -> None:
    with pytest.raises(NotebookError, match=r"^not a notebook") as caught:
        strip(b"")
    assert caught.value.fix == "open it in Jupyter and save it"


@pytest.mark.parametrize(
    "given",
    [
        {"max_size": ""},
        {"max_size": "10T"},
        {"max_size": "K"},
        {"drop_tagged_cells": ("to drop",)},
        {"drop_tagged_cells": ("",)},
        {"drop_output_type": ("a:b:c",)},
        {"keep_output_type": ("a:b:c",)},
    ],
    ids=str,
)
def test_options_that_nbstripout_would_stumble_over_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        StripOptions(**given)
    assert caught.value.fix


def test_keys_that_nbstripout_ignores_are_listed_and_not_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    options = StripOptions(extra_keys=("metadata.a", "foo", "cells.metadata.b", "metadata"))
    assert options.ignored_keys() == ("foo", "cells.metadata.b", "metadata")
    strip(JUPYTER["v4.ipynb"], options)
    assert capfd.readouterr() == ("", "")


# Against nbstripout's own main, in this process


class _Kept(io.BytesIO):
    def close(self) -> None:
        """Stay readable: `main` wraps its streams and the wrapper closes them on its way out."""


def no_git(*_: object, **__: object) -> str:
    raise FileNotFoundError


def main(path: Path, *arguments: str) -> bytes:
    """What nbstripout's main prints for `path`; the git configuration is kept out of it."""
    stdout = _Kept()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FutureWarning about ids, which its own filter lets through
        patch.setattr(sys, "argv", ["nbstripout", str(path), *arguments])
        patch.setattr(sys, "stdin", None)
        patch.setattr(sys, "stdout", SimpleNamespace(buffer=stdout))
        patch.setattr(nbstripout._nbstripout, "check_output", no_git)
        nbstripout._nbstripout.main()
    return stdout.getvalue()


def left_by_main(path: Path, data: bytes, options: StripOptions) -> bytes | None:
    """What it leaves of `data`, or None where it fails."""
    path.write_bytes(data)
    try:
        main(path, *words(options))
    except (Exception, SystemExit):
        return None
    return path.read_bytes()


def printed_by_main(path: Path, data: bytes, options: StripOptions) -> bytes | None:
    path.write_bytes(data)
    try:
        return main(path, "--textconv", *words(options))
    except (Exception, SystemExit):
        return None


def test_the_default_keys_are_those_of_nbstripout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []

    def process(
        input_stream: object, output_stream: object, args: object, extra_keys: list[str], filename: str
    ) -> bool:
        seen.append(tuple(extra_keys))
        return False

    monkeypatch.setattr(nbstripout._nbstripout, "process_jupyter_notebook", process)
    (tmp_path / "a.ipynb").write_bytes(b"")
    main(tmp_path / "a.ipynb")
    assert seen == [DEFAULT_EXTRA_KEYS]


DIRTY: dict[str, tuple[dict[str, Any], StripOptions]] = {
    "a count of zero": (with_cell(execution_count=0), StripOptions()),
    "a count where none belongs": (with_cell(cell_type="markdown", execution_count=1), StripOptions()),
    "a prompt number": (with_cell(prompt_number=1), StripOptions()),
    "an output": (with_cell(outputs=[{"output_type": "stream", "name": "a", "text": ""}]), StripOptions()),
    "outputs that are no list": (with_cell(outputs={}), StripOptions()),
    "outputs that are null": (with_cell(outputs=None), StripOptions()),
    "outputs of a markdown cell": (with_cell(cell_type="markdown", outputs=[{"text": "a"}]), StripOptions()),
    "an id that is no number": (with_cell(id="a"), StripOptions()),
    "an id that is the wrong number": (with_cell(id="2"), StripOptions()),
    "an id that is not a string": (with_cell(id=1), StripOptions()),
    "an id that cannot be compared": (with_cell(id=["a"]), StripOptions(keep_id=True)),
    "an id like another": (with_cell(id="0"), StripOptions()),
    "a missing id": (without(with_cell(), "id"), StripOptions()),
    "a missing id, which goes again": (
        without(with_cell(), "id"),
        StripOptions(keep_id=True, extra_keys=("cell.id",)),
    ),
    "an id before 4.5": ({**with_cell(id="a"), "nbformat_minor": 4}, StripOptions()),
    "metadata of a default key": (with_cell(metadata={"scrolled": False}), StripOptions()),
    "metadata of a nested key": (
        with_cell(metadata={"a": {"b.c": 1}}),
        StripOptions(extra_keys=("cell.metadata.a.b.c",)),
    ),
    "metadata of a key with dots": (
        notebook(metadata={"a.b": None}),
        StripOptions(extra_keys=("metadata.a.b",)),
    ),
    "the notebook's metadata": (notebook(metadata={"widgets": {}}), StripOptions()),
    "the source as a key": (with_cell(), StripOptions(extra_keys=("cell.source",))),
    "an empty cell": (with_cell(source=["  ", "\n"]), StripOptions(drop_empty_cells=True)),
    "a cell without source": (without(with_cell(), "source"), StripOptions(drop_empty_cells=True)),
    "a tagged cell": (with_cell(metadata={"tags": ["a", "b"]}), StripOptions(drop_tagged_cells=("b",))),
    "tags that are a string": (with_cell(metadata={"tags": "ab"}), StripOptions(drop_tagged_cells=("b",))),
    "a contradiction": (
        with_cell(metadata={"keep_output": None, "tags": ["keep_output"]}),
        StripOptions(),
    ),
    "tags that are no list": (with_cell(metadata={"tags": 1}), StripOptions()),
    "attachments that are a list": (with_cell(attachments=[]), StripOptions()),
    "an attachment that is null": (with_cell(attachments={"a": None}), StripOptions()),
    "a source of numbers": (with_cell(source=[1]), StripOptions()),
    "a kind of cell that is no word": (with_cell(cell_type=5), StripOptions()),
    "a format that is no whole number": (notebook(nbformat=4.0), StripOptions()),
    "a minor format that is no number": (notebook(nbformat_minor="5"), StripOptions()),
    "a format of 3.0 in new clothes": (
        {**notebook(nbformat=3), "worksheets": [{"cells": [{"prompt_number": 1, "cell_type": "raw"}]}]},
        StripOptions(),
    ),
}


@pytest.mark.parametrize(("made", "options"), DIRTY.values(), ids=DIRTY)
def test_one_thing_to_strip_is_enough_not_to_be_clean(
    tmp_path: Path, made: dict[str, Any], options: StripOptions
) -> None:
    data = dumped(made)
    assert left_by_main(tmp_path / "a.ipynb", data, options) != data
    assert not is_clean(data, options)


CLEAN: dict[str, tuple[dict[str, Any], StripOptions]] = {
    "all in order": (with_cell(), StripOptions()),
    "a count, kept": (with_cell(execution_count=1), StripOptions(keep_count=True)),
    "an id, kept": (with_cell(id="a"), StripOptions(keep_id=True)),
    "no ids before 4.5": ({**without(with_cell(), "id"), "nbformat_minor": 4}, StripOptions()),
    "metadata, kept": (
        with_cell(metadata={"scrolled": True}),
        StripOptions(keep_metadata_keys=("cell.metadata.scrolled",)),
    ),
    "metadata of another key": (
        with_cell(metadata={"a": {"b": 1}}),
        StripOptions(extra_keys=("cell.metadata.a.c", "cell.metadata.b", "cell.metadata.a.b.c")),
    ),
    "an empty cell, kept": (with_cell(source=[]), StripOptions()),
    "a cell that would keep its output": (with_cell(metadata={"keep_output": True}), StripOptions()),
    "attachments": (with_cell(attachments={"a": {"text/plain": ["a", "b"]}}), StripOptions()),
    "half a surrogate pair": (with_cell(source="\ud800"), StripOptions()),
}


@pytest.mark.parametrize(("made", "options"), CLEAN.values(), ids=CLEAN)
def test_clean_notebooks_are_recognised(tmp_path: Path, made: dict[str, Any], options: StripOptions) -> None:
    data = dumped(made)
    assert left_by_main(tmp_path / "a.ipynb", data, options) == data
    assert is_clean(data, options)


@pytest.mark.parametrize("name", [name for name in JUPYTER if name.split(".")[0] not in ("v2", "v3")])
def test_what_was_stripped_is_recognised_as_clean(name: str) -> None:
    options = StripOptions(keep_output=False, strip_init_cells=True)
    made = json.loads(JUPYTER[name])
    made["cells"] = [cell for cell in made["cells"] if "keep_output" not in str(cell["metadata"])]
    stripped = strip(dumped(made), options)
    assert is_clean(stripped, options) == (name != "clean_from_the_future.ipynb")
    assert strip(stripped, options) == stripped


def test_clean_notebooks_cost_no_import_of_nbformat() -> None:
    code = """
import sys
from deriva_ml_hooks.notebooks.strip import StripOptions, strip
data = sys.stdin.buffer.read()
assert strip(data) is data
assert not {"nbformat", "nbstripout", "jsonschema"} & set(sys.modules)
assert strip(data, StripOptions(extra_keys=("cell.source",))) != data
assert {"nbformat", "nbstripout"} <= set(sys.modules)
"""
    clean = JUPYTER["clean_v4_5.ipynb"]
    done = subprocess.run([sys.executable, "-c", code], input=clean, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# Notebooks made at random: mostly in order, so that what is not stands alone

TEXT = st.text(max_size=12)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
LINES = TEXT | st.lists(TEXT, max_size=3)
KEYS = st.sampled_from(
    [
        *DEFAULT_EXTRA_KEYS,
        "cell.id",
        "cell.metadata",
        "cell.metadata.foo.bar",
        "cell.metadata.tags",
        "cell.outputs",
        "cell.source",
        "foo",
        "metadata.",
        "metadata.foo",
        "metadata.foo.bar",
    ]
)
TAGS = st.sampled_from(["keep_output", "to-drop", "other"])
TYPES = st.sampled_from(["stream", "stream:stderr", "error", "execute_result", "display_data", "unheard-of"])


def rarely(values: st.SearchStrategy[Any], usually: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 7).flatmap(lambda roll: values if roll == 7 else usually)


METADATA = rarely(
    st.fixed_dictionaries(
        {},
        optional={
            "tags": rarely(VALUE, st.lists(TAGS, max_size=2)),
            "keep_output": st.booleans() | VALUE,
            "init_cell": st.booleans(),
            "foo": st.dictionaries(st.sampled_from(["bar", "bar.baz"]), VALUE, max_size=2),
            "foo.bar": VALUE,
            "collapsed": st.booleans(),
            "widgets": VALUE,
            "trusted": st.booleans(),
        },
    ),
    st.fixed_dictionaries({}, optional={"foo": VALUE, "language": TEXT, "tags": st.lists(TAGS, max_size=1)}),
)
BUNDLE = st.dictionaries(
    st.sampled_from(["text/plain", "text/html", "image/svg+xml", "image/png", "application/json"]),
    LINES,
    max_size=2,
)
COUNT = st.none() | st.integers(0, 9)
OUTPUT = st.one_of(
    st.fixed_dictionaries(
        {"output_type": st.just("stream"), "name": st.sampled_from(["stdout", "stderr"]), "text": LINES}
    ),
    st.fixed_dictionaries(
        {
            "output_type": st.just("execute_result"),
            "data": BUNDLE,
            "metadata": METADATA,
            "execution_count": COUNT,
        }
    ),
    st.fixed_dictionaries({"output_type": st.just("display_data"), "data": BUNDLE, "metadata": METADATA}),
    st.fixed_dictionaries(
        {
            "output_type": st.just("error"),
            "ename": TEXT,
            "evalue": TEXT,
            "traceback": st.lists(TEXT, max_size=2),
        }
    ),
)
CELL = st.fixed_dictionaries(
    {
        "cell_type": st.sampled_from(["code", "markdown", "raw"]),
        "source": rarely(VALUE, LINES),
        "metadata": rarely(VALUE, METADATA),
    },
    optional={
        "attachments": rarely(VALUE, st.dictionaries(TEXT, BUNDLE, max_size=1)),
        "prompt_number": rarely(COUNT, st.none()),
    },
)


@st.composite
def notebooks(draw: st.DrawFn) -> bytes:
    minor = draw(st.integers(0, 5) | st.just(5))
    cells = draw(st.lists(CELL, max_size=4))
    executed = draw(st.booleans())
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code" or draw(rarely(st.just(True), st.just(False))):
            cell["outputs"] = draw(st.lists(OUTPUT, max_size=3)) if executed else []
            cell["execution_count"] = draw(COUNT) if executed else None
        if minor == 5 or draw(rarely(st.just(True), st.just(False))):
            cell["id"] = draw(rarely(VALUE | st.sampled_from(["0", "abc"]), st.just(str(index))))
        for key in draw(rarely(st.lists(st.sampled_from(sorted(cell)), max_size=1), st.just([]))):
            del cell[key]
    metadata = draw(rarely(VALUE, METADATA))
    made = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}
    for key in draw(rarely(st.lists(st.sampled_from(sorted(made)), max_size=1), st.just([]))):
        del made[key]
    text = json.dumps(made, indent=draw(st.none() | st.just(1)), ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


FEW_KEYS = st.lists(KEYS, max_size=2, unique=True).map(tuple)
FEW_TYPES = st.lists(TYPES, max_size=2, unique=True).map(tuple)
SOME_OPTIONS = st.builds(
    StripOptions,
    keep_output=st.none() | st.just(True),
    keep_count=st.booleans(),
    keep_id=st.booleans(),
    extra_keys=FEW_KEYS,
    keep_metadata_keys=FEW_KEYS,
    drop_empty_cells=st.booleans(),
    drop_tagged_cells=st.lists(TAGS, max_size=2, unique=True).map(tuple),
    strip_init_cells=st.booleans(),
    max_size=st.sampled_from(["0", "10", "100", "1K"]),
    drop_output_type=FEW_TYPES,
    keep_output_type=FEW_TYPES,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=notebooks(), options=rarely(st.just(StripOptions()), SOME_OPTIONS))
@example(data=JUPYTER["clean_v4_5.ipynb"], options=StripOptions())
def test_any_notebook_comes_out_as_from_nbstripout(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, options: StripOptions
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.ipynb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nbformat.validator.generate_corpus_id", lambda: "at-random")
        left, printed = left_by_main(path, data, options), printed_by_main(path, data, options)
        clean = is_clean(data, options)
        event(f"clean: {clean}")
        if clean:
            assert left == data
        if left is None:
            event("cannot be stripped")
            with pytest.raises(NotebookError):
                strip(data, options)
        else:
            assert strip(data, options) == left
        if printed is None:
            with pytest.raises(NotebookError):
                textconv(data, options)
        else:
            assert textconv(data, options) == printed
