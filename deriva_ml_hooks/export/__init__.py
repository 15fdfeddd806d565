"""Hands on what is recorded, in forms of others: a module for each."""
