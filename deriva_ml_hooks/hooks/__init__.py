"""The hooks: one module per id, same name with underscores, each a `main(argv) -> int`.

Must stay light: nothing is imported here that a single hook does not need.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from deriva_ml_hooks.errors import UsageError


def hook_ids() -> list[str]:
    """Every hook id, in alphabetical order."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


def run_hook(hook_id: str, argv: Sequence[str]) -> int:
    """Run the hook `hook_id` with the words `argv`; its exit code. Raises UsageError for no such hook."""
    if hook_id not in hook_ids():
        raise UsageError(f"{hook_id}: no such hook", fix="the hooks are: " + ", ".join(hook_ids()))
    module = importlib.import_module(f"{__name__}.{hook_id.replace('-', '_')}")
    code: int = module.main(argv)
    return code
