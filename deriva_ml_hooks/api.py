"""What other programs import: the gate and the record, for the repository of the working directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

# The subpackage of this name is imported before the function below takes the name over in the
# package's namespace; `from deriva_ml_hooks.provenance.record import ...` goes on working.
import deriva_ml_hooks.provenance

if TYPE_CHECKING:
    from deriva_ml_hooks.provenance.record import Provenance

del deriva_ml_hooks


def provenance(start: str = ".", *, refresh: bool = False) -> Provenance:
    """The record of the commit that is checked out where `start` is, whatever state the worktree is in.

    `refresh` does not take it from the cache. In an image without a repository it is what the build wrote
    down. Raises HooksError where there is no commit to name.
    """
    from deriva_ml_hooks.config import load
    from deriva_ml_hooks.errors import NotARepositoryError
    from deriva_ml_hooks.git.discovery import discover
    from deriva_ml_hooks.provenance.cache import provenance_of

    try:
        repository = discover(start)
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
