"""Metrics as text that Prometheus and OpenMetrics scrapers read."""
