"""The simulation bites: every mistake of the table breaks a promise within 2,000 seeds, and the same seed without it
breaks none. A seed that ends in any other error has caught nothing.
"""

import pytest

from tests.simulation.mistakes import MISTAKES, planted
from tests.simulation.play import play

MOST_SEEDS = 2000


def test_there_are_enough_mistakes_to_show_it() -> None:
    assert len(MISTAKES) >= 18


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_product_is_caught(name: str) -> None:
    mistake = MISTAKES[name]
    seeds = range(mistake.from_seed, mistake.from_seed + MOST_SEEDS)
    with planted(name):
        caught = next((outcome for outcome in map(play, seeds) if outcome.wrong), None)
    assert caught is not None, mistake.what
    assert caught.error == mistake.shows_as, f"not a promise but an error: {caught.wrong}"
    assert play(caught.seed).wrong == "", "without the mistake the same seed breaks no promise"
