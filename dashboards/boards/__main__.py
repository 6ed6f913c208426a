"""`python -m dashboards.boards`, in a clone: writes the dashboards of `dashboards/provisioning`."""

from __future__ import annotations

from pathlib import Path

from dashboards.boards import texts

FOLDER = Path(__file__).parents[1] / "provisioning" / "dashboards" / "metertap"

if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
