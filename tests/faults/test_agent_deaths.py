"""SIGKILL before, in the middle of, and after each commit, publish and acknowledgement of an agent."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults import failpoints
from tests.faults.dock import FORGETFUL, QUICK, Dock
from tests.faults.failpoints import DIED, each_moment
from tests.faults.nursery import Nursery
from tests.faults.record import Central, healed
from tests.support.broker import Broker

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_SCANS = 60  # by then every point was passed often enough


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def central(
    nursery: Nursery, shared_broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Central]:
    """One record of truth for all agents that die here."""
    central = await Central(nursery, tmp_path_factory.mktemp("central"), shared_broker.url).create()
    try:
        await central.start()
        yield central
    finally:
        await central.close()


@pytest.mark.parametrize("point", each_moment(failpoints.AGENT))
async def test_an_agent_that_dies_at_any_point_loses_no_ok_and_doubles_nothing(
    point: str, nursery: Nursery, central: Central, shared_broker: Broker, tmp_path: Path
) -> None:
    name = point.rpartition(":")[0].replace(".", "-").replace(":", "-")
    dock = Dock(nursery, tmp_path, f"a-{name}", shared_broker.url)
    try:
        if point.startswith(("open", "connection")):  # a journal that has something to lose
            await dock.start()
            await dock.scan(3)
            await dock.kill()
        await dock.start(FORGETFUL if point.startswith("keep") else QUICK, die=[point])
        await dock.scan(MOST_SCANS, while_alive=True)
        assert await dock.ended() == DIED, f"{point} was never passed"
        await dock.start()
        await dock.scan(3)
        await healed(central, [dock], others=True)
    finally:
        await dock.close()


@pytest.mark.parametrize("moment", [failpoints.TORN, failpoints.SYNC])
async def test_an_agent_that_dies_while_its_log_is_carried_into_the_file_loses_no_ok(
    moment: str, nursery: Nursery, central: Central, shared_broker: Broker, tmp_path: Path
) -> None:
    dock = Dock(nursery, tmp_path, f"a-carry-{moment}", shared_broker.url)
    try:
        await dock.start()
        await dock.scan(20)
        await dock.kill()
        await dock.start(die=[f"{failpoints.CHECKPOINT}:{moment}:1"])
        await dock.scan(20, while_alive=True)
        dock.signal(signal.SIGTERM)  # at the end, if not before, the log is carried over
        assert await dock.ended() == DIED
        await dock.start()
        await dock.scan(3)
        await healed(central, [dock], others=True)
    finally:
        await dock.close()
