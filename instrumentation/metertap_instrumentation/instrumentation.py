"""An instrumentation: one library, its verified versions, and the patch sets that measure it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from metertap import distributions, faults
from metertap.patching.patch_set import PatchSet
from metertap_instrumentation.libraries import PYTHON, Library, Version, parse_version

PatchSets = Sequence[PatchSet] | Callable[[Version], Sequence[PatchSet]]


class Instrumentation:
    """One library's patch sets, which may depend on the installed version.

    Outside of the verified range nothing is patched, and `problem` says so. `unverified` names the
    parts that could not be run, even within the range.
    """

    def __init__(
        self, library: Library, patch_sets: PatchSets, *, unverified: tuple[str, ...] = ()
    ) -> None:
        self.library = library
        self.name = library.name
        self.distribution = library.distribution
        self.unverified = unverified
        self.switched_off = False
        self.is_late = False
        """Whether it is installed late, so that earlier counts of caches are included."""
        self.version: str | None = None
        self.problem: str | None = None
        self.patch_sets: Sequence[PatchSet] = ()
        self._choose = patch_sets

    def install(self) -> None:
        """Patch modules that are imported now, and others when they are imported."""
        self.switched_off = False
        self.problem = None
        if not self.patch_sets:  # else the version is known: finding it parses a whole file
            self.version = self._installed_version()
            if self.version is None:
                return
            version = parse_version(self.version)
            lowest, end = self.library.supported
            if not lowest <= version < end:
                self.problem = self._outside(self.version)
                faults.warn_once(
                    f"version {self.library.module}", "%s; it is not measured", self.problem
                )
                return
            choose = self._choose
            self.patch_sets = choose(version) if callable(choose) else choose
        for patch_set in self.patch_sets:
            patch_set.install()

    def _installed_version(self) -> str | None:
        if self.distribution == PYTHON:
            return sys.version.split()[0]
        return distributions.version(self.distribution)

    def _outside(self, version: str) -> str:
        part = f"{self.library.part} of " if self.library.part else ""
        return (
            f"{part}{self.distribution} {version} is outside the verified range "
            f"{self.library.first} to below {self.library.below}"
        )

    def uninstall(self) -> None:
        """Undo the patches of the library."""
        for patch_set in self.patch_sets:
            patch_set.uninstall()
