"""The hooks: one module per id, same name with underscores, each a `main(argv) -> int`.

Must stay light: nothing is imported here that a single hook does not need.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from deriva_ml_hooks.errors import UsageError


def hook_ids() -> list[str]:
    """Every hook id, in alphabetical order."""
    import pkgutil

    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


def run_hook(hook_id: str, argv: Sequence[str]) -> int:
    """Run the hook `hook_id` with the words `argv`; its exit code. Raises UsageError for no such hook."""
    name = f"{__name__}.{hook_id.replace('-', '_')}"
    try:
        module = importlib.import_module(name) if hook_id.replace("-", "").isalnum() else None
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        module = None
    if module is None or hook_id.startswith("-"):
        raise UsageError(f"{hook_id}: no such hook", fix="the hooks are: " + ", ".join(hook_ids()))
    code: int = module.main(argv)
    return code
