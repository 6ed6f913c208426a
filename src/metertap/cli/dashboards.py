"""`metertap dashboards --out DIR`: Grafana dashboards and the folder that provisions them."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from metertap.install_command import install_command
from metertap.text import printable


def dashboards(*, out: str, prometheus: str) -> int:
    """Write DIR/provisioning. Returns exit status 1 where that cannot be done."""
    from metertap_exporters import grafana
    from metertap_exporters.grafana.board import PACKAGE

    try:
        import_module(PACKAGE)
    except ImportError:
        return _failed(
            f"grafana-foundation-sdk is not installed: {install_command('grafana')}, "
            "on Python 3.11 or newer"
        )
    folder = Path(out) / "provisioning"
    try:
        for name, text in grafana.files(prometheus).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        return _failed(str(error))
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(f"metertap dashboards: {printable(message)}\n")
    return 1
