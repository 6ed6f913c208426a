"""What stands in a library's place answers as the function that stood there, to whoever asks."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pickle
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from metertap_instrumentation import libraries
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

ASKED: dict[str, Callable[[Any], Any]] = {
    "signature": inspect.signature,
    "getfullargspec": inspect.getfullargspec,
    "defaults": lambda it: (it.__defaults__, it.__kwdefaults__),
    "iscoroutinefunction": inspect.iscoroutinefunction,
    "isgeneratorfunction": inspect.isgeneratorfunction,
    "isasyncgenfunction": inspect.isasyncgenfunction,
    "isroutine": inspect.isroutine,
    "get_type_hints": typing.get_type_hints,
    "names": lambda it: (it.__name__, it.__doc__),
    "unwrap": inspect.unwrap,
    "getsource": lambda it: inspect.getsource(inspect.unwrap(it)),
}
IN_VAIN = {
    # LangChain asks which function it is, so that it has to be a plain one.
    ("isasyncgenfunction", "langchain_core.language_models.chat_models:BaseChatModel._astream"),
    # A type checker such as beartype would not check the function that the object wraps.
    *(
        (asked, f"cachetools._decorator:_{kind}Mixin.__call__")
        for asked in ("unwrap", "getsource")
        for kind in ("Basic", "Info", "Locked", "LockedInfo", "Condition", "ConditionInfo")
    ),
}
"""What is not answered alike, and why."""
SLOW = {"models.anthropic", "models.google_genai", "models.litellm"}
"""What takes seconds to import. Their own tests compare their stand-ins."""


def answer(ask: Callable[[Any], Any], function: Any) -> Any:
    """What it says, or the class of what it raises."""
    try:
        return ask(function)
    except Exception as error:
        return type(error)


@pytest.fixture
def installed(module: str) -> Iterator[Instrumentation]:
    """One library's instrumentation: a tap would install the others, too, for each library."""
    pytest.importorskip(LIBRARIES[module].package)
    (found,) = (item for item in libraries() if item.library.module == module)
    found.install()
    yield found
    found.uninstall()


def stand_ins(of: Instrumentation) -> Iterator[tuple[str, Any, Any]]:
    """Yield each stand-in of an instrumentation by its name, and what stood there before."""
    for patch_set in of.patch_sets:
        with contextlib.suppress(ImportError):
            importlib.import_module(patch_set.module)
        for installed in patch_set._installed:
            before = installed.original
            if not callable(before) and not isinstance(before, (classmethod, staticmethod)):
                owner = installed.owner  # which inherits it, or an object
                above = super(owner, owner) if isinstance(owner, type) else type(owner)
                before = getattr(above, installed.name)
            now = vars(installed.owner)[installed.name]
            name = f"{patch_set.module}:{installed.target.attribute}"
            yield name, *(getattr(it, "__func__", it) for it in (now, before))


@pytest.mark.parametrize("module", [module for module in LIBRARIES if module not in SLOW])
def test_a_stand_in_answers_as_what_it_stands_for(installed: Instrumentation) -> None:
    for name, now, before in stand_ins(installed):
        for asked, ask in ASKED.items():
            alike = answer(ask, now) == answer(ask, before)
            assert alike is ((asked, name) not in IN_VAIN), f"{asked} of {name}"
        # What it stands for may have the name of a base class, or of another module, by which
        # pickle would not find it.
        full_names = [(it.__module__, it.__qualname__) for it in (now, before)]
        assert full_names[0] == full_names[1] or pickle.loads(pickle.dumps(now)) is now, name


@pytest.mark.parametrize("module", [module for module in LIBRARIES if module not in SLOW])
def test_a_stand_in_is_pickled_by_its_name(installed: Instrumentation) -> None:
    for patch_set in installed.patch_sets:
        for it in patch_set._installed:
            if isinstance(it.owner, (type, ModuleType)) and "<locals>" not in str(it.original):
                now = getattr(it.owner, it.name)
                assert pickle.loads(pickle.dumps(now)) == now, it.target.attribute
