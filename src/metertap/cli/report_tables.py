"""The report of `metertap doctor` as tables: what is wrong, what is measured, and the rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from metertap.cli.reports import (
    AlertsReport,
    CacheReport,
    DecoratedReport,
    LibraryReport,
    ProcessMetricsReport,
    Report,
)
from metertap.install_command import install_command
from metertap.tables.document import Document
from metertap.tables.figures import workers_told
from metertap.tables.table import Columns, Table, table_of

Row = tuple[str, str]
"""A label, and the text beside it."""


def tables(
    name: str, report: Report, wrong: list[Row], everything: bool, about: str = ""
) -> Iterator[Table]:
    """Return a report as tables: the problems `wrong` first, with `everything` also the details."""
    title = f"{name}: metertap {report['version']}, Python {report['python']}"
    first = Table(title, ("", ""), [*wrong])
    first.styles = {row: "red" for row, (label, _) in enumerate(wrong) if label}
    if about:
        first.rows.append(("", about))
    first.rows += [*_worth_knowing(report), *_addresses(report)]
    yield first
    installed = [item for item in report["instrumentations"] if item["state"] != "not installed"]
    yield table_of(_LIBRARIES, installed, words=len(_LIBRARIES))
    if report.get("decorated_tools"):  # an older metertap does not list them
        yield _decorated(report)
    if report.get("caches"):  # an older metertap has none
        yield _caches(report)
    if everything:
        yield Table("", ("", ""), [*_rest(report)])
        yield _patches(report)


def problems(report: Report) -> list[Row]:
    """Return the problems: what is not measured, not served or not exported, and why."""
    found = [("setting", text) for text in report.get("refused_settings", ())]
    for item in report["instrumentations"]:
        if item["problem"]:
            found.append((item["library"], item["problem"]))
        found += [
            (item["library"], patch["problem"] or f"{patch['module']} could not be patched")
            for patch in item["patches"]
            if patch["state"] == "failed"
        ]
    found += [("broken import", text) for text in report.get("broken_imports", ())]
    found += [
        (f"{item['name']} endpoint", item["problem"])
        for item in report["endpoints"]
        if item["problem"]
    ]
    if report["otlp_problem"]:
        found.append(("OTLP", report["otlp_problem"]))
    process_metrics = report.get("process_metrics")
    if process_metrics and process_metrics["problem"]:
        found.append(("process metrics", process_metrics["problem"]))
    alerts = report.get("alerts")
    found += [
        (item["receiver"], f"{item['url']}: {item['problem']}")
        for item in (alerts["receivers"] if alerts else ())
        if item["problem"]
    ]
    history = report.get("history")
    if history and history["problem"]:
        found.append(("history", history["problem"]))
    found += [("fault", f"{place}: {count}") for place, count in report["faults"].items()]
    return found


def _worth_knowing(report: Report) -> list[Row]:
    """Return facts that affect the figures without being problems."""
    found: list[Row] = []
    if report["disabled_because"]:
        found.append(("disabled", report["disabled_because"]))
    if listing_problem := report.get("listing_problem"):
        found.append(("running processes", f"cannot be listed: {listing_problem}"))
    found += [("note", note) for note in report["notes"]]
    found += [
        ("left out", f"{count} hand-made records of {tool!r}: a patch counts these calls already")
        for tool, count in report["left_out_duplicates"].items()
    ]
    return found


def _addresses(report: Report) -> list[Row]:
    """Return the name of the program, and the addresses of its endpoints."""
    service = report["service"]
    names = " ".join(filter(None, (service.get("name"), service.get("version"))))
    found = [("service", names)] if names else []
    if workers := workers_told(cast(Document, report)):
        calls = sum(report.get("calls_of_all_workers", {}).values())
        found.append(("workers", f"{workers}, {calls} calls; the rest is of the one that answers"))
    for endpoint in report["endpoints"]:
        if endpoint["problem"] is None and (endpoint["url"] or service):  # a command opens none
            state = endpoint["url"] or "waits for the first tool or cache"
            found.append((f"{endpoint['name']} endpoint", state))
    history = report.get("history")
    if history and not history["problem"]:
        written = history["last_write"]
        last = "nothing written yet" if written is None else f"written last at {_time(written)}"
        found.append(("history", f"{history['file']}: {last}"))
    return found


_LIBRARIES: Columns = {
    "library": lambda item: item["library"],
    "part": lambda item: item.get("kind", ""),  # an older metertap does not say
    "version": lambda item: item["version"] or "–",
    "state": lambda item: item["state"],
    "measured": lambda item: _measured(item) if item["state"] == "on" else item["problem"] or "",
}
"""The instrumented libraries that are installed, and how much of each is patched."""


def _measured(item: LibraryReport) -> str:
    """Count the modules of a library by the state of their patches."""
    states = Counter(patch["state"] for patch in item["patches"])
    parts = [f"{states.pop('installed', 0)} of {len(item['patches'])} modules"]
    parts += [
        f"{count} not imported yet" if state == "waiting" else f"{count} {state}"
        for state, count in states.items()
    ]
    return ", ".join(parts)


def _rest(report: Report) -> list[Row]:
    """Return the destinations of records, and the settings that differ from their defaults."""
    rows: list[Row] = []
    if report["provider"]:
        rows.append(("provider", report["provider"]))
    rows += [("recording", path) for path in report["recording_paths"]]
    rows += [("reader", f"{item['reader']} ({item['added_by']}'s)") for item in report["readers"]]
    rows.append(("OTLP", report["otlp_problem"] or report["otlp"] or "off"))
    if alerts := report.get("alerts"):  # an older metertap has none
        rows += _alerts(alerts)
    if process_metrics := report.get("process_metrics"):
        rows.append(("process metrics", _process_metrics(process_metrics)))
    rows += [
        ("setting", f"{item['variable']} = {_shown(item['value'])} ({item['source']})")
        for item in report["settings"].values()
        if item["source"] != "default"
    ]
    return rows


def _alerts(found: AlertsReport) -> list[Row]:
    """Return the thresholds of alerts, and the receivers that are notified."""
    thresholds = found["thresholds"]
    limits: dict[str, Any] = {**thresholds}
    for of_one_kind in (thresholds.get("tool", {}), thresholds.get("cache", {})):
        limits |= of_one_kind
    named = {
        "error_rate": "error rate above",
        "p95_seconds": "p95 seconds above",
        "success_objective": "success objective",
        "hit_rate": "hit rate below",
    }
    limited = [(text, limits.get(key)) for key, text in named.items()]
    shown = [f"{text} {limit:g}" for text, limit in limited if limit is not None]
    own = len(thresholds.get("tools", ())) + len(thresholds.get("caches", ()))
    if own:
        shown.append(f"others for {own} tools and caches")
    state = "" if found["running"] else " once a tool or cache is seen"
    rows = [("alerts", f"every {found['every_seconds']:g} s{state}: {'; '.join(shown)}")]
    for item in found["receivers"]:
        last = item["last_delivery"]
        told = "nothing told yet" if last is None else f"told last at {_time(last)}"
        problem = f"; {item['problem']}" if item["problem"] else ""
        rows.append((item["receiver"], f"{item['url']}: {told}{problem}"))
    return rows


def _time(unix_seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_seconds))


def _process_metrics(found: ProcessMetricsReport) -> str:
    if found["version"] is None:
        return f"not installed: {install_command('system')}"
    library = f"{found['library']} {found['version']}"
    if found["state"] == "waiting":
        return f"{library} waits for the first tool or cache"
    return f"{library}: {found['problem'] or ', '.join(found['metrics']) or found['state']}"


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _patches(report: Report) -> Table:
    """Return the state of every patch."""
    table = Table("", ("library", "version", "state", "patch"))
    for item in report["instrumentations"]:
        base = (item["library"], item["version"] or "–")
        if item["state"] != "on":
            table.rows.append((*base, item["state"], item["problem"] or ""))
            continue
        for patch in item["patches"]:
            state = "waits for its import" if patch["state"] == "waiting" else patch["state"]
            if state == "failed":
                table.styles[len(table.rows)] = "red"
            shown = ", ".join(patch["bound"]) or patch["problem"] or patch["module"]
            table.rows.append((*base, state, shown))
        table.rows += [(*base, "unverified", text) for text in item.get("unverified", ())]
    return table


def _decorated(report: Report) -> Table:
    """Return the functions that are decorated as tools, and how often they were called."""
    of_all = report.get("calls_of_all_workers")

    def calls(item: DecoratedReport) -> str:
        return str(item["calls"] if of_all is None else of_all.get(item["name"], 0))

    columns: Columns = {
        "@metertap.tool": lambda item: item["name"],
        "calls here" if of_all is None else "calls": calls,
        "decorated at": lambda item: f"{item['file']}:{item['line']}",
    }
    return table_of(columns, report.get("decorated_tools", ()), last=1)


_HOW = {"read": "read", "patched": "counted", "by hand": "counted by hand"}


def _caches(report: Report) -> Table:
    """Return how each cache is counted, and which figures its library does not provide."""

    def how(item: CacheReport) -> str:
        objects = item.get("objects", 0)  # an older metertap does not say
        more = f", {objects} caches under this name" if objects > 1 else ""
        return f"{_HOW[item['how']]}{more}"

    columns: Columns = {
        "cache": lambda item: item["name"],
        "system": lambda item: item["system"],
        "figures are": how,
        "not shown by it": lambda item: ", ".join(item["unsupported"]),
    }
    return table_of(columns, report.get("caches", ()), words=4)
