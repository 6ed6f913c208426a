"""Patching a class and all its subclasses, including those that are defined later.

Some libraries only define a cache's interface, and each backend has its own methods. Those of
existing subclasses are wrapped at once, those of later ones by `__init_subclass__`. Classes are
held weakly, so that a class that a function defines can be freed.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from metertap import faults
from metertap.patching.installed import make_stand_in
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target, is_patched
from metertap.patching.tracebacks import hide_frame

_HOOK = "__init_subclass__"


@dataclass(frozen=True, slots=True)
class _Followed:
    name: str
    stand_in: Callable[[], Any]  # a weak reference
    switch_off: Callable[[], None]  # makes it pass calls straight through for good


class SubclassesPatchSet(PatchSet):
    """Patches of one class's methods, and of every subclass that overrides them.

    `wrappers` has the wrapper for each method; the class is `base` in `module`. Subclasses of a
    class whose `__init_subclass__` does not call its parent's are not noticed.
    """

    def __init__(
        self,
        module: str,
        base: str,
        wrappers: Mapping[str, Any],
        *,
        target: Callable[[str, Any], Target] = Target,
    ) -> None:
        self._of = {name: target(f"{base}.{name}", wrapper) for name, wrapper in wrappers.items()}
        super().__init__(module, list(self._of.values()))
        self._base_name = base
        self._followed: weakref.WeakKeyDictionary[type, list[_Followed]] = (
            weakref.WeakKeyDictionary()
        )
        self._hooks: list[tuple[type, _Hook]] = []  # one for each execution of the module

    def follow(self, module: Any) -> None:
        """Wrap the subclasses that exist, and have later ones wrapped when they are defined."""
        base = getattr(module, self._base_name)
        for cls in _subclasses(base):
            self._adopt(cls)
        self._hook(base)

    def uninstall(self) -> None:
        """Undo every patch, in all classes that still exist."""
        with self._lock:
            super().uninstall()
            while self._hooks:
                base, hook = self._hooks.pop()
                if vars(base).get(_HOOK) is hook:
                    if hook.inherited is None:
                        delattr(base, _HOOK)
                    else:
                        setattr(base, _HOOK, hook.inherited)
            for cls, followed in list(self._followed.items()):
                for item in followed:
                    item.switch_off()
                    found = vars(cls).get(item.name)
                    if found is not None and found is item.stand_in():
                        setattr(cls, item.name, found.__wrapped__)
            self._followed.clear()

    def _hook(self, base: type) -> None:
        hook = _Hook(self, base, vars(base).get(_HOOK))
        setattr(base, _HOOK, hook)
        self._hooks.append((base, hook))

    def _defined(self, cls: type) -> None:
        with faults.guarded(f"patch {self.module}"), self._lock:
            if self._hooks:
                self._adopt(cls)

    def _adopt(self, cls: type) -> None:
        if cls in self._followed:
            return
        found = []
        for name, target in self._of.items():
            original = vars(cls).get(name)
            # A method taken over from another class is wrapped already.
            if original is None or is_patched(original):
                continue
            if not callable(getattr(cls, name)):  # an attribute of that name that is no method
                continue
            stand_in, switch_off = make_stand_in(cls, name, original, target)
            setattr(cls, name, stand_in)
            found.append(_Followed(name, weakref.ref(stand_in), switch_off))
        self._followed[cls] = found


class _Hook(classmethod):  # type: ignore[type-arg]  # of nothing else that is generic here
    """The base class's `__init_subclass__` while it is patched: it patches new subclasses.

    `inherited` is the former one, or None.
    """

    def __init__(self, patches: SubclassesPatchSet, base: Any, inherited: Any) -> None:
        self.inherited = inherited

        def init_subclass(cls: Any, *args: Any, **kwargs: Any) -> None:
            try:
                if inherited is None:
                    super(base, cls).__init_subclass__(*args, **kwargs)
                else:
                    inherited.__get__(None, cls)(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
            patches._defined(cls)

        super().__init__(init_subclass)


def instances(cls: type) -> list[Any]:
    """List all objects of `cls` and its subclasses.

    Each object refers to its class, and asking for the referrers of a few classes is quicker than
    looking at every object of the process.
    """
    kinds = {cls, *_subclasses(cls)}
    return [item for item in gc.get_referrers(*kinds) if type(item) in kinds]


def _subclasses(cls: type) -> Iterator[type]:
    found: list[type] = type.__subclasses__(cls)
    for subclass in found:
        yield subclass
        yield from _subclasses(subclass)
