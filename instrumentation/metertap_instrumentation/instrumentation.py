"""What an instrumentor is: a library, the versions that were verified, and its patch sets."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from metertap import faults
from metertap.patching.patch_set import PatchSet

Version = tuple[int, ...]


class Instrumentation:
    """One library's patch sets, chosen by the version that is installed.

    `supported` is the verified range, from the first version to below the last. Outside it nothing
    is patched, and `problem` says so. Without a `distribution` the library is Python's own, and so
    is its version. `unverified` says what could not be run even in that range.
    """

    def __init__(
        self,
        name: str,
        distribution: str | None,
        supported: tuple[Version, Version],
        patch_sets: Callable[[Version], Sequence[PatchSet]],
        *,
        unverified: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.distribution = distribution or "Python"
        self.supported = supported
        self.unverified = unverified
        self.switched_off = False
        self.version: str | None = None
        self.problem: str | None = None
        self.patch_sets: Sequence[PatchSet] = ()
        self._is_python = distribution is None
        self._choose = patch_sets

    def install(self) -> None:
        """Patch now what is imported, and the rest when it is."""
        self.switched_off = False
        self.problem = None
        try:
            if self._is_python:
                self.version = sys.version.split()[0]
            else:
                self.version = metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            self.version = None
            return
        if not self.patch_sets:
            version = parse_version(self.version)
            lowest, end = self.supported
            if not lowest <= version < end:
                self.problem = (
                    f"{self.distribution} {self.version} is outside the verified range "
                    f"{_dotted(lowest)} to below {_dotted(end)}"
                )
                faults.warn_once(
                    f"version {self.distribution}", "%s; it is not measured", self.problem
                )
                return
            self.patch_sets = self._choose(version)
        for patch_set in self.patch_sets:
            patch_set.install()

    def uninstall(self) -> None:
        """Undo."""
        for patch_set in self.patch_sets:
            patch_set.uninstall()


def parse_version(text: str) -> Version:
    """The release numbers of a version; suffixes such as `rc1` do not count."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)
