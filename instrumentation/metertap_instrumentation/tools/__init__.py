"""Tool handlers: one module per library."""
