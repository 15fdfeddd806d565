"""What is known of a commit: the record, the cache that keeps it, and the forms it is handed on in."""
