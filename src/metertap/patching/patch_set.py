"""Patching: a table of targets that drives both install and undo.

A `PatchSet` names one module and its targets. It is installed as a whole or not at all, as soon as
the module is imported (at once, if it is already), and undone exactly: an attribute that is still
ours becomes the object that it was before; one that other code wrapped since stays in its chain,
inert.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from metertap import faults, locks, threads
from metertap.patching import imports
from metertap.patching.installed import Installed, install, put
from metertap.patching.targets import Target


class PatchSet:
    """The targets in one module, which are installed together or not at all.

    `status` is `idle`, `waiting` (for the module's import), `installed` or `failed`; `problem` says
    why it failed. Warnings and `metertap doctor` call the set by its `name`, by default that of the
    module. `optional` says that some versions of the library lack the module.
    """

    def __init__(
        self,
        module: str,
        targets: Sequence[Target],
        *,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.module = module
        self.optional = optional
        self.name = name or module
        self.targets: Sequence[Target] = tuple(targets)
        self.status = "idle"
        self.problem: str | None = None
        self._installed: list[Installed] = []
        self._lock = locks.rlock()
        self._watches = False

    @property
    def bound(self) -> list[str]:
        """The dotted paths of the targets that are wrapped now."""
        found = (item.target.attribute for item in list(self._installed) if item.is_in_force())
        return [f"{self.module}:{attribute}" for attribute in dict.fromkeys(found)]

    def install(self) -> None:
        """Wrap the targets, as soon as the module is imported. Calling it again changes nothing."""
        with self._lock:
            if self.status in {"waiting", "installed"}:
                return
            self.status = "waiting"
            self.problem = None
            if not self._watches:
                imports.watch(self.module, self._executed)
                self._watches = True
        if imports.is_in_progress(self.module):
            name = f"metertap-import-{self.module}"
            threads.Thread(target=self._wait, name=name, daemon=True).start()
        elif self.module in sys.modules:
            self._apply(sys.modules[self.module])

    def uninstall(self) -> None:
        """Undo every patch, and do not patch modules that are imported later."""
        with self._lock:
            imports.unwatch(self.module, self._executed)
            self._watches = False
            while self._installed:
                self._installed.pop().undo()
            self.status = "idle"
            self.problem = None

    def check(self) -> None:
        """Check that the targets are still wrapped, and wrap those again that were restored.

        If other code has replaced a target by a function without `__wrapped__`, it cannot be known
        whether that calls our wrapper. Wrapping it could count calls twice, so it is left alone,
        and `problem` names it.
        """
        if self.status != "installed" or not self._lock.acquire(blocking=False):
            return
        try:
            newest = {(id(item.owner), item.target.attribute): item for item in self._installed}
            lost = []
            for (_, attribute), item in newest.items():
                for cls in item.going_round():
                    self._installed.append(put(cls, item.name, item.target))
                if item.is_in_force():
                    continue
                if item.was_unwrapped():
                    self._installed.append(put(item.owner, item.name, item.target))
                else:
                    lost.append(attribute)
            self.problem = None
            if lost:
                self.problem = (
                    f"{self.module}:{', '.join(lost)}: other code replaced it after it was "
                    "patched, so calls may be unmeasured"
                )
        finally:
            self._lock.release()

    def prepare(self, module: Any) -> None:
        """Prepare for patching `module`, in a subclass, which may choose targets or raise."""

    def follow(self, module: Any) -> None:
        """Patch, in a subclass, what no table of targets can name, after the targets."""

    def tell(self, error: Exception) -> None:
        """Report that the targets could not be wrapped, as `problem` says."""
        faults.fault(f"patch {self.name}", error)

    def _executed(self, module: Any) -> None:
        """Patch a module after each execution, because each defines its functions again."""
        with self._lock:
            if self.status in {"installed", "failed"}:
                self.status = "waiting"
                self.problem = None
            self._apply(module)

    def _wait(self) -> None:
        module = imports.wait(self.module)
        if module is not None:
            self._apply(module)

    def _apply(self, module: Any) -> None:
        with self._lock:
            if self.status != "waiting":
                return
            try:
                self.prepare(module)
                for target in self.targets:
                    installed = install(module, target)
                    if installed is not None:
                        self._installed.append(installed)
                self.follow(module)
            except Exception as error:
                self.uninstall()
                self.status = "failed"
                self.problem = f"{type(error).__qualname__}: {error}"
                self.tell(error)
            else:
                self.status = "installed"
