"""Holds what the ledger says against the repository as it is now."""
