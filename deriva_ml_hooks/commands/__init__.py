"""The typer program: one module per command, each turning words into a call and its result into text."""
