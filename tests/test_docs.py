"""The pages say what the program does: their commands are typed, their tables are made, their names exist."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deriva_ml_hooks.config import KEYS
from tests.conftest import Repo

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"(?m)(?:^<!-- (not run|exit)[: ]+(.*) -->\n)?^```console\n((?:.*\n)*?)```$")
_CHANGES = (
    (r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID"),
    (r"\bg?[0-9a-f]{9,40}\b", "HEX"),
    (r"\d+\.\d s\b", "TIME"),
)


def load_tables() -> Any:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = load_tables()


class Block(NamedTuple):
    """A block of a page: what is typed, what is printed then, and the last exit code."""

    typed: list[str]
    printed: list[str]
    code: int


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that can be typed anywhere."""
    for kind, word, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind != "not run":
            lines = text.splitlines()
            typed = [line[2:] for line in lines if line.startswith("$ ")]
            printed = [line for line in lines if not line.startswith("$ ")]
            yield Block(typed, printed, int(word or 0))


def without_chance(text: str) -> str:
    """`text` without what differs from run to run."""
    for pattern, word in _CHANGES:
        text = re.sub(pattern, word, text)
    return text.strip()


@pytest.fixture
def project(make_repo: Callable[..., Repo], tmp_path: Path) -> Repo:
    """The project that the pages speak of, with a remote."""
    made = make_repo("project")
    bare = make_repo("remote.git", "--bare")
    made.write("src/train.py", 'print("loss 0.12")\n')
    made.write(
        "pyproject.toml", '[project]\nname = "project"\ndynamic = ["version"]\n\n[tool.setuptools_scm]\n'
    )
    made.write(".gitignore", "__pycache__/\n")
    made.commit("Train")
    made.git("tag", "--annotate", "--message", "First", "v0.1.0")
    made.git("remote", "add", "origin", str(bare.path))
    made.push("--set-upstream", "origin", "main", "--tags")
    return made


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))], ids=lambda page: page.stem)
def test_what_a_page_says_to_type_does_what_it_says(page: Path, project: Repo) -> None:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    for block in blocks(page):
        done = subprocess.run(
            ["bash", "-c", "\n".join(block.typed)],
            cwd=project.path,
            env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = without_chance(done.stdout.decode())
        assert done.returncode == block.code, said
        if block.printed:
            parts = without_chance("\n".join(block.printed)).split("...")
            assert re.fullmatch("(?s:.*)".join(map(re.escape, parts)), said), said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_table_of_a_page_can_be_made(page: Path) -> None:
    filled = tables.on_page_markdown(page.read_text(encoding="utf-8"))
    assert "{{ " not in re.sub(r"\$\{\{.*?\}\}", "", filled)


def test_a_table_that_nobody_makes_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        tables.on_page_markdown("{{ nothing }}\n")


def test_every_command_has_its_options_on_a_page() -> None:
    from deriva_ml_hooks.commands.program import COMMANDS

    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in COMMANDS:
        assert f"{{{{ options {name}" in pages or f"`deriva-ml-hooks {name}" in pages, name


def test_git_deriva_help_names_every_command() -> None:
    from deriva_ml_hooks.commands.program import COMMANDS

    page = (ROOT / "docs" / "git-deriva.1").read_text(encoding="utf-8").replace("\\-", "-")
    listed = page.partition("shows the options of one:")[2]
    assert re.findall(r"(?m)^\.BR ([a-z-]+) [,.]$", listed) == list(COMMANDS)


def test_every_setting_has_a_row() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| `([a-z-]+)` \|", page) == list(KEYS)


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    for target in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", readme):
        assert (ROOT / target).is_file(), target
    for page in PAGES:
        assert page.stem == "index" or f"docs/{page.name}" in readme
