"""Caches: one module per library."""
