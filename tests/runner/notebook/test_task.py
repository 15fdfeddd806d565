"""What a notebook is run with: its parameters, its kernel, and what is read from the executed one."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.runner.notebook.executing import MAIN
from deriva_ml_hooks.runner.notebook.parameters import chosen, require_no_secret
from deriva_ml_hooks.runner.notebook.task import (
    NotebookRunError,
    Parameter,
    read,
    values,
)

PARAMETERS = "seed: int = 7  # the seed\nname = 'x'\nrates = [0.1, 0.2]\nflag = None"


def notebook(*cells: str, tags: Sequence[str] = ("parameters",), **metadata: Any) -> bytes:
    """A notebook of code cells, the first of them tagged."""
    made = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {"tags": list(tags) if number == 0 else []},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def spec(name: str, language: str = "python") -> dict[str, str]:
    return {"name": name, "language": language, "display_name": name}


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where kernels of the user's own can be installed."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    return tmp_path / "jupyter" / "kernels"


def install_kernel(kernels: Path, name: str, language: str) -> None:
    (kernels / name).mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    content = {"argv": argv, "display_name": name, "language": language}
    (kernels / name / "kernel.json").write_text(json.dumps(content))


class TestParameters:
    def test_they_are_read_with_types_and_defaults(self) -> None:
        found = read("x.ipynb", notebook(PARAMETERS))
        assert found.parameters == [
            Parameter("seed", "int", "7"),
            Parameter("name", None, "'x'"),
            Parameter("rates", None, "[0.1, 0.2]"),
            Parameter("flag", None, "None"),
        ]

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("a, b = 1, 2", {"a": "(1, 2)", "b": "(1, 2)"}),
            ("a, (b, *c) = f()", dict.fromkeys("abc", "f()")),
            ("c = d = 5", {"c": "5", "d": "5"}),
            ("x = 1; y = 2", {"x": "1", "y": "2"}),
            ('cmd = "a=b # c"  # a comment', {"cmd": "'a=b # c'"}),
            ('color = "#ff0000"', {"color": "'#ff0000'"}),
            ('text = """\nnot = 1\n"""\nreal = 2', {"text": "'\\nnot = 1\\n'", "real": "2"}),
            ("sizes = [\n    1,  # one\n    2,\n]", {"sizes": "[1, 2]"}),
            ("def f(n=1):\n    inner = 2\nouter = 3", {"outer": "3"}),
            ("needed: int", {"needed": ""}),
            ("%matplotlib inline\n!ls\nseed = 7", {"seed": "7"}),
            ("files = !ls\nseed = 7", {"files": "...", "seed": "7"}),
            ("seed = 7\nseed = 8", {"seed": "8"}),
            ("x = '\\d'", {"x": "'\\\\d'"}),
            ("import os", {}),
        ],
    )
    def test_every_assignment_counts_as_python_reads_it(
        self, source: str, expected: dict[str, str], capfd: pytest.CaptureFixture[str]
    ) -> None:
        found = read("x.ipynb", notebook(source)).parameters
        assert found is not None
        assert {p.name: p.default for p in found} == expected
        assert capfd.readouterr().err == ""

    def test_what_a_second_tagged_cell_sets_cannot_be_set(self) -> None:
        """papermill's own cell runs right after the first one, so the second undoes it."""
        document = json.loads(notebook("seed = 1", "pass", "rate = 2"))
        document["cells"][2]["metadata"]["tags"] = ["parameters"]
        found = read("x.ipynb", json.dumps(document).encode())
        assert [p.name for p in found.parameters or ()] == ["seed"]
        with pytest.raises(UsageError) as caught:
            values(found, [("rate", "1")], [])
        assert "has no parameter rate" in str(caught.value)

    def test_a_notebook_without_a_tagged_cell_has_none(self) -> None:
        found = read("x.ipynb", notebook("seed = 7", tags=()))
        assert found.parameters == []
        with pytest.raises(UsageError) as caught:
            values(found, [("seed", "1")], [])
        assert "tag parameters" in caught.value.fix

    @pytest.mark.parametrize(
        "word", ["True", "False", "None", "7", "-7", "1e3", "0.5", "nan_", "a b", "", "[1]", "007", "1_000"]
    )
    def test_a_word_is_typed_as_papermill_types_it(self, word: str, tmp_path: Path) -> None:
        """As its own command does, which writes what it made of it into the prepared notebook."""
        from click.testing import CliRunner
        from papermill.cli import papermill

        source, out = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
        source.write_bytes(notebook(PARAMETERS, kernelspec=spec("python3")))
        done = CliRunner().invoke(
            papermill, ["--prepare-only", str(source), str(out), "-p", "name", word], catch_exceptions=False
        )
        assert done.exit_code == 0
        theirs = json.loads(out.read_text())["metadata"]["papermill"]["parameters"]["name"]
        ours = values(read("x.ipynb", notebook(PARAMETERS)), [("name", word)], [])["name"]
        assert (ours, type(ours)) == (theirs, type(theirs))

    def test_files_first_then_words(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("seed: 1\nrates: [1, 2.5]\nname: 2026-11-23\n")
        (tmp_path / "b.json").write_text('{"seed": 2, "flag": true}')
        found = values(
            read("x.ipynb", notebook(PARAMETERS)),
            [("flag", "no")],
            [str(tmp_path / "a.yaml"), str(tmp_path / "b.json")],
        )
        assert found == {"seed": 2, "rates": [1, 2.5], "name": "2026-11-23", "flag": "no"}

    @pytest.mark.parametrize("content", [None, "- 1\n", "{", "1: 2\n"])
    def test_a_file_that_is_no_table_is_an_error(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / "p.yaml").write_text(content)
        with pytest.raises(UsageError) as caught:
            values(read("x.ipynb", notebook(PARAMETERS)), [], [str(tmp_path / "p.yaml")])
        assert "p.yaml: " in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("a: &a [x]\nb: *a\n", "holds an alias"),
            ("a: &a {x: 1}\nb: {<<: [*a, *a], z: 1}\n", "holds an alias"),
            ("a: " + "x" * (1 << 20), "more than 1 MB"),
        ],
    )
    def test_a_file_that_would_fill_the_memory_is_an_error(
        self, tmp_path: Path, content: str, said: str
    ) -> None:
        (tmp_path / "p.yaml").write_text(content)
        with pytest.raises(UsageError, match=said):
            chosen([], [str(tmp_path / "p.yaml")])

    def test_a_pipe_is_read_and_a_folder_is_called_one(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        writer = threading.Thread(target=(tmp_path / "fifo").write_text, args=("seed: 3",))
        writer.start()
        found = read("x.ipynb", notebook(PARAMETERS))
        assert values(found, [], [str(tmp_path / "fifo")]) == {"seed": 3}
        writer.join()
        with pytest.raises(UsageError, match="a folder"):
            values(found, [], [str(tmp_path)])

    def test_what_is_not_utf_8_is_an_error(self) -> None:
        with pytest.raises(UsageError, match="-p name: not UTF-8"):
            values(read("x.ipynb", notebook(PARAMETERS)), [("name", "\udcff")], [])

    def test_an_unknown_one_is_an_error_that_knows_the_one_probably_meant(self, tmp_path: Path) -> None:
        found = read("x.ipynb", notebook(PARAMETERS))
        (tmp_path / "p.json").write_text('{"sed": 1}')
        for pairs, files in (([("sed", "1")], []), ([], [str(tmp_path / "p.json")])):
            with pytest.raises(UsageError) as caught:
                values(found, pairs, files)
            assert caught.value.fix == "did you mean seed?"
        with pytest.raises(UsageError) as caught:
            values(found, [("colour", "1")], [])
        assert caught.value.fix == "its parameters are: seed, name, rates, flag"

    @pytest.mark.parametrize(
        ("name", "value", "variable"),
        [
            ("token", "hunter2", "TOKEN"),
            ("apiKey", 17, "APIKEY"),
            ("path", "https://ada:hunter2@example.org/x", "PATH_SECRET"),
            ("path", {"nested": [{"password": "hunter2"}]}, "PATH_SECRET"),
            ("path", [1, "--token=hunter2"], "PATH_SECRET"),
            ("1.token", "hunter2", "_1_TOKEN"),
            ("path", "$HOME/token.json", None),
            ("tokens_per_batch", 512, None),
            ("use_token", True, None),
            ("token", "", None),
            ("token", None, None),
        ],
    )
    def test_a_secret_is_refused_by_its_name_and_by_its_form(
        self, name: str, value: object, variable: str | None
    ) -> None:
        if variable is None:
            require_no_secret({name: value}, "x.ipynb")
            return
        with pytest.raises(UsageError, match=f"x.ipynb: the parameter {name} is a secret") as caught:
            require_no_secret({"seed": 7, name: value}, "x.ipynb")
        assert caught.value.fix.endswith(f"set it: read -rs {variable} && export {variable}")
        assert "hunter2" not in f"{caught.value} {caught.value.fix}"


class TestKernel:
    def test_the_environments_own_when_none_is_named(self) -> None:
        kernel = read("x.ipynb", notebook("1")).kernel
        assert (kernel.name, kernel.language, kernel.note) == ("python3", "python", None)

    def test_the_notebooks_own_when_it_is_installed(self, kernels: Path) -> None:
        install_kernel(kernels, "theirs", "python")
        data = notebook("1", kernelspec=spec("theirs"))
        assert read("x.ipynb", data).kernel.name == "theirs"
        assert read("x.ipynb", data, kernel="python3").kernel.name == "python3"

    def test_the_environments_own_in_place_of_one_that_is_missing(self) -> None:
        kernel = read("x.ipynb", notebook("1", kernelspec=spec("gone"))).kernel
        assert kernel.name == "python3"
        assert "gone" in (kernel.note or "")

    @pytest.mark.parametrize(
        ("metadata", "wanted", "fix"),
        [
            ({"kernelspec": spec("rust", "rust")}, None, "--name rust"),
            ({"language_info": {"name": "julia"}}, None, "choose one with --kernel"),
            ({"kernelspec": spec("python3")}, "", "choose one with --kernel"),
            ({"kernelspec": spec("python3")}, "a b", "choose one with --kernel"),
            (
                {"kernelspec": spec("python3")},
                "nope",
                f"{shlex.quote(sys.executable)} -m ipykernel install --sys-prefix --name nope",
            ),
        ],
    )
    def test_a_missing_one_is_an_error_that_says_how_to_install_it(
        self, metadata: dict[str, Any], wanted: str | None, fix: str
    ) -> None:
        with pytest.raises(NotebookRunError) as caught:
            read("x.ipynb", notebook("1", **metadata), kernel=wanted)
        assert "no such kernel" in str(caught.value)
        assert fix in caught.value.fix
        assert "choose one with --kernel; there are: " in caught.value.fix

    @pytest.mark.parametrize(
        "content",
        ["{", '{"argv": []}', '{"argv": "x"}', '{"argv": ["/no/such/python"], "language": "python"}'],
    )
    def test_one_that_cannot_be_started_is_told_before_the_start(self, kernels: Path, content: str) -> None:
        (kernels / "broken").mkdir(parents=True)
        (kernels / "broken" / "kernel.json").write_text(content)
        with pytest.raises(NotebookRunError) as caught:
            read("x.ipynb", notebook("1", kernelspec=spec("broken")))
        assert "kernel broken: " in str(caught.value)
        assert "choose one with --kernel; there are: python3" in caught.value.fix

    def test_parameters_of_another_language_are_let_pass(self, kernels: Path) -> None:
        install_kernel(kernels, "ir", "R")
        found = read("x.ipynb", notebook("seed <- 7", kernelspec=spec("ir", "R")))
        assert found.parameters is None
        assert values(found, [("anything", "1")], []) == {"anything": 1}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b"[]", b'{"cells": 3}'])
