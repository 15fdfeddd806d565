"""Puts the hooks in place and takes them away again, leaving what was there before as it was."""
