"""Central and docks at work, for the tests of one fault each."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.faults.dock import Dock
from tests.faults.nursery import Nursery
from tests.faults.record import Central


@asynccontextmanager
async def warehouse(
    nursery: Nursery, folder: Path, broker: str, docks: int = 1, *, mqtt: str = "", url: str | None = None
) -> AsyncIterator[tuple[Central, list[Dock]]]:
    """They work, with that broker, until the test is over. Central reaches its database at `url`, if told so."""
    central = await Central(nursery, folder / "central", broker, mqtt=mqtt, url=url).create()
    agents = [
        Dock(nursery, folder / f"dock-{number}", f"dock-{number}", broker, mqtt=mqtt)
        for number in range(docks)
    ]
    try:
        await central.start()
        for dock in agents:
            await dock.start()
        for dock in agents:
            await dock.online()
        yield central, agents
    finally:
        for part in (*agents, central):
            await part.close()


@asynccontextmanager
async def under_load(docks: Iterable[Dock]) -> AsyncIterator[None]:
    """People scan at all of them until the end of the block, whatever is done to the programs meanwhile."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for dock in docks:
            group.create_task(dock.scan_until(over))
        yield
        over.set()
