"""Costs of model calls: tokens that clients report, prices, savings, and recommendations."""
