"""The HTTP endpoint under the JSON document, the page and Prometheus."""
