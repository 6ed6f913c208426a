"""The application's own functions: where every cache is found, only their caches are shown.

Most caches of a process belong to the standard library and to libraries. The application is all
code outside of `site-packages`, and the installed program that runs, if one does: the distribution
of `python -m shop` or of the console script `shop`. A server or test runner that was started this
way only loads the application.
"""

from __future__ import annotations

import functools
import os
import sys
import types
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from typing import Any

from metertap.caching.qualified_names import attribute_of, names_of
from metertap.variables import variables_of

_MAIN = frozenset({"__main__", "__mp_main__"})
_OURS = frozenset({"metertap", "metertap_exporters", "metertap_instrumentation"})
_RUNNERS = frozenset(
    {
        "IPython",
        "celery",
        "coverage",
        "daphne",
        "debugpy",
        "fastapi",
        "fastmcp",
        "flask",
        "granian",
        "gunicorn",
        "hypercorn",
        "ipykernel",
        "ipykernel_launcher",
        "mcp",
        "opentelemetry",
        "pytest",
        "streamlit",
        "uvicorn",
        "watchfiles",
    }
)
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_CODE = (".py", ".pyc", ".so", ".pyd")


def is_applications(function: Any) -> bool:
    """Return whether `function`, decorated or not, is the application's."""
    known = _known(function)
    return _is_of_program(function) if known is None else known


def is_surely_applications(function: Any) -> bool:
    """Return whether `function` is surely the application's, without reading files.

    False for an installed function, since finding the running program means reading distributions.
    """
    return bool(_known(function))


_loaded: tuple[tuple[int, str], list[str]] = (0, ""), []
"""The number of modules and the newest one, and those that may be the application's."""


def namespaces() -> Iterator[dict[str, Any]]:
    """Yield the variables of each module that may be the application's.

    A process may have ten thousand modules, most of them installed. They are looked through again
    only after an import.
    """
    global _loaded
    modules = sys.modules.copy()
    newest = len(modules), next(reversed(modules))
    if _loaded[0] != newest:
        _loaded = newest, [name for name, module in modules.items() if _may_be(name, module)]
    for name in _loaded[1]:
        namespace = variables_of(modules.get(name))
        if namespace is not None:
            yield namespace


def defined_in(namespace: dict[str, Any], kinds: frozenset[type]) -> Iterator[Any]:
    """Yield the objects of these kinds in a module and in the classes that it defines."""
    for value in list(namespace.values()):
        kind = type(value)
        if kind in kinds:
            yield value
        elif issubclass(kind, type):  # not isinstance, which would ask the object's own `__class__`
            members = _members(value)
            if members.get("__module__") == namespace.get("__name__"):
                for member in list(members.values()):
                    if issubclass(type(member), _BOUND):
                        member = member.__func__
                    if type(member) in kinds:
                        yield member


_BOUND = (staticmethod, classmethod)

_members = type.__dict__["__dict__"].__get__
"""Returns the namespace of a class, without calling its metaclass."""


def _may_be(name: str, module: object) -> bool:
    """Return whether a module may be the application's."""
    namespace = variables_of(module)
    if namespace is None:
        return False
    file = namespace.get("__file__")
    if type(file) is str and _is_installed(file):
        return False
    package = name.partition(".")[0]
    return package not in sys.stdlib_module_names and package not in _OURS


def name_of(function: Any) -> str | None:
    """Return `module.qualname` of the function inside a decorated one."""
    found = names_of(function)
    return f"{found[0]}.{found[1]}" if found is not None else None


def left_of(function: Any) -> Any:
    """Copy the names of a function that ends, which `is_applications` and `name_of` need."""
    left = types.SimpleNamespace()
    if (names := names_of(function)) is not None:
        left.__module__, left.__qualname__ = names
    return left


def _known(function: Any) -> bool | None:
    """Return whether `function` is the application's; None if the running program decides."""
    found = names_of(function)
    if found is None:
        return False
    module = found[0]
    if module in _MAIN:
        return True
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names or package in _OURS:
        return False
    file = _file(module, function)
    return None if file is not None and _is_installed(file) else True


def _file(module: str, function: Any) -> str | None:
    namespace = variables_of(sys.modules.get(module))
    file = None if namespace is None else namespace.get("__file__")
    if type(file) is not str:
        code = attribute_of(attribute_of(function, "__wrapped__") or function, "__code__")
        file = getattr(code, "co_filename", None)
    return file if type(file) is str else None


def _is_installed(file: str) -> bool:
    return _INSTALLED[0] in file or _INSTALLED[1] in file


def _is_of_program(function: Any) -> bool:
    names = names_of(function)
    file = _file(names[0], function) if names is not None else None
    main = variables_of(sys.modules.get("__main__")) or {}
    module, script = getattr(main.get("__spec__"), "name", None), main.get("__file__")
    if names is None or file is None or not isinstance(script, str):
        return False
    if isinstance(module, str):
        if not _is_installed(script):
            return False
        package, files = _run_as_module(module)
    else:
        package, files = _run_as_script(os.path.basename(script))
    return file in files if files else names[0].partition(".")[0] == package


_Program = tuple[str | None, frozenset[str]]
"""The program's package, and the files of its distribution, if they are known."""
_NONE: _Program = (None, frozenset())


@functools.lru_cache(maxsize=1)
def _run_as_module(module: str) -> _Program:
    package = module.partition(".")[0]
    if package in _RUNNERS:
        return _NONE
    entry = "\n" + module.replace(".", "/") + ".py,"
    # Most distributions have their package's name, and reading all others takes long.
    for distribution in chain(_distributions_named(package), metadata.distributions()):
        if entry in "\n" + (distribution.read_text("RECORD") or ""):
            return package, _files(distribution)
    return package, frozenset()


@functools.lru_cache(maxsize=1)
def _run_as_script(name: str) -> _Program:
    if not name.endswith((".py", ".pyc")):
        for group in ("console_scripts", "gui_scripts"):
            for entry in metadata.entry_points(group=group, name=name):
                package = entry.value.partition(":")[0].partition(".")[0]
                if package in _RUNNERS:
                    return _NONE
                found = getattr(entry, "dist", None)
                return package, frozenset() if found is None else _files(found)
    return _NONE


def _distributions_named(package: str) -> tuple[metadata.Distribution, ...]:
    try:
        return (metadata.distribution(package),)
    except metadata.PackageNotFoundError:
        return ()


def _files(distribution: metadata.Distribution) -> frozenset[str]:
    return frozenset(
        os.path.normpath(str(distribution.locate_file(file)))
        for file in distribution.files or ()
        if file.suffix in _CODE
    )
