"""500 of the 2,000 seeds that CI plays."""

import pytest

from tests.simulation.seeds import blocks, every_promise_is_kept


@pytest.mark.parametrize("seeds", blocks(1000, 1500), ids=str)
def test_every_promise_is_kept_whatever_befalls_agents_broker_and_central(seeds: range) -> None:
    every_promise_is_kept(seeds)
