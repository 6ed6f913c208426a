"""`metertap run -- CMD …`: execute a program and measure it.

CMD replaces this process (on POSIX), so signals, stdio and the exit status are its own. Its Python
finds `run/site/sitecustomize.py` on PYTHONPATH. That file instruments the program before its first
line, and removes itself from the environment, so that programs it starts are not measured.
"""

from __future__ import annotations

import os
import sys

from metertap.run.environment import INTERPRETER, add_hook

TYPE_CHECKING = False  # imports made here delay the program
if TYPE_CHECKING:
    from collections.abc import Sequence

_OTHER_LANGUAGES = {"bun", "bunx", "deno", "java", "node", "npm", "npx", "perl", "php", "ruby"}
"""Programs that run no Python; a user may not know that a server's command is one of them."""
_JUPYTER = "jupyter"
"""A command whose hint is printed before it starts, since it replaces this process."""
_NOT_FOUND, _NOT_EXECUTABLE, _USAGE = 127, 126, 2  # as in shells


def run(program: Sequence[str], *, children: bool = False) -> int:
    """Execute `program`; return only if it could not be executed, or on Windows."""
    command = list(program[1:] if program[:1] == ["--"] else program)
    if not command:
        sys.stderr.write("metertap run: which command? metertap run -- CMD [ARG ...]\n")
        return _USAGE
    name = command[0]
    path = _which(name)
    if path is None:
        exists = os.path.exists(name) if os.path.dirname(name) else _which(name, os.F_OK)
        problem = "is not executable" if exists else "command not found"
        is_script = name.endswith(".py") and os.path.isfile(name)
        hint = f"; did you mean: metertap run -- python {name}" if is_script else ""
        _complain(f"{name}: {problem}{hint}")
        return _NOT_EXECUTABLE if exists else _NOT_FOUND
    is_ignored = _ignores_environment(_python_arguments(path, command))
    # A Python that ignores the hook would leave it in its environment, for its children to run.
    environment = _environment(children, hook=children or not is_ignored)
    if name in {"python", "python3"} and not is_ignored:
        environment[INTERPRETER] = sys.executable
    if is_ignored:
        sys.stderr.write(
            "metertap: the program runs unmeasured, because its Python is started with -I, -E "
            f"or -S and ignores PYTHONPATH: {_printable(name)}\n"
        )
    if not _OTHER_LANGUAGES.isdisjoint(_runners(path)):
        sys.stderr.write(
            "metertap: only Python is measured, and this is none unless it starts one: "
            f"{_printable(name)}\n"
        )
    if not children and os.path.basename(path).removesuffix(".exe") == _JUPYTER:
        sys.stderr.write(
            "metertap: kernels of notebooks are programs of their own, which metertap run "
            "--children measures\n"
        )
    if os.name == "nt":
        import subprocess

        return subprocess.call(  # noqa: S603  # the user's own command
            [path, *command[1:]], env=environment
        )
    signal = __import__("_signal")  # the core of `signal`, which makes no enumerations
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores these signals, and an ignored signal stays ignored in the next program.
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execve(path, command, environment)  # noqa: S606  # the user's own command
    except OSError as error:
        _complain(f"{name}: {error.strerror}")
        return _NOT_EXECUTABLE


def _complain(problem: str) -> None:
    sys.stderr.write(f"metertap run: {_printable(problem)}\n")


def _printable(text: str) -> str:
    from metertap.text import printable

    return printable(text)


def _which(command: str, mode: int = os.F_OK | os.X_OK) -> str | None:
    """Find a command on the path like `shutil.which`, without its many imports."""
    if os.name == "nt":
        import shutil

        return shutil.which(command, mode)
    if os.path.dirname(command):
        return command if _is_file(command, mode) else None
    path = os.environ.get("PATH")
    if path is None:
        path = os.confstr("CS_PATH") or os.defpath
    candidates = (os.path.join(folder, command) for folder in path.split(os.pathsep) if path)
    return next((found for found in candidates if _is_file(found, mode)), None)


def _is_file(path: str, mode: int) -> bool:
    return os.access(path, mode) and not os.path.isdir(path)


def _environment(children: bool, *, hook: bool) -> dict[str, str]:
    """Return this process's environment; with `hook`, the program's Python will find the hook."""
    environment = dict(os.environ)
    if _coerced_locale():
        del environment["LC_CTYPE"]
    if hook:
        add_hook(environment)
    if children:
        environment["METERTAP_RUN_CHILDREN"] = "true"
    else:
        environment.pop("METERTAP_RUN_CHILDREN", None)
    return environment


def _coerced_locale() -> bool:
    """Return whether this Python itself set LC_CTYPE, as it does in the C locale (PEP 538).

    The program's Python would take it for the user's choice, and not turn on its UTF-8 mode.
    """
    if "LC_CTYPE" not in os.environ:
        return False
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read()
    except OSError:  # only Linux has this file
        return False
    return b"\0LC_CTYPE=" not in b"\0" + given


def _python_arguments(path: str, command: Sequence[str]) -> list[str]:
    """Return the arguments of the program's Python, as far as they are known before it starts."""
    if _is_python(path):
        return list(command[1:])
    words = _interpreter_line(path)
    for index, word in enumerate(words):
        if _is_python(word):
            return words[index + 1 :]
    return []


def _runners(path: str) -> list[str]:
    """Return the names of a program and, if it is a script, of what its first line starts."""
    return [os.path.basename(word) for word in (path, *_interpreter_line(path))]


def _is_python(path: str) -> bool:
    name = os.path.basename(path).removesuffix(".exe")
    return name.rstrip("0123456789.") in {"python", "pypy"}


def _interpreter_line(path: str) -> list[str]:
    """Return the command in a script's first line, or in its second if a shell executes that."""
    try:
        with open(path, "rb") as script:
            first, second = script.readline(4096), script.readline(4096)
        if second.startswith(b"'''exec'"):  # as installers write it for a long path
            return _words(second[len(b"'''exec'") :].decode())
        return _words(first[2:].decode()) if first.startswith(b"#!") else []
    except (OSError, ValueError):
        return []


def _words(line: str) -> list[str]:
    """Split a line as a shell does. Raises ValueError where a quotation does not end."""
    if not any(mark in line for mark in "'\"\\#"):
        return line.split()
    import shlex

    return shlex.split(line)


def _ignores_environment(arguments: Sequence[str]) -> bool:
    """Return whether a Python with these arguments ignores PYTHONPATH or imports no `site`."""
    remaining = iter(arguments)
    for argument in remaining:
        if argument[:1] != "-" or not argument[1:2].isalnum():
            return False  # this is the program; its own arguments follow
        for position, letter in enumerate(argument[1:], start=2):
            if letter in "IES":
                return True
            if letter in "cm":
                return False
            if letter in "WX":  # they take a value: the rest of the word, or the next word
                if position == len(argument):
                    next(remaining, None)
                break
    return False
