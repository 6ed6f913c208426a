"""`metertap mcp`: a real MCP client asks about a real process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

import metertap
from metertap.cli.assistant import answers
from metertap.cli.processes import processes
from metertap.runtime.running import running
from support import environments
from support.ports import free_port
from support.programs import METERTAP, run
from support.waiting import wait_for

pytestmark = [pytest.mark.mcp, pytest.mark.programs]

Ask = Callable[..., Awaitable[str]]


def session(talk: Callable[[ClientSession, Ask], Awaitable[Any]]) -> Any:
    """What `talk` returns, which is given a session with the server and a short way to call."""

    async def live() -> Any:
        # The client of the SDK does not pass on the whole environment.
        parameters = StdioServerParameters(
            command=METERTAP, args=["mcp"], env={"XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
        )
        async with stdio_client(parameters) as streams, ClientSession(*streams) as found:
            await found.initialize()

            async def ask(tool: str, **arguments: Any) -> str:
                result = await found.call_tool(tool, arguments)
                (content,) = result.content
                return str(content.text)

            return await talk(found, ask)

    with metertap.instrument(service_name="shop") as tap:
        for milliseconds in (1.0, 2.0):
            metertap.record_tool_call("quick", True, milliseconds)
            metertap.record_tool_call("slow", True, milliseconds * 1000)
        metertap.record_tool_call("broken", False, 3.0, "ValueError")
        meter = metertap.cache_meter("prices")
        for hit in (True, True, True, False):
            (meter.hit if hit else meter.miss)()
        wait_for(lambda: tap.json_url)
        wait_for(running)
        return asyncio.run(live())


def test_an_assistant_learns_what_is_slow_what_fails_and_whether_the_cache_helps() -> None:
    async def talk(_session: ClientSession, ask: Ask) -> list[str]:
        return [
            await ask("list_processes"),
            await ask("slowest_tools"),
            await ask("failing_tools"),
            await ask("cache_hit_rates", process="shop"),
            await ask("slowest_tools", process="nowhere"),
            await ask("slowest_tools", limit=1),
        ]

    listed, slow, failing, caches, nowhere, one = session(talk)
    assert f"shop pid {os.getpid()} http://127.0.0.1:" in listed
    rows = [line.split()[0] for line in slow.splitlines() if line.startswith("  ")]
    assert rows[:4] == ["tool", "slow", "quick", "broken"]
    assert "broken" in failing
    assert "ValueError 1" in failing
    assert "slow" not in failing
    assert "prices" in caches
    assert "75.0" in caches
    assert nowhere == "no measured process is called nowhere"
    assert "slow" in one
    assert "quick" not in one


def test_what_changed_since_it_was_asked_before() -> None:
    async def talk(_session: ClientSession, ask: Ask) -> list[str]:
        first = await ask("what_changed")
        metertap.record_tool_call("broken", False, 3.0, "ValueError")
        return [first, await ask("what_changed"), await ask("what_changed")]

    first, second, third = session(talk)
    assert "slow: 2 calls, 0 failed" in first
    assert second.endswith("broken: 1 calls, 1 failed")
    assert second.count("\n") == 0
    assert third == "nothing was called"


def test_every_tool_is_read_only_and_described() -> None:
    async def talk(found: ClientSession, _ask: Ask) -> Any:
        return [tool.model_dump(by_alias=True) for tool in (await found.list_tools()).tools]

    tools = session(talk)
    assert {tool["name"] for tool in tools} == {
        *("list_processes", "slowest_tools", "failing_tools", "cache_hit_rates", "what_changed")
    }
    for tool in tools:
        assert tool["annotations"]["readOnlyHint"] is True
        assert tool["description"]


def test_answers_are_bounded_and_do_nothing_to_a_terminal() -> None:
    with metertap.instrument(service_name="shop") as tap:
        for number in range(300):
            name = f"\x1b[31m{number}" + "x" * 500
            metertap.record_tool_call(name, False, 1.0, "E" * 300)
        wait_for(lambda: tap.json_url)
        wait_for(running)
        texts = [
            answers.slow_tools("", 10_000),
            answers.failing_tools("", 10_000),
            answers.changes("", {}),
        ]
    for text in texts:
        assert len(text) < 21_000
        assert "\x1b" not in text
        assert all(line.isprintable() for line in text.splitlines())


def test_no_name_is_a_line_of_its_own() -> None:
    forged = "x\nFORGED\r\nFORGED\x0bFORGED\u2028FORGED"
    with metertap.instrument(service_name=forged) as tap:
        metertap.record_tool_call(forged, False, 1.0, forged)
        metertap.cache_meter(forged).hit()
        wait_for(lambda: tap.json_url)
        wait_for(running)
        texts = [
            answers.running_processes(),
            answers.changes("", {}),
            answers.changes(forged * 2, {}),
            answers.failing_tools("", 10),
            answers.cache_rates("", 10),
        ]
    for text in texts:
        assert "FORGED" in text
        assert [line for line in text.splitlines() if line.startswith("FORGED")] == []


def test_names_that_begin_alike_are_rows_of_their_own() -> None:
    begin = "fetch_" + "x" * 150
    with metertap.instrument(service_name="shop") as tap:
        metertap.record_tool_call(f"{begin}_one", True, 5.0)
        metertap.record_tool_call(f"{begin}_two", False, 500.0, "ValueError")
        metertap.cache_meter(f"{begin}_one").hit()
        metertap.cache_meter(f"{begin}_two").miss()
        wait_for(lambda: tap.json_url)
        wait_for(running)
        slow, failing = answers.slow_tools("", 10), answers.failing_tools("", 10)
        caches, changed = answers.cache_rates("", 10), answers.changes("", {})
    assert [text.count("fetch_") for text in (slow, failing, caches, changed)] == [2, 1, 2, 2]
    assert [text.count("_one") for text in (slow, failing, caches, changed)] == [1, 0, 1, 1]
    assert [text.count("_two") for text in (slow, failing, caches, changed)] == [1, 1, 1, 1]


def test_names_that_are_gone_take_no_memory() -> None:
    earlier: answers.Earlier = {}
    port = free_port()
    for number in range(3):
        with metertap.instrument(service_name="shop", json_port=port) as tap:
            metertap.record_tool_call(f"tool_{number}", True, 5.0)
            wait_for(lambda: tap.json_url)
            wait_for(running)
            assert answers.changes("", earlier).endswith(f": tool_{number}: 1 calls, 0 failed")
        metertap.reset()
    assert [list(names) for names in earlier.values()] == [["tool_2"]]


def test_processes_that_are_gone_take_no_memory_for_ever() -> None:
    gone = [("http://127.0.0.1:1", pid) for pid in range(1000)]
    earlier: answers.Earlier = {key: {"search": (1, 0)} for key in gone}
    with metertap.instrument(service_name="shop") as tap:
        metertap.record_tool_call("quick", True, 5.0)
        wait_for(lambda: tap.json_url)
        wait_for(running)
        answers.changes("", earlier)
    assert [*earlier][:-1] == gone[-99:]
    assert [*earlier.values()][-1] == {"quick": (1, 0)}


def test_processes_that_are_not_asked_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with metertap.instrument(service_name="shop") as tap:
        metertap.record_tool_call("quick", True, 5.0)
        wait_for(lambda: tap.json_url)
        [shop] = wait_for(lambda: processes(None))
        monkeypatch.setattr(answers, "processes", lambda _which: [shop] * 20)
        assert "more processes" not in answers.slow_tools("", 10)
        monkeypatch.setattr(answers, "processes", lambda _which: [shop] * 23)
        told = answers.slow_tools("", 10).splitlines()[-1]
        assert told == "3 more processes were not asked: name one, or its id"


def test_where_nothing_runs_the_answer_says_so() -> None:
    assert "No measured process" in answers.slow_tools("", 10)
    assert "No measured process" in answers.running_processes()


def test_without_mcp_the_command_says_what_to_install(tmp_path: Any) -> None:
    core = environments.core(tmp_path / "core")
    done = run(core, "-m", "metertap", "mcp")
    assert done.status == 1
    assert done.stdout == b""
    assert "mcp is not installed: " in done.told
