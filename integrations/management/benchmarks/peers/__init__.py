"""What others would have built: the same answers from the same tables, each a server of its own."""
