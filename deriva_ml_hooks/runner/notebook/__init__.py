"""A notebook as what is run: its parameters, its kernel, what became of it."""
