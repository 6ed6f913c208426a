"""The two files that tell Grafana where its data source and its dashboards are."""

from __future__ import annotations

from metertap.promql import quoted

DASHBOARDS = "metertap"
"""Name of the folder with the dashboards, on disk and in Grafana."""

MOUNTED = "/etc/grafana/provisioning"
"""The path at which Grafana looks for the provisioning folder."""


def dashboards_file() -> str:
    """Write the file that names the folder of the dashboards, which lies beside it."""
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
    """Write the file that names the Prometheus at the address `prometheus`.

    `$` is doubled, because it begins a variable there.
    """
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
