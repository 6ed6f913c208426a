"""The HTTP endpoint for the JSON document, the page and Prometheus."""
