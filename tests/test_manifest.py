"""Ids, modules, tests, stages, file patterns and the pages say the same thing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from identify.identify import tags_from_path

from deriva_ml_hooks.hooks import declared, hook_ids
from deriva_ml_hooks.install import frameworks, native

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
MANIFEST: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
BY_ID = {hook["id"]: hook for hook in MANIFEST}


def test_every_module_is_an_id_and_every_id_a_module() -> None:
    assert sorted(BY_ID) == hook_ids()


@pytest.mark.parametrize("hook", sorted(BY_ID))
def test_an_id_runs_its_own_module(hook: str) -> None:
    assert BY_ID[hook]["entry"] == f"deriva-ml-hooks hook {hook}"
    assert BY_ID[hook]["language"] == "python"
    assert BY_ID[hook]["stages"] == list(declared(hook).stages)
    assert declared(hook).id == hook
    assert (ROOT / "tests" / "hooks" / f"test_{hook.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("hook", sorted(BY_ID))
def test_an_id_has_a_section_with_its_stages_and_its_options(hook: str) -> None:
    found = re.search(rf"(?ms)^## {hook}\n(.*?)(?=^## )", PAGE)
    assert found
    assert f"{{{{ stages {hook} }}}}" in found[1]
    assert f"{{{{ options hook {hook} }}}}" in found[1] or hook == "cache-provenance"
    link = f"[{hook}](docs/hooks.md#{hook})"
    assert link not in README or f"{link} | {BY_ID[hook]['description'].rstrip('.')}" in README


@pytest.mark.parametrize("hook", sorted(BY_ID))
def test_an_id_says_which_files_it_wants_or_that_it_wants_none(hook: str) -> None:
    entry = BY_ID[hook]
    if "types" not in entry:
        assert entry["always_run"] is True
        assert entry["pass_filenames"] is False


@pytest.mark.parametrize("hook", sorted(BY_ID))
def test_names_of_files_are_behind_the_end_of_the_options(hook: str) -> None:
    takes_names = BY_ID[hook].get("pass_filenames", True)
    assert BY_ID[hook].get("args", []) == (["--"] if takes_names else [])


@pytest.mark.parametrize(
    ("hook", "name", "wanted"),
    [
        ("strip-notebook-outputs", "explore.ipynb", True),
        ("strip-notebook-outputs", "train.py", False),
        ("strip-notebook-outputs", "notes.ipynb.txt", False),
        ("check-notebooks", "a b/naïve.ipynb", True),
        ("check-notebooks", "data.json", False),
        ("check-large-files", "weights.pt", True),
        ("check-large-files", "no-ending", True),
    ],
)
def test_the_types_of_an_id_pick_its_files(hook: str, name: str, wanted: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    assert (set(BY_ID[hook]["types"]) <= tags_from_path(str(path))) is wanted


def test_only_keys_that_both_frameworks_know_are_used() -> None:
    known = {
        *("id", "name", "description", "entry", "language", "types", "stages", "always_run", "args"),
        *("pass_filenames", "require_serial", "minimum_pre_commit_version"),
    }
    assert {key for hook in MANIFEST for key in hook} <= known


def test_the_recommended_configuration_is_the_one_that_install_writes() -> None:
    texts = [re.search(r"(?s)```yaml\n(default_install_hook_types.*?)```", page) for page in (README, PAGE)]
    shown = [yaml.safe_load(text[1]) for text in texts if text]
    written = yaml.safe_load(frameworks.configuration())
    for configuration in (*shown, written):
        for repository in configuration["repos"]:
            repository.pop("rev")
    assert shown == [written, written]


def test_the_native_hooks_are_those_in_the_folder_and_on_the_page() -> None:
    assert sorted(path.name for path in (ROOT / "hooks").iterdir()) == sorted(native.HOOKS)
    for hook in native.HOOKS:
        assert f"`{hook}`" in PAGE


def test_the_readmes_commands_are_what_ci_runs() -> None:
    found = re.search(r"(?s)<!-- the test command -->\n```console\n(.*?)\n```", README)
    assert found
    assert "'.[dev]'" in found[1]
    assert "/pytest" in found[1]
