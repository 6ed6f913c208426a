"""`metertap demo`: a real MCP server, a real client, and figures that agree."""
