"""What a command line runs: the tracked file that is its workflow."""
