"""What a notebook is run with: its parameters, its kernel, and what is read from the executed one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.errors import UsageError
from deriva_ml_hooks.runner.notebook import (
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
    def test_they_are_read_with_types_defaults_and_help(self) -> None:
        found = read("x.ipynb", notebook(PARAMETERS))
        assert found.parameters == [
            Parameter("seed", "int", "7", "the seed"),
            Parameter("name", None, "'x'", ""),
            Parameter("rates", None, "[0.1, 0.2]", ""),
            Parameter("flag", None, "None", ""),
        ]

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
        ("metadata", "wanted"),
        [
            ({"kernelspec": spec("ir", "R")}, None),
            ({"language_info": {"name": "julia"}}, None),
            ({"kernelspec": spec("python3")}, "nope"),
        ],
    )
    def test_a_missing_one_is_an_error_that_says_how_to_install_it(
        self, metadata: dict[str, Any], wanted: str | None
    ) -> None:
        with pytest.raises(NotebookRunError) as caught:
            read("x.ipynb", notebook("1", **metadata), kernel=wanted)
        assert "no such kernel" in str(caught.value)
        assert "ipykernel install" in caught.value.fix
        assert "python3" in caught.value.fix

    def test_parameters_of_another_language_are_let_pass(self, kernels: Path) -> None:
        install_kernel(kernels, "ir", "R")
        found = read("x.ipynb", notebook("seed <- 7", kernelspec=spec("ir", "R")))
        assert found.parameters is None
        assert values(found, [("anything", "1")], []) == {"anything": 1}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b'{"cells": 3}'])
def test_what_is_no_notebook_is_an_error(data: bytes) -> None:
    with pytest.raises(NotebookRunError) as caught:
        read("x.ipynb", data)
    assert "x.ipynb: not a notebook" in str(caught.value)
