"""Files that commands write into folders in which others may write, too."""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, content: str | bytes) -> None:
    """Write a file in place of what is there. Raises OSError and ValueError.

    Readers never see half of it, and a symbolic link is replaced and not followed.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")
    data = content.encode() if isinstance(content, str) else content
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        # "x": others may write to the folder, and a link that they put there is not followed.
        with fresh.open("xb") as file:
            file.write(data)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
