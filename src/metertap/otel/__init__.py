"""OpenTelemetry: instruments, the SDK's private parts, and the resource."""
