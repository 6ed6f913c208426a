"""Performance assertions in tests: a pytest plugin, which measures nothing until it is used."""
