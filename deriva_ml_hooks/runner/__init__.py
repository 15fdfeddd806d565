"""The entry point of a command, and running it under the gate."""
