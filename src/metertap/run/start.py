"""The start of `metertap run`: measure at once, or wait until a library is imported.

Most of what can be measured comes with a library, and importing all of metertap takes longer than
many programs take to start. So nothing is imported until the program imports such a library, uses
metertap itself, or makes a cache with `functools.lru_cache`. Anything that others could notice
earlier (a port, a collector, a configuration file, modules of the program with names of Python's
own) is a reason not to wait.

This module imports only what Python itself has imported, `functools` and `gc`.
"""

from __future__ import annotations

import _thread
import atexit
import functools
import os
import sys
import time

from metertap import regular
from metertap.importing import Importing
from metertap.interpreters import is_subinterpreter
from metertap.run import greenlets, others, program_path
from metertap.run.program_path import INSTALLED, OURS, STDLIB
from metertap.runtime import listing
from metertap.settings import runtime_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from types import FrameType
    from typing import Any

PACKAGES = frozenset(
    {
        "agents",
        "aiocache",
        "anthropic",
        "async_lru",
        "cachetools",
        "cashews",
        "claude_agent_sdk",
        "diskcache",
        "django",
        "dogpile",
        "fastmcp",
        "google.genai",
        "gptcache",
        "granian",
        "gunicorn",
        "hypercorn",
        "langchain_core",
        "langgraph",
        "litellm",
        "mcp",
        "metertap_exporters",
        "metertap_instrumentation",
        "openai",
        "pydantic_ai",
        "redis",
        "redisvl",
        "uvicorn",
        "watchfiles",
        "websockets",
        "werkzeug",
    }
)
"""Packages whose import ends the waiting: measured ones, and supervisors of processes."""
_SDK = "opentelemetry.sdk"
_PREFIXES = ("METERTAP_", "METRICS_", "PROMETHEUS_", "PERFORMANCE_METRIC", "OTEL_")
_MAY_WAIT = frozenset(
    {
        "METERTAP_ALLOWED_HOSTS",
        "METERTAP_ANNOUNCE",
        "METERTAP_DISABLED_INSTRUMENTATIONS",
        "METERTAP_RUN_CHILDREN",
        "METERTAP_SERIES_LIMIT",
        "METRICS_JSON_HOST",
        "METRICS_WINDOW_SIZE",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        "OTEL_SERVICE_NAME",
        "PROMETHEUS_ENABLED",
        "PROMETHEUS_HOST",
    }
)
"""Variables that have no effect before something is measured."""
_PORTS = frozenset({"METRICS_JSON_PORT", "PROMETHEUS_PORT"})
"""A port that the system chooses, 0, opens with the first measurement; others open at once."""
_FILE = "pyproject.toml"
_MOST_BYTES = 2**20
_FUNCTOOLS = functools.cache.__code__.co_filename

_lru_cache: Any = functools.lru_cache


def start(modules_before: Iterable[str], failed: Callable[[Exception], None]) -> None:
    """Measure the program, or wait for something that can be measured.

    `modules_before` were imported before this one. `failed` is called with the reason if metertap
    turns out later to be impossible to import.
    """
    if not os.environ.get("METERTAP_RUN_CHILDREN"):
        others.watch()
    elif is_subinterpreter():  # it finds the hook in the environment, as a child does
        return
    if may_wait() or _waits_for_patches():
        _Waiting(failed).start()
    else:
        from metertap.run.hook import measure

        measure(os.environ, os.getcwd(), modules_before)


def may_wait() -> bool:
    """Return whether metertap has no visible effect before something is measured."""
    folder = program_path.first_folder()
    return (
        folder is not None
        and not any(map(_cannot_wait, os.environ.items()))
        and PACKAGES.isdisjoint(sys.modules)
        and _is_import_system_pythons()
        and not any(map(program_path.shadows, (folder, *program_path.launched())))
        and not any(map(_configures, _parents((os.getcwd(), folder, *program_path.own_entries()))))
    )


def _waits_for_patches() -> bool:
    """Return whether gevent patches the program first, and waiting does no harm."""
    folder = program_path.first_folder()
    return (
        folder is not None
        and PACKAGES.isdisjoint(sys.modules)
        and _is_import_system_pythons()
        and not any(map(program_path.shadows, (folder, *program_path.launched())))
        and greenlets.patches_later(program_path.script())
    )


def _cannot_wait(variable: tuple[str, str]) -> bool:
    name, value = variable
    if not name.startswith(_PREFIXES) or name in _MAY_WAIT:
        return False
    return name not in _PORTS or value.strip() != "0"


def _is_import_system_pythons() -> bool:
    """Return whether imports will find later what they would find now."""
    if not isinstance(__import__, type(len)):
        return False
    for finder in sys.meta_path:
        module = getattr(finder, "__module__", "") or ""
        if module.startswith("__editable__"):
            return False
        if module not in {"_frozen_importlib", "_frozen_importlib_external"}:
            try:
                for name in ("metertap_exporters", "opentelemetry.sdk", "wrapt"):
                    finder.find_spec(name, None, None)
            except Exception:
                return False
    return True


def _parents(folders: Collection[str]) -> Iterator[str]:
    seen = set()
    for folder in map(os.path.abspath, folders):
        while folder not in seen:
            seen.add(folder)
            yield folder
            folder = os.path.dirname(folder)


