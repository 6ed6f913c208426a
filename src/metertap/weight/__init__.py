"""Weights of tools in a model's context: bytes of definitions and results, and tokens."""