def test_what_is_no_notebook_is_an_error(data: bytes) -> None:
    with pytest.raises(NotebookRunError) as caught:
        read("x.ipynb", data)
    assert "x.ipynb: not a notebook" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": {"kernelspec": "python3"}}, "metadata.kernelspec: 'python3' is not"),
        ({"metadata": {"kernelspec": {"name": 5, "display_name": ""}}}, "metadata.kernelspec.name: 5"),
        ({"metadata": {"language_info": {"name": 5}}}, "metadata.language_info.name: 5"),
        ({"metadata": []}, "not a"),
        ({"cells": 3}, "not a"),
        (
            {"cells": [{"cell_type": "raw", "metadata": {"tags": None}, "source": ""}]},
            "cells.0.metadata.tags: None is not",
        ),
        ({"cells": [{"cell_type": "code", "source": ""}]}, "not a"),
        ({"cells": [{"cell_type": "markdown", "metadata": {}, "source": 3}]}, "not a"),
        ({"cells": [{"cell_type": "heading", "metadata": {}, "source": "x"}]}, "not a"),
        ({"nbformat": 5}, "format 5"),
        ({"nbformat": 3}, "format 3"),
        ({"nbformat": "4"}, "format"),
    ],
)
def test_what_papermill_would_trip_over_is_told(change: dict[str, Any], said: str) -> None:
    data = json.dumps(json.loads(notebook("1")) | change).encode()
    with pytest.raises(NotebookRunError) as caught:
        read("x.ipynb", data)
    assert said in str(caught.value)


@pytest.mark.parametrize("python_path", ["", ":/nowhere", "{}"])
def test_the_process_that_executes_takes_no_module_from_the_folder_it_is_started_in(
    tmp_path: Path, python_path: str
) -> None:
    for name in ("json.py", "papermill.py", "deriva_ml_hooks/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("open('planted', 'w')\n")
    env = {**os.environ, "PYTHONPATH": python_path.format(tmp_path)}
    done = subprocess.run([sys.executable, "-c", MAIN], cwd=tmp_path, env=env, input=b"", capture_output=True)
    assert b"JSONDecodeError" in done.stderr  # ours was started
    assert not (tmp_path / "planted").exists()
