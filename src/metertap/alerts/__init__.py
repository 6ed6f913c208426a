"""Alerts: thresholds from the configuration file, and their evaluation in this process."""
