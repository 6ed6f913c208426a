"""Metrics of the process itself: processor time, memory, threads."""

NAME = "system_metrics"
"""OpenTelemetry's name for them, by which they are disabled."""
