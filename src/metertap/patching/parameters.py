"""Functions with the same parameters as the functions that they replace.

A function that takes `*args` and `**kwargs` and passes them on costs 0.15 µs more than a direct
call: it makes a tuple, two dictionaries and a list, while CPython 3.11 and newer run a call with
known arguments in the same loop. Besides, `inspect` shows other parameters for it, and an async one
accepts wrong arguments. So the source of the replacement is written with the original's own
parameters, as `dataclasses` and `namedtuple` write theirs. Only a function that itself takes
`*args` and `**kwargs` is replaced by one that does.

Compiling takes a fifth of a millisecond. It is done once for each number of parameters, with names
of ours, which are then replaced for each function.
"""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from types import CellType, CodeType, FunctionType
from typing import Any, cast

FILE = "<metertap, passed over as importlib._bootstrap is>"
"""The file name in tracebacks. Its two words make `warnings` and `logging` look for their caller
further out: with `stacklevel=2`, a function means the program's code and not this."""
OURS = "_metertap_"
"""The prefix of all names in such a function that are not the original's."""
_VARIABLE = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_NO_PLACES: Mapping[str, str] = {}


def shaped(
    method: Callable[..., Any],
    source: str,
    places: Mapping[str, str] = _NO_PLACES,
    /,
    *,
    of_program: bool = False,
    **names: Any,
) -> Callable[..., Any]:
    """Return the function `call` that a source defines, with the parameters of `method`.

    The source has placeholders for its `kind` (`def`, or `async def` as the method is), for
    `awaiting` the method, for its `call`, and for the texts of `written`; `places` has the text of
    further ones. Other names in it begin with an underscore, and are variables or keys of `names`.
    These become cells of the function, since a replacement of a function `of_program` has that
    one's globals, in which annotations are evaluated.
    """
    function = cast(FunctionType, method)
    names["method"] = method
    code = _compiled(
        source,
        _shape(function),
        inspect.iscoroutinefunction(method),
        tuple(places.items()),
        tuple(names),
    )
    made = FunctionType(
        _renamed(code, canonical(function)),
        function.__globals__ if of_program else globals(),
        argdefs=function.__defaults__,
        closure=tuple(CellType(names[name.removeprefix(OURS)]) for name in code.co_freevars),
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def as_async(source: str) -> str:
    """Return the source of an async function, even if the method is not async."""
    return source.replace("{kind}", "async def").replace("{awaiting}", "await ")


def canonical(function: Callable[..., Any]) -> dict[str, str]:
    """Return the parameters of a function by their names in `written`.

    Not by `inspect.signature`, which the program may override.
    """
    code = cast(FunctionType, function).__code__
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return {f"{OURS}{place}": name for place, name in enumerate(code.co_varnames[:count])}


def stated(function: Callable[..., Any]) -> str:
    """Return the parameters of a function if all may be given by position; "" otherwise."""
    positional, only_positional, named, flags = _shape(function)
    if only_positional or named or flags:
        return ""
    names = cast(FunctionType, function).__code__.co_varnames[:positional]
    first_default = positional - len(cast(FunctionType, function).__defaults__ or ())
    return ", ".join([*names[:first_default], *(f"{name}=None" for name in names[first_default:])])


_Shape = tuple[int, int, int, int]
"""The numbers of positional parameters, of positional-only ones and of keyword-only ones, and the
flags for `*` and `**`."""


def _shape(function: Callable[..., Any]) -> _Shape:
    code = cast(FunctionType, function).__code__
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    return (*counts, code.co_flags & _VARIABLE)


@functools.lru_cache(maxsize=500)
def _compiled(
    source: str,
    shape: _Shape,
    is_async: bool,
    places: tuple[tuple[str, str], ...],
    names: tuple[str, ...],
) -> CodeType:
    of = _written(shape)
    awaiting = "await " if is_async else ""
    text = re.sub(r"(?<![\w.])_(?=[^\W_])", OURS, source).format(
        kind="async def" if is_async else "def",
        awaiting=awaiting,
        call=f"{awaiting}{OURS}method({of['arguments']})",
        **of,
        **dict(places),
    )
    cells = ", ".join(f"{OURS}{name}" for name in names)
    code = compile(f"def make({cells}):\n{textwrap.indent(text, ' ')}", FILE, "exec")
    for _ in ("make", "call"):
        (code,) = (it for it in code.co_consts if type(it) is CodeType)
    return code


def _renamed(code: CodeType, names: Mapping[str, str]) -> CodeType:
    """Return `code` with renamed variables, also in the code objects among its constants."""

    def renamed(value: Any) -> Any:
        if type(value) is tuple:
            return tuple(map(renamed, value))
        return names.get(value, value) if type(value) is str else value

    return code.replace(co_varnames=renamed(code.co_varnames), co_consts=renamed(code.co_consts))


def written(function: Callable[..., Any]) -> dict[str, str]:
    """Return the `parameters` of a function, and the `arguments` that pass all of them on.

    Also, for sources that take the arguments apart: the `first` one (a method's instance), a tuple
    of the other positional `args`, and a dictionary of the `kwargs`.
    """
    return _written(_shape(function))


def _written(shape: _Shape) -> dict[str, str]:
    positional, only_positional, named, flags = shape
    names = [f"{OURS}{place}" for place in range(positional + named + 2)]
    parameters, arguments = names[:positional], names[:positional]
    by_name = names[positional : positional + named]
    rest = iter(names[positional + named :])
    first = names[0] if positional else "None"
    args = [f"{name}, " for name in arguments[1:]]
    if only_positional:
        parameters.insert(only_positional, "/")
    if flags & inspect.CO_VARARGS:
        more = next(rest)
        parameters.append(f"*{more}")
        arguments.append(f"*{more}")
        args.append(f"*{more}, " if positional else f"*{more}[1:], ")
        first = first if positional else f"({more} or (None,))[0]"
    elif named:
        parameters.append("*")
    parameters += by_name
    arguments += [f"{name}={name}" for name in by_name]
    kwargs = [f"'{name}': {name}, " for name in by_name]
    if flags & inspect.CO_VARKEYWORDS:
        kwargs.append(f"**{next(rest)}")
        parameters.append(kwargs[-1])
        arguments.append(kwargs[-1])
    is_all = positional == 1 and len(args) == 1  # the tuple of `*args` itself
    return {
        "parameters": ", ".join(parameters),
        "arguments": ", ".join(arguments),
        "first": first,
        "args": args[0].strip("*, ") if is_all else f"({''.join(args)})",
        "kwargs": f"{{{''.join(kwargs)}}}",
    }
