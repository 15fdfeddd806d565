"""Hooks, provenance cache and runner for DerivaML: a record never names a commit that did not run."""

from deriva_ml_hooks.api import provenance, require_clean

__all__ = ["provenance", "require_clean"]
