"""Grafana dashboards of metertap's metrics in Prometheus, and a folder that provisions them."""

from __future__ import annotations

from pathlib import Path

from metertap.promql import quoted

DASHBOARDS = "metertap"
"""Name of the folder with the dashboards, on disk and in Grafana."""

MOUNTED = "/etc/grafana/provisioning"
"""The path at which Grafana looks for the provisioning folder."""

_PACKAGED = Path(__file__).with_name("dashboards")
"""The dashboards in an installed package."""
_IN_CLONE = Path(__file__).parents[2] / "dashboards" / "provisioning" / "dashboards" / DASHBOARDS


def files(prometheus: str) -> dict[str, str]:
    """Write every file, by its path in the provisioning folder.

    `prometheus` is the address at which Grafana finds Prometheus.
    """
    folder = _PACKAGED if _PACKAGED.is_dir() else _IN_CLONE
    return {
        "datasources/metertap.yaml": _datasources(prometheus),
        "dashboards/metertap.yaml": _DASHBOARDS_FILE,
        **{
            f"dashboards/{DASHBOARDS}/{path.name}": path.read_text(encoding="utf-8")
            for path in sorted(folder.glob("*.json"))
        },
    }


_DASHBOARDS_FILE = f"""\
# Written by `metertap dashboards`. The path is one of the machine where Grafana runs.
apiVersion: 1
providers:
  - name: metertap
    folder: metertap
    type: file
    options:
      path: {MOUNTED}/dashboards/{DASHBOARDS}
"""


def _datasources(prometheus: str) -> str:
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
