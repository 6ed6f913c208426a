"""`metertap doctor`: what is measured, what is not, and why."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

import metertap
import metertap_instrumentation
from metertap import state
from metertap.cli import doctor, main
from metertap.install_command import install_command
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.recording.cache_series import EVICTIONS, Reading, Statistics
from metertap.runtime import running
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Library
from servers.mcp_stacks import stacks
from servers.otlp_receiver import receiver
from support import environments
from support.programs import METERTAP, NO_LIBRARIES, run
from support.waiting import wait_for

pytestmark = pytest.mark.programs


def _instrumentation(module: str, below: str = "1000") -> Instrumentation:
    """Return an instrumentation of pytest, whose one patch is of something absent."""
    patches = [PatchSet(module, [Target("does_not_exist", lambda *_: None)])]
    library = Library("tools.ghost", "ghost", "pytest", "pytest", "0", below)
    return Instrumentation(library, lambda _version: patches)


@pytest.fixture
def also(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that adds an instrumentation to the table of all."""

    def add(instrumentation: Instrumentation) -> None:
        library, load = instrumentation.library, metertap_instrumentation._load
        monkeypatch.setitem(LIBRARIES, library.module, library)
        monkeypatch.setattr(
            metertap_instrumentation,
            "_load",
            lambda module: instrumentation if module == library.module else load(module),
        )

    return add


def unfolded(text: str) -> str:
    """Return what was printed on one line, so that folded cells are whole again."""
    return " ".join(text.split())


def test_the_environment_is_checked_by_patching_it_and_nothing_is_delivered() -> None:
    with receiver() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        checked = run(METERTAP, "doctor", "--all", env=env)
    assert (checked.status, checked.stderr) == (0, b"")
    assert collector.requests == []
    out = checked.stdout.decode()
    assert "http/protobuf" in out
    assert out.startswith(f"this environment: metertap {metertap.__version__}, Python 3.")
    assert re.search(
        r"mcp +\d\S+ +installed +mcp\.client\.session:ClientSession\.send_request", out
    )
    assert "json endpoint" not in out  # of a command, which serves nothing
    assert re.search(r"mcp +tools +\d", out)
    assert "failed" not in out


def test_settings_and_patches_are_shown_where_all_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("mcp.client.session")  # what is not imported waits for that
    long = "a" * 150
    with metertap.instrument(service_name="shop", window_size=50, allowed_hosts=[long]) as tap:
        metertap.record_cache_hit(long)
        url = wait_for(lambda: tap.json_url)
        assert main(["doctor", url]) == 0
        shorter = capsys.readouterr().out
        assert main(["doctor", url, "--all"]) == 0
        longer = capsys.readouterr().out
    for only_in_all in ("METRICS_WINDOW_SIZE = 50 (keyword)", "ClientSession.send_request"):
        assert only_in_all not in unfolded(shorter)
        assert only_in_all in unfolded(longer)
    for text in (shorter, longer):
        assert max(map(len, text.splitlines())) <= 100
        assert text.count("a" * 10) > 1  # what is too long is folded, and none of it is lost


def test_a_measured_process_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with metertap.instrument(service_name="shop", window_size=50) as tap:
        metertap.record_tool_call("search", True, 1.0)
        url = wait_for(lambda: tap.json_url)
        wait_for(lambda: tap.diagnosis()["process_metrics"]["state"] != "waiting")
        assert main(["doctor", url, "--all"]) == 0
        out = capsys.readouterr().out
        assert main(["doctor", url, "--json"]) == 0
        (report,) = json.loads(capsys.readouterr().out)
        expected = tap.diagnosis()
    assert re.search(r"service +shop\b", out)
    assert f"json endpoint  {url}" in out
    assert "METRICS_WINDOW_SIZE = 50 (keyword)" in out
    assert report == {"process": url, **json.loads(json.dumps(expected))}


