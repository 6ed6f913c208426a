"""History: figures over days and releases, kept in a file and read later."""
