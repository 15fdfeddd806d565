"""pre-commit's configuration, read and added to as text: judged by pre-commit and prek themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.install.frameworks import RECOMMENDED, REPOSITORY, hook_types, with_our_ids
from deriva_ml_hooks.install.steps import InstallError

if TYPE_CHECKING:
    from tests.conftest import Repo

HOOK = (
    "repo: local\n{0}  hooks:\n{0}  - id: a\n{0}    name: a\n{0}    language: system\n{0}    entry: 'true'\n"
)


def one(indent: str) -> str:
    return f"{indent}- " + HOOK.format(indent)


MANY_LINES = "|\n        echo\n\n        # no comment\n        - x"
EDITABLE = {
    "empty list": "repos: []\n",
    "empty list with blanks and a comment": "repos:   [ ]  # none yet\n",
    "empty list, no newline at the end": "repos: []",
    "nothing after repos": "repos:\n",
    "no indent": "repos:\n" + one(""),
    "indent of two": "repos:\n" + one("  "),
    "indent of four": "repos:\n" + one("    "),
    "wide dash": "repos:\n-   repo: meta\n    hooks:\n    -   id: identity\n",
    "no newline at the end": ("repos:\n" + one("  ")).rstrip("\n"),
    "CRLF": ("# top\nrepos:\n" + one("  ") + "fail_fast: true\n").replace("\n", "\r\n"),
    "CRLF, no newline at the end": ("repos:\n" + one("")).replace("\n", "\r\n")[:-2],
    "mixed line ends": "repos:\r\n" + one("") + "fail_fast: true\r\n",
    "comments everywhere": "# a\n\nrepos:  # b\n# c\n\n  # d\n"
    + one("  ")
    + "  # e\n\n# f\nfail_fast: true # g\n# h\n",
    "keys after repos": "repos:\n" + one("") + "\nexclude: ^data/\nci:\n  skip: [a]\n",
    "keys before repos": "exclude: ^data/\nrepos:\n" + one(""),
    "flow list of types": "default_install_hook_types: [pre-commit]\nrepos:\n" + one(""),
    "types after repos": "repos:\n" + one("") + "default_install_hook_types:\n- pre-commit\n- pre-push\n",
    "document markers": "---\nrepos:\n" + one("  ") + "...\n",
    "several repos": "repos:\n" + one("  ") + "\n" + one("  "),
    "an anchor": "repos:\n" + one("").replace("true'", "true'\n    args: &x [b]"),
    "an entry of many lines": "repos:\n" + one("  ").replace("'true'", MANY_LINES),
    "odd characters in a comment": "repos:  # modèle\t\u3000数据\n" + one(""),
    "us in a comment": f"# see {REPOSITORY}\nrepos:\n" + one(""),
    "another with our name in its own": "repos:\n" + one("") + "# repo: deriva-ml-hooks\n",
}


@pytest.mark.parametrize("name", EDITABLE)
def test_every_line_stays_in_its_order_and_adding_again_changes_nothing(name: str) -> None:
    before = EDITABLE[name]
    after = with_our_ids(before)
    left = iter(after.split("\n"))
    for line in before.rstrip("\n").split("\n"):
        wanted = line.rstrip("\r")
        if wanted.startswith("repos:"):
            wanted = wanted.split("#")[-1].strip() if "#" in wanted else "repos:"
        assert any(wanted in other for other in left), line
    assert all(f"- id: {hook}" in after for hook in RECOMMENDED)
    assert after.count("default_install_hook_types:") == 1
    assert with_our_ids(after) == after


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_is_added_ends_its_lines_as_the_file_does(end: str) -> None:
    after = with_our_ids(EDITABLE["indent of two"].replace("\n", end))
    assert len(after.split(end)) == len(after.split("\n"))


def test_what_comes_out_is_valid_for_pre_commit_and_prek(tmp_path: Path, framework: str) -> None:
    paths = []
    for number, text in enumerate([*EDITABLE.values(), None]):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(with_our_ids(text).encode())
        paths.append(str(path))
    done = subprocess.run([framework, "validate-config", *paths], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    [
        f"- repo: {REPOSITORY}",
        f"-   repo:   '{REPOSITORY}.git'",
        "- repo: git@github.com:fork/deriva-ml-hooks.git",
        "- repo: ../deriva-ml-hooks",
        f"- {{repo: {REPOSITORY}, rev: v1, hooks: []}}",
    ],
)
def test_a_configuration_that_names_us_is_left_as_it_is(line: str) -> None:
    text = f"repos:\n{line}\n"
    assert with_our_ids(text) == text


NOT_EDITABLE = {
    "repos in flow style": "repos: [{repo: meta, hooks: [{id: identity}]}]\n",
    "a quoted key": '"repos": []\n',
    "an indented mapping": "  repos: []\n",
    "no repos at all": "exclude: ^data/\n",
    "an anchored list": "repos: &all []\n",
    "nothing": "",
}
INVALID = {
    "tabs": "repos:\n\t- repo: meta\n\t  hooks: [{id: identity}]\n",
    "an open bracket": "exclude: [\nrepos: []\n",
    "a list that is no list": "repos:\n  local: {}\n",
    "a repo without hooks": "repos:\n- repo: local\n",
    "a repo in flow style over several lines": "repos:\n[\n]\n",
}


@pytest.mark.parametrize("name", [*NOT_EDITABLE, *INVALID])
def test_what_cannot_be_added_to_is_refused_before_anything_is_written(
    repo: Repo, install: Callable[..., list[str]], photograph: Callable[..., object], name: str
) -> None:
    repo.write(".pre-commit-config.yaml", {**NOT_EDITABLE, **INVALID}[name])
    before = photograph(repo.path)
    with pytest.raises(InstallError, match=r"^\.pre-commit-config\.yaml: ") as refused:
        install(repo, pre_commit=True)
    assert "by hand" in refused.value.fix or name in INVALID
    assert ("not valid" in str(refused.value)) == (name in INVALID)
    assert photograph(repo.path) == before


@pytest.mark.parametrize("content", [b"repos: []  # \xff\n", None])
def test_a_configuration_that_cannot_be_read_is_named(
    repo: Repo, install: Callable[..., list[str]], content: bytes | None
) -> None:
    path = repo.path / ".pre-commit-config.yaml"
    path.write_bytes(content) if content else path.mkdir()
    with pytest.raises(InstallError, match="cannot be read"):
        install(repo)


AFTER = "post-merge post-rewrite"


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("repos: []\n", "pre-commit"),
        ("default_install_hook_types: [pre-push]\nrepos: []\n", "pre-push"),
        ("default_install_hook_types: ['pre-push', \"commit-msg\"]\n", "pre-push commit-msg"),
        ("default_install_hook_types: [\n  pre-commit,\n  pre-push,\n]\nrepos: []\n", "pre-commit pre-push"),
        (
            "default_install_hook_types:\n- pre-push\n\n# why\n- commit-msg\nrepos: []\n",
            "pre-push commit-msg",
        ),
        ("default_install_hook_types:\n  - pre-push  # pre-rebase\nrepos: []\n", "pre-push"),
        ("default_stages: [pre-push]\n", "pre-commit pre-push"),
        ("    stages: [post-commit, manual]\n", "pre-commit post-commit"),
        (
            "    stages:\n    - post-merge\n    - post-rewrite\n    args: [commit-msg]\n",
            "pre-commit " + AFTER,
        ),
        ("    stages: [\n      post-checkout,\n    ]\n", "pre-commit post-checkout"),
        ("  - {id: a, stages: [pre-rebase], args: [post-merge]}\n", "pre-commit pre-rebase"),
        ("    stages: [commit, push, merge-commit]\n", "pre-commit pre-push pre-merge-commit"),
        ("#   stages: [post-commit]\n", "pre-commit"),
        ("    name: stages post-commit\n", "pre-commit"),
        ("  - id: check-version-tags\n", "pre-commit pre-push"),
        ("  - {id: cache-provenance}\n", "pre-commit pre-push post-commit post-checkout " + AFTER),
    ],
)
def test_the_hooks_that_a_configuration_needs(text: str, types: str) -> None:
    assert " ".join(hook_types(text)) == types
    assert hook_types(text.replace("\n", "\r\n")) == hook_types(text)


def test_exactly_the_needed_hooks_are_installed(
    repo: Repo, install: Callable[..., list[str]], framework: str
) -> None:
    repo.write(".pre-commit-config.yaml", "default_install_hook_types: [commit-msg]\nrepos: []\n")
    subprocess.run([framework, "install"], cwd=repo.path, check=True, capture_output=True)
    assert install(repo, pre_commit=True)[-1].startswith(f"run {Path(framework).name} install --hook-type")
    hooks = repo.path / ".git" / "hooks"
    served = {path.name for path in hooks.iterdir() if b"File generated by" in path.read_bytes()}
    assert served == {"commit-msg", "pre-push", "pre-commit"}
    assert Path(framework).name.encode() in (hooks / "pre-push").read_bytes()
