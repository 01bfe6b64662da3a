"""SIGKILL before, in the middle of, and after each commit, publish and acknowledgement of central."""

from pathlib import Path

import pytest

from tests.faults import failpoints
from tests.faults.dock import Dock
from tests.faults.failpoints import DIED, each_moment
from tests.faults.nursery import Nursery
from tests.faults.record import Central, healed
from tests.faults.warehouse import under_load
from tests.support.broker import Broker


@pytest.mark.parametrize("point", each_moment(failpoints.CENTRAL))
async def test_central_that_dies_at_any_point_books_every_ok_once(
    point: str, nursery: Nursery, shared_broker: Broker, tmp_path: Path
) -> None:
    central = await Central(nursery, tmp_path / "central", shared_broker.url).create()
    dock = Dock(nursery, tmp_path / "dock", "c-dock", shared_broker.url)
    try:
        await dock.start()
        await central.start(die=[point], wait=False)
        async with under_load([dock]):
            assert await central.ended() == DIED, f"{point} was never passed"
        await central.start()
        await dock.scan(3)
        await healed(central, [dock])
    finally:
        await dock.close()
        await central.close()
