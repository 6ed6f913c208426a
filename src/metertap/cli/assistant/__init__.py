"""`metertap mcp`: answers for an assistant, out of the documents of running processes."""
