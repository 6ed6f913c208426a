"""Views of what metertap records: JSON snapshot, Prometheus, OTLP.

PYTEST_DONT_REWRITE: pytest would warn where `metertap run` has imported this before it.
"""
