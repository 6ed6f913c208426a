"""Runtime: the tap, its pipeline to OpenTelemetry, and what it tells of itself."""
