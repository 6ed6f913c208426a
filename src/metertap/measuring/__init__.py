"""Measuring: one call of a tool, from its start to its record."""
