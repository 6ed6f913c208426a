"""`metertap weight`: how much context the definitions of a server's tools use. It runs no tool."""
