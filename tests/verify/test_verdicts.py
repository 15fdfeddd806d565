"""Records held against repositories in which things have happened since: moved, dropped, edited, lied."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deriva_ml_hooks.config import Config
from deriva_ml_hooks.executions.record import Execution, begun, now
from deriva_ml_hooks.executions.rows import Damaged
from deriva_ml_hooks.git import remotes
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.provenance.cache import provenance_of
from deriva_ml_hooks.verify.checks import verify
from deriva_ml_hooks.verify.verdicts import Verification

NOTEBOOK = Path(__file__).parents[1] / "data" / "notebooks" / "v4.ipynb"


def recorded(repo: Any, path: str | None = "src/train.py", **told: Any) -> Execution:
    """An execution as the runner records it here and now; `told` replaces what its provenance says."""
    provenance = provenance_of(measured(str(repo.path)), Config())
    if path is None:
        code = {"path": None, "blob": None, "checksum": provenance.tree, "url": provenance.tree_url()}
    else:
        file = provenance.file(path)
        code = {"path": path, "blob": file.blob, "checksum": file.checksum, "url": file.url}
    return begun(
        command=["python", path or "x"],
        entry_point=code,
        provenance=provenance.as_json() | told,
        status="Completed",
        exit_code=0,
        ended_at=now(),
        duration=0.1,
    )


def verified(repo: Any, *executions: Execution | Damaged, ask: bool = False) -> list[Verification]:
    repository = measured(str(repo.path))
    remote = remotes.chosen(repository, configured=None, hosts={})
    name = remote.name if remote else None
    return list(verify(repository, lambda: executions, remote=name, hosts={}, ask=ask))


def verdict(repo: Any, execution: Execution, *, ask: bool = False) -> tuple[str, str, str]:
    """The verdict of one, and the messages and fixes of all its findings."""
    [found] = verified(repo, execution, ask=ask)
    messages = "; ".join(f"{f.path or ''} {f.message}".strip() for f in found.findings)
    return found.verdict.code, messages, "; ".join(f.fix for f in found.findings)


def tag(repo: Any, name: str, *words: str, date: str | None = None) -> None:
    env = {"GIT_COMMITTER_DATE": date} if date else None
    repo.git("tag", "--annotate", "--message", "Version", name, *words, env=env)


LONG_AGO = "2001-01-01T00:00:00Z"


@pytest.fixture
def pushed(repo: Any, remote: Any) -> Any:
    """`repo` with lockfiles and a version tag, all of it on the remote."""
    repo.write("uv.lock", "lock\n")
    repo.write("requirements-dev.txt", "pytest\n")
    repo.commit("Locked")
    tag(repo, "v1.0.0", date=LONG_AGO)
    repo.push("origin", "main", "--tags")
    return repo


class TestTrue:
    def test_a_record_of_a_pushed_commit_is_verified_also_after_more_commits(self, pushed: Any) -> None:
        whole, script = recorded(pushed, None), recorded(pushed)
        assert [v.verdict.code for v in verified(pushed, whole, script)] == ["verified", "verified"]
        pushed.commit("More", **{"more.py": "x\n"})
        pushed.push()
        assert [(v.verdict.code, v.findings) for v in verified(pushed, whole, script)] == [
            ("verified", ())
        ] * 2
        for ask in (False, True):
            assert verdict(pushed, recorded(pushed), ask=ask)[0] == "verified"

    def test_the_state_of_the_worktree_and_the_branch_do_not_matter(self, pushed: Any) -> None:
        execution = recorded(pushed)
        pushed.write("src/train.py", "changed\n")
        pushed.git("checkout", "--quiet", "--orphan", "other")
        pushed.git("rm", "-r", "--quiet", "--force", "--cached", ".")
        assert verdict(pushed, execution)[0] == "verified"

    def test_in_a_repository_of_sha256(self, make_repo: Callable[..., Any], tmp_path: Path) -> None:
        repo = make_repo("wide", "--object-format=sha256")
        repo.write("src/train.py")
        repo.commit()
        tag(repo, "v1.0.0", date=LONG_AGO)
        bare = make_repo("wide.git", "--bare", "--object-format=sha256")
        repo.git("remote", "add", "origin", str(bare.path))
        repo.push("origin", "main")
        repo.commit("Second", **{"more.py": "x\n"})
        execution = recorded(repo)
        assert len(execution.provenance["commit"]) == 64
        assert verdict(repo, execution)[0] == "unpushed"
        repo.push("origin", "main")
        assert verdict(repo, execution) == ("verified", "", "")
        lie = replace(execution, entry_point={**execution.entry_point, "blob": "0" * 64})
        assert verdict(repo, lie)[0] == "mismatch"

    def test_a_lightweight_tag_and_a_record_without_version(self, pushed: Any) -> None:
        pushed.commit("Next")
        pushed.git("tag", "v1.1.0")
        pushed.push()
        execution = recorded(pushed)
        assert (execution.provenance["tag"], execution.provenance["tag_object"]) == ("v1.1.0", None)
        assert verdict(pushed, execution)[0] == "verified"
        why = {"no_version": {"reason": "r", "fix": "f"}}  # perhaps so: it cannot be told
        assert verdict(pushed, recorded(pushed, version=None, **why))[0] == "unknown"
        assert verdict(pushed, recorded(pushed, version=None, shallow=True))[0] == "mismatch"
        pushed.git("tag", "--force", "v1.1.0", "HEAD~1")
        assert verdict(pushed, execution)[0] == "moved-tag"

    def test_an_entry_point_in_a_submodule(
        self, pushed: Any, make_repo: Callable[..., Any], tmp_path: Path
    ) -> None:
        module = make_repo("module")
        module.write("tool.py")
        module.commit()
        pushed.git("submodule", "--quiet", "add", str(module.path), "lib")
        pushed.commit("Submodule")
        pushed.push()
        execution = recorded(pushed, "lib/tool.py")
        assert verdict(pushed, execution)[0] == "verified"
        other = [{**execution.provenance["submodules"][0], "commit": "1" * 40}]
        assert "submodule" in verdict(pushed, recorded(pushed, "lib/tool.py", submodules=other))[1]
        shutil.rmtree(pushed.path / "lib")
        found = verdict(pushed, execution)
        assert found[0] != "verified"


class TestMissing:
    def test_a_commit_that_was_dropped(self, pushed: Any) -> None:
        pushed.commit("Doomed", **{"more.py": "x\n"})
        execution = recorded(pushed)
        pushed.git("reset", "--quiet", "--hard", "HEAD~1")
        assert verdict(pushed, execution)[0] == "unpushed"
        pushed.git("reflog", "expire", "--expire=now", "--all")
        pushed.git("gc", "--quiet", "--prune=now")
        found, message, fix = verdict(pushed, execution)
        commit = execution.provenance["commit"]
        assert (found, fix) == ("missing-commit", f"git fetch origin {commit}")
        assert "is not here" in message

    def test_a_commit_edited_in_history_keeps_its_record_until_it_is_collected(self, pushed: Any) -> None:
        pushed.commit("Change", **{"src/train.py": "first\n"})
        execution = recorded(pushed)
        pushed.write("src/train.py", "second\n")
        pushed.git("commit", "--quiet", "--all", "--amend", "--message", "Change")
        assert verdict(pushed, execution)[0] == "unpushed"
        assert recorded(pushed).entry_point["blob"] != execution.entry_point["blob"]
        assert verdict(pushed, replace(recorded(pushed), entry_point=execution.entry_point))[0] == "mismatch"

    def test_in_a_shallow_clone(self, pushed: Any, tmp_path: Path) -> None:
        execution = recorded(pushed)
        pushed.commit("Next", **{"next.py": "x\n"})
        pushed.push()
        latest = recorded(pushed)
        clone = type(pushed)(tmp_path / "shallow")
        pushed.git("clone", "--quiet", "--depth=1", f"file://{tmp_path}/remote.git", str(clone.path))
        found, _, fix = verdict(clone, execution)
        assert (found, fix) == ("missing-commit", "git fetch --unshallow --tags")
        [known] = verified(clone, latest)
        assert (known.verdict.code, len(known.notes)) == ("verified", 1)
        assert "cannot be told here" in known.notes[0]

    def test_an_object_with_other_bytes_than_its_name_promises(self, repo: Any, remote: Any) -> None:
        execution = recorded(repo)
        other = repo.commit("Another", **{"more.py": "x\n"})
        objects = repo.git_dir / "objects"
        where = objects / execution.provenance["commit"][:2] / execution.provenance["commit"][2:]
        where.chmod(0o600)
        where.write_bytes((objects / other[:2] / other[2:]).read_bytes())
        found, message, _ = verdict(repo, execution)
        assert found == "missing-commit"
        assert "broken" in message
        where.write_bytes(b"garbage")
        assert verdict(repo, execution)[0] == "missing-commit"

    def test_a_file_whose_content_is_gone(self, repo: Any, remote: Any) -> None:
        execution = recorded(repo)
        blob = execution.entry_point["blob"]
        (repo.git_dir / "objects" / blob[:2] / blob[2:]).unlink()
        assert verdict(repo, execution)[0] == "missing-commit"

    @pytest.mark.parametrize("oid", ["", "HEAD", "0" * 40, "é" * 40, "caf\udce9", "../../etc", "a" * 39])
    def test_what_is_no_commit_at_all(self, pushed: Any, oid: str) -> None:
        assert verdict(pushed, recorded(pushed, commit=oid))[0] == "missing-commit"

    def test_a_tree_where_a_commit_should_be(self, pushed: Any) -> None:
        tree = pushed.git("rev-parse", "HEAD^{tree}")
        assert verdict(pushed, recorded(pushed, commit=tree))[0] == "missing-commit"


class TestLies:
    """A row that was edited by hand, one field at a time."""

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("commit", None),  # another commit of the same repository
            ("tree", "1" * 40),
            ("committed_at", "2020-02-02T02:02:02+00:00"),
            ("commit_url", "https://github.com/lab/model/commit/" + "1" * 40),
            ("commit_url", "https://evil.example/lab/model/commit/{commit}"),
            ("version", "9.9.9"),
            ("version", None),
            ("tag", None),
            ("lockfiles", []),
            ("lockfiles", [{"path": "uv.lock", "blob": "{uv.lock}"}]),
            ("tag_object", None),
            ("lockfiles", [{"path": "uv.lock", "blob": "1" * 40}]),
            ("lockfiles", [{"path": "poetry.lock", "blob": "1" * 40}]),
            ("submodules", [{"path": "lib", "commit": "1" * 40, "url": None}]),
        ],
    )
    def test_in_the_provenance(self, pushed: Any, field: str, value: Any) -> None:
        if field == "commit":
            value = pushed.git("rev-parse", "HEAD~1")
        text = json.dumps(value).replace("{commit}", pushed.git("rev-parse", "HEAD"))
        value = json.loads(text.replace("{uv.lock}", pushed.git("rev-parse", "HEAD:uv.lock")))
        taken_out = {"tag": {"tag_object": None}, "tag_object": {"tag": None, "tag_object": "1" * 40}}
        told = {field: value} | taken_out.get(field, {})
        found, message, fix = verdict(pushed, recorded(pushed, **told))
        assert found == "mismatch"
        assert fix
        assert message

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("path", "README.md"),
            ("path", "src/missing.py"),
            ("path", "src"),
            ("path", None),
            ("blob", "1" * 40),
            ("checksum", "1" * 40),
            ("url", "https://github.com/lab/model/blob/main/src/train.py"),
            ("url", None),
            ("url", "git+file:///somewhere@{commit}#README.md"),
            ("url", "git+https://evil.example/x@{commit}#src/train.py"),
        ],
    )
    def test_in_the_entry_point(self, pushed: Any, field: str, value: Any) -> None:
        execution = recorded(pushed)
        value = value.replace("{commit}", execution.provenance["commit"]) if value else value
        lie = replace(execution, entry_point={**execution.entry_point, field: value})
        assert verdict(pushed, lie)[0] == "mismatch"

    @pytest.mark.parametrize(
        "told",
        [
            {"exit_code": 7},
            {"signal": 9},
            {"status": "Failed", "exit_code": 0},
            {"status": "Running", "exit_code": None},
            {"ended_at": None},
            {"started_at": "2001-01-01T00:00:00.000+00:00"},
            {"started_at": "yesterday"},
            {"ended_at": "2001-01-01T00:00:00.000+00:00"},
        ],
    )
    def test_in_how_it_began_and_ended(self, pushed: Any, told: dict[str, Any]) -> None:
        assert verdict(pushed, replace(recorded(pushed), **told))[0] == "mismatch"

    @pytest.mark.parametrize(
        "told",
        [
            {"status": "Failed", "exit_code": 7},
            {"status": "Running", "exit_code": None, "ended_at": None, "duration": None},
            {"status": "Aborted", "exit_code": None, "ended_at": None, "detail": "lost"},
            {"status": "Aborted", "exit_code": 130, "signal": 2},
        ],
    )
    def test_every_honest_end_is_verified(self, pushed: Any, told: dict[str, Any]) -> None:
        assert verdict(pushed, replace(recorded(pushed), **told))[0] == "verified"

    def test_in_addresses_of_a_known_forge(self, pushed: Any) -> None:
        url = "https://github.com/lab/model"
        commit = pushed.git("rev-parse", "HEAD")
        told = {"repository_url": url, "commit_url": f"{url}/commit/{commit}"}
        execution = recorded(pushed, **told)
        code = {**execution.entry_point, "url": f"{url}/blob/{commit}/src/train.py"}
        assert verdict(pushed, replace(execution, entry_point=code))[0] == "verified"
        for lie in (f"https://evil.example/lab/model/commit/{commit}", None, f"{url}/tree/{commit}"):
            worse = recorded(pushed, **(told | {"commit_url": lie}))
            assert verdict(pushed, replace(worse, entry_point=code))[0] == "mismatch"
        elsewhere = {**code, "url": f"git+{url}@{commit}#src/train.py"}
        assert verdict(pushed, replace(execution, entry_point=elsewhere))[0] == "mismatch"

    def test_a_row_that_cannot_be_read_is_a_mismatch_beside_the_others(self, pushed: Any) -> None:
        found = verified(pushed, Damaged("it's", "command is not as it was written"), recorded(pushed))
        assert [(v.verdict.code, v.commit is None) for v in found] == [
            ("mismatch", True),
            ("verified", False),
        ]

    def test_in_the_submodules(self, pushed: Any, make_repo: Callable[..., Any]) -> None:
        module = make_repo("module")
        module.write("tool.py")
        module.commit()
        pushed.git("submodule", "--quiet", "add", str(module.path), "lib")
        pushed.commit("Submodule")
        pushed.push()
        assert verdict(pushed, recorded(pushed))[0] == "verified"
        assert verdict(pushed, recorded(pushed, submodules=[]))[0] == "mismatch"
        pushed.git("update-index", "--cacheinfo", f"160000,{'1' * 40},lib")
        pushed.git("commit", "--quiet", "--message", "A commit that exists nowhere")
        pushed.push()
        found, message, fix = verdict(pushed, recorded(pushed))
        assert (found, fix) == ("missing-commit", f"git -C lib fetch origin {'1' * 40}")
        assert "111111111111 of the submodule" in message
        shutil.rmtree(pushed.path / "lib")
        [away] = verified(pushed, recorded(pushed))
        assert (away.verdict.code, len(away.notes)) == ("verified", 1)
        assert "not checked out here" in away.notes[0]

    def test_in_the_checksum_of_a_whole_tree(self, pushed: Any) -> None:
        execution = recorded(pushed, None)
        lie = replace(execution, entry_point={**execution.entry_point, "checksum": "1" * 40})
        assert verdict(pushed, lie)[0] == "mismatch"

    def test_a_record_of_which_parts_are_missing_is_no_traceback(self, pushed: Any) -> None:
        execution = recorded(pushed)
        bare = replace(execution, provenance={"commit": execution.provenance["commit"]}, entry_point={})
        assert verdict(pushed, bare)[0] == "mismatch"
        assert verdict(pushed, replace(execution, provenance={}))[0] == "missing-commit"

    @pytest.mark.parametrize("told", [{"submodules": "x"}, {"lockfiles": ["uv.lock"]}, {"lockfiles": 7}])
    def test_a_record_of_other_types_is_a_lie_and_spoils_no_other(
        self, pushed: Any, told: dict[str, Any]
    ) -> None:
        found = verified(pushed, recorded(pushed, **told), recorded(pushed))
        assert [v.verdict.code for v in found] == ["mismatch", "verified"]

    def test_another_address_of_the_remote_is_noted(self, pushed: Any) -> None:
        url = "https://git.example.org/lab/elsewhere"
        moved = recorded(pushed, repository_url=url)
        link = f"git+{url}@{moved.provenance['commit']}#src/train.py"
        [found] = verified(pushed, replace(moved, entry_point={**moved.entry_point, "url": link}))
        assert found.verdict.code == "verified"
        assert url in found.notes[0]
        assert verified(pushed, recorded(pushed))[0].notes == ()
        other = recorded(pushed, repository_url=url, commit="1" * 40)
        assert f"the record is of {url}" in verdict(pushed, other)[1]

    def test_the_gravest_finding_is_the_verdict_and_all_are_told(self, pushed: Any) -> None:
        pushed.commit("Local", **{"more.py": "x\n"})
        tag(pushed, "v1.1.0")
        execution = recorded(pushed, tree="1" * 40)
        pushed.git("tag", "--delete", "v1.1.0")
        [found] = verified(pushed, execution)
        assert found.verdict.code == "mismatch"
        assert {finding.code for finding in found.findings} == {"mismatch", "moved-tag", "unpushed"}


class TestNotebooks:
    def test_outputs_do_not_count_and_code_does(self, pushed: Any) -> None:
        notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
        pushed.write("run.ipynb", json.dumps(notebook))
        pushed.commit("Notebook")
        pushed.push()
        first = recorded(pushed, "run.ipynb")
        assert first.entry_point["checksum"] != first.entry_point["blob"]
        assert [v.verdict.code for v in verified(pushed, *[first] * 3)] == ["verified"] * 3
        lie = replace(first, entry_point={**first.entry_point, "checksum": first.entry_point["blob"]})
        assert verdict(pushed, lie)[0] == "mismatch"
        pushed.write("same.txt", json.dumps(notebook))
        pushed.commit("The same bytes as text")
        pushed.push()
        both = [recorded(pushed, "same.txt"), recorded(pushed, "run.ipynb")]
        assert both[0].entry_point["blob"] == both[1].entry_point["blob"]
        assert [v.verdict.code for v in verified(pushed, *both)] == ["verified"] * 2


class TestTags:
    def test_moved_replaced_and_deleted(self, pushed: Any) -> None:
        execution = recorded(pushed)
        target = execution.provenance["tag_object"]
        pushed.commit("Next")
        pushed.push()
        tag(pushed, "v1.0.0", "--force")
        found, message, fix = verdict(pushed, execution)
        assert (found, fix) == ("moved-tag", f"git tag --force v1.0.0 {target}")
        assert "it was on" in message
        tag(pushed, "v1.0.0", "--force", execution.provenance["commit"])
        found, message, _ = verdict(pushed, execution)
        assert (found, "anew on the same commit" in message) == ("moved-tag", True)
        pushed.git("tag", "--delete", "v1.0.0")
        assert verdict(pushed, execution)[:2] == ("moved-tag", "tag v1.0.0 is not here any more")
        pushed.git(*fix.split()[1:])
        assert verdict(pushed, execution)[0] == "verified"

    def test_a_tag_whose_object_is_gone_is_fetched_again(self, pushed: Any) -> None:
        execution = recorded(pushed)
        pushed.git("tag", "--delete", "v1.0.0")
        pushed.git("gc", "--quiet", "--prune=now")
        found, _, fix = verdict(pushed, execution)
        assert (found, fix) == ("moved-tag", "git fetch --force origin tag v1.0.0")
        pushed.git(*fix.split()[1:])
        assert verdict(pushed, execution)[0] == "verified"

    def test_a_tag_made_after_the_run_changes_todays_version_and_not_the_verdict(self, pushed: Any) -> None:
        pushed.commit("Next", **{"next.py": "x\n"})
        pushed.push()
        execution = recorded(pushed)
        tag(pushed, "v1.1.0", "HEAD", date="2099-01-01T00:00:00Z")
        [found] = verified(pushed, execution)
        assert (found.verdict.code, found.findings) == ("verified", ())
        assert found.notes == ("the version would be 1.1.0 today, by a tag made since",)

    def test_a_tag_made_before_the_run_contradicts_the_recorded_version(self, pushed: Any) -> None:
        pushed.commit("Next", **{"next.py": "x\n"})
        pushed.push()
        execution = recorded(pushed)
        tag(pushed, "v1.1.0", "HEAD", date=LONG_AGO)
        assert verdict(pushed, execution)[0] == "mismatch"

    def test_a_lightweight_tag_has_no_date_and_is_noted(self, pushed: Any) -> None:
        pushed.commit("Next", **{"next.py": "x\n"})
        pushed.push()
        execution = recorded(pushed)
        pushed.git("tag", "v1.1.0")
        [found] = verified(pushed, execution)
        assert (found.verdict.code, len(found.notes)) == ("verified", 1)
        assert "no date" in found.notes[0]

    def test_a_missing_ancestor_tag_is_a_mismatch_with_the_way_to_get_it(self, pushed: Any) -> None:
        pushed.commit("Next", **{"next.py": "x\n"})
        pushed.push()
        execution = recorded(pushed)
        pushed.git("tag", "--delete", "v1.0.0")
        found, _, fix = verdict(pushed, execution)
        assert found == "mismatch"
        assert "git fetch --tags" in fix
        pushed.git("fetch", "--quiet", "--tags")
        assert verdict(pushed, execution)[0] == "verified"


class TestPushed:
    def test_an_unpushed_commit_names_what_pushes_it(self, pushed: Any) -> None:
        pushed.git("checkout", "--quiet", "-b", "it's-mine")
        pushed.commit("Local", **{"more.py": "x\n"})
        execution = recorded(pushed)
        found, _, fix = verdict(pushed, execution)
        assert (found, fix) == ("unpushed", """git push origin 'it'"'"'s-mine'""")
        pushed.git("reset", "--quiet", "--hard", "HEAD~1")
        commit = execution.provenance["commit"]
        fix = verdict(pushed, execution)[2]
        assert fix == f"git push origin {commit}:refs/heads/run-{commit[:12]}"
        subprocess.run(fix, shell=True, cwd=pushed.path, check=True, capture_output=True)
        assert verdict(pushed, execution)[0] == "verified"

    def test_without_a_remote_nothing_is_pushed(self, repo: Any) -> None:
        found, message, fix = verdict(repo, recorded(repo))
        assert (found, fix) == ("unpushed", "git remote add origin URL && git push origin main")
        assert "no remote" in message

    def test_a_remote_that_was_renamed_gives_way_to_todays(self, pushed: Any) -> None:
        execution = recorded(pushed)
        pushed.git("remote", "rename", "origin", "lab")
        assert verdict(pushed, execution)[0] == "verified"

    def test_the_remote_itself_can_be_behind_what_is_known_of_it_here(self, pushed: Any, remote: Any) -> None:
        pushed.commit("Next", **{"next.py": "x\n"})
        pushed.push()
        execution = recorded(pushed)
        remote.git("update-ref", "refs/heads/main", "refs/heads/main~1")
        assert verdict(pushed, execution)[0] == "verified"
        found, _, fix = verdict(pushed, execution, ask=True)
        assert (found, fix) == ("unpushed", "git push origin main")

    def test_the_remote_itself_can_be_ahead(self, pushed: Any, remote: Any, tmp_path: Path) -> None:
        pushed.commit("Next", **{"next.py": "x\n"})
        execution = recorded(pushed)
        other = type(pushed)(tmp_path / "other")
        pushed.git("clone", "--quiet", str(pushed.path), str(other.path))
        other.commit("On top", **{"top.py": "x\n"})
        other.git("push", "--quiet", str(remote.path), "main")
        assert verdict(pushed, execution)[0] == "unpushed"
        found, message, fix = verdict(pushed, execution, ask=True)
        assert found == "unpushed"
        assert "1 of its branches and tags are not" in message
        assert fix.startswith("git fetch origin, then verify again")
        pushed.git("fetch", "--quiet", "origin")
        assert verdict(pushed, execution, ask=True)[0] == "verified"

    def test_a_tag_on_the_remote_keeps_a_commit_there(self, pushed: Any) -> None:
        pushed.commit("Next", **{"next.py": "x\n"})
        tag(pushed, "v1.1.0")
        execution = recorded(pushed)
        pushed.push("origin", "v1.1.0")
        assert verdict(pushed, execution)[0] == "unpushed"
        assert verdict(pushed, execution, ask=True)[0] == "verified"

    def test_the_tag_of_the_remote_is_compared_when_it_is_asked(self, pushed: Any, remote: Any) -> None:
        execution = recorded(pushed)
        remote.git("tag", "--delete", "v1.0.0")
        found, _, fix = verdict(pushed, execution, ask=True)
        assert (found, fix) == ("unpushed", "git push origin refs/tags/v1.0.0")
        remote.git("tag", "v1.0.0", "main~1")
        found, _, fix = verdict(pushed, execution, ask=True)
        assert (found, fix.split(": ")[1]) == ("moved-tag", "git push --force origin refs/tags/v1.0.0")
        assert verdict(pushed, execution)[0] == "verified"

    def test_what_a_remote_that_does_not_answer_has_is_unknown_and_spoils_no_other(self, pushed: Any) -> None:
        execution = recorded(pushed)
        pushed.git("remote", "set-url", "origin", str(pushed.path / "nowhere"))
        assert verdict(pushed, execution)[0] == "verified"
        pushed.git("remote", "add", "good", str(pushed.path.parent / "remote.git"))
        other = replace(execution, provenance={**execution.provenance, "remote": "good", "pushed": None})
        lie = recorded(pushed, tree="1" * 40)
        found = verified(pushed, execution, other, lie, ask=True)
        assert [v.verdict.code for v in found] == ["unknown", "verified", "mismatch"]
        assert found[0].findings[0].fix == "see why it does not answer: git ls-remote origin"
        assert "remote origin" in found[0].findings[0].message

    def test_nothing_is_fetched_or_changed(self, pushed: Any) -> None:
        execution = recorded(pushed)
        before = {p: p.stat().st_mtime_ns for p in pushed.path.rglob("*") if p.is_file()}
        verified(pushed, execution, ask=True)
        assert {p: p.stat().st_mtime_ns for p in pushed.path.rglob("*") if p.is_file()} == before


def test_versions_of_a_branching_history_are_what_setuptools_scm_prints(repo: Any) -> None:
    """Merges, tags on side branches, commits before any tag: each in a clean checkout of that commit."""
    from deriva_ml_hooks.provenance.version import Named, scm_versions

    repo.write("pyproject.toml", "[tool.setuptools_scm]\n")
    repo.commit("Configured")
    repo.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repo.commit("Side 1", **{"side.txt": "1\n"})
    tag(repo, "v0.3.0")
    repo.commit("Side 2", **{"side.txt": "2\n"})
    repo.git("checkout", "--quiet", "main")
    repo.commit("Main 1", **{"main.txt": "1\n"})
    repo.git("merge", "--quiet", "--no-edit", "side")
    repo.commit("After", **{"main.txt": "2\n"})
    repo.git("tag", "data-7")
    tag(repo, "v0.4.0rc1")
    repo.commit("Last", **{"main.txt": "3\n"})
    commits = repo.git("rev-list", "--all").split()
    repository = measured(str(repo.path))
    found = scm_versions(repository, [Named(oid.encode(), None) for oid in commits])
    for oid in commits:
        repo.git("checkout", "--quiet", oid)
        done = subprocess.run(
            [sys.executable, "-m", "setuptools_scm"],
            cwd=repo.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found[Named(oid.encode(), None)] == (done.stdout.strip() or None), done.stderr


class TestPartialClones:
    """git-clone(1), --filter: the objects that are missing are on the remote, and git fetches them itself."""

    @pytest.fixture
    def partial(
        self, pushed: Any, request: pytest.FixtureRequest, tmp_path: Path
    ) -> tuple[Any, list[Execution]]:
        pushed.write("run.ipynb", NOTEBOOK.read_bytes())
        pushed.write("pyproject.toml", "[tool.setuptools_scm]\n")
        pushed.commit("Notebook")
        pushed.push()
        executions = [recorded(pushed), recorded(pushed, "run.ipynb")]
        for name in ("run.ipynb", "src/train.py", "uv.lock", "pyproject.toml"):
            pushed.write(name, "other\n")
        pushed.commit("Other")
        pushed.push()
        bare = type(pushed)(tmp_path / "remote.git")
        bare.git("config", "uploadpack.allowFilter", "true")
        bare.git("config", "uploadpack.allowAnySHA1InWant", "true")
        clone = type(pushed)(tmp_path / "partial")
        pushed.git("clone", "--quiet", "--filter", request.param, f"file://{bare.path}", str(clone.path))
        return clone, executions

    @pytest.mark.parametrize("partial", ["blob:none"], indirect=True)
    def test_the_tree_proves_which_blob_it_is_and_a_notebook_has_to_be_fetched(self, partial: Any) -> None:
        clone, executions = partial
        script, notebook = verified(clone, *executions)
        assert (script.verdict.code, script.findings) == ("verified", ())
        assert notebook.verdict.code == "unknown"
        [finding] = notebook.findings
        words, _, _ = finding.fix.partition(" > ")
        clone.git(*words.split()[1:])
        assert [v.verdict.code for v in verified(clone, *executions)] == ["verified", "verified"]
        lie = replace(executions[0], entry_point={**executions[0].entry_point, "blob": "1" * 40})
        assert verdict(clone, lie)[0] == "mismatch"

    @pytest.mark.parametrize("partial", ["tree:0"], indirect=True)
    def test_where_the_trees_are_missing_too_it_is_unknown_until_they_are_fetched(self, partial: Any) -> None:
        clone, executions = partial
        assert [v.verdict.code for v in verified(clone, *executions)] == ["unknown", "unknown"]
        for _ in range(3):
            for found in verified(clone, *executions):
                for finding in found.findings:
                    words, _, _ = finding.fix.partition(" > ")
                    clone.git(*words.split()[1:])
        assert [v.verdict.code for v in verified(clone, *executions)] == ["verified", "verified"]


def test_rows_are_never_held_all_at_once(pushed: Any) -> None:
    """As many executions are alive at any moment as one batch has, however many there are."""
    pattern = recorded(pushed)
    alive: list[int] = []

    def rows() -> Any:
        for number in range(2_500):
            yield replace(pattern, id=f"{2_500 - number:08x}")
            if number % 500 == 499:
                alive.append(sum(isinstance(o, Execution) for o in gc.get_objects()))

    repository = measured(str(pushed.path))
    found = verify(repository, rows, remote="origin", hosts={})
    assert sum(v.verdict.code == "verified" for v in found) == 2_500
    assert max(alive) < 1_600
