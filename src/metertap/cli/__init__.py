"""The command line: `metertap run | snapshot | top | doctor | weight | costs | demo | …`."""

from __future__ import annotations

import sys

from metertap._version import __version__

TYPE_CHECKING = False  # imports made here delay the program that `run` executes
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; 2 is a wrong command line, as in argparse."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["run"]:
        children = words[1:2] == ["--children"]
        program = words[2:] if children else words[1:]
        if program and (program[0] == "--" or not program[0].startswith("-")):
            return _execute(program, children=children)
    from metertap.cli.streams import failed, open_closed

    open_closed()
    parser, commands = _parser()
    if words and not words[0].startswith("-") and words[0] not in commands:
        parser.error(_no_command(words[0], commands))
    server: list[str] = []
    if words[:1] == ["weight"] and "--" in words:  # what follows is another program's command line
        end = words.index("--")
        words, server = words[:end], words[end + 1 :]
    options = parser.parse_args(words)
    if options.command == "weight" and bool(server) == bool(options.url):
        parser.error("weight: one of -- CMD and --url is needed")
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status = _run(options, server)
        if not sys.stdout.closed:  # a server on stdio closes it
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        return failed(options.command, error)
    return status


_FUNCTIONS = {
    "snapshot": "snapshot:snapshot",
    "costs": "costs:costs",
    "open": "open_page:open_page",
    "mcp": "assistant.server:serve",
    "weight": "weight.command:weight",
    "top": "top:top",
    "doctor": "doctor:doctor",
    "rules": "rules:rules",
    "targets": "targets:targets",
    "dashboards": "dashboards:dashboards",
    "trends": "trends.command:run",
    "regressions": "regressions.command:run",
    "demo": "demo.command:demo",
}
"""The function of each command, by its module in this package.

Its parameters are named like the options; `options` is all of them, `given` the credentials.
"""
_COSTS_OF_HISTORY = "costs_history:costs_of_history"
_CREDENTIALS = ("token_file", "authorities", "certfile", "keyfile")


def _run(options: argparse.Namespace, server: Sequence[str]) -> int:
    if options.command == "run":
        return _execute(options.program, children=options.children)
    # Each command imports what it needs: `run` must cost the program next to nothing.
    import importlib
    import inspect

    known = {**vars(options), "options": options, "server": server}
    if "token_file" in known:
        from metertap.cli.credentials import Credentials

        known["given"] = Credentials(**{name: known[name] for name in _CREDENTIALS})
    wanted = _FUNCTIONS[options.command]
    if options.command == "costs" and options.history:
        wanted = _COSTS_OF_HISTORY
    module, _, name = wanted.partition(":")
    function = getattr(importlib.import_module(f"metertap.cli.{module}"), name)
    status: int = function(**{name: known[name] for name in inspect.signature(function).parameters})
    return status


def _add_credentials(command: argparse.ArgumentParser) -> None:
    """Add the options that name a token and certificates."""
    from pathlib import Path

    files = command.add_argument_group(
        "token and certificates",
        "For an address that asks for them. What your own measured processes need is found "
        "without these options.",
    )
    for name, dest, help_ in (
        (
            "--token-file",
            "token_file",
            "the token is in FILE (default: METERTAP_TOKEN_FILE or METERTAP_TOKEN)",
        ),
        ("--cacert", "authorities", "the authority that signed the address's certificate"),
        ("--cert", "certfile", "your certificate, for an address that asks for one"),
        ("--key", "keyfile", "its key, if that is not in the same file"),
    ):
        files.add_argument(name, dest=dest, type=Path, metavar="FILE", help=help_)


def _execute(program: Sequence[str], *, children: bool) -> int:
    from metertap.cli.run import run

    return run(program, children=children)


def _no_command(word: str, commands: Collection[str]) -> str:
    from metertap.parsing import did_you_mean, nearest
    from metertap.text import printable

    meant = did_you_mean(nearest(word, commands)) or f": it is one of {', '.join(commands)}"
    return f"{printable(word)} is no command{meant}"


