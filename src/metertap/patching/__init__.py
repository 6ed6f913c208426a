"""Patching: putting a wrapper in the place of a function, and taking it away again."""
