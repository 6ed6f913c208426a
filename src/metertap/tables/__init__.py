"""Figures of a process as tables, for every place that shows them as text."""
