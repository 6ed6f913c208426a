"""`metertap doctor [URL]`: what is measured, what is not, and why."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime
from typing import Any

from metertap.cli.processes import Unreachable, fetch, processes
from metertap.cli.tables import Table, printable, show
from metertap.runtime import running


def doctor(url: str | None, *, as_json: bool) -> int:
    """Ask one process, or check this environment and every running process.

    Exit status 1 where something that should be measured is not.
    """
    reports: list[tuple[str, dict[str, Any]]] = []
    if url is None:
        reports.append(("this environment", _this_environment()))
    status = 0
    for process in processes(url):
        try:
            name = f"{process.name} pid {process.pid}" if process.pid else process.name
            reports.append((name, fetch(process, "/doctor")))
        except Unreachable as error:
            sys.stderr.write(f"metertap doctor: {printable(str(error))}\n")
            status = 1
    if as_json:
        json.dump([{"process": name, **report} for name, report in reports], sys.stdout, indent=2)
        sys.stdout.write("\n")
    for name, report in reports:
        if not as_json:
            show(filter(None, (_facts(name, report), _patches(report), _caches(report))))
        if _problems(report):
            status = 1
    return status


def _this_environment() -> dict[str, Any]:
    """Instrument this very process, import what could be patched, and see what binds.

    Nothing is served or delivered: endpoints wait for a tool or a cache, which never comes.
    """
    import metertap_instrumentation
    from metertap.runtime.tap import instrument

    with instrument() as tap:
        tap.pipeline.deliver_nothing()
        tap.pipeline.process_metrics.load()
        modules = [
            patch_set.module
            for instrumentation in metertap_instrumentation.libraries()
            for patch_set in instrumentation.patch_sets
        ]
        broken = list(filter(None, map(_import, modules)))
        return {
            **tap.diagnosis(),
            "service": {},  # which is us
            "broken_imports": broken,
            "listing_problem": running.problem(),
        }


def _import(module: str) -> str | None:
    """Import `module`; returns what is wrong with it, which an absent library is not."""
    try:
        importlib.import_module(module)
    except Exception as error:
        library = module.partition(".")[0]
        if not isinstance(error, ModuleNotFoundError) or error.name != library:
            return f"{module}: {type(error).__qualname__}: {error}"
    return None


def _facts(name: str, report: dict[str, Any]) -> Table:
    table = Table(f"{name}: metertap {report['version']}, Python {report['python']}", ("", ""))
    rows: list[tuple[str, str]] = []
    if report["disabled_because"]:
        rows.append(("disabled", report["disabled_because"]))
    service = report["service"]
    if service:
        names = filter(None, (service.get("name"), service.get("version")))
        rows.append(("service", " ".join(names)))
    if report["provider"]:
        rows.append(("provider", report["provider"]))
    rows.extend(("recording", path) for path in report["recording_paths"])
    rows.extend(
        ("reader", f"{item['reader']} ({item['added_by']}'s)") for item in report["readers"]
    )
    for endpoint in report["endpoints"]:
        state = endpoint["url"] or endpoint["problem"] or "waits for the first tool or cache"
        rows.append((f"{endpoint['name']} endpoint", state))
    rows.append(("OTLP", report["otlp_problem"] or report["otlp"] or "off"))
    rows.extend(_alerts(report.get("alerts")))
    if report.get("process_metrics"):  # an older metertap has none
        rows.append(("process", _process_metrics(report["process_metrics"])))
    rows.extend(
        ("setting", f"{item['variable']} = {_shown(item['value'])} ({item['source']})")
        for item in report["settings"].values()
        if item["source"] != "default"
    )
    rows.extend(("note", note) for note in report["notes"])
    if report.get("listing_problem"):
        rows.append(("running processes", f"cannot be listed: {report['listing_problem']}"))
    rows.extend(("broken import", text) for text in report.get("broken_imports", ()))
    rows.extend(
        ("left out", f"{count} hand-made records of {tool!r}: a patch counts these calls already")
        for tool, count in report["left_out_duplicates"].items()
    )
    rows.extend(("fault", f"{place}: {count}") for place, count in report["faults"].items())
    table.rows.extend(rows)
    return table


def _alerts(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    """How alerts are evaluated and told; nothing where there are none, or of an older metertap."""
    if found is None:
        return []
    limits = {**found["thresholds"], **found["thresholds"]["tool"], **found["thresholds"]["cache"]}
    named = {
        "error_rate": "error rate above",
        "p95_seconds": "p95 seconds above",
        "success_objective": "success objective",
        "hit_rate": "hit rate below",
    }
    shown = [f"{text} {limits[key]:g}" for key, text in named.items() if limits[key] is not None]
    own = len(limits["tools"]) + len(limits["caches"])
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
    return datetime.fromtimestamp(unix_seconds).strftime("%Y-%m-%d %H:%M:%S")


def _process_metrics(found: dict[str, Any]) -> str:
    if found["version"] is None:
        return "not installed: pip install 'metertap[system]'"
    library = f"{found['library']} {found['version']}"
    if found["state"] == "waiting":
        return f"{library} waits for the first tool or cache"
    return f"{library}: {found['problem'] or ', '.join(found['metrics']) or found['state']}"


def _shown(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _patches(report: dict[str, Any]) -> Table:
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


def _caches(report: dict[str, Any]) -> Table | None:
    if not report.get("caches"):  # or it is asked of an older metertap
        return None
    table = Table("", ("cache", "system", "figures are", "not shown by it"))
    for item in report["caches"]:
        how = {"read": "read", "patched": "counted", "by hand": "counted by hand"}[item["how"]]
        objects = item.get("objects", 0)  # an older metertap does not say
        if objects > 1:
            how = f"{how}, {objects} caches under this name"
        table.rows.append((item["name"], item["system"], how, ", ".join(item["unsupported"])))
    return table


def _problems(report: dict[str, Any]) -> bool:
    failed = any(
        patch["state"] == "failed"
        for item in report["instrumentations"]
        for patch in item["patches"]
    )
    unsupported = any(item["problem"] for item in report["instrumentations"])
    unserved = any(item["problem"] for item in report["endpoints"]) or report["otlp_problem"]
    broken = report["faults"] or report.get("broken_imports")
    unread = (report.get("process_metrics") or {}).get("problem")
    receivers = (report.get("alerts") or {}).get("receivers", ())
    untold = any(receiver["problem"] for receiver in receivers)
    return bool(failed or unsupported or unserved or broken or unread or untold)
