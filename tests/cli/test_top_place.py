"""`metertap top`: where somebody is in a table, whatever is pressed and whatever moves."""

from __future__ import annotations

import random

import pytest

from metertap.cli.top.cursor import Key, Place

KEYS = ("up", "down", "page up", "page down", "home", "end", "enter", "left", "right", "k", "G")


def row(number: int) -> Key:
    return ("http://127.0.0.1:9109", None, f"tool_{number}")


@pytest.mark.parametrize("seed", range(20))
def test_the_selected_row_is_seen_and_no_line_is_lost(seed: int) -> None:
    chance = random.Random(seed)
    place = Place()
    every = [row(number) for number in range(30)]
    for _ in range(500):
        if chance.random() < 0.3:
            place.order = chance.sample(every, chance.choice((0, 1, 7, 30)))
        if chance.random() < 0.5:
            place.press(chance.choice(KEYS))
        page, below = chance.choice((1, 2, 5, 12, 50)), chance.choice((1, 4, 20))
        place.settle(page, below if place.is_open() else 0)
        at = place.at()
        lines = len(place.order) + place.below - place.into
        assert 0 <= place.top <= max(0, len(place.order) - 1)
        if at is None:
            assert (place.into, place.below) == (0, 0)
            assert place.top <= max(0, lines - page)  # no blank lines while there are rows
        else:
            assert place.top <= at < place.top + page
            # All of its details, or as many as there is room for.
            shown = min(place.below - place.into, page - 1 - (at - place.top))
            assert shown in {place.below - place.into, page - 1}


def test_every_line_of_details_is_come_by_down_and_up_again() -> None:
    place = Place(order=[row(0), row(1)])
    place.press("enter")
    place.settle(4, 9)
    seen = []
    while place.selected == row(0):
        seen.append(place.into)
        place.press("down")
        place.settle(4, 9)
    assert seen == [0, 1, 2, 3, 4, 5, 6]  # three lines of nine each time
    assert (place.selected, place.into, place.is_open()) == (row(1), 0, True)
    place.press("up")
    place.settle(4, 9)
    assert (place.selected, place.into) == (row(0), 0)
    turned = []
    while place.selected == row(0):
        turned.append(place.into)
        place.press("page down")
        place.settle(4, 9)
    assert turned == [0, 3, 6]
