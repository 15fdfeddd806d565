"""`deriva-ml-hooks bump-version` and `version`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Optional

import typer

from deriva_ml_hooks.commands import output
from deriva_ml_hooks.report import Finding, as_text


class Part(str, Enum):
    """What is counted up."""

    major = "major"
    minor = "minor"
    patch = "patch"


def bump_version(
    part: Part = typer.Argument(Part.patch, help="What is counted up."),
    initial: str = typer.Option("0.1.0", "--initial", metavar="VERSION", help="The first version."),
    pre: Optional[str] = typer.Option(
        None, "--pre", metavar="NAME", help="Make a pre-release: alpha, beta or rc."
    ),
    prefix: Optional[str] = typer.Option(None, "--prefix", help="What stands before the number (default v)."),
    message: Optional[str] = typer.Option(None, "--message", help="The tag's message."),
    sign: Optional[bool] = typer.Option(
        None, "--sign/--no-sign", help="Sign the tag (default: git's tag.gpgSign)."
    ),
    remote: Optional[str] = typer.Option(None, "--remote", help="Where to push."),
    no_push: bool = typer.Option(False, "--no-push", help="Make the tag here only; no remote is asked."),
    force_new: bool = typer.Option(False, "--force-new", help="Also on a commit that has a version."),
    commit_lock: bool = typer.Option(
        False, "--commit-lock", help="Commit uv.lock first, where nothing else is changed."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be made; nothing is fetched."),
    as_json: bool = typer.Option(False, "--json", help="Print what was made, or why not, as JSON."),
) -> None:
    """Make the next version: an annotated tag, pushed together with the branch, or nothing at all.

    Exit 0: made. 1: refused. 2: usage or configuration error.
    """
    from deriva_ml_hooks.errors import GitError
    from deriva_ml_hooks.gate import RefusedError
    from deriva_ml_hooks.release.bump import BumpError, Wanted, plan
    from deriva_ml_hooks.release.create import create, require_possible

    wanted = Wanted(
        part=part.value,
        initial=initial,
        pre=pre,
        prefix=prefix,
        message=message,
        sign=sign,
        remote=remote,
        push=not no_push,
        force_new=force_new,
        commit_lock=commit_lock,
    )
    reasons: tuple[Finding, ...]
    try:
        repository, bump = plan(wanted, fetching=not dry_run)
        if dry_run:
            require_possible(repository, bump)
        else:
            bump = create(repository, bump, wanted, say=output.note)
    except RefusedError as refused:
        reasons = refused.reasons
    except BumpError as error:
        reasons = (Finding(error.code, None, str(error), error.fix),)
    except GitError as error:
        if as_json:
            _tell_why([Finding("git-error", None, str(error), error.fix)])
        raise
    else:
        _tell(bump.as_json() | {"made": not dry_run}, as_json=as_json)
        return
    output.note(as_text(reasons) + "\n\nderiva-ml-hooks: refused; no version was made")
    if as_json:
        _tell_why(reasons)
    raise typer.Exit(1)


def _tell_why(reasons: Sequence[Finding]) -> None:
    output.data({"schema": 1, "made": False, "reasons": [finding.as_json() for finding in reasons]})


def _tell(bump: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.data(bump)
        return
    after = f"after {bump['previous']}" if bump["previous"] else "the first version"
    line = f"{bump['tag']}  {bump['commit'][:12]}  {after}"
    if not bump["made"]:
        where = f", to be pushed to {bump['remote']} with {bump['branch']}" if bump["remote"] else ""
        output.text(f"would make {line}{where}")
    else:
        output.text(f"{line}, pushed to {bump['remote']}" if bump["pushed"] else line)


def version() -> None:
    """The version of the commit that is checked out, as setuptools-scm writes it."""
    from deriva_ml_hooks import api
    from deriva_ml_hooks.errors import GitError

    known = api.provenance()
    if known.version is None:
        none = known.no_version or {"reason": "cannot be told here", "fix": "git fetch --unshallow --tags"}
        raise GitError("the version", none["reason"], fix=none["fix"])
    output.text(known.version)
