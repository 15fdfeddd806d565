"""Hydra finds this by itself: the guard of deriva-ml-hooks. Nothing happens where it is not switched on."""

from __future__ import annotations

from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class DerivaMLHooksGuard(SearchPathPlugin):  # type: ignore[misc]  # hydra is no dependency
    """Starts the application again under `run`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it reads any configuration."""
        from deriva_ml_hooks.guard.hydra import on_start

        on_start()


def _measure_before_each_job() -> None:
    # Every launcher announces its jobs here, also one in a process of its own. What is registered in the
    # configuration instead would have its exceptions turned into warnings, and could be overridden.
    announce = Callbacks.on_job_start
    if announce.__module__ == __name__:  # Hydra executes a module again that it has imported before
        return

    def on_job_start(self: Callbacks, config: Any, **kwargs: Any) -> None:
        from deriva_ml_hooks.guard.hydra import before_job

        before_job(config)
        announce(self, config, **kwargs)

    Callbacks.on_job_start = on_job_start


_measure_before_each_job()
