"""Files that commands write into folders in which others may write, too."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Write a file in place of what is there. Raises OSError and ValueError.

    Readers never see half of it, and a symbolic link is replaced and not followed.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        # "x": others may write to the folder, and a link that they put there is not followed.
        with fresh.open("x", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
