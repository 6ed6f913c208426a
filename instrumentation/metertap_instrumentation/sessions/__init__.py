"""Sessions with clients: one module per library."""
