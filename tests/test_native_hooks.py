"""The scripts in hooks/, as git runs them: what they write, what they say, and what they never break."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.install import setup
from deriva_ml_hooks.install.doctor import examine
from deriva_ml_hooks.install.native import HOOKS, hooks, package_folder, script

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "hooks"


def cache_of(repo: Repo) -> Path:
    return Path(measured(str(repo.path)).git_dir) / "deriva-ml-hooks" / "provenance.json"


def hook_of(repo: Repo, name: str) -> Path:
    return Path(measured(str(repo.path)).common_dir) / "hooks" / name


def quietly(repo: Repo, *words: str, env: dict[str, str] | None = None) -> None:
    """Run git, which must succeed with not a word from us."""
    done = repo.run("git", *words, env=env)
    assert done.returncode == 0, done.stderr
    assert b"deriva-ml-hooks" not in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.fixture
def equipped(repo: Repo) -> Repo:
    """`repo` with the hooks in place, on a branch beside another."""
    repo.git("checkout", "--quiet", "-b", "side", "HEAD~")
    repo.commit("Side", side="side\n")
    repo.git("checkout", "--quiet", "main")
    setup.install(str(repo.path), say=lambda _: None)
    return repo


# --- the scripts


def test_there_is_one_script_for_all_that_cache_and_one_for_pushes() -> None:
    assert sorted(path.name for path in SCRIPTS.iterdir()) == sorted(HOOKS)
    assert len({(SCRIPTS / name).read_bytes() for name in HOOKS}) == 2
    assert len({(SCRIPTS / name).read_bytes() for name in HOOKS if name.startswith("post-")}) == 1


@pytest.mark.parametrize("name", HOOKS)
def test_a_script_is_short_executable_and_clean(name: str) -> None:
    path = SCRIPTS / name
    lines = path.read_text(encoding="ascii").splitlines()
    assert lines[0] == "#!/bin/sh"
    assert len(lines) <= 14
    assert max(map(len, lines)) <= 120
    assert os.access(path, os.X_OK)
    checker = shutil.which("shellcheck", path=os.path.dirname(sys.executable)) or shutil.which("shellcheck")
    assert checker, "shellcheck is not installed"
    done = subprocess.run([checker, "--shell=sh", str(path)], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout


SHELLS = [found for name in ("sh", "dash", "bash", "busybox", "ksh", "zsh") if (found := shutil.which(name))]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_at_hand_runs_it(equipped: Repo, shell: str, tmp_path: Path) -> None:
    kept = hook_of(equipped, "post-rewrite").with_suffix(".kept")
    kept.write_text(f'#!/bin/sh\n{{ echo "$1"; cat; }} > "{tmp_path}/told"\nexit 4\n')
    kept.chmod(0o755)
    cache_of(equipped).unlink()
    words = [shell, *(["sh"] if "busybox" in shell else []), str(hook_of(equipped, "post-rewrite")), "rebase"]
    done = equipped.run(*words, stdin=b"old new\n")
    assert (done.returncode, done.stdout, done.stderr) == (4, b"", b"")
    assert (tmp_path / "told").read_text() == "rebase\nold new\n"
    assert cache_of(equipped).exists()


# --- git commands


def commit(repo: Repo) -> None:
    repo.write("src/train.py", "print('again')\n")
    quietly(repo, "commit", "-am", "Third")


def commit_of_a_path(repo: Repo) -> None:
    repo.write("src/train.py", "print('again')\n")
    repo.write("README.md", "# Other\n")
    quietly(repo, "commit", "-m", "Third", "--", "src/train.py")


def pull(repo: Repo) -> None:
    quietly(repo, "remote", "add", "here", ".")
    quietly(repo, "pull", "--no-rebase", "--no-edit", "here", "side")


def fast_forward(repo: Repo) -> None:
    ahead = repo.git("commit-tree", "-p", "HEAD", "-m", "Ahead", "HEAD^{tree}")
    quietly(repo, "merge", "--ff-only", ahead)


COMMANDS: dict[str, Callable[[Repo], None]] = {
    "commit": commit,
    "commit of a path": commit_of_a_path,
    "amend": lambda repo: quietly(repo, "commit", "--amend", "--allow-empty", "-m", "Second again"),
    "merge": lambda repo: quietly(repo, "merge", "--no-edit", "side"),
    "fast-forward": fast_forward,
    "rebase": lambda repo: quietly(repo, "rebase", "side"),
    "checkout": lambda repo: quietly(repo, "checkout", "side"),
    "checkout of a commit": lambda repo: quietly(repo, "checkout", "HEAD~"),
    "switch": lambda repo: quietly(repo, "switch", "-c", "new"),
    "cherry-pick": lambda repo: quietly(repo, "cherry-pick", "side"),
    "revert": lambda repo: quietly(repo, "revert", "--no-edit", "HEAD"),
    "pull": pull,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_after_a_git_command_the_commit_is_cached(equipped: Repo, name: str) -> None:
    cache_of(equipped).unlink()
    COMMANDS[name](equipped)
    cached = json.loads(cache_of(equipped).read_bytes())
    assert cached["key"]["commit"] == equipped.git("rev-parse", "HEAD")


def test_what_was_cached_is_what_the_program_then_tells(equipped: Repo, program: Callable[..., Ran]) -> None:
    commit(equipped)
    before = (cache_of(equipped).read_bytes(), cache_of(equipped).stat().st_mtime_ns)
    told = json.loads(program("provenance", "--json").out)
    assert told["commit"] == equipped.git("rev-parse", "HEAD")
    assert (cache_of(equipped).read_bytes(), cache_of(equipped).stat().st_mtime_ns) == before, "it still fits"


def test_a_new_worktree_gets_a_cache_of_its_own(equipped: Repo, tmp_path: Path) -> None:
    quietly(equipped, "worktree", "add", str(tmp_path / "linked"), "side")
    linked = type(equipped)(tmp_path / "linked")
    assert cache_of(linked) != cache_of(equipped)
    assert json.loads(cache_of(linked).read_bytes())["key"]["branch"] == "side"
    cache_of(linked).unlink()
    quietly(linked, "commit", "--allow-empty", "-m", "Linked")
    assert cache_of(linked).exists()


@pytest.mark.parametrize(
    "inherited", [{}, {"GIT_DIR": ".git"}, {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index"}]
)
def test_inherited_variables_do_not_lead_it_astray(equipped: Repo, inherited: dict[str, str]) -> None:
    cache_of(equipped).unlink()
    quietly(equipped, "commit", "--allow-empty", "-m", "Third", env=inherited)
    assert json.loads(cache_of(equipped).read_bytes())["key"]["commit"] == equipped.git("rev-parse", "HEAD")


def test_in_a_submodule_the_submodule_is_cached(equipped: Repo, make_repo: Callable[..., Repo]) -> None:
    part = make_repo("part")
    part.commit("Part")
    equipped.git("submodule", "add", "--quiet", str(part.path), "part")
    inner = type(equipped)(equipped.path / "part")
    setup.install(str(inner.path), say=lambda _: None)
    outer = cache_of(equipped).read_bytes()
    quietly(inner, "commit", "--allow-empty", "-m", "Inner")
    assert json.loads(cache_of(inner).read_bytes())["key"]["commit"] == inner.git("rev-parse", "HEAD")
    assert cache_of(equipped).read_bytes() == outer


def test_the_modules_of_a_project_do_not_stand_in_for_pythons(equipped: Repo) -> None:
    for name in ("types", "json", "random", "keyword", "dulwich", "operator", "argparse", "deriva_ml_hooks"):
        equipped.write(f"{name}.py", "raise SystemExit('imported from the project')\n")
    cache_of(equipped).unlink()
    quietly(equipped, "add", "--all")
    quietly(equipped, "commit", "-m", "Modules of all names")
    assert cache_of(equipped).exists()


def test_it_needs_nothing_on_path_but_git(equipped: Repo, tmp_path: Path) -> None:
    only = tmp_path / "bin"
    only.mkdir()
    git = shutil.which("git")
    assert git
    (only / "git").symlink_to(git)
    cache_of(equipped).unlink()
    quietly(equipped, "commit", "--allow-empty", "-m", "From a window", env={"PATH": str(only)})
    assert cache_of(equipped).exists()


def test_a_repository_that_its_files_do_not_lead_to_is_left_in_peace(equipped: Repo, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles"
    elsewhere.mkdir()
    (elsewhere / ".profile").write_text("umask 022\n")
    at = ("--git-dir", str(equipped.path / ".git"), "--work-tree", str(elsewhere))
    quietly(equipped, *at, "add", str(elsewhere / ".profile"))
    quietly(equipped, *at, "commit", "-m", "Dotfiles")


# --- what must never fail a git command


def commits_with(repo: Repo, **env: str) -> str:
    """Commit, which must succeed; what was said on stderr."""
    before = repo.git("rev-parse", "HEAD")
    done = repo.run("git", "commit", "--quiet", "--allow-empty", "-m", "Third", env=env)
    assert done.returncode == 0, done.stderr
    assert repo.git("rev-parse", "HEAD~") == before
    return os.fsdecode(done.stderr)


def test_an_interpreter_that_is_gone_is_replaced_by_the_program_on_path(
    equipped: Repo, tmp_path: Path
) -> None:
    hook_of(equipped, "post-commit").write_bytes(script("post-commit", "/no/such/python"))
    only = tmp_path / "bin"
    only.mkdir()
    git = shutil.which("git")
    assert git
    (only / "git").symlink_to(git)
    said = commits_with(equipped, PATH=str(only))
    assert "fix: pip install deriva-ml-hooks && deriva-ml-hooks install" in said
    (only / "deriva-ml-hooks").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deriva_ml_hooks "$@"\n')
    (only / "deriva-ml-hooks").chmod(0o755)
    cache_of(equipped).unlink()
    assert commits_with(equipped, PATH=str(only)) == ""
    assert cache_of(equipped).exists()


def test_whatever_is_wrong_the_prompt_is_left_alone(equipped: Repo, tmp_path: Path) -> None:
    equipped.write("pyproject.toml", "[tool.deriva-ml-hooks]\nno_such_key = 1\n")
    assert commits_with(equipped) == ""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    hook_of(equipped, "post-commit").write_bytes(script("post-commit", str(bare)))
    assert commits_with(equipped) == ""


def test_git_waits_for_nothing_and_no_pipe_is_kept(equipped: Repo, tmp_path: Path) -> None:
    """The interpreter is one that ends when it is told to: git, and who reads its output, do not wait."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\nread line < "{gate}"\nexec "{sys.executable}" "$@"\n')
    slow.chmod(0o755)
    for name in HOOKS:
        hook_of(equipped, name).write_bytes(script(name, str(slow)))
    cache_of(equipped).unlink()
    reads, inherited = os.pipe()
    switch = f"exec 9>&{inherited} {inherited}>&-; git switch --quiet side"
    words = ["bash", "-c", switch]
    subprocess.run(words, cwd=equipped.path, capture_output=True, check=True, pass_fds=(inherited,))
    os.close(inherited)
    assert os.read(reads, 1) == b"", "descriptors are closed too"
    os.close(reads)
    assert not cache_of(equipped).exists()
    assert equipped.run("sh", "-c", f'echo go > "{gate}"').returncode == 0


