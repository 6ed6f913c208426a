"""The tap and the process: begun once, ended once, and quiet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import metertap
from metertap import faults, state
from metertap.runtime.tap import active_tap
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.sdk


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
        env={**os.environ, **environment},
    )


def test_instrument_again_is_the_same_tap(caplog: pytest.LogCaptureFixture) -> None:
    tap = metertap.instrument(json_endpoint=False)
    assert metertap.instrument() is tap
    assert warnings_of(caplog) == []
    assert metertap.instrument(window_size=5) is tap
    assert tap.settings.window_size == 1000
    assert len(warnings_of(caplog)) == 1


def test_instrument_from_many_threads_is_one_tap() -> None:
    found = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        found.append(metertap.instrument(json_endpoint=False))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_a_with_block_ends_the_tap_and_keeps_what_was_recorded() -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        metertap.record_tool_call("search", True)
        assert tap.is_active
        assert active_tap() is tap
    assert not tap.is_active
    assert active_tap() is None
    assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    tap.shutdown()  # again


def test_after_shutdown_instrument_begins_anew_with_its_own_settings() -> None:
    first = metertap.instrument(window_size=5, json_endpoint=False)
    first.shutdown()
    with metertap.instrument(window_size=6, json_endpoint=False) as second:
        assert second is not first
        assert state.settings().window_size == 6


def test_a_tap_that_was_shut_down_shows_what_the_process_measures() -> None:
    first = metertap.instrument(json_endpoint=False)
    metertap.record_tool_call("search", True)
    first.shutdown()
    assert "shut down" in repr(first)
    assert "shut down" in first._repr_html_()
    assert (first.is_active, first.snapshot()["enabled"]) == (False, False)
    metertap.record_tool_call("search", True)  # nothing is recorded now
    assert first.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    with metertap.instrument(window_size=7, json_endpoint=False) as second:
        metertap.record_tool_call("search", True)
        assert "shut down" not in repr(first) + first._repr_html_()
        for tap in (first, second):
            assert (tap.is_active, tap.snapshot()["enabled"]) == (True, True)
            assert tap.settings.window_size == 7
            assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 2
    assert repr(first) == repr(second)


def test_the_end_of_an_earlier_tap_does_not_end_a_later_one() -> None:
    first = metertap.instrument(json_endpoint=False)
    first.shutdown()
    second = metertap.instrument(json_endpoint=False)
    first.shutdown()
    assert active_tap() is second
    metertap.uninstrument()
    assert not second.is_active


def test_reset_forgets_records_settings_and_faults() -> None:
    metertap.instrument(window_size=5, json_endpoint=False)
    metertap.record_tool_call("search", True, float("nan"))
    metertap.reset()
    document = metertap.get_all_metrics()
    assert document["tool_metrics"] == {}
    assert state.settings().window_size == 1000
    assert active_tap() is None


def test_settings_read_by_a_thread_do_not_replace_what_instrument_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record by hand reads the settings, while the main thread calls `instrument`."""
    reading, told = threading.Event(), threading.Event()
    read = state.read

    def slow_read() -> object:
        reading.set()
        told.wait(0.2)  # without a lock, instrument() would come and go meanwhile
        return read()

    monkeypatch.setattr(state, "read", slow_read)
    thread = threading.Thread(target=metertap.record_tool_call, args=("search", True))
    thread.start()
    assert reading.wait(60)
    with metertap.instrument(window_size=5, json_endpoint=False):
        told.set()
        thread.join()
        assert state.settings().window_size == 5


def test_nothing_is_printed_to_stdout() -> None:
    finished = run(
        """
        import metertap
        with metertap.instrument(windw_size=3) as tap:
            metertap.record_tool_call("search", True, float("nan"))
            metertap.cache_meter("prompts").hit()
            tap.snapshot(), tap.diagnosis(), tap.flush()
        """,
        METRICS_WINDOW_SIZE="many",
    )
    assert finished.stdout == ""
    assert "METRICS_WINDOW_SIZE='many'" in finished.stderr
    assert "windw_size" in finished.stderr
    assert len(finished.stderr.splitlines()) == 3


def test_importing_it_imports_no_library_that_it_measures_or_exports_with() -> None:
    finished = run(
        """
        import json, sys
        from metertap import *
        print(json.dumps(sorted(sys.modules)))
        """
    )
    loaded = {name.partition(".")[0] for name in json.loads(finished.stdout)}
    assert not loaded & {"mcp", "fastmcp", "rich", "grpc", "requests", "httpx", "google"}
    assert "opentelemetry.exporter" not in json.loads(finished.stdout)
    assert "metertap" in loaded


def test_importing_it_reads_no_setting_and_starts_no_thread() -> None:
    finished = run(
        """
        import threading
        from metertap import *
        print(threading.active_count())
        """,
        METRICS_WINDOW_SIZE="many",
    )
    assert (finished.stdout, finished.stderr) == ("1\n", "")


def test_instrument_imports_nothing_that_the_program_does_not_use() -> None:
    finished = run(
        """
        import json, sys, metertap
        metertap.instrument()
        print(json.dumps(sorted(sys.modules)))
        """
    )
    loaded = {name.partition(".")[0] for name in json.loads(finished.stdout)}
    assert not loaded & {"mcp", "fastmcp", "rich", "grpc", "httpx", "google"}


@pytest.mark.parametrize("is_known", [True, False])
def test_a_shutdown_does_not_wait_for_an_endpoint_that_comes_up_meanwhile(
    monkeypatch: pytest.MonkeyPatch, free_port: int, *, is_known: bool
) -> None:
    is_coming_up, info = threading.Event(), faults.info

    def slowly(*arguments: object) -> None:
        is_coming_up.set()
        time.sleep(0.3)  # meanwhile the shutdown has begun
        info(*arguments)

    monkeypatch.setattr(faults, "info", slowly)
    tap = metertap.instrument(json_port=free_port if is_known else 0, announce=True)
    metertap.record_tool_call("search", True, 1.0)
    assert is_coming_up.wait(60)
    end = threading.Thread(target=tap.shutdown, daemon=True)
    end.start()
    end.join(60)
    assert not end.is_alive()


def test_a_tap_says_in_one_line_what_it_measures() -> None:
    tap = metertap.instrument(service_name="shop", json_port=0)
    metertap.record_tool_call("search", True)
    metertap.CacheMeter("prices", "own").hit()
    url = wait_for(lambda: tap.json_url)
    assert repr(tap) == f"<metertap.Tap shop {url}/ 1 tool, 1 cache>"
    metertap.record_tool_call("book", True)
    tap.shutdown()
    assert repr(tap) == "<metertap.Tap shop shut down; metertap.instrument() begins again>"
    html = tap._repr_html_()
    assert "shut down" in html
    assert "search" in html  # what was recorded stays


def test_a_tap_that_is_off_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tap = metertap.instrument(service_name="shop")
    assert repr(tap).startswith("<metertap.Tap shop off: ")
    assert "OTEL_SDK_DISABLED" in repr(tap)
    assert "OTEL_SDK_DISABLED" in tap._repr_html_()
    tap.shutdown()