def test_without_an_address_running_processes_come_after_the_environment(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with metertap.instrument(service_name="shop") as tap:
        metertap.record_tool_call("search", True, 1.0)
        wait_for(lambda: tap.json_url)
        checked = run(METERTAP, "doctor", "--json", env=NO_LIBRARIES)
    assert checked.status == 0
    names = [report["process"] for report in json.loads(checked.stdout)]
    assert names[0] == "this environment"
    assert [name.partition(" pid ")[0] for name in names[1:]] == ["shop"]


def test_every_cache_is_listed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with metertap.instrument() as tap:
        metertap.record_cache_hit("prompts")
        series = state.recorder().cache("shop.square", "functools", frozenset({EVICTIONS}))
        series.readings[Reading(lambda: Statistics(1, 2, entries=2))] = None
        state.recorder().cache("shop.sessions", "cachetools").hits[None]()
        url = wait_for(lambda: tap.json_url)
        assert main(["doctor", url]) == 0
        out = capsys.readouterr().out
        listed = tap.diagnosis()["caches"]
    assert re.search(r"prompts +manual +counted by hand +entries", out)
    assert re.search(r"shop\.square +functools +read +size_rejections, by_tool", out)
    assert re.search(r"shop\.sessions +cachetools +counted +entries", out)
    assert [item["how"] for item in listed] == ["by hand", "read", "patched"]
    assert [item["objects"] for item in listed] == [0, 1, 0]


def test_caches_that_share_a_name_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    cachetools = pytest.importorskip("cachetools")
    with metertap.instrument() as tap:
        caches = [cachetools.LRUCache(2) for _ in range(3)]
        for name, cache in zip(("prices", "prices", "sessions"), caches, strict=True):
            metertap.name_cache(cache, name)
            cache.get("a")
        assert main(["doctor", wait_for(lambda: tap.json_url)]) == 0
        out = capsys.readouterr().out
        del cache
        caches.pop(0)
        assert {item["objects"] for item in tap.diagnosis()["caches"]} == {1}
    assert re.search(r"prices +cachetools +counted, 2 caches under this name", out)
    assert not re.search(r"sessions +cachetools +counted,", out)


def test_a_line_for_an_own_cache_that_is_wrong_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metertap.toml").write_text(
        '[tool.metertap.caches]\n"json:loads" = { miss = "nothing" }\n"json:dumps" = {}\n'
    )
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    assert main(["doctor", "--all"]) == 1
    out = unfolded(capsys.readouterr().out)
    row = r"\[tool\.metertap\.caches\] – "
    assert re.search(rf"{row}failed json:loads: miss = 'nothing' is unknown; known: none", out)
    assert re.search(rf"{row}installed json:dumps", out)


def test_each_line_for_an_own_handler_is_listed_by_what_became_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metertap.toml").write_text(
        "[tool.metertap.tools]\n"
        '"json:loads" = { name = "args:s" }\n'
        '"json:load" = { name = "arg:file" }\n'
        '"json:dumps" = {}\n'
        '"nowhere.to.be.found:run" = {}\n'
    )
    monkeypatch.setenv("METERTAP_CONFIG", str(tmp_path / "metertap.toml"))
    assert main(["doctor", "--all"]) == 1
    out = unfolded(capsys.readouterr().out)
    row = r"\[tool\.metertap\.tools\] – "
    assert re.search(
        rf"{row}failed json:loads: name = 'args:s' is unknown; did you mean arg\?", out
    )
    assert re.search(rf"{row}installed json:dumps", out)
    assert re.search(rf"{row}waits for its import nowhere\.to\.be\.found:run", out)


def test_a_hand_made_record_that_was_left_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    stack = next(stack for stack in stacks() if stack.empty is not None)

    async def call() -> None:
        assert stack.empty is not None
        server = stack.empty("shop")

        @server.tool()
        def search() -> str:
            metertap.record_tool_call("search", success=True, latency_ms=1.0)
            return "found"

        async with stack.connect(server) as session:
            await session.call_tool("search", {})

    with metertap.instrument() as tap:
        asyncio.run(call())
        assert main(["doctor", wait_for(lambda: tap.json_url)]) == 0
    assert "1 hand-made records of 'search'" in capsys.readouterr().out


