"""The JSON document, and the reader that serves it."""
