"""Hooks, provenance cache and runner for DerivaML: a record never names a commit that did not run."""
