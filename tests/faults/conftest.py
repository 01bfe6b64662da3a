"""What the tests of one file share: a nursery of programs and a broker."""

from collections.abc import Iterator

import pytest

from tests.faults.nursery import Nursery
from tests.support.broker import Broker, running


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Starts agents and centrals quickly; at the end none of them is left."""
    nursery = Nursery()
    try:
        yield nursery.open()
    finally:
        nursery.close()


@pytest.fixture(scope="module")
def shared_broker() -> Iterator[Broker]:
    """A broker that no test of the file hurts."""
    with running() as broker:
        yield broker
