"""The simulation bites: every mistake of the table is caught within 2,000 seeds."""

import pytest

from tests.simulation.mistakes import MISTAKES, planted
from tests.simulation.play import play

MOST_SEEDS = 2000


def test_there_are_enough_mistakes_to_show_it() -> None:
    assert len(MISTAKES) >= 18


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_product_is_caught(name: str) -> None:
    first = MISTAKES[name].from_seed
    with planted(name):
        assert any(play(seed).wrong for seed in range(first, first + MOST_SEEDS)), MISTAKES[name].what
