"""The collector that this package replaces, by its old names."""
