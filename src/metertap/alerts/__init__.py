"""Alerts: thresholds from the configuration file, whoever evaluates them."""