def test_a_rebase_caches_its_last_commit_alone(equipped: Repo, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho asked >> "{asked}"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in HOOKS:
        hook_of(equipped, name).write_bytes(script(name, str(python)))
    for number in range(3):
        quietly(equipped, "commit", "--allow-empty", "-m", f"Commit {number}")
    asked.unlink()
    quietly(equipped, "rebase", "side")
    assert asked.read_text() == "asked\n"
    assert json.loads(cache_of(equipped).read_bytes())["key"]["commit"] == equipped.git("rev-parse", "HEAD")


def test_a_configuration_of_git_that_only_git_can_read_is_a_warning(equipped: Repo) -> None:
    before = (equipped.path / ".git" / "config").read_bytes()
    (equipped.path / ".git" / "config").write_bytes(before + b'[remote "a"]\n\turl = \xff\xfe\\\\x\n')
    commits_with(equipped)


@pytest.mark.parametrize("place", ["folder", "cache"])
def test_a_cache_that_cannot_be_written_is_done_without(equipped: Repo, place: str) -> None:
    cache = cache_of(equipped)
    if place == "folder":
        shutil.rmtree(cache.parent)
        cache.parent.write_text("in the way")
    else:
        cache.unlink()
        cache.mkdir()
    assert commits_with(equipped) == ""


def test_a_file_that_is_named_like_the_ledger_does_not_matter(equipped: Repo) -> None:
    (cache_of(equipped).parent / "executions.sqlite").write_bytes(b"no database")
    assert commits_with(equipped) == ""


# --- pre-push


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """An interpreter that tells what the pre-push hook handed to it, and refuses when REFUSE is set."""
    path = tmp_path / "stand in" / "python"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\n{ shift 4; printf "%s\\n" "$@"; cat; } > "$TOLD"\nexit "${REFUSE:-0}"\n')
    path.chmod(0o755)
    return path


def push(repo: Repo, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "push", "origin", "HEAD:new"],
        cwd=repo.path,
        env={**os.environ, **env},
        capture_output=True,
        check=False,
        text=True,
    )


