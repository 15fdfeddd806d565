"""What other programs import: the gate and the record, for the repository of the working directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# The subpackages of these names are imported before the functions below take the names over in the
# package's namespace; `from deriva_ml_hooks.provenance.record import ...` goes on working.
import deriva_ml_hooks.guard
import deriva_ml_hooks.provenance

if TYPE_CHECKING:
    from deriva_ml_hooks.guard.script import Recorder
    from deriva_ml_hooks.provenance.record import Provenance

del deriva_ml_hooks


def provenance(start: str = ".", *, refresh: bool = False) -> Provenance:
    """The record of the commit that is checked out where `start` is, whatever state the worktree is in.

    `refresh` does not take it from the cache. In an image without a repository it is what the build wrote
    down. Raises HooksError where there is no commit to name.
    """
    from deriva_ml_hooks.config import load
    from deriva_ml_hooks.errors import NotARepositoryError
    from deriva_ml_hooks.git.discovery import measured
    from deriva_ml_hooks.provenance.cache import provenance_of

    try:
        repository = measured(start)
    except NotARepositoryError:
        from deriva_ml_hooks.gate.image import image_provenance

        of_the_build = image_provenance()
        if of_the_build is None:
            raise
        return of_the_build
    return provenance_of(repository, load(repository.worktree), refresh=refresh)


def require_clean(start: str = ".", *, paranoid: bool = False) -> Provenance:
    """The record of the commit, once the gate has found that the worktree where `start` is equals it.

    `paranoid` rehashes every tracked file. Raises RefusedError, whose `reasons` say what is in the
    way, and ConfigError.
    """
    from deriva_ml_hooks.gate import judge, require_accepted

    verdict = judge(start, paranoid=paranoid)
    require_accepted(verdict)
    if verdict.provenance is None:
        raise AssertionError("an accepted verdict names its commit")
    return verdict.provenance


def guard() -> None:
    """Start the script that calls this again under `deriva-ml-hooks run`; nothing inside such a run.

    Nor where pytest runs it. To be called before anything else: what ran before it runs twice. In an
    interactive session the gate is asked in place: raises RefusedError.
    """
    from deriva_ml_hooks.guard import script

    script.guard()


def recorded(
    description: str | None = None,
    *,
    catalog: str | None = None,
    tag_required: bool = False,
    paranoid: bool = False,
) -> Recorder:
    """Record what is done inside as one execution: `with recorded("..."):`, or as a decorator.

    The row stands in the ledger before the first line inside, and is closed at whatever end: Completed,
    Failed with the exception, or Aborted by a signal. Inside a run there is no second row. The options are
    those of `run`. Raises RefusedError where the gate refuses; nothing is recorded then.
    """
    from deriva_ml_hooks.guard import script

    return script.recorded(description, catalog=catalog, tag_required=tag_required, paranoid=paranoid)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext deriva_ml_hooks`: gates a notebook run by hand, and records it until its kernel ends.

    Raises RefusedError where the tree is not the commit; outputs are no change.
    """
    from deriva_ml_hooks.guard import kernel

    kernel.load(shell)
