"""What others wrote, at every place where it comes out: one line stays one line, secrets stay in.

Tools, caches, errors, settings and files may be named by anybody. Each sink is given hostile names,
and is asked for everything that it writes.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap import faults, state, text
from metertap.alerts.thresholds import read as thresholds
from metertap.cli import main, report_tables, tables
from metertap.cli.client import Unreachable
from metertap.cli.reports import Report
from metertap.cli.run import run as run_command
from metertap.runtime.alert_watch import usable
from metertap.settings import config_file, otel_variables, settings
from metertap.settings.settings import Settings
from metertap.settings.table import TABLE
from metertap.tables.figures import tables as tables_of
from metertap.tables.markup import html
from metertap.tables.table import Table, plain
from metertap_exporters.http.app import Response, json_error, send
from metertap_exporters.json.text import dumped
from metertap_exporters.otlp import otlp_reader
from support.warned import warnings_of

CONTROL = (
    *map(chr, range(32)),
    "\x7f",
    *map(chr, range(0x80, 0xA0)),
    *"\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
    "\ud800",
    "\U000e0001",
)
HOSTILE = (
    "a\r\nFORGED \x1b]0;title\x07\x1b[31m\u202e\nmetertap: FORGED\r\n<b onclick=x>"
    f"{''.join(CONTROL)}\nFORGED"
)
SECRET = "hunter2secret"
QUOTED = (
    f"http://user:{SECRET}@host:1/path",
    f"redis://:{SECRET}@host/0",
    f"Authorization: Bearer {SECRET}",
    f"headers={{'authorization': 'Basic {SECRET}'}}",
    f"authorization=Bearer%20{SECRET}",
    f"x-api-key={SECRET}, other",
    f"https://host/?access_token={SECRET}&x=1",
    f'{{"password": "{SECRET}"}}',
    f"Cookie: {SECRET}",
)


class Named(Exception):
    """An error whose text is somebody's."""