def test_a_push_is_judged_with_its_arguments_and_every_ref_update(
    repo: Repo, remote: Repo, stand_in: Path, tmp_path: Path
) -> None:
    hook = hook_of(repo, "pre-push")
    hook.write_bytes(script("pre-push", str(stand_in)))
    hook.chmod(0o755)
    told = tmp_path / "told"
    assert push(repo, TOLD=str(told)).returncode == 0
    head = repo.git("rev-parse", "HEAD")
    lines = told.read_text().splitlines()
    assert lines[0] == "native-pre-push"
    assert os.path.realpath(repo.path / lines[1]) == os.path.realpath(hook.with_suffix(".kept"))
    assert lines[2:] == ["origin", str(remote.path), f"HEAD {head} refs/heads/new {'0' * 40}"]
    repo.commit("Third")
    assert push(repo, TOLD=str(told), REFUSE="1").returncode == 1
    assert remote.git("rev-parse", "new") == head


def test_a_push_without_the_program_is_stopped_and_says_what_to_do(
    repo: Repo, remote: Repo, stand_in: Path, tmp_path: Path
) -> None:
    hook = hook_of(repo, "pre-push")
    hook.write_bytes(script("pre-push", "/no/such/python"))
    hook.chmod(0o755)
    only = tmp_path / "bin"
    only.mkdir()
    for name in ("git", "sh"):
        (only / name).symlink_to(str(shutil.which(name)))
    done = push(repo, PATH=str(only))
    assert done.returncode == 1
    assert "deriva-ml-hooks: not found, so this push is not checked and not made." in done.stderr
    assert "fix: pip install deriva-ml-hooks && deriva-ml-hooks install" in done.stderr
    assert remote.git("branch", "--list", "new") == ""
    (only / "deriva-ml-hooks").write_text(f'#!/bin/sh\nexec "{stand_in}" -I -c main "" "$@"\n')
    (only / "deriva-ml-hooks").chmod(0o755)
    (only / "cat").symlink_to(str(shutil.which("cat")))
    assert push(repo, PATH=str(only), TOLD=str(tmp_path / "told")).returncode == 0
    assert (tmp_path / "told").read_text().startswith("native-pre-push\n")