def test_decorated_tools_are_listed_and_those_that_are_registered_without_us_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    routes = []

    def get(function: Any) -> Any:
        routes.append(function)
        return function

    with metertap.instrument() as tap:
        get(metertap.tool(name="search")(lambda: None))
        metertap.tool(name="prices")(get(lambda: None))
        assert not any("stand above" in note for note in tap.diagnosis()["notes"])
        for route in routes:
            route()
        prices, search = tap.diagnosis()["decorated_tools"]
        assert main(["doctor", wait_for(lambda: tap.json_url)]) == 0
    assert (prices["name"], prices["calls"], search["calls"]) == ("prices", 0, 1)
    assert (prices["file"], prices["line"]) == (__file__, search["line"] + 1)
    out = unfolded(capsys.readouterr().out)
    assert "not called in this process: prices (" in out
    assert "has to stand above @metertap.tool" in out
    assert re.search(r"prices 0 /.* search 1 /", out)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("instrumentation", "shown"),
    [
        (_instrumentation("json"), r"^  pytest +AttributeError: json:does_not_exist"),
        (_instrumentation("json", "1"), r"^  pytest +pytest \S+ is"),
        (
            _instrumentation("broken_library"),
            r"^  broken import +broken_library: ZeroDivisionError",
        ),
        (_instrumentation("json.nowhere"), r"^  broken import +json\.nowhere: ModuleNotFoundError"),
    ],
    ids=["failed patch", "version", "broken library", "module that is gone"],
)
def test_what_cannot_be_measured_is_shown_and_is_the_exit_status(
    instrumentation: Instrumentation,
    shown: str,
    also: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "broken_library.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    also(instrumentation)
    assert main(["doctor"]) == 1
    _title, wrong, *_rest = capsys.readouterr().out.splitlines()
    assert re.search(shown, wrong)  # the problem comes first


def test_a_library_that_is_not_installed_is_no_problem(
    also: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    also(_instrumentation("nowhere.to.be.found"))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].strip() == "nothing is wrong"
    assert re.search(r"pytest +\w+ +\S+ +on +0 of 1 modules, 1 not imported yet", out)


def test_an_endpoint_that_could_not_be_bound_is_a_problem(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with metertap.instrument(prometheus=True, prometheus_port=port) as tap:
            metertap.record_tool_call("search", True, 1.0)
            url = wait_for(lambda: tap.json_url)
            problem = f"127.0.0.1:{port} cannot be bound"  # after it was waited for
            wait_for(lambda: problem in str(tap.diagnosis()["endpoints"][1]["problem"]))
            assert main(["doctor", url]) == 1
    assert f"prometheus endpoint  {problem}" in capsys.readouterr().out


def test_an_exporter_that_is_not_installed_is_a_problem(tmp_path: Path) -> None:
    core = environments.core(tmp_path / "core")
    # The exporters share a folder with the SDK, so the linked one must be hidden again.
    hiding = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.grpc'] = None; "
    code = hiding + "from metertap.cli import main; sys.exit(main(['doctor']))"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}
    checked = run(core, "-c", code, env=env)
    assert checked.status == 1
    told = "".join(checked.stdout.decode().split())  # it is folded
    assert "".join(install_command("otlp").split()) in told


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("PERFORMANCE_METRICS_ENABLED", "no", r"disabled +PERFORMANCE_METRICS_ENABLED is false"),
        ("OTEL_SDK_DISABLED", "true", r"disabled +OTEL_SDK_DISABLED is true"),
        ("METERTAP_DISABLED_INSTRUMENTATIONS", "mcp", r"mcp +\w+ +\S+ +switched off"),
    ],
)
def test_what_was_switched_off_is_no_problem(
    variable: str,
    value: str,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert re.search(shown, out)
    assert not re.search(r"\bmcp +\w+ +\S+ +not installed", out)


def test_a_setting_that_was_refused_is_a_problem_without_being_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METRICS_WINDOW_SIZE", "many")
    monkeypatch.setenv("METERTAP_WINDOW", "50")
    with metertap.instrument() as tap:
        metertap.record_tool_call("search", True, 1.0)
        assert main(["doctor", wait_for(lambda: tap.json_url)]) == 1
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 100
    assert "METRICS_WINDOW_SIZE='many' cannot be used" in unfolded(told)
    assert "METERTAP_WINDOW is no setting of metertap and is ignored; did you mean " in unfolded(
        told
    )
    assert "did you mean METRICS_WINDOW_SIZE?" in unfolded(told)


def test_nothing_is_called_right_that_could_not_be_asked() -> None:
    running.register("shop", None, None, problem="127.0.0.1:9109 cannot be bound")
    done = run(METERTAP, "doctor", env=NO_LIBRARIES)
    running.unregister()
    assert done.status == 1
    assert "shop pid" in done.told
    assert b"nothing is wrong in what could be asked; 1 could not" in done.stdout


def test_the_first_lines_say_that_a_program_below_has_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METRICS_WINDOW_SIZE", "many")
    with metertap.instrument() as tap:
        metertap.record_tool_call("search", True, 1.0)
        wait_for(lambda: tap.json_url)
        done = run(METERTAP, "doctor", env={**NO_LIBRARIES, "METRICS_WINDOW_SIZE": None})
    first = done.stdout.decode().splitlines()[1].strip()
    assert first == "nothing is wrong here; 1 of the programs below has a problem"
    assert done.status == 1


def test_a_service_of_several_workers_is_shown_with_all_its_calls(
    capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    with metertap.instrument(json_port=free_port) as tap:

        @metertap.tool
        def price() -> None:
            pass

        price()
        assert tap.pipeline.json is not None
        diagnosis = {
            **tap.diagnosis(),
            "workers": [{"pid": 1, "state": "reached", "age_seconds": 0.0, "reason": None}] * 4,
            "ended_workers": 0,
            "killed_workers": 0,
            "calls_of_all_workers": {"price": 40, "order": 2},
        }
        tap.pipeline.json._diagnosis = lambda: diagnosis  # type: ignore[method-assign]
        assert main(["doctor", wait_for(lambda: tap.json_url)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"workers +4 workers, 42 calls;", out)
    assert re.search(r"price +40 +\S+test_doctor.py:\d+", out)


def test_an_optional_part_that_needs_an_absent_library_is_no_broken_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_of_parts.py").write_text("import a_library_that_is_absent\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor._import("shop_of_parts", optional=True) is None
    told = doctor._import("shop_of_parts", optional=False)
    assert told is not None
    assert "a_library_that_is_absent" in told
