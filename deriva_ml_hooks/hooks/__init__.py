"""The hooks: one module per id, same name with underscores, with a `HOOK` and a `main(argv) -> int`.

Must stay light: nothing is imported here that a single hook does not need.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deriva_ml_hooks.errors import UsageError

if TYPE_CHECKING:
    from deriva_ml_hooks.hooks._hook import Hook


def hook_ids() -> list[str]:
    """Every hook id, in alphabetical order."""
    import pkgutil

    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


def declared(hook_id: str) -> Hook:
    """What the hook `hook_id` declares. Raises UsageError for no such hook."""
    hook: Hook = _module(hook_id).HOOK
    return hook


def recommended() -> list[str]:
    """The ids that suit every model repository, in the order they run."""
    return [hook_id for hook_id in hook_ids() if declared(hook_id).recommended]


def run_hook(hook_id: str, argv: Sequence[str]) -> int:
    """Run the hook `hook_id` with the words `argv`; its exit code. Raises UsageError for no such hook."""
    code: int = _module(hook_id).main(argv)
    return code


def _module(hook_id: str) -> Any:
    name = f"{__name__}.{hook_id.replace('-', '_')}"
    try:
        if hook_id.replace("-", "").isalnum() and not hook_id.startswith("-"):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    raise UsageError(f"{hook_id}: no such hook", fix="the hooks are: " + ", ".join(hook_ids()))