# --- what is installed


def test_the_list_of_packages_names_every_folder() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "packages"
    ]
    package = ROOT / "deriva_ml_hooks"
    folders = {path.parent for top in (package, ROOT / "hydra_plugins") for path in top.rglob("*.py")}
    named = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(listed) == named | {"deriva_ml_hooks.native"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    skip = shutil.ignore_patterns(".git", ".*cache", "*.egg-info", "tests", "benchmarks", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=skip)
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(source),
    ]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_installs_the_very_same_scripts(wheel: Path, repo: Repo, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in HOOKS:
            packed = f"deriva_ml_hooks/native/{name}"
            assert archive.read(packed) == (SCRIPTS / name).read_bytes()
            assert archive.getinfo(packed).external_attr >> 16 & 0o444 == 0o444
        archive.extractall(tmp_path / "site")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    ask = "import deriva_ml_hooks; print(deriva_ml_hooks.__file__)"
    used = subprocess.run([sys.executable, "-c", ask], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert os.fsdecode(used.stdout).startswith(str(tmp_path / "site"))
    words = [sys.executable, "-m", "deriva_ml_hooks", "install"]
    done = subprocess.run(words, cwd=repo.path, env=env, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    for name in HOOKS:
        placed = hook_of(repo, name)
        assert placed.read_bytes() == script(name, sys.executable, str(tmp_path / "site"))
        assert os.access(placed, os.X_OK)
    quietly(repo, "commit", "--allow-empty", "-m", "Third", env={"PYTHONPATH": env["PYTHONPATH"]})
    assert cache_of(repo).exists()


# --- what is never run


PLANTS = ("sitecustomize", "usercustomize", "site", "json", "dulwich", "deriva_ml_hooks")


@pytest.mark.parametrize("path", [":/x", "/x:", "/x::/y", ".", ":", "sub:."])
@pytest.mark.parametrize("told", [True, False], ids=["its interpreter", "the program on PATH"])
def test_no_module_and_no_program_of_the_repository_is_run(
    equipped: Repo, remote: Repo, tmp_path: Path, path: str, told: bool
) -> None:
    planted = tmp_path / "planted"
    for folder in ("", "sub/"):
        for name in PLANTS:
            equipped.write(f"{folder}{name}.py", f"open({str(planted)!r}, 'a').write({name!r})\n")
    equipped.write("deriva-ml-hooks", f'#!/bin/sh\necho program >> "{planted}"\n').chmod(0o755)
    equipped.git("add", "--all")
    if not told:
        for name in HOOKS:
            hook_of(equipped, name).write_bytes(script(name, ""))
    places = ["" if told else os.path.dirname(sys.executable), os.environ["PATH"]]
    env = {**os.environ, "PYTHONPATH": path, "PATH": os.pathsep.join(places)}
    for words in (["commit", "-qm", "Plant"], ["checkout", "-q", "side"], ["push", "-q", "origin", "side"]):
        cache_of(equipped).unlink(missing_ok=True)
        done = equipped.run("git", *words, env=env)
        assert (done.returncode, done.stderr) == (0, b"")
        assert words[0] == "push" or cache_of(equipped).exists()
    assert not planted.exists()


@pytest.mark.parametrize("where", ["", "."])
def test_a_program_of_the_working_directory_is_none(equipped: Repo, tmp_path: Path, where: str) -> None:
    planted = tmp_path / "planted"
    equipped.write("deriva-ml-hooks", f'#!/bin/sh\necho program >> "{planted}"\n').chmod(0o755)
    for name in HOOKS:
        hook_of(equipped, name).write_bytes(script(name, ""))
    only = tmp_path / "bin"
    only.mkdir()
    (only / "git").symlink_to(str(shutil.which("git")))
    said = commits_with(equipped, PATH=os.pathsep.join([where, str(only)]))
    assert "fix: pip install deriva-ml-hooks" in said
    assert not planted.exists()


def test_what_the_user_has_led_python_to_is_written_into_the_hooks(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(Path(setup.__file__).parents[2])  # an installed package is not in this repository
    assert package_folder(str(repo.path)) == ""
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path}:{home}")
    assert package_folder(str(repo.path)) == home
    assert package_folder(home) == "", "not from the repository itself"
    setup.install(str(repo.path), say=lambda _: None)
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nshift\nexec "{sys.executable}" -S -I "$@"\n')  # finds nothing by itself
    bare.chmod(0o755)
    packages = sysconfig.get_path("purelib")
    hook_of(repo, "post-commit").write_bytes(script("post-commit", str(bare), packages))
    cache_of(repo).unlink()
    assert commits_with(repo) == ""
    assert cache_of(repo).exists()
    assert [hook.interpreter() for hook in hooks(measured(str(repo.path)))][:2] == [
        (sys.executable, home),
        (str(bare), packages),
    ]


def test_a_hook_of_an_earlier_release_is_told_of_and_replaced(equipped: Repo) -> None:
    for name in HOOKS:
        old = OLD.format(python=sys.executable, words="native-pre-push" if name == "pre-push" else "hook")
        hook_of(equipped, name).write_text(old)
    found = examine(str(equipped.path), say=lambda _: None)
    assert [finding.code for finding in found][: len(HOOKS)] == ["changed"] * len(HOOKS)
    setup.install(str(equipped.path), say=lambda _: None)
    for name in HOOKS:
        assert hook_of(equipped, name).read_bytes() == script(name, sys.executable)
        assert not hook_of(equipped, name).with_suffix(".kept").exists()


OLD = """#!/bin/sh
# deriva-ml-hooks: caches what is known of the commit. git has done its work, so this never fails it.
python='{python}'
main='import sys; from deriva_ml_hooks.cli import main; sys.exit(main())'
[ ! -x "$python" ] || exec "$python" -c "$main" {words}
"""