def told(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


# By sink: a function that gives it a name, and returns what it writes (or None: it logs).
Sink = Callable[[str, Path], Any]


def _document(name: str) -> Any:
    with metertap.instrument(json_endpoint=False):
        metertap.record_tool_call(name, False, 5.0, name)
        metertap.cache_meter(name).hit()
        return json.loads(json.dumps(metertap.get_all_metrics()))


def _snapshot(name: str, _folder: Path) -> str:
    return "".join(map(plain, tables_of(_document(name), name=name, url=name)))


def _notebook(name: str, _folder: Path) -> str:
    return html(tables_of(_document(name), name=name, url=name))


def _json_of_the_endpoint(name: str, _folder: Path) -> str:
    return dumped(_document(name))


def _doctor(name: str, _folder: Path) -> str:
    with metertap.instrument(json_endpoint=False, service_name=name) as tap:
        metertap.cache_meter(name).hit()
        faults.fault(name, name)
        report: Report = json.loads(json.dumps(tap.diagnosis()))
    report["notes"] = [name]
    report["otlp_problem"] = report["disabled_because"] = name
    report["left_out_duplicates"] = {name: 1}
    shown = report_tables.tables(name, report, report_tables.problems(report), True)
    return "".join(plain(table, 100) for table in shown)


def _plain_table(name: str, _folder: Path) -> str:
    return plain(Table(name, (name, "x"), [(name, name)], legend=name.partition("\n")[0]), 80)


def _json_on_stdout(name: str, _folder: Path) -> None:
    tables.write_json({name: [name]})


def _complaint(name: str, _folder: Path) -> None:
    tables.complain("top", str(Unreachable(name, name)))


def _run_command(name: str, _folder: Path) -> None:
    # What an argument of a program can be: no NUL, and surrogates only of single bytes.
    run_command(["--", name.replace("\0", "").replace("\ud800", "\udc80")])


def _open_command(name: str, _folder: Path) -> None:
    main(["open", "http://" + name.replace("\0", "")])


def _alert_payload(name: str, _folder: Path) -> str:
    from metertap.alerts.counters import read
    from metertap.alerts.evaluator import Evaluator
    from metertap_exporters.alert_receivers import payloads

    with metertap.instrument(json_endpoint=False):
        table = {"error_rate": 0.01, "minimum_calls": 1, "for": "0s", "window": "5m"}
        evaluator = Evaluator(thresholds(table), 1.0, 0.0, read(state.recorder()))
        alerts: Any = ()
        for number in range(1, 400, 10):
            metertap.record_tool_call(name, False, 5.0, name)
            alerts = evaluator.evaluate(float(number), float(number), read(state.recorder()))
    firing = [alert for alert in alerts if alert.state == "firing"]
    assert firing
    sender = payloads.Sender(service=name, instance=name, page=name)
    for alert in firing:  # what a chat or a pager shows as it is
        assert text.printable(alert.finding.summary) == alert.finding.summary
    bodies = (
        payloads.to_webhook(firing, [], sender),
        payloads.to_alertmanager(firing, [], sender, time.time()),
    )
    return "".join(body.decode("ascii") for body in bodies)


def _http_error(name: str, _folder: Path) -> str:
    lines: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        lines.extend([status, *(f"{name}: {value}" for name, value in headers)])

    answer: Response = json_error(406, name, reason=name)
    body = send(answer, {"REQUEST_METHOD": "GET"}, start_response)
    assert lines[0].isascii()
    return "\n".join([*lines, *(part.decode("ascii") for part in body)])


def _warning(name: str, _folder: Path) -> None:
    faults.warn("%s and %s: %d", name, Named(name), 1)


def _warning_once(name: str, _folder: Path) -> None:
    faults.warn_once(name, "%s", faults.shown(Named(name), str))


def _info(name: str, _folder: Path) -> None:
    faults.info("%s", name)


def _fault(name: str, _folder: Path) -> None:
    faults.fault("here", Named(name))
    faults.fault(name, name)


def _variables(name: str, _folder: Path) -> None:
    found = settings.read({}, {variable: name for variable, _ in TABLE.values()})
    otel_variables.read(
        {
            "OTEL_METRICS_EXPORTER": name,
            "OTEL_SDK_DISABLED": name,
            "OTEL_METRIC_EXPORT_INTERVAL": name,
            "OTEL_EXPORTER_OTLP_PROTOCOL": name,
            "OTEL_EXPORTER_OTLP_ENDPOINT": name,
        }
    )
    assert found.access_problem


def _unknown_variables(name: str, _folder: Path) -> None:
    settings.read({name: 1}, {f"METERTAP_{name}": "1"})


def _configuration_file(name: str, folder: Path) -> None:
    quoted = json.dumps(name.replace("\ud800", ""), ensure_ascii=True)
    quoted = quoted.replace("\\ud", "\\\\ud").replace("\x7f", "\\u007f")
    file = folder / "metertap.toml"
    file.write_text(f"{quoted} = 1\nwindow_size = {quoted}\n[alerts]\n{quoted} = {quoted}\n")
    found = settings.read({}, {"METERTAP_CONFIG": str(file)})
    usable(found.alerts or {})


def _name_of_a_file(name: str, _folder: Path) -> None:
    config_file.read(name.replace("\0", "")[:200])


SINKS: list[Sink] = [
    _snapshot,
    _notebook,
    _json_of_the_endpoint,
    _doctor,
    _plain_table,
    _json_on_stdout,
    _complaint,
    _run_command,
    _open_command,
    _alert_payload,
    _http_error,
    _warning,
    _warning_once,
    _info,
    _fault,
    _variables,
    _unknown_variables,
    _configuration_file,
    _name_of_a_file,
]


@pytest.mark.faults
@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__[1:])
def test_hostile_names_stay_in_their_line(
    sink: Sink,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda _address: True)
    caplog.set_level(logging.INFO, "metertap")
    made = sink(HOSTILE, tmp_path) or ""
    out, err = capsys.readouterr()
    logged = [record.getMessage() for record in caplog.records]
    assert [line for line in logged if "\n" in line] == []
    everything = "\n".join([made, out, err, *logged])
    assert "FORGED" in everything  # the sink has it
    for line in everything.split("\n"):
        assert not line.startswith(("FORGED", "metertap: FORGED"))
        # JSON is not shown by lines, and escapes all but this one itself.
        unseen = [char for char in line if not char.isprintable()]
        assert set(unseen) <= ({"\x7f"} if sink is _json_of_the_endpoint else set())


