"""Publishes executions to a Deriva catalog; nothing else in the package imports deriva."""
