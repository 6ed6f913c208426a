"""Patching: replacing a function by a wrapper, and undoing that."""
