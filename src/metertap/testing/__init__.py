"""Performance assertions in tests: a pytest plugin, which does nothing until it is used."""
