"""Caching: meters for cache objects, their names, and counting by hand."""
