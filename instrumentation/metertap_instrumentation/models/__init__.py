"""Instrumentors of model clients: the tokens that each response reports."""
