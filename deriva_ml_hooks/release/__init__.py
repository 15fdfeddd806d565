"""Makes versions: the next number, an annotated tag, and one push that carries it with the branch."""
