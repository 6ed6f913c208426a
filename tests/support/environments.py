"""Virtual environments made at once and without a network, out of the one that runs the tests."""

from __future__ import annotations

import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement


def bare(folder: Path) -> str:
    """A Python that has nothing but the standard library."""
    venv.create(folder, symlinks=True)
    return str(folder / "bin" / "python")


def core(folder: Path) -> str:
    """A Python that has metertap and what it cannot do without."""
    python = bare(folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    for distribution in _closure("metertap", {}).values():
        for file in distribution.files or ():
            top = file.parts[0]
            link = site_packages / top
            if top != ".." and not link.exists():
                link.symlink_to(str(distribution.locate_file(top)))
    return python


def _closure(
    name: str, found: dict[str, metadata.Distribution]
) -> dict[str, metadata.Distribution]:
    """The distribution `name` and all that it requires, without extras."""
    if name not in found:
        found[name] = metadata.distribution(name)
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                _closure(requirement.name, found)
    return found
