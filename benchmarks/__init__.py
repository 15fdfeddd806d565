"""Benchmarks: ratios against git and against peers, measured side by side in one run.

    python -m benchmarks [TOPIC ...]

Machines are noisy, so nothing here passes or fails; commands that are compared take turns, and
the medians of their times are divided.
"""
