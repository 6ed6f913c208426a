"""Views of what metertap records: JSON snapshot, Prometheus, OTLP."""
