"""Runtime: the tap, its pipeline to OpenTelemetry, and its diagnosis."""