def _parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Make the parser of the command line; the second item are the names of the commands."""
    import argparse

    from metertap.cli import regressions, trends
    from metertap.cli.history_options import add_costs
    from metertap.cli.weight.options import add_to

    parser = argparse.ArgumentParser(
        prog="metertap",
        description="Show which tool handlers and caches of running Python programs are slow, fail "
        "or help.",
        epilog="Begin with: metertap run -- python server.py; then, in another terminal: metertap "
        "open. Each command has a --help of its own, and says how to install a missing extra.",
    )
    parser.add_argument("--version", action="version", version=f"metertap {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run a Python program, measured, without touching its code",
        description="Run CMD measured, without changing its code. It keeps its process id, "
        "signals, stdio and exit status. With its first tool or cache it prints the address of its "
        "live page on stderr; metertap open finds it too. metertap must be installed for the "
        "Python of CMD. Settings are environment variables: METRICS_JSON_PORT=0 takes any free "
        "port.",
        usage="metertap run [--children] -- CMD [ARG ...]",
    )
    run.add_argument(
        "--children", action="store_true", help="measure Python programs that CMD starts, too"
    )
    run.add_argument(
        "program",
        nargs=argparse.REMAINDER,
        metavar="CMD",
        help="the program with its arguments, for example: python server.py",
    )

    snapshot = commands.add_parser(
        "snapshot",
        help="show the metrics of a running process",
        description="Show the metrics of the process at URL, or of every measured process of "
        "this user, the newest last.",
    )
    costs = commands.add_parser(
        "costs",
        help="show what tools spend on models, what caches save, and what to change",
        description="Show the costs of the process at URL, or of every measured process of this "
        "user.",
    )
    doctor = commands.add_parser(
        "doctor",
        help="show what is wrong and what is measured",
        description="Ask the process at URL, or check this Python environment and every measured "
        "process of this user. The exit status is 1 if anything is wrong: a problem that is shown "
        "in red, or a process that cannot be asked.",
    )
    page = commands.add_parser(
        "open",
        help="open the live page of a running process in a browser",
        description="Print the address of the live page and open it in a browser: the page at "
        "URL, or that of your running program. If several programs run, they are listed instead.",
    )
    for command in (snapshot, costs, doctor, page):
        command.add_argument(
            "url",
            nargs="?",
            help="for example http://127.0.0.1:9109, or a process id, or the name of a service "
            "(default: what runs here)",
        )
    for command in (snapshot, costs, doctor):
        command.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
        _add_credentials(command)
    add_costs(costs)
    doctor.add_argument(
        "--all",
        dest="everything",
        action="store_true",
        help="show settings, readers and every patch, too",
    )

    commands.add_parser(
        "mcp",
        help="answer an assistant's questions about running processes (extra mcp)",
        description="Serve MCP on stdio: which tool is slow, what fails, do caches help, what has "
        "changed. Read-only.",
    )
    _add_credentials(add_to(commands))

    top = commands.add_parser(
        "top",
        help="watch the tools and caches of running processes, live (extra cli)",
        description="Watch the processes at URL, or every measured process of this user, new "
        "ones too. Where stdin and stdout are no terminal, or TERM is dumb: one table.",
    )
    top.add_argument("urls", nargs="*", metavar="url", help="for example http://127.0.0.1:9109")
    top.add_argument("--once", action="store_true", help="print one table")
    top.add_argument(
        "--json", dest="as_json", action="store_true", help="print the same once as JSON"
    )
    top.add_argument(
        "--interval",
        type=_interval,
        default=1.0,
        metavar="S",
        help="look every S seconds (default: 1)",
    )
    _add_credentials(top)
    _add_credentials(trends.add_parser(commands))
    _add_credentials(regressions.add_parser(commands))

    demo = commands.add_parser(
        "demo",
        help="a real MCP server under load, with live figures (extra demo)",
        description="Start an MCP server and a client that calls its tools, and show the figures "
        "live. At the end, compare them with what the client counted; the exit status is 1 if "
        "they disagree.",
    )
    demo.add_argument(
        "--duration", type=float, metavar="S", help="end after S seconds (default: at Ctrl-C)"
    )
    demo.add_argument(
        "--port", type=int, default=0, help="of the MCP server (default: any free one)"
    )
    demo.add_argument(
        "--history",
        metavar="FILE",
        help="keep the figures in FILE, for trends, regressions and costs",
    )
    demo.add_argument(
        "--costs", action="store_true", help="add tools that ask models, and show what they cost"
    )
    demo.add_argument(
        "--release",
        choices=["1.0", "2.0"],
        default="1.0",
        help="version of the MCP server; the tool search is slower in 2.0 (default: 1.0)",
    )

    rules = commands.add_parser(
        "rules",
        help="write Prometheus alerting and recording rules",
        description="Write the rules that [tool.metertap.alerts] asks for.",
    )
    rules.add_argument("--out", metavar="FILE", help="the file to write (default: stdout)")
    rules.add_argument(
        "--config",
        metavar="FILE",
        help="the file with the table (default: METERTAP_CONFIG, else pyproject.toml)",
    )

    targets = commands.add_parser(
        "targets",
        help="write the list of processes that a Prometheus on this machine scrapes",
        description="Write the Prometheus endpoints of the measured processes of this user, each "
        "worker apart, as file_sd_configs reads them.",
    )
    targets.add_argument("--out", metavar="FILE", help="the file to write (default: stdout)")
    _add_credentials(targets)

    dashboards = commands.add_parser(
        "dashboards",
        help="write Grafana dashboards",
        description="Write dashboards, and a provisioning folder ready to mount.",
    )
    dashboards.add_argument("--out", metavar="DIR", required=True, help="the folder to write into")
    dashboards.add_argument(
        "--prometheus",
        metavar="URL",
        default="http://localhost:9090",
        help="where Grafana finds Prometheus (default: %(default)s)",
    )
    return parser, commands.choices


def _interval(text: str) -> float:
    import argparse

    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("takes a number of seconds from 0.1 to 3600")
    return seconds
