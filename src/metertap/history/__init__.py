"""History: what was measured over days and releases, kept in a file and asked for later."""
