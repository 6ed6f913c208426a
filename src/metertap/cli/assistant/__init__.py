"""`metertap mcp`: answers an assistant's questions from the documents of running processes."""
