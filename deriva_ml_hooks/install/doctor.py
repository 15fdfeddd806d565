"""Says what is installed and what runs when, and finds what is missing or damaged."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from functools import cache

from deriva_ml_hooks import programs
from deriva_ml_hooks.git.discovery import measured
from deriva_ml_hooks.git.repository import Repository
from deriva_ml_hooks.guard import setting
from deriva_ml_hooks.install import files, frameworks, native
from deriva_ml_hooks.install.setup import WITHOUT_HOOKS_PATH
from deriva_ml_hooks.provenance.cache import cache_path
from deriva_ml_hooks.report import Finding

_INSTALL = "deriva-ml-hooks install"


def examine(start: str = ".", *, say: Callable[[str], None]) -> list[Finding]:
    """What is installed is told to `say`, what is missing is returned."""
    repository = measured(start)
    missing: list[Finding] = []
    for hook in native.hooks(repository):
        problem = _problem(hook)
        if problem is None:
            say(f"{hook.name}: {_does(hook)}")
        else:
            shown = os.path.relpath(hook.wanted, repository.worktree)
            missing.append(Finding(problem[0], shown, problem[1], _INSTALL))
    missing += _of_frameworks(repository, say)
    guarded = setting.of(repository.worktree)
    say(f"guard: {'on' if guarded.on else 'off'} ({guarded.why})")
    for line in files.offers(repository):
        say(line)
    if repository.head() is not None and not os.path.exists(cache_path(repository)):
        missing.append(Finding("no-cache", None, "what is known of the commit is not cached", _INSTALL))
    return missing


def _problem(hook: native.Hook) -> tuple[str, str] | None:
    ours, (python, packages) = hook.ours, hook.interpreter()
    if hook.calls_us():
        return None
    if ours is None:
        return "not-installed", f"no native {hook.name} hook"
    if ours != hook.wanted:
        return "not-run", f"the native hook stands where {hook.framework or 'git'} does not run it"
    if not hook.is_current():
        return "changed", "not as this release installs it, or not executable"
    if not _works(python, packages):
        return "no-interpreter", f"its interpreter does not have us: {python}"
    return None


@cache
def _works(python: str, packages: str) -> bool:
    """Whether the interpreter of a native hook is there and imports this package; "" is for PATH."""
    if python == sys.executable:
        return True
    probe = "import site, sys; p = sys.argv[1]; p and site.addsitedir(p); import deriva_ml_hooks"
    words = [python, "-I", "-c", probe, packages] if python else ["deriva-ml-hooks", "--version"]
    try:
        return programs.run(words, cwd=os.sep).returncode == 0
    except OSError:
        return False


def _does(hook: native.Hook) -> str:
    does = "checks version tags and large files" if hook.name == "pre-push" else "caches the provenance"
    if hook.calls_us():
        return f"{does}, called by the hook that is there"
    after = f", then runs {os.path.basename(hook.kept)}" if os.access(hook.kept, os.X_OK) else ""
    return f"{does} ({shlex.quote(hook.interpreter()[0] or 'deriva-ml-hooks')}){after}"


def _of_frameworks(repository: Repository, say: Callable[[str], None]) -> list[Finding]:
    config = frameworks.CONFIG
    served = frameworks.served(repository)
    for name, framework in served.items():
        say(f"{name}: {framework} runs the hooks of {config}")
    if not os.path.exists(os.path.join(repository.worktree, config)):
        say(f"no {config}: only the native hooks run (to have one: {_INSTALL} --pre-commit)")
    elif not served:
        fix = _INSTALL if native.hooks_path(repository) is None else WITHOUT_HOOKS_PATH
        return [Finding("not-installed", None, f"nothing runs the hooks of {config}", fix)]
    return []
