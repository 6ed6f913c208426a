"""Files that commands write where others may write, too."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Put a file in the place of what is there. Raises OSError and ValueError.

    Nobody reads half of it, and nothing is written to where a link points.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        # "x": the folder may be one that others write to, and a link of theirs is not followed.
        with fresh.open("x", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
