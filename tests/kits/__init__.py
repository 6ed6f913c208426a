"""Contract kits: tests that every adapter of one kind inherits."""
