"""Hooks, provenance cache and runner for DerivaML: a record never names a commit that did not run."""

from deriva_ml_hooks.api import guard, load_ipython_extension, provenance, recorded, require_clean

__all__ = ["guard", "load_ipython_extension", "provenance", "recorded", "require_clean"]
