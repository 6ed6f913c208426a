"""The collector class that metertap replaces, with its old names."""
