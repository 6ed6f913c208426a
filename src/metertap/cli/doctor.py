"""`metertap doctor [URL]`: what is wrong, what is measured, and with `--all` the rest."""

from __future__ import annotations

import importlib
import sys
from typing import cast

from metertap.cli.client import NONE, Unreachable
from metertap.cli.credentials import Credentials
from metertap.cli.processes import asked, processes, report_of, told_of, unserved
from metertap.cli.report_tables import problems, tables
from metertap.cli.reports import Report
from metertap.cli.tables import complain, show, write_json
from metertap.importing import Importing
from metertap.runtime import running

_WIDTH = 100
_COMMAND = "doctor"
_ENVIRONMENT = "this environment"
_ABOUT = "the table shows what can be measured here; %s"
_REST = "metertap doctor --all shows the settings, readers and patches, too."


def doctor(
    url: str | None, *, as_json: bool, everything: bool = False, given: Credentials = NONE
) -> int:
    """Show the problems of one process, or of this environment and every running process.

    Returns exit status 1 if something that should be measured is not.
    """
    reports: list[tuple[str, Report]] = []
    if url is None:
        reports.append((_ENVIRONMENT, _this_environment()))
    status = not_asked = 0
    for process, answer in asked(processes(url, given), report_of):
        if isinstance(answer, Unreachable):
            complain(_COMMAND, told_of(process, answer))
            status = 1
            not_asked += 1
        else:
            name = f"{process.name} pid {process.pid}" if process.pid else process.name
            reports.append((name, answer))
    for item, reason in unserved() if url is None else ():
        complain(_COMMAND, f"{item.service} pid {item.pid} cannot be asked: {reason}")
        not_asked += 1
        status = 1 if item.problem else status
    if as_json:
        write_json([{"process": name, **report} for name, report in reports])
    running_ones = "running programs follow" if reports[1:] else "no running program could be asked"
    found = [problems(report) for _, report in reports]
    status = 1 if any(found) else status
    troubled = sum(map(bool, found[1:]))
    for (name, report), wrong in zip(reports, found, strict=True):
        if not as_json:
            is_first = name == _ENVIRONMENT
            about = _ABOUT % running_ones if is_first else ""
            rows = wrong or [("", _fine(not_asked, troubled if is_first else 0))]
            show(tables(name, report, rows, everything, about), width=_WIDTH)
    if reports and not (as_json or everything):
        sys.stdout.write(f"{_REST}\n")
    return status


def _fine(not_asked: int, troubled: int) -> str:
    """Say that a report has no problems; `troubled` of the reports below it have some."""
    told = "nothing is wrong here" if troubled else "nothing is wrong"
    if not_asked:
        told += f" in what could be asked; {not_asked} could not"
    if troubled:
        told += f"; {troubled} of the programs below {'has' if troubled == 1 else 'have'} a problem"
    return told


def _this_environment() -> Report:
    """Instrument this process, import every library that can be patched, and report the patches.

    It exports and serves nothing: endpoints of a command wait for a first tool, which never comes.
    """
    import metertap_instrumentation
    from metertap.runtime.instrument import instrument

    with instrument() as tap, Importing():
        tap.pipeline.deliver_nothing()
        tap.pipeline.process_metrics.load()
        imported = [
            _import(patch_set.module, optional=patch_set.optional)
            for instrumentation in metertap_instrumentation.known()
            for patch_set in instrumentation.patch_sets
        ]
        broken = list(filter(None, imported))
        report = {
            **tap.diagnosis(),
            "service": {},  # the service would be this command
            "broken_imports": broken,
            "listing_problem": running.problem(),
        }
        return cast(Report, report)


def _import(module: str, *, optional: bool) -> str | None:
    """Import `module`; return what is wrong with it.

    It is no problem if a library is absent, if its version lacks an `optional` module, or if that
    module needs another library, which is absent.
    """
    try:
        importlib.import_module(module)
    except Exception as error:
        is_absent = isinstance(error, ModuleNotFoundError) and (
            optional or error.name == module.partition(".")[0]
        )
        if not is_absent:
            return f"{module}: {type(error).__qualname__}: {error}"
    return None
