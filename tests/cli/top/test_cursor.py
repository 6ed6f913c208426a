"""The cursor in a table, whatever is pressed and however rows move."""

from __future__ import annotations

import random

import pytest

from metertap.cli.top.cursor import Cursor, Key

KEYS = ("up", "down", "page up", "page down", "home", "end", "enter", "left", "right", "k", "G")


def row(number: int) -> Key:
    return ("http://127.0.0.1:9109", None, f"tool_{number}")


@pytest.mark.parametrize("seed", range(20))
def test_the_selected_row_is_seen_and_no_line_is_lost(seed: int) -> None:
    chance = random.Random(seed)
    cursor = Cursor()
    every = [row(number) for number in range(30)]
    for _ in range(500):
        if chance.random() < 0.3:
            cursor.order = chance.sample(every, chance.choice((0, 1, 7, 30)))
        if chance.random() < 0.5:
            cursor.press(chance.choice(KEYS))
        page, below = chance.choice((1, 2, 5, 12, 50)), chance.choice((1, 4, 20))
        cursor.settle(page, below if cursor.is_open() else 0)
        at = cursor.at()
        lines = len(cursor.order) + cursor.below - cursor.into
        assert 0 <= cursor.top <= max(0, len(cursor.order) - 1)
        if at is None:
            assert (cursor.into, cursor.below) == (0, 0)
            assert cursor.top <= max(0, lines - page)  # no blank lines while there are rows
        else:
            assert cursor.top <= at < cursor.top + page
            # All of the row's details are shown, or as many as there is room for.
            shown = min(cursor.below - cursor.into, page - 1 - (at - cursor.top))
            assert shown in {cursor.below - cursor.into, page - 1}


def test_every_line_of_details_is_come_by_down_and_up_again() -> None:
    cursor = Cursor(order=[row(0), row(1)])
    cursor.press("enter")
    cursor.settle(4, 9)
    seen = []
    while cursor.selected == row(0):
        seen.append(cursor.into)
        cursor.press("down")
        cursor.settle(4, 9)
    assert seen == [0, 1, 2, 3, 4, 5, 6]  # three lines of nine each time
    assert (cursor.selected, cursor.into, cursor.is_open()) == (row(1), 0, True)
    cursor.press("up")
    cursor.settle(4, 9)
    assert (cursor.selected, cursor.into) == (row(0), 0)
    turned = []
    while cursor.selected == row(0):
        turned.append(cursor.into)
        cursor.press("page down")
        cursor.settle(4, 9)
    assert turned == [0, 3, 6]
