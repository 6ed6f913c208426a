"""`metertap dashboards --out DIR`: Grafana dashboards and the folder that provisions them."""

from __future__ import annotations

from pathlib import Path

from metertap.cli.tables import complain
from metertap.replacing import replace


def dashboards(*, out: str, prometheus: str) -> int:
    """Write the dashboards to DIR/provisioning. Returns exit status 1 if that cannot be done."""
    from metertap_exporters import grafana

    folder = Path(out) / "provisioning"
    try:
        for name, text in grafana.files(prometheus).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, text)
    except (OSError, ValueError) as error:
        complain("dashboards", str(error))
        return 1
    return 0
