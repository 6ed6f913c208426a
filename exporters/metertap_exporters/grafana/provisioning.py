"""The two files that tell Grafana of a data source and of dashboards."""

from __future__ import annotations

from metertap_exporters.promql import quoted

DASHBOARDS = "metertap"
"""Folder of the dashboards beside their YAML file; Grafana's name of the folder as well."""

MOUNTED = "/etc/grafana/provisioning"
"""Where Grafana looks for the provisioning folder."""


def dashboards_file() -> str:
    """Grafana reads the dashboards from the folder beside this file."""
    return f"""\
# Written by `metertap dashboards`. The path is one of the machine where Grafana runs.
apiVersion: 1
providers:
  - name: metertap
    folder: metertap
    type: file
    options:
      path: {MOUNTED}/dashboards/{DASHBOARDS}
"""


def datasources_file(prometheus: str) -> str:
    """The Prometheus that scrapes the measured processes. `$` would begin a variable there."""
    return f"""\
# Written by `metertap dashboards`. Not needed where Grafana has a Prometheus already.
apiVersion: 1
datasources:
  - name: metertap Prometheus
    uid: metertap-prometheus
    type: prometheus
    access: proxy
    url: {quoted(prometheus.replace("$", "$$"))}
"""