@pytest.mark.faults
@pytest.mark.parametrize("quoted", QUOTED)
@pytest.mark.parametrize(
    "sink",
    [_warning, _warning_once, _info, _fault, _variables, _unknown_variables, _name_of_a_file],
    ids=lambda sink: sink.__name__[1:],
)
def test_secrets_that_a_message_quotes_are_not_told(
    sink: Sink, quoted: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "metertap")
    sink(quoted, tmp_path)
    assert told(caplog)
    assert SECRET not in told(caplog)


@pytest.mark.parametrize("quoted", QUOTED)
def test_secrets_in_settings_are_not_in_the_diagnosis(quoted: str) -> None:
    # Everything that `doctor` and the endpoint show of it, refused values and taken ones.
    options: Any = {
        "json_host": quoted,
        "prometheus_host": quoted,
        "service_name": "shop",
        "allowed_hosts": "x",
        "alert_webhook_url": quoted,
        "alertmanager_url": quoted,
        "token": f"two words {SECRET}",
        "window_size": quoted,
    }
    with metertap.instrument(**options) as tap:
        metertap.record_tool_call("search", True, 1.0)
        assert SECRET not in json.dumps(tap.diagnosis())


def test_an_address_of_a_webhook_is_not_shown_when_it_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Chat services keep the secret in the path.
    address = f"https://hooks.example.org/services/T0/B0/{SECRET}"
    settings.read({}, {"METRICS_JSON_PORT": address, "METERTAP_ALERT_EVERY": address})
    assert len(warnings_of(caplog)) == 2
    assert "https://hooks.example.org/…" in told(caplog)
    assert SECRET not in told(caplog)


HEADERS = (f"Authorization {SECRET}", f"good=1,bad header {SECRET}", f"a b={SECRET}", SECRET)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("headers", HEADERS)
def test_headers_that_cannot_be_read_are_not_told(
    headers: str, protocol: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otlp`")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    reader = otlp_reader(Settings(otlp_protocol=protocol))
    try:
        assert "Header format invalid" in told(caplog)
        assert SECRET not in told(caplog)
    finally:
        reader.delivery.discard()
        reader.shutdown(0)


def test_the_scrape_escapes_what_its_format_escapes() -> None:
    # Other characters are the value of a label: Prometheus has to get them as they are.
    names = [HOSTILE, 'a"b', "a\\", "a\n"]
    with metertap.instrument(json_endpoint=False, prometheus=True) as tap:
        for name in names:
            metertap.record_tool_call(name, True, 1.0)
        exporter = tap.pipeline.prometheus
        assert exporter is not None
        for is_openmetrics in (False, True):
            lines = exporter.text(is_openmetrics=is_openmetrics).decode().split("\n")
            assert [line for line in lines if line.startswith(("FORGED", "metertap: "))] == []
            assert all(line == "" or line[0] == "#" or " " in line for line in lines)


def test_the_log_of_a_program_shows_one_line_each() -> None:
    code = (
        "import metertap\nfrom metertap import faults\n"
        f"faults.warn('%s', {HOSTILE!r})\nfaults.fault('here', ValueError({HOSTILE!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 2
    assert all(line.isprintable() for line in done.stderr.splitlines())
