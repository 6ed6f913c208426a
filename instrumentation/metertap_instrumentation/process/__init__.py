"""Metrics of the process itself: processor time, memory, threads."""
