"""The execution record and the ledger that keeps it."""
