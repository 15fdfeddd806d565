"""Each rule on notebooks that keep it and notebooks that break it, then the hook under both runners."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deriva_ml_hooks.errors import ConfigError, UsageError
from deriva_ml_hooks.hooks._installations import installations
from deriva_ml_hooks.hooks.check_notebooks import RULES, main

DATA = Path(__file__).parent.parent / "data" / "notebooks"
HOOK = "check-notebooks"
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def code(source: str, *tags: str, count: int | None = None) -> dict[str, Any]:
    metadata = {"tags": list(tags)} if tags else {}
    return {
        "cell_type": "code",
        "source": source,
        "metadata": metadata,
        "outputs": [],
        "execution_count": count,
    }


def text(source: str, *tags: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": {"tags": list(tags)}}


def notebook(*cells: dict[str, Any], metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "cells": [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)],
        "metadata": PYTHON if metadata is None else metadata,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


Found = list[tuple[str, str]]


@pytest.fixture
def found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Found]:
    """The rules broken by a notebook and the messages, as the hook says them in JSON."""
    monkeypatch.chdir(tmp_path)

    def run(made: dict[str, Any] | bytes, *words: str) -> Found:
        data = made if isinstance(made, bytes) else json.dumps(made).encode()
        Path("a.ipynb").write_bytes(data)
        result = main(["--json", *words, "a.ipynb"])
        assert Path("a.ipynb").read_bytes() == data
        findings = json.loads(capsys.readouterr().out)
        assert result == bool(findings)
        assert all(finding["path"] == "a.ipynb" and finding["fix"] for finding in findings)
        return [(finding["code"], finding["message"]) for finding in findings]

    return run


LITERALS = """\
'''What to train.'''
# What changes between runs
rate: float = 1e-3
shift = -1; sign = +2.5
names: list[str] = ["a", 'b' "c"]
sizes = {"a": (1, 2), "b": {3}, -1: None}
low, (high, mid) = 1, (2, 3)
first = second = True
raw = b"bytes"
"""


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [text("# Title"), code("import os\n"), code(LITERALS, "parameters"), code("print(rate, names)")],
        [text("parameters", "parameters"), code("rate = 1", "parameters")],
        [code("", "parameters")],
        [
            code("def train(rate, *, names):\n    return [rate for rate in names]"),
            code(LITERALS, "parameters"),
        ],
        [code("class Model:\n    rate = 1\nprint(Model.rate, dict(rate=2))"), code(LITERALS, "parameters")],
        [code("%load_ext autoreload\nfiles = !ls rate\nprint?\n?print"), code(LITERALS, "parameters")],
        [code("%%bash\nrate=1; echo $rate"), code(LITERALS, "parameters")],
        [code("this is no Python, rate"), code(LITERALS, "parameters")],
        [code("x = 10\ny = (x\n  % 3)\n"), code("rate = 1  # learning rate?\n# is it?", "parameters")],
    ],
)
def test_parameters_in_order_are_left_in_peace(found: Callable[..., Found], cells: list[Any]) -> None:
    assert found(notebook(*cells)) == []


@pytest.mark.parametrize(
    "source",
    [
        'ml, execution, config = run_notebook("roc")',
        'ml, execution, config = execution.run_notebook(\n    "roc", workflow_type="ROC",\n)',
        'result: Any = run_notebook("roc")\n%matplotlib inline',
        # What the notebook of the template does beside it.
        'ml, execution, config = run_notebook("roc")\nfrom IPython import display\nif ml: display(f"{ml}")',
    ],
)
def test_a_parameters_cell_may_call_run_notebook_as_derivaml_has_it(
    found: Callable[..., Found], source: str
) -> None:
    first = code("from deriva_ml.execution import run_notebook\nimport config\nml = None")
    assert found(notebook(first, code(source, "parameters"))) == []


@pytest.mark.parametrize(
    "source",
    ['rate = 1\nrun_notebook("roc")', 'def f():\n    ml = run_notebook("roc")', 'ml = notebook("roc")'],
)
def test_another_call_in_a_parameters_cell_is_no_parameter(found: Callable[..., Found], source: str) -> None:
    [(rule, message)] = found(notebook(code(source, "parameters")))
    assert (rule, "is no assignment of a literal" in message) == ("parameters", True)


@pytest.mark.parametrize(
    "statement",
    [
        "import os",
        "rate: float",
        "rate = other",
        "rate = 1 + 2",
        "rate = max(1, 2)",
        "rate = -other",
        "rate = ...",
        'name = f"run-{1}"',
        "rate = [1, other]",
        "rate = {**{}}",
        "rate = {'a': other}",
        "rate += 1",
        "sizes[0] = 1",
        "model.rate = 1",
        "print(1)",
        "1",
        "if True: rate = 1",
        "%matplotlib inline",
        "files = !ls",
        "rate = %time",
    ],
)
def test_what_is_no_assignment_of_a_literal_is_no_parameter(
    found: Callable[..., Found], statement: str
) -> None:
    broken = found(notebook(text("# Title"), code(f"before = 1\n{statement}\nafter = 2", "parameters")))
    assert broken == [("parameters", f"cell 2: line 2 is no assignment of a literal: {statement}")]


@pytest.mark.parametrize("source", ["rate = = 1", "rate = '", "def f(:", "rate = 1\n  other = 2", "\0"])
def test_parameters_that_are_no_python_are_said_to_be(found: Callable[..., Found], source: str) -> None:
    [(rule, message)] = found(notebook(code(source, "parameters")))
    assert (rule, message.split(":")[1]) == ("parameters", " the parameters are no Python")


def test_a_shell_cell_holds_no_parameters(found: Callable[..., Found]) -> None:
    broken = found(notebook(code("%%bash\nrate=1", "parameters")))
    assert broken == [("parameters", "cell 1: line 1 is no assignment of a literal: %%bash")]


def test_a_second_cell_of_parameters_is_too_many(found: Callable[..., Found]) -> None:
    cells = [
        code("a = 1", "parameters"),
        text(""),
        code("b = 2", "x", "parameters"),
        code("c=3", "parameters"),
    ]
    assert found(notebook(*cells)) == [
        ("parameters", "cell 3: tagged parameters, as cell 1 is already"),
        ("parameters", "cell 4: tagged parameters, as cell 1 is already"),
    ]


@pytest.mark.parametrize(
    "earlier",
    [
        "print(rate)",
        "rate = 2",
        "def train():\n    return rate",
        "def train():\n    global rate\n    rate = 2",
        "def rate(): ...",
        "class rate: ...",
        "import numpy as rate",
        "from model import rate",
        "for rate in range(3): ...",
        "f'{rate:.2f}'",
        "steps = [lambda: rate * n for n in range(3)]",
        "%time\n!ls\nprint(rate)",
        "%%time\nprint(rate)",
        "rate = !cat rate.txt",
        "async def f(): await g(rate)",
    ],
)
def test_a_cell_before_the_parameters_that_uses_one_is_named(
    found: Callable[..., Found], earlier: str
) -> None:
    cells = [text("# rate"), code("import os"), code(earlier), code(earlier), code("rate = 1", "parameters")]
    assert found(notebook(*cells)) == [("parameters", "cell 3: uses rate before the parameters")]


@pytest.mark.parametrize(
    "metadata", [{"kernelspec": {"language": "R"}}, {"language_info": {"name": "julia"}}]
)
def test_other_languages_are_held_to_no_rule_about_python(
    found: Callable[..., Found], metadata: dict[str, Any]
) -> None:
    cells = [code("print(rate)"), code("rate <- max(1)", "parameters"), code("%pip install x")]
    rules = ["--skip", "format", "--skip", "execution-order"]
    assert found(notebook(*cells, metadata=metadata), *rules) == []
    assert {rule for rule, _ in found(notebook(*cells, metadata={}), *rules)} == {
        "parameters",
        "install-magics",
    }


@pytest.mark.parametrize("counts", [[], [None], [1, 2, 3], [None, 1, None, 2], [1, None]])
def test_counts_from_one_on_are_in_order(found: Callable[..., Found], counts: list[int | None]) -> None:
    assert found(notebook(text("# Title"), *(code("a = 1", count=count) for count in counts))) == []


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([2], "cell 2: execution count 2 where 1 was expected"),
        ([1, 3, 2], "cell 3: execution count 3 where 2 was expected"),
        ([1, None, 1], "cell 4: execution count 1 where 2 was expected"),
        ([0, 1], "cell 2: execution count 0 where 1 was expected"),
    ],
)
def test_the_first_count_out_of_order_is_named(
    found: Callable[..., Found], counts: list[int | None], message: str
) -> None:
    cells = [text("# Title"), *(code("a = 1", count=count) for count in counts)]
    assert found(notebook(*cells)) == [("execution-order", message)]


INSTALLING = [
    "%pip install torch",
    "  %pip  install -q torch",
    "pip install torch",
    "%pip --quiet install torch",
    "%conda install -y numpy",
    "%mamba install numpy",
    "%conda env update -f environment.yml",
    "%uv pip install torch",
    "!pip install torch",
    "!pip3 install torch",
    "!pip3.11 install torch",
    "!!pip install torch",
    "! /usr/bin/pip install torch",
    "!{sys.executable} -m pip install torch",
    '!"{sys.executable}" -m pip install torch',
    "!$sys.executable -m pip install torch",
    "!python -u -m pip install torch",
    "!cd /tmp && pip install .",
    "!PIP_NO_INPUT=1 pip install torch",
    "!sudo -E apt-get install -y git",
    "!apt install git",
    "!uv add torch",
    "!uv sync",
    "!uv tool install ruff",
    "!micromamba install -c conda-forge numpy",
    "!poetry add torch",
    "!npm install vega",
    "out = !pip install torch",
    "%system pip install torch",
    "%sx pip install torch",
    "%time !pip install torch",
    "if True:\n    !pip install torch",
    "%%bash\nset -e\npip install torch",
    "%%sh\nsudo apt-get update && sudo apt-get install git",
    "%%script bash\nif true; then pip install torch; fi",
    "%%capture\n!pip install torch",
    "%%time\n%pip install torch",
    "!pip \\\n  install torch",
]


@pytest.mark.parametrize("source", INSTALLING)
def test_cells_that_install_packages_are_found(found: Callable[..., Found], source: str) -> None:
    [(rule, message)] = found(notebook(text("%pip install x"), code("a = 1"), code(source)))
    assert rule == "install-magics"
    line = int(message.removeprefix("cell 3: line ").split(" ")[0])
    assert source.splitlines()[line - 1].strip().rstrip("\\").strip() in message


@pytest.mark.parametrize(
    "source",
    [
        "# !pip install torch\n#%pip install torch",
        "'''\n!pip install torch\n%pip install torch\n'''",
        "print('pip install torch')",
        "%pip list\n!pip freeze\n%conda list",
        "%load_ext pip\n!ls pip install",
        "!echo pip install torch",
        "%%bash\n# pip install torch\necho 'do: pip install torch'",
        "%%html\npip install torch",
        "%%writefile setup.sh\npip install torch",
        "pip = 1\ninstall = 2\npip\n%time install",
        "!apt list --installed",
        "!python -m venv install",
        "!uv run install",
        "!pip uninstall torch",
    ],
)
def test_cells_that_install_nothing_are_left_in_peace(found: Callable[..., Found], source: str) -> None:
    assert found(notebook(code(source))) == []


@given(st.text(alphabet="%!?{}()'\"\\\n #=&|;-$m pipnstalcoduv\x0c\x85\0", max_size=60))
@example("%%")
@example("!\\")
@example("\x0c\n!pip install a")
def test_any_source_can_be_read(source: str) -> None:
    for line, shown in installations(source):
        assert 1 <= line <= len(source.splitlines())
        assert shown


N = 100_000
LONG = {
    "a line of spaces": " " * N,
    "spaces before a magic": " " * N + "%pip list",
    "names without an equals sign": "a " * N + "!",
    "spaces after an equals sign": "a =" + " " * N + "x!",
    "a magic and spaces": "%time" + " " * N + "x",
    "magics in a row": "%time " * N,
    "a question and spaces": "a?" + " " * N + "b",
    "commands in front": "!" + "sudo " * N,
    "modules of modules": "!" + "python -m " * N,
    "lines that go on": "!a\\\n" * N,
    "a shell cell": "%%script " + "a/" * N,
    "white space before a cell magic": "\n " * N + "%%",
}


@pytest.mark.parametrize("source", LONG.values(), ids=LONG)
def test_no_cell_takes_longer_than_it_is_long(found: Callable[..., Found], source: str) -> None:
    source = source if source.lstrip().startswith("%%") else "%x\n" + source
    before = time.process_time()
    found(notebook(code(source, "parameters"), code(source)), "--skip", "format")
    assert time.process_time() - before < 3, "seconds of this process, not of the clock"


def broken(**changes: Any) -> dict[str, Any]:
    return {**notebook(text("# Title"), code("a = 1")), **changes}


FORMAT: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "no JSON": (b'{"cells": [\n<<<<<<< HEAD', "not a notebook, no JSON: Expecting value: line 2 column 1"),
    "nothing": (b"", "not a notebook, no JSON: "),
    "another encoding": ('{"ä": 1}'.encode("latin-1"), "not a notebook, no UTF-8: "),
    "a list": (b"[]", "not a notebook, it says no nbformat"),
    "no format": (b"{}", "not a notebook, it says no nbformat"),
    "an old format": (broken(nbformat=2), "nbformat 2 cannot be checked, only 3 and 4"),
    "a format to come": (broken(nbformat=5), "nbformat 5 cannot be checked, only 3 and 4"),
    "no cells": (b'{"nbformat": 4, "nbformat_minor": 4, "metadata": {}}', "'cells' is a required property"),
    "cells of another kind": (broken(cells={}), "cells: {} is not of type 'array'"),
    "a cell of another kind": (broken(cells=[1]), "cell 1: 1 is not"),
    "metadata of another kind": (broken(metadata=[]), "metadata: [] is not of type 'object'"),
    "no outputs": (
        notebook({"cell_type": "code", "source": "", "metadata": {}, "execution_count": None}),
        "cell 1: 'outputs' is a required property",
    ),
    "an unknown output": (
        notebook(text(""), {**code("a"), "outputs": [{"output_type": "x"}]}),
        "cell 2: outputs.0: ",
    ),
    "an unknown key": (notebook({**text(""), "colour": 1}), "cell 1: Additional properties are not allowed"),
    "a double id": (
        notebook(text(""), {**text(""), "id": "cell-0"}),
        "cell 2: has the id of cell 1, 'cell-0'",
    ),
    "a tag that is no string": (notebook({**text(""), "metadata": {"tags": [1]}}), "cell 1: "),
    "a source that is no text": (notebook({**code("a"), "source": 1}), "cell 1: "),
}


@pytest.mark.parametrize(("made", "message"), FORMAT.values(), ids=FORMAT)
def test_what_is_no_valid_notebook_is_said_in_one_line(
    found: Callable[..., Found], made: dict[str, Any] | bytes, message: str
) -> None:
    [(rule, said)] = found(made)
    assert rule == "format"
    assert message in said
    assert len(said.splitlines()) == 1
    assert found(made, "--skip", "format") == []


@pytest.mark.parametrize(("side", "kept"), [("--ours", "rate = 1"), ("--theirs", "rate = 2")])
@pytest.mark.parametrize("state", ["in conflict", "added", "committed"])
def test_a_notebook_in_conflict_is_led_to_one_side(
    repo: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    side: str,
    kept: str,
    state: str,
) -> None:
    monkeypatch.chdir(repo.path)
    name = "it's.ipynb"
    for branch, source in (("main", "rate = 0"), ("side", "rate = 2"), ("main", "rate = 1")):
        repo.git("switch", "--quiet", *(["--create"] if branch == "side" else []), branch)
        repo.write(name, json.dumps(notebook(code(source)), indent=1))
        repo.commit(source)
    repo.git("merge", "side", check=False)
    if state != "in conflict":
        repo.git("add", "--all")
    if state == "committed":
        repo.commit("In conflict")
    assert main(["--", name]) == 1
    fix = capsys.readouterr().out.partition("keep one side: ")[2].partition(" (or")[0]
    done = subprocess.run(["sh", "-c", fix.replace("--ours", side)], capture_output=True, check=False)
    assert done.returncode == 0, done
    assert main(["--", name]) == 0
    assert kept in (repo.path / name).read_text()
    assert repo.git("diff", "--name-only") == ""


def test_missing_ids_are_found_though_nbformat_would_add_them(found: Callable[..., Found]) -> None:
    made = notebook(text(""), text(""))
    del made["cells"][1]["id"]
    assert found(made) == [("format", "cell 2: 'id' is a required property")]
    assert found({**made, "cells": [], "nbformat_minor": 4}) == []


def test_notebooks_of_nbformat_3_are_held_to_their_format_only(found: Callable[..., Found]) -> None:
    data = json.loads((DATA / "v3.ipynb").read_bytes())
    nbformat.validate(data)
    assert found(data) == []
    del data["worksheets"]
    assert found(data) == [("format", "'worksheets' is a required property")]


BREAKS_ALL = notebook(
    code("print(rate)", count=7),
    code("rate = max(1, 2)", "parameters"),
    {**code("%pip install x"), "outputs": {}},
)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_switched_off_by_its_name(
    repo: Any, found: Callable[..., Found], monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.chdir(repo.path)
    assert {name for name, _ in found(BREAKS_ALL)} == set(RULES)
    assert {name for name, _ in found(BREAKS_ALL, "--skip", rule)} == set(RULES) - {rule}
    repo.write("pyproject.toml", f'[tool.deriva-ml-hooks.check-notebooks]\nskip = ["{rule}"]\n')
    assert {name for name, _ in found(BREAKS_ALL)} == set(RULES) - {rule}
    assert {name for name, _ in found(BREAKS_ALL, "--skip", "format", "--skip", "parameters")} == {
        "execution-order",
        "install-magics",
    }


def test_a_rule_that_is_none_is_refused(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo.path)
    with pytest.raises(UsageError, match="invalid choice: 'parameter'"):
        main(["--skip", "parameter"])
    repo.write("pyproject.toml", '[tool.deriva-ml-hooks.check-notebooks]\nskip = ["execution_order"]\n')
    with pytest.raises(ConfigError, match="skip: expected an array of") as failed:
        main(["a.ipynb"])
    assert '"execution-order"' in failed.value.fix


def test_files_that_cannot_be_read_are_named_and_the_others_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.ipynb").mkdir()
    os.mkfifo("pipe.ipynb")
    Path("z.ipynb").write_text(json.dumps(notebook(code("a", count=3))))
    assert main(["gone.ipynb", "folder.ipynb", "pipe.ipynb", "z.ipynb"]) == 1
    assert capsys.readouterr().out == (
        "gone.ipynb: No such file or directory\n"
        "folder.ipynb: a folder\n"
        "pipe.ipynb: not a regular file\n"
        "fix: give the name of a notebook that you may read\n"
        "\n"
        "z.ipynb: cell 1: execution count 3 where 1 was expected\n"
        "fix: restart the kernel, run all cells and save\n"
    )
    assert main([]) == 0


def test_nbformat_is_not_imported_where_its_rule_is_off(tmp_path: Path) -> None:
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps(notebook(code("rate = 1", "parameters"))))
    script = (
        "import sys; from deriva_ml_hooks.cli import main\n"
        "code = main(['hook', *sys.argv[1:]])\n"
        "print(code, *sorted({'nbformat', 'nbstripout', 'IPython', 'typer'} & set(sys.modules)))"
    )

    def loaded(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, HOOK, *words, str(file)],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    assert loaded("--skip", "format") == "0"
    assert loaded() == "0 nbformat"


CONFIG = f"""\
repos:
- repo: local
  hooks:
  - id: {HOOK}
    name: check notebooks
    language: system
    entry: {sys.executable} -m deriva_ml_hooks hook {HOOK}
    types: [jupyter]
    stages: [pre-commit, manual]
"""


@pytest.mark.parametrize("runner", ["pre-commit", pytest.param("prek", marks=pytest.mark.slow)])
def test_a_commit_is_stopped_until_the_notebook_is_mended(repo: Any, runner: str) -> None:
    binary = str(Path(sys.executable).parent / runner)
    repo.write(".pre-commit-config.yaml", CONFIG)
    repo.commit("Use the hook")
    subprocess.run([binary, "install"], cwd=repo.path, check=True, capture_output=True)
    repo.write("work/a b.ipynb", json.dumps(BREAKS_ALL))
    repo.git("add", "--all")
    stopped = subprocess.run(
        ["git", "commit", "-m", "Notebook"], cwd=repo.path, check=False, capture_output=True, text=True
    )
    assert stopped.returncode == 1
    assert "work/a b.ipynb: cell 1: uses rate before the parameters" in stopped.stdout + stopped.stderr
    repo.write("work/a b.ipynb", json.dumps(notebook(code("rate = 1", "parameters"), code("print(rate)"))))
    repo.git("add", "--all")
    repo.git("commit", "-m", "Notebook")
    assert repo.git("status", "--porcelain") == ""
