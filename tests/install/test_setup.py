"""Round trips of an installation, on real repositories with real hooks, pre-commit and prek."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.install.native import HOOKS, Hook, is_ours
from deriva_ml_hooks.install.steps import InstallError

if TYPE_CHECKING:
    from tests.conftest import Ran, Repo

Say = Callable[..., list[str]]
Doctor = Callable[["Repo"], tuple[list[str], dict[str, str]]]
PhotographOf = Callable[..., dict[str, tuple[int, bytes]]]

ALL_STAGES = """\
default_install_hook_types: [pre-commit, pre-push, post-commit, post-checkout]
repos:
- repo: local
  hooks:
  - id: notes
    name: notes
    language: system
    entry: sh -c 'echo framework >> "$TELLS_TO"'
    always_run: true
    pass_filenames: false
    stages: [post-commit, post-checkout, pre-push]
"""
AS_INTERPRETER = "import sys; sys.executable = {!r}; from deriva_ml_hooks.cli import main; sys.exit(main())"

SERVED = ("pre-commit", "pre-push", "post-commit", "post-checkout")


def hooks_of(repo: Repo) -> Path:
    return Path(measured(str(repo.path)).common_dir) / "hooks"


def run(repo: Repo, *words: str) -> None:
    done = subprocess.run(words, cwd=repo.path, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def types(*names: str) -> list[str]:
    return [word for name in names for word in ("--hook-type", name)]


NAMES = ["plain", 'it\'s a "modèle-数据"', "-$HOME;`id`"]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_repository_of_any_name_is_equipped_and_restored(
    make_repo: Callable[..., Repo], install: Say, uninstall: Say, photograph: PhotographOf, name: str
) -> None:
    repo = make_repo(name)
    before = photograph(repo.path)
    said = install(repo)
    assert len(said) == len(HOOKS)
    assert all(is_ours(str(hooks_of(repo) / hook)) for hook in HOOKS)
    repo.commit("First")
    assert (repo.git_dir / "deriva-ml-hooks" / "provenance.json").is_file()
    uninstall(repo)
    after = photograph(hooks_of(repo), repo.path / ".git" / "info", repo.path / ".git" / "config")
    assert after == {path: seen for path, seen in before.items() if path in after}
    assert {p for p in before if "/hooks/" in p} == {p for p in after if "/hooks/" in p}


def test_a_second_installation_touches_nothing(
    repo: Repo, install: Say, tells: Callable[..., Path], photograph: PhotographOf
) -> None:
    tells(hooks_of(repo) / "post-commit")
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    install(repo)
    before, times = photograph(repo.path), {p: p.stat().st_mtime_ns for p in repo.path.rglob("*")}
    assert install(repo) == ["everything is in place already"]
    assert photograph(repo.path) == before
    assert {p: p.stat().st_mtime_ns for p in repo.path.rglob("*")} == times


@pytest.mark.parametrize("config", [None, "repos: []\n", ALL_STAGES])
def test_a_dry_run_says_what_will_be_done_and_does_nothing(
    repo: Repo,
    install: Say,
    uninstall: Say,
    tells: Callable[..., Path],
    photograph: PhotographOf,
    config: str | None,
) -> None:
    tells(hooks_of(repo) / "pre-push")
    if config:
        repo.write(".pre-commit-config.yaml", config)
    before = photograph(repo.path)
    promised = install(repo, pre_commit=config is None, dry_run=True)
    assert photograph(repo.path) == before
    assert promised == [f"would {line}" for line in install(repo, pre_commit=config is None)]
    equipped = photograph(repo.path)
    promised = uninstall(repo, dry_run=True)
    assert photograph(repo.path) == equipped
    assert promised == [f"would {line}" for line in uninstall(repo)]


PYTHON_TELLS = f"""\
#!{sys.executable}
import os, sys
with open(os.environ["TELLS_TO"], "a") as file:
    file.write(f"args: {{' '.join(sys.argv[1:])}}\\nstdin: {{sys.stdin.read().strip()}}\\n")