def _configures(folder: str) -> bool:
    """Return whether the file in `folder` may have settings of metertap's.

    What could be endless (a pipe, a device, a long file) is not read here: reading the settings
    will report it.
    """
    try:
        with regular.opened(os.path.join(folder, _FILE)) as file:
            if os.fstat(file.fileno()).st_size > _MOST_BYTES:
                return True
            text = file.read(_MOST_BYTES).translate(None, b" \t\"'")
    except regular.NotRegular:
        return True
    except OSError:
        return False
    return b"tool.metertap" in text or (b"[tool]" in text and b"metertap" in text)


class _Imported:
    """A loader that returns a module that is imported already, without executing it again."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: Any) -> Any:
        return self._module

    def exec_module(self, module: Any) -> None:
        module.__spec__ = self._spec


class _Waiting:
    """An import hook that waits for a library, and then has everything measured.

    It finds no modules itself, but Python asks it for each one before its own finders.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._environ: Mapping[str, str] = dict(os.environ)
        self._folder = os.getcwd()
        self._is_awake = _thread.allocate_lock()

    def start(self) -> None:
        """Wait for the import of a library that is measured."""
        finder: Any = self
        sys.meta_path.insert(0, finder)
        self._list()
        functools.lru_cache = self._cache_decorator()

    def _list(self) -> None:
        """List the process for `metertap snapshot`."""
        name = self._environ.get("OTEL_SERVICE_NAME", "").strip()
        shown = "null"  # its reader asks the system for the command
        if name:
            import json

            shown = json.dumps(name)
        try:
            self._file = listing.write(
                listing.UNSERVED,
                f'{{"pid": {os.getpid()}, "service": {shown}, "started": {time.time()}, '
                f'"process_start": {listing.start_of(os.getpid()) or "null"}, '
                f'"namespace": {runtime_folder.namespace() or "null"}, '
                f'"json_url": null, "prometheus_url": null, "reason": "{listing.NO_PAGE_YET}"}}',
            )
        except OSError:  # opening an endpoint reports it if nothing can be listed
            return
        self._pid = os.getpid()
        atexit.register(self._unlist)

    def _unlist(self) -> None:
        if os.getpid() == self._pid:  # a forked child is not listed
            listing.briefly(lambda: os.unlink(self._file))

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the finder's result for a library that has just begun to be measured."""
        if name == greenlets.EVENTS:
            greenlets.on_patched(self._end)
        if name in PACKAGES or name == _SDK or name.startswith("metertap."):
            self._end(caches_put_off=self._see_no_caches)
            if name in sys.modules:  # imported just now; a second execution would begin anew
                loader: Any = _Imported(sys.modules[name])
                spec = type(sys.__spec__)(name, loader)
                # Python takes the present module's own spec, and not the returned one.
                sys.modules[name].__spec__ = spec
                return spec
            # Python does not ask hooks that were added just now for this module.
            imports: Any = sys.modules.get("metertap.patching.imports")
            if imports is not None and name in PACKAGES:
                return imports.find_spec(name, path, target)
        return None

    def _end(self, caches_put_off: Callable[[], None] | None = None) -> None:
        """Measure, unless another thread does already; caches later, if they are put off."""
        if not self._is_awake.acquire(blocking=False):
            return
        finder: Any = self
        sys.meta_path[:] = [item for item in sys.meta_path if item is not finder]
        if caches_put_off is None:
            self._see_no_caches()
        atexit.unregister(self._unlist)
        # Imported modules stay. Collecting garbage among all of a program's objects meanwhile takes
        # as long as the imports themselves.
        try:
            with Importing():
                from metertap.run.hook import measure

                measure(self._environ, self._folder, caches_put_off=caches_put_off)
        except Exception as error:
            self._failed(error)

    def _see_no_caches(self) -> None:
        if functools.lru_cache is self._decorator:
            functools.lru_cache = _lru_cache

    def _cache_decorator(self) -> Any:
        """Return a function like `functools.lru_cache`, until the program makes a cache by it."""

        @functools.wraps(_lru_cache)
        def lru_cache(maxsize: Any = 128, typed: Any = False) -> Any:
            try:
                caller = sys._getframe(1)
                if caller.f_code.co_filename == _FUNCTOOLS:  # called by functools.cache
                    caller = caller.f_back or caller
                if _is_programs(caller):
                    self._end()
                    _begin_rest()
                # The function there now may be a wrapper of the program that calls this one. Only
                # metertap's own wrapper around Python's function is sure not to.
                decorate = functools.lru_cache
                around = getattr(decorate, "__wrapped__", None)
                is_measured = around is _lru_cache and decorate is not lru_cache
                return (decorate if is_measured else _lru_cache)(maxsize, typed)
            except BaseException as error:
                BaseException.with_traceback(
                    error, error.__traceback__ and error.__traceback__.tb_next
                )
                raise

        self._decorator = lru_cache
        return lru_cache


def _begin_rest() -> None:
    instrumentation: Any = sys.modules.get("metertap_instrumentation")
    begin = getattr(instrumentation, "begin_rest", None)  # another thread may be importing it
    if begin is not None:
        begin()


def _is_programs(frame: FrameType) -> bool:
    """Return whether this code is neither Python's own nor installed, nor metertap's."""
    if str(frame.f_globals.get("__name__")).partition(".")[0] in OURS:
        return False
    file = frame.f_code.co_filename
    return not file.startswith((STDLIB, "<frozen ")) and not any(name in file for name in INSTALLED)
