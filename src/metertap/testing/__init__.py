"""Performance assertions in tests: a plugin of pytest, loaded by those who use its fixture."""