"""
KINDS: dict[str, dict[str, Any]] = {
    "a shell hook": {},
    "one that only its owner may run": {"mode": 0o700},
    "one without a first line": {
        "content": 'echo "args: $*" >> "$TELLS_TO"; echo "stdin: $(cat)" >> "$TELLS_TO"\n'
    },
    "a Python hook": {"content": PYTHON_TELLS},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_hooks_still_run_with_their_arguments_and_stdin(
    repo: Repo,
    install: Say,
    uninstall: Say,
    tells: Callable[..., Path],
    photograph: PhotographOf,
    told: Path,
    kind: str,
) -> None:
    for hook in ("post-checkout", "post-rewrite"):
        tells(hooks_of(repo) / hook, **KINDS[kind])
    before = photograph(hooks_of(repo))
    first, second = repo.git("rev-parse", "HEAD~"), repo.git("rev-parse", "HEAD")
    install(repo)
    repo.git("checkout", "--quiet", "HEAD~")
    assert told.read_text() == f"args: {second} {first} 1\nstdin: \n"
    told.unlink()
    repo.git("commit", "--amend", "--quiet", "--allow-empty", "--message", "Another")
    assert told.read_text() == f"args: amend\nstdin: {first} {repo.git('rev-parse', 'HEAD')}\n"
    uninstall(repo)
    assert photograph(hooks_of(repo)) == before


def test_what_cannot_be_run_is_kept_as_it_is(
    repo: Repo, install: Say, uninstall: Say, tells: Callable[..., Path], photograph: PhotographOf, told: Path
) -> None:
    tells(hooks_of(repo) / "post-commit", mode=0o644)
    (hooks_of(repo) / "post-merge").symlink_to("nowhere")
    tells(hooks_of(repo) / "pre-push", content=b"\x7fELF\0\xff\n\r\n")
    before = photograph(hooks_of(repo))
    install(repo)
    repo.commit("Third")
    assert not told.exists(), "git would not have run it either"
    uninstall(repo)
    assert photograph(hooks_of(repo)) == before


def test_a_symbolic_link_stays_one_and_what_it_leads_to_is_untouched(
    repo: Repo, install: Say, uninstall: Say, tells: Callable[..., Path], photograph: PhotographOf, told: Path
) -> None:
    script = tells(repo.path / "scripts" / "hook")
    (hooks_of(repo) / "post-commit").symlink_to("../../scripts/hook")
    before = photograph(hooks_of(repo), script)
    install(repo)
    assert script.read_bytes() == before[str(script)][1]
    repo.commit("Third")
    assert told.read_text().startswith("args:")
    uninstall(repo)
    assert photograph(hooks_of(repo), script) == before


def test_a_link_to_a_hook_of_ours_is_not_written_through(
    repo: Repo, install: Say, uninstall: Say, tmp_path: Path
) -> None:
    installed = tmp_path / "site-packages" / "post-commit"
    installed.parent.mkdir()
    installed.write_bytes((Path(__file__).parents[2] / "hooks" / "post-commit").read_bytes())
    installed.chmod(0o755)
    before = installed.read_bytes()
    (hooks_of(repo) / "post-commit").symlink_to(installed)
    install(repo)
    uninstall(repo)
    assert installed.read_bytes() == before
    assert (hooks_of(repo) / "post-commit").is_symlink()


def test_the_exit_status_of_a_post_checkout_hook_stays_that_of_git_checkout(
    repo: Repo, install: Say, tells: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tells(hooks_of(repo) / "post-checkout")
    monkeypatch.setenv("TELLS_EXIT", "3")
    checkout = ["git", "checkout", "--quiet", "-b"]
    before = subprocess.run([*checkout, "one"], cwd=repo.path, check=False).returncode
    install(repo)
    after = subprocess.run([*checkout, "two"], cwd=repo.path, check=False).returncode
    assert after == before != 0


@pytest.mark.parametrize("order", ["ot", "to", pytest.param("otottoo", marks=pytest.mark.slow)])
def test_either_framework_in_either_order_again_and_again(
    repo: Repo,
    install: Say,
    uninstall: Say,
    doctor: Doctor,
    tells: Callable[..., Path],
    photograph: PhotographOf,
    told: Path,
    framework: str,
    order: str,
) -> None:
    served = types(*SERVED)
    tells(hooks_of(repo) / "post-commit")
    cache = repo.git_dir / "deriva-ml-hooks" / "provenance.json"
    before = photograph(hooks_of(repo))
    done = ""
    for step in order:
        if step == "o":
            install(repo)
        else:
            repo.write(".pre-commit-config.yaml", ALL_STAGES)
            run(repo, framework, "install", *served)
        done += step
        told.unlink(missing_ok=True)
        cache.unlink(missing_ok=True)
        repo.commit("Another")
        # pre-commit closes what Repo.run would know the end of our process by.
        deadline = time.monotonic() + 60
        while "o" in done and not cache.exists() and time.monotonic() < deadline:
            os.sched_yield()
        assert cache.exists() == ("o" in done), done
        expected = ["args: ", "stdin: ", *(["framework"] if "t" in done else [])]
        assert told.read_text().splitlines() == expected, done
    assert doctor(repo)[1] == {}
    uninstall(repo)
    run(repo, framework, "uninstall", *served)
    assert photograph(hooks_of(repo)) == before


def test_a_legacy_hook_that_the_framework_ran_already_still_runs_and_is_restored(
    repo: Repo,
    install: Say,
    uninstall: Say,
    tells: Callable[..., Path],
    photograph: PhotographOf,
    told: Path,
    framework: str,
) -> None:
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    tells(hooks_of(repo) / "post-commit")
    run(repo, framework, "install", *types(*SERVED))
    before = photograph(hooks_of(repo))
    install(repo)
    repo.commit("Third")
    assert told.read_text() == "args: \nstdin: \nframework\n"
    uninstall(repo)
    assert photograph(hooks_of(repo)) == before


def test_uninstalling_leaves_the_framework_that_came_later(
    repo: Repo, install: Say, uninstall: Say, told: Path, framework: str
) -> None:
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    hooks = hooks_of(repo)
    install(repo)
    for hook in SERVED:
        assert Hook(hook, str(hooks)).framework is not None
    uninstall(repo)
    run(repo, framework, "install", *types("post-commit"))
    install(repo)
    uninstall(repo)
    # What the framework was made to serve by us is gone, what the user had it serve is there.
    assert sorted(p.name for p in hooks.iterdir() if p.suffix != ".sample") == ["post-commit"]
    repo.commit("Third")
    assert told.read_text() == "framework\n"


def test_both_frameworks_in_one_place_are_refused_with_the_way_out(
    repo: Repo, install: Say, doctor: Doctor, tells: Callable[..., Path], photograph: PhotographOf, told: Path
) -> None:
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    beside = os.path.dirname(sys.executable)
    tells(hooks_of(repo) / "post-commit")
    install(repo)
    for name in ("pre-commit", "prek"):
        run(repo, os.path.join(beside, name), "install", *types("post-commit"))
    assert doctor(repo)[1] == {"no native post-commit hook": "deriva-ml-hooks install"}
    before = photograph(repo.path)
    with pytest.raises(InstallError, match="refuses to run") as refused:
        install(repo)
    assert refused.value.fix == "prek install -f --hook-type post-commit"
    assert photograph(repo.path) == before
    run(repo, os.path.join(beside, "prek"), *refused.value.fix.split()[1:])
    install(repo)
    assert doctor(repo)[1] == {}
    repo.commit("Third")
    assert told.read_text() == "args: \nstdin: \nframework\n"


def test_a_hook_overwritten_by_force_is_missed_by_the_doctor_and_mended(
    repo: Repo, install: Say, uninstall: Say, doctor: Doctor, tells: Callable[..., Path], framework: str
) -> None:
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    mine = tells(hooks_of(repo) / "post-commit").read_bytes()
    install(repo)
    run(repo, framework, "install", "-f", *types("post-commit"))
    assert doctor(repo)[1] == {"no native post-commit hook": "deriva-ml-hooks install"}
    install(repo)
    assert doctor(repo)[1] == {}
    run(repo, framework, "install", "-f", *types("post-commit"))
    uninstall(repo)
    assert (hooks_of(repo) / "post-commit").read_bytes() == mine


# --- core.hooksPath


@pytest.mark.parametrize("where", [".git/our hooks", "../out side", "~/global"])
def test_the_configured_hooks_folder_is_used(
    repo: Repo,
    home: Path,
    install: Say,
    uninstall: Say,
    doctor: Doctor,
    tells: Callable[..., Path],
    photograph: PhotographOf,
    where: str,
) -> None:
    repo.git("config", "--global" if where.startswith("~") else "--local", "core.hooksPath", where)
    folder = Path(os.path.expanduser(where)) if where.startswith("~") else repo.path / where
    tells(folder / "commit-msg", content="#!/bin/sh\nexit 0\n")
    before = photograph(folder, hooks_of(repo))
    install(repo)
    assert all(is_ours(str(folder / hook)) for hook in HOOKS)
    repo.commit("Another")
    assert (repo.git_dir / "deriva-ml-hooks" / "provenance.json").exists()
    assert doctor(repo)[1] == {}
    uninstall(repo)
    assert photograph(folder, hooks_of(repo)) == before


def test_hooks_in_the_worktree_belong_to_the_repository_and_can_call_ours(
    repo: Repo,
    install: Say,
    uninstall: Say,
    doctor: Doctor,
    tells: Callable[..., Path],
    photograph: PhotographOf,
) -> None:
    repo.git("config", "core.hooksPath", "hooks")
    tells(repo.path / "hooks" / "commit-msg")
    repo.commit("A hook for all")
    before = photograph(repo.path)
    with pytest.raises(InstallError, match="is in the worktree") as refused:
        install(repo)
    assert photograph(repo.path) == before, "nothing is half installed"
    calls = refused.value.fix.removeprefix("have its hooks call ours: ").split("; ")
    assert len(calls) == len(HOOKS)
    for call in calls:
        line, _, hook = call.rpartition(" in ")
        tells(repo.path / "hooks" / hook, content=f"#!/bin/sh\n{line}\n")
    repo.commit("Call ours")
    install(repo)
    said, missing = doctor(repo)
    assert missing == {}
    assert sum(line.endswith("called by the hook that is there") for line in said) == len(HOOKS)
    uninstall(repo)
    assert repo.git("status", "--porcelain") == ""


def test_the_path_is_read_from_an_included_file_and_made_when_it_is_not_there(
    repo: Repo, tmp_path: Path, install: Say
) -> None:
    (tmp_path / "more").write_text(f'[core]\n    hooksPath = "{tmp_path}/new/hooks"\n')
    repo.git("config", "include.path", str(tmp_path / "more"))
    install(repo)
    assert is_ours(str(tmp_path / "new" / "hooks" / "post-commit"))


def test_our_own_scripts_tracked_in_a_hooks_folder_are_left_as_they_are(
    repo: Repo, install: Say, uninstall: Say, tells: Callable[..., Path]
) -> None:
    for hook in HOOKS:
        tells(repo.path / "hooks" / hook, content=(Path(__file__).parents[2] / "hooks" / hook).read_bytes())
    repo.commit("Hooks")
    repo.git("config", "core.hooksPath", "hooks")
    install(repo)
    assert repo.git("status", "--porcelain") == ""
    uninstall(repo)
    assert repo.git("status", "--porcelain") == ""


def test_a_framework_is_left_out_where_the_hooks_path_is_set(
    repo: Repo, install: Say, doctor: Doctor, tmp_path: Path
) -> None:
    repo.git("config", "core.hooksPath", str(tmp_path / "elsewhere"))
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    (line,) = (line for line in install(repo) if line.startswith("left out: "))
    (fix,) = doctor(repo)[1].values()
    assert line.endswith(f"fix: {fix}")
    assert fix.startswith("deriva-ml-hooks uninstall && git config --unset-all core.hooksPath && ")


@pytest.mark.parametrize("where", ["/dev/null", "a-file"])
def test_a_hooks_path_that_is_no_folder_is_named(repo: Repo, install: Say, where: str) -> None:
    repo.write("a-file")
    repo.git("config", "core.hooksPath", where)
    with pytest.raises(InstallError, match="is not a folder"):
        install(repo)


# --- what stands against it


def test_a_folder_where_a_hook_goes_is_refused_before_anything_is_done(
    repo: Repo, install: Say, photograph: PhotographOf
) -> None:
    (hooks_of(repo) / "pre-push").mkdir()
    before = photograph(repo.path)
    with pytest.raises(InstallError, match="pre-push: a folder"):
        install(repo)
    assert photograph(repo.path) == before


@pytest.mark.parametrize("line", ['. "$(dirname -- "$0")/h"; echo "${0##*/}"', 'name=$(basename "$0")'])
def test_a_hook_that_goes_by_its_own_name_is_not_given_another(
    repo: Repo, install: Say, tells: Callable[..., Path], photograph: PhotographOf, line: str
) -> None:
    tells(hooks_of(repo) / "post-commit", content=f"#!/bin/sh\n{line}\n")
    before = photograph(repo.path)
    with pytest.raises(InstallError, match="acts by its own name"):
        install(repo)
    assert photograph(repo.path) == before


def test_a_stray_legacy_file_is_not_brought_to_life_by_a_framework(
    repo: Repo, install: Say, tells: Callable[..., Path], photograph: PhotographOf
) -> None:
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    tells(hooks_of(repo) / "post-commit.legacy")
    before = photograph(repo.path)
    with pytest.raises(InstallError, match="would run or overwrite it"):
        install(repo)
    assert photograph(repo.path) == before


def test_a_tool_that_puts_its_hook_back_over_ours_is_kept_once(
    repo: Repo, install: Say, uninstall: Say, tells: Callable[..., Path], photograph: PhotographOf
) -> None:
    tells(hooks_of(repo) / "post-commit")
    before = photograph(hooks_of(repo))
    install(repo)
    tells(hooks_of(repo) / "post-commit")
    install(repo)
    uninstall(repo)
    assert photograph(hooks_of(repo)) == before


def test_a_new_hook_over_ours_and_another_kept_is_for_the_user_to_settle(
    repo: Repo, install: Say, uninstall: Say, tells: Callable[..., Path]
) -> None:
    tells(hooks_of(repo) / "post-commit")
    install(repo)
    newer = tells(hooks_of(repo) / "post-commit", content="#!/bin/sh\necho newer\n")
    with pytest.raises(InstallError, match="a hook is kept there already"):
        install(repo)
    said = uninstall(repo)
    assert any(line.startswith("leave ") and "post-commit.kept" in line for line in said)
    assert newer.read_text() == "#!/bin/sh\necho newer\n"
    assert (hooks_of(repo) / "post-commit.kept").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write in a read-only folder")
def test_a_read_only_hooks_folder_is_named(repo: Repo, install: Say) -> None:
    hooks_of(repo).chmod(0o555)
    with pytest.raises(InstallError, match="hooks"):
        install(repo)


# --- worktrees, submodules, interpreters


def test_linked_worktrees_share_the_hooks_whichever_installs(
    repo: Repo, tmp_path: Path, install: Say, uninstall: Say, doctor: Doctor, photograph: PhotographOf
) -> None:
    before = photograph(hooks_of(repo))
    repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    linked = type(repo)(tmp_path / "linked")
    install(linked)
    assert install(repo) == ["everything is in place already"]
    assert doctor(linked)[1] == doctor(repo)[1] == {}
    linked.commit("Elsewhere")
    assert (linked.git_dir / "deriva-ml-hooks" / "provenance.json").exists()
    uninstall(repo)
    assert photograph(hooks_of(repo)) == before
    assert uninstall(linked) == ["nothing of ours is installed"]


def test_a_submodule_has_hooks_of_its_own(
    repo: Repo, make_repo: Callable[..., Repo], install: Say, uninstall: Say
) -> None:
    part = make_repo("part")
    part.commit("Part")
    repo.git("submodule", "add", "--quiet", str(part.path), "part")
    inner = type(repo)(repo.path / "part")
    install(inner)
    assert is_ours(str(repo.path / ".git" / "modules" / "part" / "hooks" / "post-commit"))
    assert not (hooks_of(repo) / "post-commit").exists()
    inner.commit("Inside")
    assert (inner.git_dir / "deriva-ml-hooks" / "provenance.json").exists()
    assert uninstall(repo) == ["nothing of ours is installed"]
    assert len(uninstall(inner)) == len(HOOKS)


def test_an_interpreter_of_any_name_is_found_by_the_hooks(
    repo: Repo, tmp_path: Path, program: Callable[..., Ran]
) -> None:
    python = tmp_path / 'it\'s a "b" $(c) \\d ü' / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$5 $6" >> "{tmp_path}/asked"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    code = AS_INTERPRETER.format(str(python))
    subprocess.run([sys.executable, "-c", code, "install"], cwd=repo.path, check=True, capture_output=True)
    repo.commit("Third")
    assert (tmp_path / "asked").read_text() == "hook cache-provenance\n"
    assert program("doctor").code == 0
    # Installed again from another environment, all hooks go by that one.
    assert program("install").out.count(" hook)\n") == len(HOOKS)
    (tmp_path / "asked").unlink()
    repo.commit("Fourth")
    assert not (tmp_path / "asked").exists()


# --- uninstalling


def test_nothing_is_found_to_uninstall_the_second_time_and_the_records_stay(
    repo: Repo, install: Say, uninstall: Say, photograph: PhotographOf
) -> None:
    install(repo)
    ledger = repo.path / ".git" / "deriva-ml-hooks" / "executions.sqlite"
    ledger.write_bytes(b"records")
    cache = repo.git_dir / "deriva-ml-hooks" / "provenance.json"
    uninstall(repo)
    after = photograph(repo.path)
    assert uninstall(repo) == ["nothing of ours is installed"]
    assert photograph(repo.path) == after
    assert cache.exists()
    assert ledger.read_bytes() == b"records"


def test_what_was_removed_by_hand_does_not_stop_it(
    repo: Repo, install: Say, uninstall: Say, tells: Callable[..., Path], photograph: PhotographOf
) -> None:
    for hook in ("post-commit", "post-merge"):
        tells(hooks_of(repo) / hook)
    before = photograph(hooks_of(repo))
    install(repo)
    for name in ("post-commit", "post-checkout", "post-rewrite"):
        (hooks_of(repo) / name).unlink()
    uninstall(repo)
    assert photograph(hooks_of(repo)) == before


def test_the_configuration_is_taken_back_unless_it_was_edited_or_committed(
    repo: Repo, install: Say, uninstall: Say
) -> None:
    config = repo.path / ".pre-commit-config.yaml"
    install(repo, pre_commit=True)
    uninstall(repo)
    assert not config.exists()

    install(repo, pre_commit=True)
    edited = config.read_bytes() + b"# and a word\n"
    config.write_bytes(edited)
    assert any("edited since" in line for line in uninstall(repo))
    assert config.read_bytes() == edited

    config.unlink()
    install(repo, pre_commit=True)
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--no-verify", "--message", "Hooks for all")
    assert any("committed since" in line for line in uninstall(repo))
    assert repo.git("status", "--porcelain") == ""


# --- doctor


def test_all_is_well_after_an_installation_and_it_says_what_runs_when(
    repo: Repo, program: Callable[..., Ran], tells: Callable[..., Path]
) -> None:
    tells(hooks_of(repo) / "post-commit")
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    assert program("install").code == 0
    ran = program("doctor")
    assert (ran.code, ran.err) == (0, "")
    assert "post-commit: caches the provenance" in ran.out
    assert "then runs post-commit.kept" in ran.out
    assert "pre-push: checks version tags and large files" in ran.out
    assert "post-checkout: pre-commit runs the hooks of .pre-commit-config.yaml" in ran.out


def test_each_thing_that_is_missing_is_named_with_exit_1(repo: Repo, program: Callable[..., Ran]) -> None:
    ran = program("doctor")
    assert ran.code == 1
    for hook in HOOKS:
        assert f"no native {hook} hook" in ran.err
    assert "what is known of the commit is not cached" in ran.err
    assert ran.err.count("fix: deriva-ml-hooks install") == 2


DAMAGES = {
    "it is gone": (lambda hook: hook.unlink(), "no native post-commit hook"),
    "it was edited": (lambda hook: hook.write_bytes(b"#!/bin/sh\n# deriva-ml-hooks: old\n"), "not as this"),
    "it may not be run": (lambda hook: hook.chmod(0o644), "not executable"),
    "it is named legacy": (lambda hook: hook.rename(hook.with_suffix(".legacy")), "does not run it"),
    "its interpreter is gone": (
        lambda hook: hook.write_bytes(hook.read_bytes().replace(sys.executable.encode(), b"/no/such/python")),
        "its interpreter does not have us: /no/such/python",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_hook_is_found_and_mended(repo: Repo, install: Say, doctor: Doctor, damage: str) -> None:
    do, named = DAMAGES[damage]
    install(repo)
    assert doctor(repo)[1] == {}
    do(hooks_of(repo) / "post-commit")
    missing = doctor(repo)[1]
    assert len(missing) == 1, missing
    assert named in next(iter(missing))
    install(repo)
    assert doctor(repo)[1] == {}


def test_an_interpreter_without_the_package_is_found(
    repo: Repo, install: Say, doctor: Doctor, tmp_path: Path
) -> None:
    install(repo)
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    hook = hooks_of(repo) / "post-merge"
    hook.write_bytes(hook.read_bytes().replace(sys.executable.encode(), os.fsencode(bare)))
    assert list(doctor(repo)[1]) == [f"its interpreter does not have us: {bare}"]


def test_a_configuration_that_nobody_serves_is_named(repo: Repo, install: Say, doctor: Doctor) -> None:
    install(repo)
    repo.write(".pre-commit-config.yaml", ALL_STAGES)
    assert list(doctor(repo)[1]) == ["nothing runs the hooks of .pre-commit-config.yaml"]
    install(repo)
    assert doctor(repo)[1] == {}


def test_no_framework_at_hand_is_said_before_anything_is_done(
    repo: Repo, tmp_path: Path, photograph: PhotographOf
) -> None:
    # An environment that has this package, and neither pre-commit nor prek beside its interpreter.
    python = tmp_path / "venv" / "python"
    python.parent.mkdir()
    git = subprocess.run(["which", "git"], capture_output=True, check=True, text=True).stdout.strip()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    code = AS_INTERPRETER.format(str(python))
    before = photograph(repo.path)
    ran = subprocess.run(
        [sys.executable, "-c", code, "install", "--pre-commit"],
        cwd=repo.path,
        env={**os.environ, "PATH": str(tmp_path / "bin")},
        capture_output=True,
        check=False,
        text=True,
    )
    assert ran.returncode == 1
    assert "neither pre-commit nor prek is installed" in ran.stderr
    assert "fix: pip install pre-commit" in ran.stderr
    assert photograph(repo.path) == before
