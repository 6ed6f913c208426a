"""What model calls cost: tokens that clients report, prices, savings, and what to change."""
