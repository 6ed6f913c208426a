"""Tables of a process's figures, for every view that shows them as text."""
