"""What metertap costs, as ratios to what it replaces, measured interleaved in one process."""
