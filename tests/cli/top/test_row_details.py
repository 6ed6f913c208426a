"""Selecting a row, and the details that unfold under it."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

from metertap import text as figures
from support.ports import free_port
from support.unfolded import above_details, details, facts, figures_of, selected, shows_selected
from support.watched import Measured, measured, names, top

pytestmark = pytest.mark.programs

UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"


PAGE_DOWN, HOME = "\x1b[6~", "\x1b[H"


@pytest.fixture
def three(shop: Measured) -> Measured:
    """Return a process with three tools, the slowest of which is called the least often."""
    shop.do("[record('slow', n > 0, 900.0, 'KeyError') for n in range(3)]")
    shop.do("[record('middle', n > 1, 50.0, 'ValueError') for n in range(6)]")
    shop.do("[record('quick', n > 2, 1.0, 'OSError') for n in range(9)]")
    return shop


def test_a_tools_outcomes_and_errors_are_the_documents(shop: Measured) -> None:
    shop.do("[record('order', True, 10.0 * n) for n in range(1, 31)]")
    shop.do("[record('order', False, 5.0, kind) for kind in ('KeyError', 'OSError', 'KeyError')]")
    shop.do("record('order', False, 700.0, 'TimeoutError')")
    tool = shop.document()["tool_metrics"]["order"]
    with top(shop.url, columns=120) as terminal:
        terminal.shows(lambda text: "order" in text)
        terminal.press("\r")
        screen = terminal.shows(lambda text: details(text))
    assert above_details(screen) == "order"
    counted = {name.replace("_", " "): number for name, number in tool["outcomes"].items()}
    assert facts(screen, "outcomes") == [f"{name} {n}" for name, n in counted.items() if n]
    assert facts(screen, "errors") == ["KeyError 2", "OSError 1", "TimeoutError 1"]
    assert tool["error_types"] == {"KeyError": 2, "OSError": 1, "TimeoutError": 1}
    lifetime = facts(screen, "all calls")
    for name, key in (("shortest", "min"), ("mean", "avg"), ("longest", "max")):
        assert f"{name} {figures.latency(tool[f'{key}_latency_ms']).strip()}" in lifetime
    assert "percentiles of the last 34" in lifetime
    assert "source manual" in lifetime
    assert not figures_of(screen, "latency")  # no call of it asked a cache, none yields
    assert facts(screen, "p95")[0] == "█"


def test_latency_of_calls_that_hit_and_of_those_that_missed(asked: Measured) -> None:
    tool = asked.document()["tool_metrics"]["price"]
    parts, longest = tool["with_cache"], tool["max_latency_ms"]
    assert (parts["all_hit"]["calls"], parts["missed"]["calls"]) == (25, 5)
    with top(asked.url, columns=120, lines=40) as terminal:
        terminal.shows(lambda text: "price" in text)
        terminal.press("/price\r\r")
        screen = terminal.shows(lambda text: details(text))
    assert figures_of(screen, "latency") == ["calls", "mean", "p50", "p95", "p99"]
    for name, key, about in (
        ("every lookup hit", "all_hit", {"p99"}),  # 25 calls have a p95 that is one of theirs
        ("a lookup missed", "missed", {"p95", "p99"}),
    ):
        part = parts[key]
        shown = [
            ("≈" if which in about else "")
            + figures.latency(min(part[f"{which}_latency_ms"], longest)).strip()
            for which in ("avg", "p50", "p95", "p99")
        ]
        assert figures_of(screen, name) == [str(part["calls"]), *shown]


def test_latency_to_the_first_item_where_there_is_one(shop: Measured) -> None:
    shop.do("stream = metertap.tool(name='stream')(lambda n: (yield from range(n)))")
    shop.do("[list(stream(3)) for _ in range(4)]")
    first = shop.document()["tool_metrics"]["stream"]["first_item"]
    with top(shop.url, columns=120) as terminal:
        terminal.shows(lambda text: "stream" in text)
        terminal.press("/stream\r\r")
        screen = terminal.shows(lambda text: details(text))
    assert figures_of(screen, "to the first item")[:2] == [
        "4",
        figures.latency(first["avg_latency_ms"]).strip(),
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_cache_unfolds_into_its_hit_rates_by_tool(columns: int, asked: Measured) -> None:
    with top(asked.url, columns=columns, lines=24) as terminal:
        terminal.shows(lambda text: "prices" in text and "spare" in text)
        terminal.press("\t" + RIGHT)
        screen = terminal.shows(lambda text: details(text))
        cache = asked.document()["cache_metrics"]["prices"]
        assert above_details(screen) == "prices"
        order = [line.split()[0] for line in details(screen) if "looked up by" not in line]
        assert order[-3:] == ["price", "quote", "(others)"]  # most lookups first
        for name, found in cache["by_tool"].items():
            total = str(found["hits"] + found["misses"])
            rate = figures.percent(found["hit_rate"])
            counts = [str(found["hits"]), str(found["misses"])]
            assert figures_of(screen, name) == [rate, total, *counts]
        assert figures_of(screen, "(others)") == ["100", "3", "3", "0"]
        assert facts(screen, "lookups")[:2] == [
            f"{cache['hits']} hits",
            f"{cache['misses']} misses",
        ]
        terminal.press("j")
        never = ("hit rate", ["no tool call has asked it yet"])
        terminal.shows(
            lambda text: above_details(text) == "spare" and facts(text, never[0]) == never[1]
        )
        asked.do("quote('h'); spare.evicted(4); spare.rejected()")
        terminal.press("k")
        terminal.shows(lambda text: figures_of(text, "quote") == ["33.3", "3", "1", "2"])
        terminal.press("j")
        screen = terminal.shows(lambda text: "evicted 4" in facts(text, "lookups"))
        assert "rejected for their size 1" in facts(screen, "lookups")


def test_what_a_library_does_not_show_is_said(shop: Measured) -> None:
    shop.do("import functools; rates = functools.lru_cache(4)(lambda n: n)")
    shop.do("pay = metertap.tool(name='pay')(rates); [pay(n % 5) for n in range(9)]")
    cache = next(iter(shop.document()["cache_metrics"].values()))
    assert (cache["by_tool"], cache["evictions"]) == (None, None)
    with top(shop.url, columns=120) as terminal:
        terminal.shows(lambda text: "functools" in text)
        terminal.press("\t\r")
        screen = terminal.shows(lambda text: details(text))
    assert facts(screen, "lookups")[2:5] == [
        "entries 4",
        "evicted unsupported",
        "rejected for their size unsupported",
    ]
    (told,) = facts(screen, "hit rate")
    assert told.startswith("not known by tool")


def test_details_in_a_terminal_without_such_characters(asked: Measured) -> None:
    with top(asked.url, columns=100, lines=40, env={"PYTHONIOENCODING": "latin-1"}) as terminal:
        terminal.shows(lambda text: "price" in text)
        terminal.press("\r\t\r")
        screen = terminal.shows(lambda text: text.count("\n| ") > 6)
    assert "| quote" in screen
    assert re.search(r"\n\| p95 +# - most ", screen)
    assert "?" not in screen.rpartition("\n")[0]


def test_keys_select_unfold_and_fold(three: Measured) -> None:
    with top(three.url, columns=120) as terminal:
        terminal.shows(lambda text: names(text) == ["slow", "middle", "quick", "first"])
        assert selected(terminal) == []
        for key, name, error in (
            (DOWN, "slow", None),
            ("j", "middle", None),
            (RIGHT, "middle", "ValueError 2"),
            (RIGHT, "middle", "ValueError 2"),
            ("j", "quick", "OSError 3"),  # the next one unfolds in its place
            (UP, "middle", "ValueError 2"),
            (LEFT, "middle", None),
            (LEFT, "middle", None),
            ("k", "slow", None),
            ("\r", "slow", "KeyError 1"),
            ("\r", "slow", None),
            ("\r", "slow", "KeyError 1"),
            ("\x1b", "slow", None),
            ("k", "slow", None),
            ("G", "first", None),
        ):
            terminal.press(key)
            terminal.shows(
                lambda text, name=name, error=error: (
                    selected(terminal) == [name]
                    and facts(text, "errors") == ([error] if error else [])
                )
            )
        assert "→ unfold" in terminal.text()
        terminal.press("\x1b")
        terminal.shows(lambda _text: selected(terminal) == [])
        terminal.press("\r")
        terminal.shows(lambda text: above_details(text) == "slow" and "← fold" in text)


def test_what_is_selected_stays_so_wherever_its_row_goes(three: Measured) -> None:
    with top(three.url, columns=120) as terminal:
        terminal.shows(lambda text: names(text)[:1] == ["slow"])
        terminal.press(RIGHT)
        terminal.shows(lambda text: above_details(text) == "slow")
        for key, order in (
            ("r", ["quick", "middle", "slow", "first"]),
            ("t", ["quick", "middle", "slow", "first"]),
            ("n", ["first", "middle", "quick", "slow"]),
        ):
            terminal.press(key)
            screen = terminal.shows(
                lambda text, order=order: (
                    [name for name in names(text) if name not in "│▲▼"] == order
                )
            )
            assert (above_details(screen), selected(terminal)) == ("slow", ["slow"])
        terminal.press("tj")  # a key that follows at once moves in the new order
        shows_selected(terminal, "first")
        terminal.press("k")
        terminal.shows(lambda text: above_details(text) == "slow")
        three.do("[record('slow', True, 900.0) for _ in range(20)]")  # rows move without a key, too
        screen = terminal.shows(lambda text: names(text)[0] == "slow")
        assert (above_details(screen), selected(terminal)) == ("slow", ["slow"])


def test_a_list_longer_than_the_terminal_scrolls_with_what_is_selected(shop: Measured) -> None:
    shop.do("[record(f'tool_{n:03}', True, 1000.0 - n) for n in range(200) for _ in 'ab']")
    with top(shop.url, columns=80, lines=14) as terminal:
        terminal.shows(lambda text: "tool 1–10 of 201" in text)
        for key, name, first in (
            ("j" * 10, "tool_009", "tool_000"),
            ("j", "tool_010", "tool_001"),
            ("k" * 10, "tool_000", "tool_000"),
            (PAGE_DOWN, "tool_010", "tool_010"),
            ("j", "tool_011", "tool_010"),
            (PAGE_DOWN, "tool_021", "tool_020"),
            ("G", "first", "tool_191"),
            (HOME, "tool_000", "tool_000"),
        ):
            terminal.press(key)
            screen = shows_selected(terminal, name)
            assert names(screen)[0] == first
        terminal.press("G")
        shows_selected(terminal, "first")
        terminal.press("k\r")  # what unfolds at the lower edge is seen whole
        screen = terminal.shows(lambda text: details(text))
        assert above_details(screen) == "tool_199"
        assert facts(screen, "all calls")[-1] == "source manual"
        terminal.press("r")
        screen = terminal.shows(lambda text: "p95▲" in text)
        assert (above_details(screen), names(screen)[0]) == ("tool_199", "tool_199")
        terminal.press(LEFT + "r")
        screen = terminal.shows(lambda text: "p95▼" in text and not details(text))
        assert names(screen)[-1] == "tool_199"  # at the edge that it comes from


def test_details_longer_than_the_terminal_scroll(asked: Measured) -> None:
    with top(asked.url, columns=120, lines=40) as terminal:
        terminal.shows(lambda text: "price" in text)
        terminal.press("n/price\r\r")
        whole = details(terminal.shows(lambda text: details(text)))
        assert len(whole) > 6
        terminal.press("\x1b\x1b")
        terminal.shows(lambda text: not details(text))
        terminal.press("\x1b")
        terminal.shows(lambda text: len(names(text)) == 3)
        terminal.press("jj\r")
        terminal.shows(lambda text: above_details(text) == "price")
        terminal.resize(60, 10)
        screen = terminal.shows(
            lambda text: len(text.splitlines()) == 10 and re.search("(?m)^▼ ", text)
        )
        assert max(map(len, screen.splitlines())) <= 60
        assert (above_details(screen), selected(terminal)) == ("price", ["price"])
        assert details(screen)[0].startswith("outcomes")
        terminal.press("j")
        screen = terminal.shows(lambda text: details(text)[0].startswith("errors"))
        assert re.search(r"\nprice .*\n▲ errors", screen)  # the row above them is still seen
        seen = []
        for _ in range(40):
            before = terminal.text()
            terminal.press("j")
            screen = terminal.shows(lambda text, before=before: text[80:-60] != before[80:-60])
            if above_details(screen) != "price":
                break
            seen.append(details(screen)[-1])
        assert seen[-1].endswith("source manual")
        assert above_details(screen) == "quote"
        assert details(screen)[0].startswith("outcomes")
        terminal.press("k")
        screen = terminal.shows(lambda text: above_details(text) == "price")
        assert details(screen)[0].startswith("outcomes")
        for columns, lines in ((3, 1), (1, 3), (20, 2), (30, 4), (120, 40)):
            terminal.resize(columns, lines)
        screen = terminal.shows(lambda text: "errors" in text and details(text))
        assert above_details(screen) == "price"


def test_two_hundred_tools_of_a_cache_are_paged_through(shop: Measured) -> None:
    shop.do("prices = metertap.cache_meter('prices')")
    shop.do(
        "[metertap.tool(name=f't{n:03}')(lambda n: [prices.hit() for _ in range(n)])(200 - n) "
        "for n in range(200)]"
    )
    with top(shop.url, columns=80, lines=24) as terminal:
        terminal.shows(lambda text: "prices" in text)
        terminal.press("\t\r")
        whole = ["100", "200", "200", "0"]
        screen = terminal.shows(lambda text: figures_of(text, "t000") == whole)
        seen: list[str] = []
        for _ in range(40):
            seen += re.findall(r"(?m)^[│▲▼] (t\d{3}) ", screen)
            if "t199" in seen:
                break
            before = details(screen)
            terminal.press(PAGE_DOWN)
            screen = terminal.shows(lambda text, before=before: details(text) != before)
        assert sorted(set(seen)) == [
            f"t{n:03}" for n in range(200)
        ]  # no line is left out between two pages


def test_a_filter_hides_what_is_unfolded_and_gives_it_back(three: Measured) -> None:
    with top(three.url, columns=120) as terminal:
        terminal.shows(lambda text: "middle" in text)
        terminal.press("jj\r")
        terminal.shows(lambda text: above_details(text) == "middle")
        terminal.press("/i\r")  # it has that in its name
        screen = terminal.shows(lambda text: "filter “i”  q quit" in text)
        assert above_details(screen) == "middle"
        terminal.press("/ck\r")
        screen = terminal.shows(lambda text: "filter “ick”, Esc clears it" in text)
        assert (names(screen), selected(terminal), details(screen)) == (["quick"], [], [])
        terminal.press("\x1b")
        screen = terminal.shows(lambda text: "filter “" not in text)
        assert above_details(screen) == "middle"
        terminal.press("/quick\rj")  # another is selected: folded, and it stays selected
        shows_selected(terminal, "quick")
        assert not details(terminal.text())
        terminal.press("\x1b")
        screen = terminal.shows(lambda text: len(names(text)) == 4)
        assert selected(terminal) == ["quick"]
        terminal.press("/nothing\r\r\rjkG")
        terminal.shows(lambda text: "No tool has “nothing” in its name." in text)
        assert terminal.process.poll() is None


def test_what_is_unfolded_stays_when_its_process_has_gone() -> None:
    with ExitStack() as stack:
        shop = stack.enter_context(
            measured("shop", first="record('search', False, 5.0, 'OSError')")
        )
        terminal = stack.enter_context(top(columns=120, lines=40))
        terminal.shows(lambda text: "search" in text)
        terminal.press("\r")
        terminal.shows(lambda text: facts(text, "errors") == ["OSError 1"])
        # A process gets a longer label as soon as there is another of its name.
        with measured("shop", first="record('search', False, 5.0, 'KeyError')") as other:
            other.do("prices = metertap.cache_meter('prices'); prices.hit()")
            other.do("[record('search', True, 900.0) for _ in range(9)]")
            # The other one's tool is slower and stands above.
            above = rf"≈900 ms .*shop:{other.pid}\n.*search"
            screen = terminal.shows(lambda text: re.search(above, text))
            assert facts(screen, "errors") == ["OSError 1"]
            terminal.press("k")
            terminal.shows(lambda text: facts(text, "errors") == ["KeyError 1"])
            terminal.press("\t\r")
            terminal.shows(lambda text: facts(text, "lookups")[:1] == ["1 hits"])
        gone = r"✕ shop:\d+ +gone since "
        screen = terminal.shows(lambda text: re.search(gone, text))
        assert facts(screen, "errors") == ["KeyError 1"]
        assert "entries –" in facts(screen, "lookups")
        terminal.press("\tk")
        shop.do("record('search', False, 5.0, 'OSError')")
        terminal.shows(lambda text: facts(text, "errors") == ["OSError 2"])


def test_a_row_that_vanishes_and_comes_back() -> None:
    port = free_port()
    with ExitStack() as stack:
        terminal = stack.enter_context(top(str(port), columns=120))
        with measured("shop", port) as first:
            first.do("[record('search', False, 5.0, 'OSError') for _ in 'ab']")
            terminal.shows(lambda text: "search" in text)
            terminal.press("\r")
            terminal.shows(lambda text: facts(text, "errors") == ["OSError 2"])
        second = stack.enter_context(measured("shop", port))
        screen = terminal.shows(lambda text: names(text) == ["first"])
        assert (details(screen), selected(terminal)) == ([], [])
        second.do("record('search', False, 5.0, 'KeyError')")
        terminal.shows(lambda text: facts(text, "errors") == ["KeyError 1"])


def test_keys_are_for_the_table_that_is_there(three: Measured) -> None:
    with top(three.url, columns=120) as terminal:
        terminal.shows(lambda text: "slow" in text)
        terminal.press("\tj")  # there is no cache
        shows_selected(terminal, "slow")
