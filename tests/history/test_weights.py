"""Weight in a history: by how many bytes a version made every session heavier."""

from __future__ import annotations

import pytest

from metertap.history.answers import Slice, Subject
from metertap.history.gathering import Gathering
from metertap.history.weights import DefinitionChange, definition_changes
from metertap.recording import Recorder
from metertap.weight.definitions import Definition


def seen(version: int, tool: str, sizes: list[int]) -> list[Slice]:
    """What is kept of a tool whose definition had these sizes, one period after the other."""
    recorder = Recorder()
    gathering = Gathering(recorder, lambda: None)
    gathering.start()
    subject = Subject("tool", tool, "mcp:shop")
    made = []
    for number, size in enumerate(sizes):
        weight = recorder.weight(tool, "mcp:shop")
        weight.defined_by(lambda size: Definition(size, 0, 0), size)
        weight.record(10)
        tally = gathering.take()[subject]
        piece = Slice(subject, "shop", str(version), "", number, number + 1)
        piece.extra = tally.extra
        made.append(piece)
    assert sum(piece.extra["result_bytes"] for piece in made) == 10 * len(sizes)
    assert gathering.take() == {}  # nothing happened: nothing is kept
    return made


def pieces(
    *tools: tuple[str, list[Slice], list[Slice]],
) -> dict[tuple[str, Subject], tuple[list[Slice], list[Slice]]]:
    return {
        ("shop", Subject("tool", name, "mcp:shop")): (before, after)
        for name, before, after in tools
    }


def test_a_release_is_told_by_how_much_each_session_is_heavier() -> None:
    found = pieces(
        ("search", seen(1, "search", [400, 400]), seen(2, "search", [9_400])),
        ("same", seen(1, "same", [100]), seen(2, "same", [100, 100, 100])),
        ("new", [], seen(2, "new", [700])),
        ("gone", seen(1, "gone", [50]), []),
    )
    by_tool = [("search", 9_000), ("new", 700), ("gone", -50)]
    assert definition_changes(found, whole=True) == [DefinitionChange("shop", 550, 10_200, by_tool)]
    assert definition_changes(found, whole=False) == [
        DefinitionChange("shop", 500, 9_500, by_tool[:1])
    ]


def test_nothing_is_told_where_nothing_has_changed_or_nothing_is_known() -> None:
    same = pieces(("same", seen(1, "same", [100]), seen(2, "same", [100])))
    assert definition_changes(same, whole=True) == []
    assert definition_changes(pieces(("new", [], seen(2, "new", [7]))), whole=True) == []
    assert definition_changes({}, whole=True) == []


def test_the_command_says_it_in_tokens_of_every_session() -> None:
    pytest.importorskip("scipy")
    from metertap.cli.regressions.shown import as_json, as_table
    from metertap.history.regressions import Period, Question, Report

    change = DefinitionChange("shop", 550, 10_440, [("search", 9_890)])
    question = Question(Period(0.0, 1.0, "1"), Period(1.0, 2.0, "2"))
    found = Report(question, [], [], 1, (change,))
    assert as_table(found).legend.splitlines()[1] == (
        "definitions of shop: ≈+2300 tokens in every session, 550 to 10440 bytes (search +9890)"
    )
    assert as_json(found)["definitions"] == [
        {"service": "shop", "before_bytes": 550, "after_bytes": 10440, "tools": {"search": 9890}}
    ]
