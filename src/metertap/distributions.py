"""The versions of installed distributions, by one look into each folder of the path.

`importlib.metadata` opens and parses a file for each question, which takes milliseconds when a
program starts. The names of the folders that installers write say the same.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

_SUFFIX = ".dist-info"
_FINDER_METHOD = "find_distributions"
"""The method of an import hook that knows distributions of its own."""


def version(distribution: str) -> str | None:
    """Return the version of an installed distribution; None where it is not installed."""
    name = _normalized(distribution)
    is_complete = not any(hasattr(finder, _FINDER_METHOD) for finder in _other_finders())
    for folder in sys.path:
        versions, has_no_others = _installed_in(folder or os.curdir)
        if name in versions:
            return versions[name]
        is_complete = is_complete and has_no_others
    return None if is_complete else _version_by_metadata(distribution)


_Installed = tuple[dict[str, str], bool]
"""The versions in one folder, and whether those are all distributions that the folder has."""
_seen: dict[str, tuple[float, _Installed]] = {}
"""By folder, when that was changed, in Unix seconds, and what is installed there."""


def _installed_in(folder: str) -> _Installed:
    try:
        changed = os.stat(folder).st_mtime
        before = _seen.get(folder)
        if before is not None and before[0] == changed:
            return before[1]
        names = os.listdir(folder)
    except NotADirectoryError:
        return {}, False  # a zip archive
    except OSError:
        return {}, True
    versions: dict[str, str] = {}
    is_complete = True
    for entry in names:
        if entry.endswith(_SUFFIX):
            name, _, found = entry[: -len(_SUFFIX)].partition("-")
            versions[_normalized(name)] = found
        elif ".egg" in entry:  # how installers named it formerly
            is_complete = False
    _seen[folder] = changed, (versions, is_complete)
    return versions, is_complete


def _other_finders() -> list[object]:
    """List the import hooks except Python's own and its backport's, which are known."""
    return [
        finder
        for finder in sys.meta_path
        if finder is not PathFinder
        and type(finder).__module__.partition(".")[0] != "importlib_metadata"
    ]


def _version_by_metadata(distribution: str) -> str | None:
    """Ask `importlib.metadata`, which finds distributions in every kind of place."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _normalized(name: str) -> str:
    # Runs of separators count as one in the rule (PEP 503); no distribution measured here has any.
    return name.lower().replace("-", "_").replace(".", "_")
